"""Assignments in few dimensions: bounds from step to step, and a scan over codes in float32 where they do not tell."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from quantization.arrays import FloatArray
from quantization.assignment import low_dim_kernels as kernels
from quantization.assignment.cells import Sums
from quantization.assignment.rows import Rows
from quantization.assignment.step import Step
from quantization.threads import parallel_map

_ORDERED = {1: 256, 2: 256, 3: 1000}  # codes from which an order of the points pays, by which a block of them scans few codes
_PARTIAL_BYTES, _MOST_PARTS, _PART = 2**22, 16, 2**19  # of sums of a part; scores of a part at least
_POINT = 32  # scores that take as long as what is done once for a point
_NONE = np.empty(0)


class LowDim:
    """Points (n, d) in few dimensions, a numpy array of any floating dtype, with weights (n,) in float64 of sum 1.

    Labels are exact: the least of the squared distances by direct differences in float64, the lowest index among equal ones.
    Rows are cut into parts by shape alone, so the number of threads changes no bit of an answer.
    """

    def __init__(self, points: Any, weights: FloatArray) -> None:
        self.n, self.dim = points.shape
        self.rows = Rows(points)
        self.equal = float(weights[0]) if (weights == weights[0]).all() else 0.0
        self.weights = _NONE if self.equal else weights

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        state, squared = _Cells(self, np.ascontiguousarray(codes)), np.empty(self.n)
        state.search(squared)
        return state.labels, squared

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d)."""
        state = _Cells(self, np.ascontiguousarray(codes))
        state.search()
        totals = state.parts.sum(0)
        masses = totals[:, kernels.COUNT] * self.equal if self.equal else totals[:, kernels.MASS].copy()
        shifts = totals[:, kernels.SHIFT :].copy()
        return Sums(masses, shifts, shifts, float(totals[:, kernels.COST].sum()), float(masses.sum()), None)

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps from ``codes``, rounded to the points' precision.

        Ends where a cell is empty or the distortion would rise, and after a step at rest: where no label has changed, or no code.
        """
        state, least = _Cells(self, codes.astype(self.rows.dtype).astype(np.float64)), np.inf
        while True:
            begun, current = not state.fresh, state.codes
            changed = state.advance()
            if state.fewest == 0 or not state.distortion <= least:
                return
            least, following = state.distortion, state.following
            at_rest = (begun and changed == 0) or np.array_equal(following, current)
            residual = (state.off / least) ** 0.5 if least > 0 else 0.0
            yield Step(_same(current), state.masses, least, 0.0, residual, _same(following), at_rest)
            if at_rest:
                return
            state.move()


def _same(codes: FloatArray) -> Callable[[], FloatArray]:
    return lambda: codes


class _Cells:
    """The cells of a codebook: labels, bounds and sums, kept from one codebook to the next."""

    def __init__(self, way: LowDim, codes: FloatArray) -> None:
        k, dim = codes.shape
        self.codes, self.fresh, self._way = codes, True, way
        self.labels, self._slack = np.empty(way.n, np.int32), np.empty(way.n, np.float32)
        self._totals, self._clock, self._passed = np.zeros((k, kernels.SHIFT + dim)), np.zeros(k), 0.0
        self._packed = np.empty(dim), np.empty((dim, k)), np.empty((k, 1 + dim), np.float32)
        self._frame = kernels.pack(codes, *self._packed)
        self._scale, self._order = self._frame[0], np.empty(0, np.int32)
        parts = min(_MOST_PARTS, _PARTIAL_BYTES // self._totals.nbytes, way.n * (k + _POINT) // _PART)
        self.parts = np.empty((max(1, parts - parts % 2), *self._totals.shape))
        self.distortion, self.off, self.fewest = 0.0, 0.0, 0.0
        self.following = codes

    @property
    def masses(self) -> FloatArray:
        """Of the cells, (K,)."""
        return self._totals[:, kernels.MASS].copy()

    def search(self, squared: FloatArray = _NONE) -> int:
        """Finds the labels, and what that changes in the sums; how many labels have changed. squared: filled if (n,)."""
        way, parts = self._way, len(self.parts)
        centre, columns, packed = self._packed
        self.parts[:] = 0.0

        def part(p: int) -> tuple[int, float]:
            changed, passed = 0, 0.0
            start, stop = p * way.n // parts, (p + 1) * way.n // parts
            for first, points in way.rows.chunks(start, stop) if len(self._order) == 0 else way.rows.chunks(0, way.n):
                whole = len(self._order) > 0
                meant = (start, stop) if whole else (first, first + len(points))
                more = kernels.assign_rows(
                    points, first, *meant, way.weights, way.equal, self.codes, columns, packed, centre, *self._frame, self._scale,
                    self._order, self._clock, self.fresh, self.labels, self._slack, squared, self.parts[p], (0,) * way.dim,
                )  # fmt: skip
                changed, passed = changed + more[0], passed + more[1]
            return changed, passed

        found = parallel_map(part, parts) if parts > 1 else [part(0)]
        self._passed += sum(passed for _, passed in found)
        return sum(changed for changed, _ in found)

    def advance(self) -> int:
        """Labels and sums of the codes, and the codes that follow; how many labels have changed."""
        changed, good, following = self.search(), False, np.empty(self.codes.shape, self._way.rows.dtype)
        while not good:
            self.distortion, self.off, self.fewest, good = kernels.advance(
                self.parts, self._way.equal, self._scale, self._passed, self._totals, self.codes, following, self._clock
            )
            if not good and self.fresh:  # not finite: squares have overflowed
                self.fewest = 0.0
                break
            if not good:
                self.fresh, self._passed = True, 0.0
                self._totals[:] = 0.0
                self.search()
        if self.fewest > 0:
            self.following = following.astype(np.float64)
        self._passed += self.distortion
        self.fresh = False
        return changed

    def move(self) -> None:
        """On to the codes that follow."""
        k, dim = self.codes.shape
        if len(self._order) == 0 and k >= _ORDERED.get(dim, np.inf) and self._way.rows.ready:
            self._order = self._ordered()
        self.codes = self.following
        self._frame = kernels.pack(self.codes, *self._packed)

    def _ordered(self) -> Any:
        """The points, cell after cell, cells that lie near one another in a row: in the order of a k-d tree of their codes."""
        k = len(self.codes)
        rank = np.empty(k, np.uint16 if k <= 2**16 else np.int32)
        rank[cKDTree(self.codes, leafsize=1).indices] = np.arange(k)
        return np.argsort(rank[self.labels], kind="stable").astype(np.int32)
