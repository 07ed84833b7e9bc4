r"""Lloyd's algorithm on inner products: where points are few and dimensions many, and steps or restarts many more.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search by $\langle x_i, m_k \rangle = P_{ki} / W_k$ alone, with
$P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix $G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step
takes a pass over (K, n) numbers and over the rows of G of the points that changed cells: no coordinate is touched but of codes
between which a point lies as good as midway. G may be that of points near these: that leaves some more points in doubt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment.step import Step
from quantization.compiled.inner import Inner, inner_products, space
from quantization.compiled.kernels import gram as kernels
from quantization.compiled.kernels import members
from quantization.compiled.places import Places
from quantization.compiled.product import Frame
from quantization.threads import parallel_map

_PAYS = 0.6  # the share of the passes' arithmetic that the matrix may take
_LEAST_MASS = 1e-250  # of a point, if it has any: sums of less would leave the range of float64
_PARTS = 24  # of the cells, whose codes are made or measured at a time
_DOUBLE = float(np.finfo(np.float64).eps)

Answer = TypeVar("Answer")


def pays(points: Any, k: int, passes: int) -> bool:
    """Whether so many passes with codebooks of k codes take more arithmetic than the matrix, and the matrix fits in memory."""
    n, size = len(points), points.dtype.itemsize
    ready = points.dtype in (np.float32, np.float64) and points.flags.c_contiguous
    return ready and size * n * n <= space(points) and n <= _PAYS * 2 * k * passes


class Gram:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64, by their inner products.

    Nothing here changes once it is made: walks in several threads share it.
    """

    def __init__(self, points: Any, masses: FloatArray, frame: Frame, products: Inner) -> None:
        dim, unit = points.shape[1], float(np.finfo(points.dtype).eps)
        self._weighty = not ((masses > 0) & (masses < _LEAST_MASS)).any()
        self._places, self.frame = Places(points), frame
        squares = np.diagonal(products.matrix).astype(np.float64)
        lengths = np.sqrt(np.maximum(squares, 0.0)) * (1 + 1e-3)
        centre = frame.centre.astype(np.float64)
        self.samples = kernels.Samples(points, masses, centre, products.matrix, products.off, lengths, squares)
        self._errors = kernels.Errors(
            product=products.product,
            code=unit / 2,
            term=_DOUBLE / 2,
            centre=float(np.linalg.norm(centre)),
            lost=4 * dim * float(np.finfo(points.dtype).smallest_subnormal),
            lost_term=4 * float(np.finfo(np.float64).smallest_subnormal),
        )

    @classmethod
    def of(cls, points: Any, masses: FloatArray) -> "Gram | None":
        """None where the points are too small or too large for it."""
        frame = Frame(np.asarray(points[:: -(-len(points) // 16)], dtype=np.float64), points.dtype)
        products = inner_products(points, frame)
        return None if products is None else cls(points, masses, frame, products)

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
        sums = _rows(self.samples.matrix, chosen)
        squares, off = self.samples.squares[chosen], self.samples.off[chosen]
        return kernels.Codes(sums, np.ones(k), squares, lengths, off, np.ones(k), lengths.copy())


class Begun:
    """A descent whose first steps begin at known points."""

    def __init__(self, gram: Gram, origin: Any) -> None:
        self._gram, self._origin, self._start = gram, origin, origin

    def start(self) -> FloatArray:
        """The codes it begins at, (K, d), made anew at every call: ten starts may take as much memory as the points."""
        return _rows(self._gram.samples.points, self._start)

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
        """The codes, their distortion and their stationarity: in one go, as that is what it takes time for."""
        x, w, a = self.gram.samples[:3]
        known, k = len(self.totals) == 0, len(self.masses)
        codes = self._points() if known else self._space()
        cells, own = ((), ()) if known else _in_order(self.origin, k), _in_order(self.labels, k)

        def part(first: int, last: int) -> tuple[float, float]:
            if not known:
                members.centroids(x, w, a, *cells, self.totals, first, last, codes)
            return members.measure_cells(x, w, codes, *own, self.masses, first, last)

        parts = _by_cells(part, k)
        distortion, off = np.sum(parts, 0)
        return codes, float(distortion), float((off / distortion) ** 0.5) if distortion > 0 else 0.0

    def _points(self) -> FloatArray:
        return _rows(self.gram.samples.points, self.origin)

    def _space(self) -> FloatArray:
        return np.empty((len(self.masses), self.gram.samples.points.shape[1]))

    def _centroids(self, labels: Any, masses: FloatArray) -> FloatArray:
        """Of the cells, (K, d), rounded to the points' precision."""
        x, w, a = self.gram.samples[:3]
        order, ends = _in_order(labels, len(masses))
        codes = self._space()
        _by_cells(lambda first, last: members.centroids(x, w, a, order, ends, masses, first, last, codes), len(masses))
        return codes


def _rows(points: Any, chosen: Any) -> FloatArray:
    """Some of the points, (K, d)."""
    rows = np.empty((len(chosen), points.shape[1]))
    members.rows_of(points, chosen, rows)
    return rows


def _in_order(labels: Any, k: int) -> tuple[Any, Any]:
    """The points, cell after cell, and where the cells end; see ``members.in_order``."""
    ends = np.zeros(k + 1, np.int64)
    return members.in_order(labels, ends), ends


def _by_cells(work: Callable[[int, int], Answer], k: int) -> list[Answer]:
    """``work`` on cells from one to another."""
    parts = min(k, _PARTS)
    return parallel_map(lambda i: work(i * k // parts, (i + 1) * k // parts), parts)
