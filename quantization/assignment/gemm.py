"""Many dimensions: nearest codes by matrix products, certified by a bound on their round-off.

The products are in float32, also of float64 points, which are shifted, scaled and rounded block by block; float64 takes over
where that leaves too many points in doubt. Lloyd's steps keep two bounds on distances a point (hamerly2010) and the sums of
cells, so that a step after the first looks at the points alone whose label is in doubt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment import gemm_kernels as kernels
from quantization.assignment.bounds import PIECE, ROUNDING, direct_margin, largest_product, rounded_terms, score_error
from quantization.assignment.cells import Sums
from quantization.assignment.step import Step
from quantization.threads import parallel_map

__all__ = ["Gemm"]

_COPY_BYTES, _CHUNK_BYTES = 2**25, 2**22  # of a converted copy of all points; of rows that are converted at a time
_PART, _MOST_PARTS = 2**21, 16  # n d K from which threads share the rows; parts of the rows
_ROW_WORK = 8  # what a row costs beside its products, in codes and in coordinates
_PARTIAL_BYTES = 2**22  # of sums that every part of the rows has for itself; beyond, threads share columns
_COLUMNS = 256  # that a thread takes
_SCORES = 2**16  # of a block of rows
_SLIM = 48  # codes up to which BLAS is faster with codes as its first factor
_CANCELLING = 1e-3  # distortion over the mean square about the reference, below which sums about it have too few digits
_MOST_PASSED = 100  # of a cell's mass that has left or joined it: beyond, its sum is made again
_MOST_DOUBTFUL = 1 / 8  # of the points: beyond, products are in float64
_LETTERS = np.frombuffer(b"TN", np.int8)  # for BLAS: the first factor is transposed, the second is not
_NO_SUMS = np.empty((0, 0))
_PROBES = 9  # points that say where the sample lies


@dataclass(frozen=True)
class _Frame:
    """Shift and scaling of points and codes in a product, of the sample alone; lengths of the points in it, total w |x - a|²."""

    centre: FloatArray
    factor: float
    lengths: Any
    total: float


class _Products:
    """Products of one precision with points in a frame, for codebooks of one shape."""

    def __init__(self, shape: tuple[int, int], frame: _Frame, dtype: Any) -> None:
        k, dim = shape
        self._frame, self._dtype = frame, dtype
        self._scaled, self._numbers = np.empty(shape, dtype), np.empty((3, k), dtype)
        self._error = score_error(dim, dtype, rounded_terms(dim))
        self._limits = direct_margin(dim), largest_product(dtype), min(dim, PIECE)
        self._block = max(64, min(256, _SCORES // k)) if k > 8 or dim < 64 else 64  # BLAS has a faster way for small products
        self._turns = k <= _SLIM
        self.drifts = np.zeros(k, np.float32)

    def prepare(self, codes: FloatArray, before: FloatArray) -> None:
        """Makes a codebook ready; ``drifts`` say how far it is, in the frame, from the one before."""
        f = self._frame
        self._codes = codes
        self._reach = kernels.prepare_codes(
            codes, before, f.centre, f.factor, *self._error, self._scaled, self._numbers, self.drifts
        )

    def step(
        self, points: Any, weights: FloatArray, lengths: Any, labels: Any, before: Any, lower: Any, upper: Any, rows: Any,
        fresh: bool, masses: FloatArray, sums: FloatArray,
    ) -> tuple[int, int, int]:  # fmt: skip
        """Labels points; see ``step_rows``."""
        k, piece = len(self._scaled), self._limits[2]
        size = min(self._block, len(points))
        block, scores = np.empty(size * piece, self._dtype), np.empty((k, size), self._dtype)
        turned = np.empty((size, k if self._turns else 0), self._dtype)
        # BLAS takes addresses: of sizes and strides, and of the factors 1 and 0 or 1.
        sizes, factors = np.zeros(6, np.int32), np.array([1, 0], self._dtype)
        addresses = tuple(x.ctypes.data for x in (_LETTERS, sizes, factors, block, self._scaled, scores, turned))
        return kernels.step_rows(
            points, weights, self._frame.centre, self._frame.factor, self._codes, self.drifts, self._numbers, self._reach,
            *self._limits, lengths, labels, before, lower, upper, rows, fresh, masses, sums, block, scores, turned,
            sizes, factors, addresses,
        )  # fmt: skip


class Gemm:
    """Samples (n, d), numpy of any floating dtype and layout, with weights (n,) in float64.

    round_codes: rounds codes (K, d) to numbers that the points' dtype can hold; by default those of the array.

    Rows and columns are cut by shape alone, so the number of threads changes no bit of an answer.
    """

    def __init__(self, points: Any, weights: FloatArray, round_codes: Callable[[FloatArray], FloatArray] | None = None) -> None:
        dtype = points.dtype
        self._round_codes = round_codes or (lambda codes: codes.astype(dtype, copy=False))
        work = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        if points.size * work.itemsize <= _COPY_BYTES:
            points = np.ascontiguousarray(points, work)
        self._points, self._weights, self._work = points, weights, work
        self._ready = points.dtype == work and points.flags.c_contiguous
        self._precision: Any = np.dtype(np.float32)
        self._frame: _Frame | None = None

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        codes = np.ascontiguousarray(codes)
        (labels, _), squared = self._labels(codes), np.empty(len(self._points))
        self._over_rows(len(codes), lambda points, rows: kernels.measure_distances(points, codes, labels[rows], squared[rows]))
        return labels, squared

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d), r = 2."""
        codes = np.ascontiguousarray(codes)
        labels, masses = self._labels(codes)
        shifts, cost = self._residuals(codes, labels)
        return Sums(masses, shifts, shifts, cost, float(masses.sum()), None)

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps from a codebook, rounded to the points' precision.

        Ends before the first codebook with an empty cell, where the distortion would rise, and after a step at rest.
        """
        return _Lloyd(self, self._rounded(codes)).steps()

    def _rounded(self, codes: FloatArray) -> FloatArray:
        return np.ascontiguousarray(self._round_codes(codes), np.float64)

    def _labels(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The labels of all points, and the masses of the cells."""
        labels, none, frame = np.zeros(len(self._points), np.int32), np.empty(0, np.float32), self._framed()
        products = self._products(codes.shape)
        products.prepare(codes, codes)

        def label(points: Any, rows: slice) -> tuple[int, FloatArray]:
            masses, some = np.zeros((2, len(codes))), np.empty(len(points), np.int64)
            _, settled, _ = products.step(
                points, self._weights[rows], frame.lengths[rows], labels[rows], labels[rows], none, none, some, True,
                masses, _NO_SUMS,
            )  # fmt: skip
            return settled, masses[0]

        found = self._over_rows(len(codes), label)
        self._look(sum(settled for settled, _ in found))
        return labels, sum(masses for _, masses in found)

    def _products(self, shape: tuple[int, int]) -> _Products:
        return _Products(shape, self._framed(), self._precision)

    def _look(self, doubtful: int) -> None:
        if doubtful > _MOST_DOUBTFUL * len(self._points) and self._work == np.float64:
            self._precision = np.dtype(np.float64)

    def _framed(self) -> _Frame:
        """The frame, from the sample alone."""
        if self._frame is None:
            n = len(self._points)
            some = np.ascontiguousarray(self._points[np.arange(_PROBES) * n // _PROBES].T, np.float64)
            centre = np.sort(some, 1)[:, _PROBES // 2].copy()
            length = float(np.median(np.sqrt(np.square(some - centre[:, None]).sum(0))))
            factor, squares, first = 2.0 ** -int(np.frexp(length)[1]), np.empty(n), np.zeros(n, np.int32)

            def measure(points: Any, rows: slice) -> None:
                kernels.measure_distances(points, centre[None], first[rows], squares[rows])

            self._over_rows(1, measure)
            with np.errstate(over="ignore", invalid="ignore"):
                lengths = (np.sqrt(squares) * (factor * (1 + ROUNDING / 2))).astype(np.float32)
            self._frame = _Frame(centre, factor, lengths, float(self._weights @ squares))
        return self._frame

    def _residuals(self, codes: FloatArray, labels: Any) -> tuple[FloatArray, float]:
        """Sums of w (x - c) over cells, and the sum of w |x - c|²."""
        k, dim = codes.shape
        if self._partial(k):

            def part(points: Any, rows: slice) -> tuple[FloatArray, float]:
                sums = np.zeros(codes.shape)
                return sums, kernels.add_residuals(points, codes, labels[rows], self._weights[rows], 0, sums)

            found = self._over_rows(k, part)
            return sum(sums for sums, _ in found), sum(cost for _, cost in found)
        shifts, cost = np.zeros(codes.shape), 0.0
        for points, rows in self._chunks(0, len(self._points)):

            def columns(some: slice, points: Any = points, rows: slice = rows) -> float:
                return kernels.add_residuals(points, codes, labels[rows], self._weights[rows], some.start, shifts[:, some])

            cost += sum(_over_columns(columns, dim))
        return shifts, cost

    def _parts(self, k: int) -> int:
        n, dim = self._points.shape
        work = n * (dim + _ROW_WORK) * (k + _ROW_WORK)
        return 1 if work < _PART else min(_MOST_PARTS, 2 * max(1, work // (8 * _PART)), n)

    def _partial(self, k: int) -> bool:
        """Whether every part of the rows has sums of its own."""
        return 8 * k * self._points.shape[1] * self._parts(k) <= _PARTIAL_BYTES

    def _over_rows(self, k: int, work: Callable[[Any, slice], Any]) -> list[Any]:
        """``work`` on rows, ready for the kernels, and their slice, for work that takes the time of k codes."""
        parts, n = self._parts(k), len(self._points)

        def part(g: int) -> list[Any]:
            return [work(*chunk) for chunk in self._chunks(g * n // parts, (g + 1) * n // parts)]

        return [found for some in (parallel_map(part, parts) if parts > 1 else [part(0)]) for found in some]

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[Any, slice]]:
        """Contiguous rows in the working precision, and their slice."""
        size = max(1, stop - start if self._ready else _CHUNK_BYTES // (self._points.shape[1] * self._work.itemsize))
        for first in range(start, stop, size):
            rows = slice(first, min(first + size, stop))
            yield np.ascontiguousarray(self._points[rows], self._work), rows


def _over_columns(work: Callable[[slice], Any], dim: int) -> list[Any]:
    starts = range(0, dim, _COLUMNS)
    return parallel_map(lambda i: work(slice(starts[i], min(starts[i] + _COLUMNS, dim))), len(starts))


class _Lloyd:
    r"""Lloyd's algorithm on sums of cells $S_k = \sum_{i \in V_k} w_i (x_i - a)$ about one reference a.

    They give the centroids $m_k = a + S_k / W_k$, and the distortion without another look at the points:
    $D = \sum_i w_i |x_i - a|^2 - \sum_k |S_k|^2 / W_k + \sum_k W_k |c_k - m_k|^2$.
    """

    def __init__(self, samples: Gemm, codes: FloatArray) -> None:
        n = len(samples._points)
        self._samples, self._codes, self._frame = samples, codes, samples._framed()
        self._labels, self._before = np.zeros(n, np.int32), np.zeros(n, np.int32)
        self._lower, self._upper = np.empty(n, np.float32), np.empty(n, np.float32)
        self._rows = np.empty(n, np.int64)
        self._sums, self._passed = np.zeros(codes.shape), np.zeros(len(codes))
        self._cancelling = False

    def steps(self) -> Iterator[Step]:
        codes, least, fresh = self._codes, np.inf, True
        following, products = codes, self._samples._products(codes.shape)
        while True:
            products.prepare(following, codes)
            codes = following
            masses, moved = self._assign(codes, products, fresh)
            if not masses.all():
                return
            means, distortion, off = self._advance(codes, masses)
            if distortion > least:
                return
            following = self._samples._rounded(means)
            at_rest = not moved or np.array_equal(following, codes)
            residual = (off / distortion) ** 0.5 if off else 0.0
            yield Step(_constant(codes), masses, distortion, 0.0, residual, _constant(following), at_rest)
            if at_rest:
                return
            if fresh:
                fresh, products = False, self._samples._products(codes.shape)
            least = distortion

    def _assign(self, codes: FloatArray, products: _Products, fresh: bool) -> tuple[FloatArray, bool]:
        """Labels the points and brings the sums up to date; the masses, and whether any label has changed."""
        samples, weights, k = self._samples, self._samples._weights, len(codes)
        partial, alone = samples._partial(k), samples._parts(k) == 1 and samples._ready

        def part(points: Any, rows: slice) -> tuple[Any, ...]:
            some, held = self._rows[rows], np.zeros((2, k))
            sums = _NO_SUMS if not partial else self._sums if alone else np.zeros(codes.shape)
            counts = products.step(
                points, weights[rows], self._frame.lengths[rows], self._labels[rows], self._before[rows], self._lower[rows],
                self._upper[rows], some, fresh, held, sums,
            )  # fmt: skip
            moved = some[: counts[2]]
            return counts, held, sums, moved if partial else moved + rows.start

        found = samples._over_rows(k, part)
        held = found[0][1] if len(found) == 1 else np.sum([x[1] for x in found], 0)
        _, settled, moved = map(sum, zip(*(x[0] for x in found), strict=True))
        masses = held[0]
        if fresh:
            samples._look(settled)
            self._passed = masses.copy()
        elif moved:
            self._passed += held[1]
        if moved and not self._cancelling:
            if (self._passed > _MOST_PASSED * masses).any():
                self._sums[:], self._passed = 0.0, masses.copy()
                self._move(np.arange(len(self._labels)), True)
            elif partial and not alone:
                for x in found:
                    if len(x[3]):
                        self._sums += x[2]
            elif not partial:
                self._move(np.concatenate([x[3] for x in found]), fresh)
        if not partial:
            self._before[:] = self._labels
        return masses, fresh or moved > 0

    def _move(self, moved: Any, fresh: bool) -> None:
        samples, a = self._samples, self._frame.centre
        size = len(moved) if samples._ready else max(1, _CHUNK_BYTES // (len(a) * samples._work.itemsize))
        for first in range(0, len(moved), max(1, size)):
            some = moved[first : first + size]
            points, places, count = samples._points, some, len(some)
            left, joined, weights = self._before, self._labels, samples._weights
            if not samples._ready:
                points, places = np.ascontiguousarray(points[some], samples._work), np.arange(len(some))
                left, joined, weights = left[some], joined[some], weights[some]

            def columns(c: slice, arguments: Any = (points, places, count, a, left, joined, weights, fresh)) -> None:
                kernels.move_sums(*arguments, c.start, self._sums[:, c])

            _over_columns(columns, len(a))

    def _advance(self, codes: FloatArray, masses: FloatArray) -> tuple[FloatArray, float, float]:
        r"""The centroids, the distortion and $\sum_k W_k |c_k - m_k|^2$."""
        if not self._cancelling:
            means = np.empty_like(codes)
            between, off = kernels.advance_codes(self._sums, masses, self._frame.centre, codes, means)
            within = self._frame.total - between
            if within >= _CANCELLING * self._frame.total:
                return means, within + off, off
            self._cancelling = True
        shifts, cost = self._samples._residuals(codes, self._labels)
        means = codes + shifts / masses[:, None]
        return means, cost, float((np.einsum("kd,kd->k", shifts, shifts) / masses).sum())


def _constant(codes: FloatArray) -> Callable[[], FloatArray]:
    return lambda: codes
