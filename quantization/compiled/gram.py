r"""Lloyd's algorithm on inner products: where points are few and dimensions many, and steps or restarts many more.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search by $\langle x_i, m_k \rangle = P_{ki} / W_k$ alone, with
$P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix $G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step
takes a pass over (K, n) numbers and over the rows of G of the points that changed cells: no coordinate is touched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import gram as kernels
from quantization.compiled.kernels import inner
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes
from quantization.compiled.places import Places
from quantization.compiled.product import Frame
from quantization.compiled.steps import Step
from quantization.threads import spread

_PAYS = 0.6  # the share of the passes' arithmetic that the matrix may take
_MATRIX_BYTES = 2**25  # beyond a quarter of the points' own
_SMALL, _LARGE = 1e-24, 1e24  # mean square and sum of squares of numbers whose products float32 can hold
_LEAST_MASS = 1e-250  # of a point, if it has any: sums of less would leave the range of float64
_COLUMNS = 128  # of coordinates that are made or measured at a time
_DOUBLE = float(np.finfo(np.float64).eps)

Answer = TypeVar("Answer")


def pays(points: Any, k: int, passes: int) -> bool:
    """Whether so many passes with codebooks of k codes take more arithmetic than the matrix, and the matrix fits in memory."""
    n, size = len(points), points.dtype.itemsize
    ready = points.dtype in (np.float32, np.float64) and points.flags.c_contiguous
    if not (ready and size * n * n <= _MATRIX_BYTES + points.nbytes // 4 and n <= _PAYS * 2 * k * passes):
        return False
    with np.errstate(over="ignore"):
        numbers: Any = points.ravel()
        return _SMALL * points.size < float(numbers @ numbers) < _LARGE


def _matrix(points: Any, frame: Frame) -> Any:
    """All inner products of the points in the frame, (n, n) and columns that fill the last vector."""
    n, width = len(points), 2 * lanes(points.dtype)
    matrix = np.zeros((n, -(-n // width) * width), points.dtype)
    starts = range(0, n, inner.PANELS * width)

    def columns(part: int) -> None:
        panels = np.empty((inner.PANELS, PIECE, width), points.dtype)
        moved = np.empty((ROWS if frame.shifted else 0, PIECE), points.dtype)
        first, last = starts[part], min(starts[part] + inner.PANELS * width, n)
        inner.gram_columns(points, frame.centre, frame.shifted, first, last, panels, moved, matrix)

    spread(columns, len(starts), sizes=starts)
    return matrix


class Gram:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64, by their inner products in that precision.

    Nothing here changes once it is made: walks in several threads share it.
    """

    def __init__(self, points: Any, masses: FloatArray) -> None:
        dim, unit = points.shape[1], float(np.finfo(points.dtype).eps)
        self._weighty = not ((masses > 0) & (masses < _LEAST_MASS)).any()
        self._places = Places(points)
        self.frame = Frame(np.asarray(points[:: -(-len(points) // 16)], dtype=np.float64), points.dtype)
        matrix = _matrix(points, self.frame)
        squares = np.diagonal(matrix).astype(np.float64)
        lengths = np.sqrt(np.maximum(squares, 0.0)) * (1 + 1e-3)
        self.samples = kernels.Samples(points, masses, self.frame.centre.astype(np.float64), matrix, lengths, squares)
        self._errors = kernels.Errors(
            product=inner.depth(dim) * unit / 2,
            code=unit / 2,
            term=_DOUBLE / 2,
            centre=float(np.linalg.norm(self.samples.centre)),
            lost=4 * dim * float(np.finfo(points.dtype).smallest_subnormal),
            lost_term=4 * float(np.finfo(np.float64).smallest_subnormal),
        )

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: see :class:`~quantization.compiled.steps.Descent`. The numbers are as good as the points' precision.

        Ends where a code of the first codebook is no point, a cell is empty, or many points lie as good as between two codes.
        """
        begun = self.begin(codes)
        if begun is not None:
            yield from begun.steps(codes)

    def begin(self, codes: FloatArray) -> "Begun | None":
        """What takes steps from there; None where a code is no point."""
        origin = self._places.of(codes) if self._weighty else None
        return None if origin is None else Begun(self, origin)

    def walk(self, origin: Any) -> Iterator[Step]:
        """Steps from codes that are the points of these indices (K,)."""
        book, totals = self._at_points(origin), np.empty(0)
        while True:
            labels, masses = np.empty(len(self.samples.masses), np.int32), np.zeros(len(book.totals))
            given = (tuple(self.samples), tuple(book), tuple(self._errors))
            done, distortion, error, way, at_rest = kernels.step(*given, origin, totals, labels, masses)
            if not done:
                return
            found = _Labelling(self, origin, totals, labels, masses)
            yield Step(
                found.codes, masses, distortion, error / distortion, (way / distortion) ** 0.5, found.following, at_rest,
                found.measure,
            )  # fmt: skip
            if at_rest:
                return
            origin, totals = labels, masses

    def _at_points(self, chosen: Any) -> kernels.Codes:
        """Codes that are these points."""
        k, lengths = len(chosen), self.samples.lengths[chosen]
        sums = self.samples.matrix[chosen].astype(np.float64)
        return kernels.Codes(sums, np.ones(k), self.samples.squares[chosen], lengths, np.ones(k), lengths.copy())


class Begun:
    """A descent whose first steps begin at known points."""

    def __init__(self, gram: Gram, origin: Any) -> None:
        self._gram, self._origin, self._start = gram, origin, origin

    def start(self) -> FloatArray:
        """The codes it begins at, (K, d), made anew at every call: ten starts may take as much memory as the points."""
        return self._gram.samples.points[self._start].astype(np.float64)

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: the first time from those points, which ``codes`` must be; after that as the matrix takes them."""
        origin, self._origin = self._origin, None
        return self._gram.steps(codes) if origin is None else self._gram.walk(origin)


@dataclass(frozen=True)
class _Labelling:
    """The codes of a labelling, and what coordinates say of it. origin, totals: what the codes are, see ``kernels.settle``."""

    gram: Gram
    origin: Any
    totals: FloatArray
    labels: Any
    masses: FloatArray

    def codes(self) -> FloatArray:
        return self._centroids(self.origin, self.totals) if len(self.totals) else self._points()

    def following(self) -> FloatArray:
        return self._centroids(self.labels, self.masses)

    def measure(self) -> tuple[FloatArray, float, float]:
        """The codes, their distortion and their stationarity: in one pass, as that is what it takes time for."""
        x, w, a = self.gram.samples[:3]
        known = len(self.totals) == 0
        codes = self._points() if known else self._space()

        def part(first: int, last: int) -> tuple[float, float]:
            if not known:
                kernels.centroid_columns(x, w, a, self.origin, self.totals, first, last, codes)
            return kernels.measure_columns(x, w, codes, self.labels, self.masses, first, last)

        distortion, off = np.sum(_by_columns(part, x.shape[1]), 0)
        return codes, float(distortion), float((off / distortion) ** 0.5) if distortion > 0 else 0.0

    def _points(self) -> FloatArray:
        return self.gram.samples.points[self.origin].astype(np.float64)

    def _centroids(self, labels: Any, masses: FloatArray) -> FloatArray:
        """Of the cells, (K, d), rounded to the points' precision."""
        x, w, a = self.gram.samples[:3]
        codes = self._space()
        _by_columns(lambda first, last: kernels.centroid_columns(x, w, a, labels, masses, first, last, codes), x.shape[1])
        return codes

    def _space(self) -> FloatArray:
        return np.empty((len(self.masses), self.gram.samples.points.shape[1]))


def _by_columns(work: Callable[[int, int], Answer], dim: int) -> list[Answer]:
    """``work`` on columns from one to another, few enough that they stay in the cache while all rows pass."""
    starts = range(0, dim, _COLUMNS)
    return spread(lambda i: work(starts[i], min(starts[i] + _COLUMNS, dim)), len(starts))
