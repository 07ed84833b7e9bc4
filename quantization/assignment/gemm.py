"""Many dimensions: nearest codes by matrix products, certified by a bound on their round-off.

The products are in float32, also of float64 points, which are shifted, scaled and rounded block by block; float64 takes over
where that leaves too many points in doubt. Lloyd's steps keep bounds on distances, two a point (hamerly2010) or one a point and
code (elkan2003), and the sums of cells, so that a step after the first looks at the points alone whose label is in doubt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment import gemm_kernels as kernels
from quantization.assignment.bounds import PIECE, ROUNDING, direct_margin, largest_product, rounded_terms, score_error
from quantization.assignment.cells import Sums
from quantization.assignment.gemm_kernels import LANES
from quantization.assignment.step import Step
from quantization.threads import CACHE_LINES, parallel_map

__all__ = ["Gemm"]

_COPY_BYTES, _CHUNK_BYTES = 2**25, 2**22  # of a converted copy of all points; of rows that are converted at a time
_BLOCKS_BYTES = 24 * 2**20  # of all points as blocks, kept from codebook to codebook
_PART, _MOST_PARTS = 2**25, 16  # products from which threads share the rows; parts of the rows
_ROW_CODES, _ROW_WORK = 8, 2**9  # what a row costs beside its products: as so many codes more, and so many products
_COLUMNS, _FEW_COLUMNS = 1024, 16  # that a thread takes at most and at least
_SUMMED = 2**21  # coordinates to be summed from which two threads pay
_ELKAN_DIM, _ELKAN_CODES = 256, 40  # from which bounds on all distances pay; on fewer codes where blocks are not kept
_ELKAN_BYTES = 1 / 4  # of these bounds, as a share of the points' memory at most
_FEW, _FEW_MORE = 0.25, 6  # rivals of a point that are measured one by one: a share of all codes, and some more
_PROBED, _HOPELESS = 256, 0.9  # rows that are measured first: where so many of them are left, all are searched
_RELOCATED = 1 / 8  # of the codes, up to which distances to relocated ones take less than another search
_CANCELLING = 1e-3  # distortion over the mean square about the reference, below which sums about it have too few digits
_MOST_PASSED = 100  # of a cell's mass that has left or joined it: beyond, its sum is made again
_MOST_DOUBTFUL = 1 / 8  # of the points: beyond, products are in float64
_PROBES = 9  # points that say where the sample lies


@dataclass(frozen=True)
class _Frame:
    """Shift and scaling of points and codes in a product, of the sample alone; lengths of the points in it, total w |x - a|²."""

    centre: FloatArray
    factor: float
    lengths: Any
    total: float


class _Search:
    """Labels of all points from codebook to codebook of one shape; with ``bounds`` it keeps bounds on distances."""

    def __init__(self, samples: "Gemm", shape: tuple[int, int], bounds: bool) -> None:
        n, (k, dim), work = len(samples.points), shape, samples.work
        self._samples, self._frame, self._fresh = samples, samples.framed(), True
        self.labels, self.before = np.zeros(n, np.int32), np.full(n, -1, np.int32)
        self._rows = np.empty(n, np.int32)
        pays = dim >= _ELKAN_DIM and (k >= _ELKAN_CODES or not samples.keeps_blocks())
        fits = 4 * n * k <= n * dim * work.itemsize * _ELKAN_BYTES and 2.0**-40 <= self._frame.factor <= 2.0**40
        self._elkan = bounds and pays and fits
        self._lower = np.zeros((n, k) if self._elkan else n if bounds else 0, np.float32)
        self._upper = np.empty(n if bounds else 0, np.float32)
        self._codes, self._drifts, self.masses = np.zeros(shape), np.zeros(k, np.float32), np.zeros(k)
        self._native = self._codes if work == np.float64 else np.zeros(shape, work)
        self._prepare()

    def _prepare(self) -> None:
        """Makes all that depends on the products' precision, and the kernels' arguments for every part of the rows."""
        samples, f, (k, dim) = self._samples, self._frame, self._codes.shape
        dtype, work = samples.precision, samples.work
        padded, terms = -(-dim // 4) * 4, rounded_terms(dim)
        self._dtype, self._error = dtype, score_error(dim, dtype, terms)
        some = -(-k // 4) * 4  # the products are with four codes at a time: those beyond the last have infinite scores
        self._scaled, self._numbers = np.zeros((some, padded), dtype), np.zeros((3, some), dtype)
        self._numbers[0] = np.inf
        # Squares of coordinates below 2^-62 may be lost, squares of lengths beyond 2^60 overflow.
        vanishing, overflow = dim**0.5 * 2.0**-62 * f.factor, 2.0**60 * f.factor
        own_error = score_error(dim, work, terms)[0]
        self._limits = np.array([0, direct_margin(dim), largest_product(dtype), own_error, vanishing, overflow])
        self._blocks = np.empty((0, 0), dtype) if self._elkan else samples.blocks(dtype)
        self._few = int(_FEW * k) + _FEW_MORE
        self._sizes, self._spaces = (min(padded, PIECE), (1 if padded <= PIECE else 2) * some), list[Any]()
        self._parts: dict[int, Any] = {}

    def _arguments(self, rows: slice) -> Any:
        """Of the kernels for some rows: all that stays from step to step."""
        samples, f, k = self._samples, self._frame, len(self._codes)
        shared = f.centre, f.factor, self._codes, self._scaled, self._numbers, self._drifts, self._limits
        bounds = self._lower[rows], self._upper[rows]  # empty, where there are none
        labels, moved = self.labels[rows], self._rows[rows]
        first = self._blocks[rows.start // LANES :], samples.weights[rows], f.lengths[rows], labels, self.before[rows]
        masses = np.zeros((2, k + CACHE_LINES))
        rivals = self._native, self._drifts, f.factor, self._limits, self._few, f.lengths[rows], labels, *bounds, moved
        return (*first, *bounds, moved, *shared, masses), rivals, masses, moved

    def _scratch(self) -> Any:
        """What the kernel computes in, of which every thread takes one at a time."""
        length, rows = self._sizes
        block, products = np.zeros(length * LANES, self._dtype), np.empty(rows * LANES, self._dtype)
        return block, kernels.row_space(length, self._dtype), products, np.zeros(kernels.STATES, self._dtype)

    def step(self, codes: FloatArray) -> tuple[int, Any]:
        """Labels all points for a codebook; how many were decided by direct differences, and the points whose label changed."""
        if self._dtype != self._samples.precision:
            self._prepare()
        f = self._frame
        kernels.prepare_codes(
            codes, self._codes, f.centre, f.factor, *self._error, self._scaled, self._numbers, self._drifts, self._limits
        )
        if self._elkan:
            if self._native is not self._codes:
                self._native[:] = codes
            if self._fresh:
                self._drifts[:] = 0
                self._upper[:] = np.inf
        self._filled = self._blocks is self._samples.filled
        found = self._samples.over_rows(len(codes), self._label)
        self._fresh = False
        if all(x[3] for x in found) and self._blocks.size:
            self._samples.filled = self._blocks
        masses = found[0][2][0].copy() if len(found) == 1 else np.sum([x[2][0] for x in found], 0)
        self.passed = found[0][2][1] if len(found) == 1 else np.sum([x[2][1] for x in found], 0)
        self.masses = masses
        return sum(x[0] for x in found), found[0][1] if len(found) == 1 else np.concatenate([x[1] for x in found])

    def relocate(self, codes: FloatArray) -> None:
        """On to a codebook of which some codes, without members, have gone elsewhere: only points near these are in doubt.

        Bounds on the distance to the second nearest code fall to the distance to the nearest of the new ones; bounds that are
        kept for every code become the distances to them. Where there are many, they fall by how far codes have come, as in any
        step.
        """
        far, samples, nobody = np.flatnonzero((codes != self._codes).any(1)), self._samples, np.zeros(len(self.labels), np.int32)
        members = np.bincount(self.labels, minlength=len(codes))
        if len(far) > _RELOCATED * len(codes) or members[far].any():
            return
        if self._elkan:
            for k in far:
                self._lower[:, k] = self._below(samples.distances(codes[k : k + 1], nobody))
        else:
            np.minimum(self._lower, self._below(samples.nearest(codes[far])[1]), out=self._lower)
        self._codes[far] = codes[far]

    def _below(self, squared: FloatArray) -> Any:
        """Bounds on scaled distances, of squared ones."""
        with np.errstate(over="ignore"):
            return (np.sqrt(squared) * (self._frame.factor * (1 - ROUNDING)) - kernels.SMALL).astype(np.float32)

    def _label(self, points: Any, rows: slice) -> tuple[int, Any, FloatArray, bool]:
        """Of some rows: how many were decided, those whose label changed, masses of cells, and whether all were searched."""
        if rows.start not in self._parts:
            self._parts[rows.start] = self._arguments(rows)
        arguments, rivals, masses, moved = self._parts[rows.start]
        whole = len(moved) == len(self.labels)
        try:
            space = self._spaces.pop()
        except IndexError:  # all are in use by other threads
            space = self._scratch()
        count = len(points) if self._fresh else -1
        if self._elkan and not (self._fresh and self._few < len(self._codes) - 1):
            probed = min(_PROBED, len(points))
            count = kernels.measure_rivals(points, *rivals, 0, probed, 0)
            if count <= _HOPELESS * probed:
                count = kernels.measure_rivals(points, *rivals, probed, len(points), count)
            else:
                count = len(points)  # and what these rows' bounds have lost, their search makes good
        masses[:] = 0.0
        searched, decided, left = kernels.step_rows(points, *arguments, *space, count, self._filled)
        self._spaces.append(space)
        masses = masses[:, : len(self._codes)]
        return decided, moved[:left] if whole else moved[:left] + rows.start, masses, searched == len(points)


class Gemm:
    """Samples (n, d), numpy of any floating dtype and layout, with weights (n,) in float64.

    round_codes: rounds codes (K, d) to numbers that the points' dtype can hold; by default those of the array.

    Rows and columns are cut by shape alone, so the number of threads changes no bit of an answer.
    """

    def __init__(self, points: Any, weights: FloatArray, round_codes: Callable[[FloatArray], FloatArray] | None = None) -> None:
        dtype = points.dtype
        self._round_codes: Callable[[FloatArray], Any] = round_codes or partial(np.asarray, dtype=dtype)
        work = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        if points.size * work.itemsize <= _COPY_BYTES:
            points = np.ascontiguousarray(points, work)
        self.points, self.weights, self.work = points, weights, work
        self.ready = points.dtype == work and points.flags.c_contiguous
        self.precision: Any = np.dtype(np.float32)
        self._frame: _Frame | None = None
        self._kept: Any = None
        self.filled: Any = None  # the blocks that hold the points by now

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        codes = np.ascontiguousarray(codes)
        labels = self._labels(codes)[0]
        return labels, self.distances(codes, labels)

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d), r = 2."""
        codes = np.ascontiguousarray(codes)
        labels, masses = self._labels(codes)
        shifts, cost = self.residuals(codes, labels)
        return Sums(masses, shifts, shifts, cost, float(masses.sum()), None)

    def distances(self, codes: FloatArray, labels: Any) -> FloatArray:
        """The squared distance of every point to the code of its label, (n,)."""
        squared = np.empty(len(self.points))
        self.over_rows(1, lambda points, rows: kernels.measure_distances(points, codes, labels[rows], squared[rows]))
        return squared

    def moving_cells(self, codes: FloatArray) -> "_Cells":
        """The cells of ``codes``, rounded to the points' precision, which are about to move."""
        return _Cells(self, self.rounded(codes))

    def rounded(self, codes: FloatArray) -> FloatArray:
        """Codes that the points' dtype can hold."""
        return np.ascontiguousarray(self._round_codes(codes), np.float64)

    def _labels(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The labels of all points, and the masses of the cells."""
        search = _Search(self, codes.shape, False)
        self.choose_precision(search.step(codes)[0])
        return search.labels, search.masses

    def keeps_blocks(self) -> bool:
        """Whether blocks of all points take little memory, so that they are kept from step to step."""
        return self.ready and self.points.size * self.precision.itemsize <= _BLOCKS_BYTES

    def blocks(self, dtype: Any) -> Any:
        """Space for all points as blocks in the precision of products, where these take little memory; a first step fills it."""
        n, dim = self.points.shape
        shape = (-(-n // LANES), -(-dim // 4) * 4 * LANES) if self.keeps_blocks() else (0, 0)
        kept = self._kept
        if kept is None or kept.dtype != dtype:
            self._kept = kept = np.empty(shape, dtype)
        return kept  # and not what another thread may have put there meanwhile

    def choose_precision(self, doubtful: int) -> None:
        """Products in float64 from the next step on, where float32 has left so many points in doubt."""
        if doubtful > _MOST_DOUBTFUL * len(self.points) and self.work == np.float64:
            self.precision = np.dtype(np.float64)

    def framed(self) -> _Frame:
        """The frame, from the sample alone."""
        if self._frame is None:
            n = len(self.points)
            some = np.ascontiguousarray(self.points[np.arange(_PROBES) * n // _PROBES].T, np.float64)
            centre = np.sort(some, 1)[:, _PROBES // 2].copy()
            length = float(np.sort(np.sqrt(np.square(some - centre[:, None]).sum(0)))[_PROBES // 2])
            factor, squares = 2.0 ** -int(np.frexp(length)[1]), self.distances(centre[None], np.zeros(n, np.int32))
            with np.errstate(over="ignore", invalid="ignore"):
                lengths = (np.sqrt(squares) * (factor * (1 + ROUNDING / 2))).astype(np.float32)
            self._frame = _Frame(centre, factor, lengths, float((self.weights * squares).sum()))
        return self._frame

    def residuals(self, codes: FloatArray, labels: Any) -> tuple[FloatArray, float]:
        """Sums of w (x - c) over cells, and the sum of w |x - c|²."""
        shifts, cost = np.zeros(codes.shape), 0.0
        for points, rows in self._chunks(0, len(self.points)):

            def columns(some: slice, points: Any = points, rows: slice = rows) -> float:
                return kernels.add_residuals(points, codes, labels[rows], self.weights[rows], some.start, some.stop, shifts)

            cost += sum(_over_columns(columns, codes.shape[1], len(points)))
        return shifts, cost

    def _parts(self, k: int) -> int:
        n, dim = self.points.shape
        work = n * (dim * (k + _ROW_CODES) + _ROW_WORK)
        return 1 if work < _PART else min(_MOST_PARTS, 2 * max(1, work // (2 * _PART)), -(-n // LANES))

    def over_rows(self, k: int, work: Callable[[Any, slice], Any]) -> list[Any]:
        """``work`` on rows, ready for the kernels, and their slice, for work that takes the time of k codes."""
        parts, n = self._parts(k), len(self.points)

        if parts == 1 and self.ready:
            return [work(self.points, slice(0, n))]
        blocks = -(-n // LANES)

        def part(g: int) -> list[Any]:
            rows = (min(n, i * blocks // parts * LANES) for i in (g, g + 1))
            return [work(*chunk) for chunk in self._chunks(*rows)]

        return [found for some in (parallel_map(part, parts) if parts > 1 else [part(0)]) for found in some]

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[Any, slice]]:
        """Contiguous rows in the working precision, and their slice."""
        size = max(1, stop - start if self.ready else _CHUNK_BYTES // (self.points.shape[1] * self.work.itemsize))
        for first in range(start, stop, size):
            rows = slice(first, min(first + size, stop))
            yield np.ascontiguousarray(self.points[rows], self.work), rows


def _over_columns(work: Callable[[slice], Any], dim: int, rows: int) -> list[Any]:
    """``work`` on some coordinates of so many rows at a time."""
    parts = max(-(-dim // _COLUMNS), 1 if rows * dim < _SUMMED else min(2, dim // _FEW_COLUMNS))
    if parts <= 1:
        return [work(slice(0, dim))]
    return parallel_map(lambda i: work(slice(i * dim // parts, (i + 1) * dim // parts)), parts)


class _Cells:
    r"""The cells of a codebook, with their sums $S_k = \sum_{i \in V_k} w_i (x_i - a)$ about one reference a, from step to step.

    They give the centroids $m_k = a + S_k / W_k$, and the distortion without another look at the points:
    $D = \sum_i w_i |x_i - a|^2 - \sum_k |S_k|^2 / W_k + \sum_k W_k |c_k - m_k|^2$.
    """

    def __init__(self, samples: Gemm, codes: FloatArray) -> None:
        self._samples, self._codes, self._following, self._frame = samples, codes, codes, samples.framed()
        self._search = _Search(samples, codes.shape, True)
        self.labels = self._search.labels
        self._passed, self._rows = np.zeros(len(codes)), np.zeros((len(codes) + 1, codes.shape[1]))
        self._sums = self._rows[:-1]  # what has left no cell is taken off the last row
        self._cancelling, self._fresh = False, True

    def codes(self) -> FloatArray:
        return self._codes

    def step(self) -> Step:
        """The cells of the current codes, and the centroids that follow."""
        codes, search = self._codes, self._search
        decided, moved = search.step(codes)
        if self._fresh:
            self._samples.choose_precision(decided)
        if len(moved):
            self._update_sums(moved)
        masses, self._fresh = search.masses, False
        if not masses.all():
            return Step(codes, masses)
        means, distortion, off = self._means(codes, masses)
        self._following = self._samples.rounded(means)
        at_rest = not len(moved) or bool((self._following == codes).all())
        return Step(codes, masses, distortion, 0.0, (off / distortion) ** 0.5 if off else 0.0, at_rest)

    def assign(self, codes: FloatArray) -> int | None:
        """On to codes near those at hand, for their labels alone; how many changed, None where none were known."""
        self._codes, known = codes, not self._fresh
        settled, moved = self._search.step(codes)
        if not known:
            self._samples.choose_precision(settled)
        self._search.before[moved] = self.labels[moved]
        self._fresh = False
        return len(moved) if known else None

    def advance(self) -> None:
        """On to the centroids."""
        self._codes = self._following

    def move_to(self, codes: FloatArray) -> None:
        """On to any other codes, of which a step may have moved none but those of empty cells; bounds and sums are kept."""
        self._codes = self._samples.rounded(codes)
        self._search.relocate(self._codes)

    def _update_sums(self, moved: Any) -> None:
        search, masses = self._search, self._search.masses
        self._passed += search.passed
        if not self._cancelling:
            if not self._fresh and ((self._passed > _MOST_PASSED * masses) & (masses > 0)).any():
                self._sums[:], self._passed = 0.0, masses.copy()
                n = len(search.labels)
                self._move(np.arange(n, dtype=np.int32), np.full(n, -1, np.int32))
            else:
                self._move(moved, search.before)
        search.before[moved] = search.labels[moved]
        self._sums[masses == 0], self._passed[masses == 0] = 0.0, 0.0  # without what round-off has left

    def _move(self, moved: Any, left: Any) -> None:
        samples, a = self._samples, self._frame.centre
        size = len(moved) if samples.ready else max(1, _CHUNK_BYTES // (len(a) * samples.work.itemsize))
        for first in range(0, len(moved), max(1, size)):
            some = moved[first : first + size]
            points, places, source, joined, weights = samples.points, some, left, self._search.labels, samples.weights
            if not samples.ready:
                points, places = np.ascontiguousarray(points[some], samples.work), np.arange(len(some), dtype=np.int32)
                source, joined, weights = left[some], joined[some], weights[some]

            def columns(c: slice, arguments: Any = (points, places, a, source, joined, weights)) -> None:
                kernels.move_sums(*arguments, c.start, c.stop, self._rows)

            _over_columns(columns, len(a), len(some))

    def _means(self, codes: FloatArray, masses: FloatArray) -> tuple[FloatArray, float, float]:
        r"""The centroids, the distortion and $\sum_k W_k |c_k - m_k|^2$."""
        if not self._cancelling:
            means = np.empty_like(codes)
            between, off = kernels.advance_codes(self._sums, masses, self._frame.centre, codes, means)
            within = self._frame.total - between
            if within >= _CANCELLING * self._frame.total:
                return means, within + off, off
            self._cancelling = True
        shifts, cost = self._samples.residuals(codes, self._search.labels)
        means = codes + shifts / masses[:, None]
        return means, cost, float((np.einsum("kd,kd->k", shifts, shifts) / masses).sum())
