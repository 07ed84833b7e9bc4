"""Assignments in few dimensions: bounds from step to step, and a scan over codes in float32 where they do not tell."""

from functools import partial
from math import frexp
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from quantization.arrays import FloatArray
from quantization.assignment import low_dim_kernels as kernels
from quantization.assignment.cells import Sums
from quantization.assignment.distance_kernels import measure_from
from quantization.assignment.rows import Rows, read_only
from quantization.assignment.step import Step
from quantization.threads import CACHE_LINES, parallel_map, parallel_rows

_ORDERED = {1: 256, 2: 256, 3: 1000}  # codes from which an order of the points pays, by which a block of them scans few codes
_PAYS_ONCE = 8  # times as many codes, from which on an order pays in a single pass
_SAMPLE, _FINE = 4096, 16  # points of whose coordinates quantiles are taken; bins of the last coordinate for one of the others
_PARTIAL_BYTES, _MOST_PARTS, _PART = 2**22, 16, 2**19  # of sums of a part; scores of a part at least
_FRAME = 16.0  # length of the longest code, or one over it, from which on codes are centred and scaled again
_CALL = 2**26  # scores of one compiled call at most: an interrupt waits for it
_POINT = 32  # scores that take as long as what is done once for a point
_NO_WEIGHTS, _NOWHERE = read_only(np.empty(0)), np.empty(0)


class LowDim:
    """Points (n, d) in few dimensions, a numpy array of any floating dtype, with weights (n,) in float64 of sum 1.

    Labels are exact: the least of the squared distances by direct differences in float64, the lowest index among equal ones.
    Rows are cut into parts by shape alone, so the number of threads changes no bit of an answer.
    """

    def __init__(self, points: Any, weights: FloatArray) -> None:
        self.n, self.dim = points.shape
        self.rows = Rows(points)
        self.equal = float(weights[0]) if (weights == weights[0]).all() else 0.0
        self.weights = _NO_WEIGHTS if self.equal else read_only(np.ascontiguousarray(weights))
        self._order: Any = None

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        state, squared = _Cells(self, np.array(codes, order="C"), several=False), np.empty(self.n)
        state.search(squared)
        return state.labels, squared

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d)."""
        state = _Cells(self, np.array(codes, order="C"), several=False)
        state.search()
        totals = state.parts.sum(0)
        masses = totals[:, kernels.COUNT] * self.equal if self.equal else totals[:, kernels.MASS].copy()
        shifts = totals[:, kernels.SHIFT :].copy()
        return Sums(masses, shifts, shifts, float(totals[:, kernels.COST].sum()), float(masses.sum()), None)

    def distances(self, codes: FloatArray, labels: Any) -> FloatArray:
        """The squared distance of every point to the code of its label, (n,)."""
        squared = np.empty(self.n)

        def measure(some: slice) -> None:
            for first, points in self.rows.chunks(some.start, some.stop):
                rows = slice(first, first + len(points))
                measure_from(points, codes, labels[rows], squared[rows])

        parallel_rows(measure, self.n)
        return squared

    def moving_cells(self, codes: FloatArray) -> "_Cells":
        """The cells of ``codes``, rounded to the points' precision, which are about to move."""
        return _Cells(self, codes.astype(self.rows.dtype).astype(np.float64), several=True)

    def order(self, k: int, several: bool) -> Any:
        """The points in an order in which those of a block lie near one another, where so many codes make it pay; else None.

        Of several passes the later ones have an order of their own, by cells. So the first has any, unless this one pays for it.
        """
        pays = _PAYS_ONCE if not several else 1
        if not self.rows.ready or k < _ORDERED.get(self.dim, np.inf) * pays:
            return None
        if k < _ORDERED[self.dim] * _PAYS_ONCE:
            return np.arange(self.n, dtype=np.int32)
        if self._order is None:
            self._order = _ordered(self.rows.points)
        return self._order


def _ordered(points: Any) -> Any:
    """Numbers of the points, to and fro through bins of each coordinate between quantiles of some points."""
    n, dim = points.shape
    strips = max(1, round((n / kernels.BLOCK) ** (1 / dim)))
    keys, some = np.zeros(n, np.int32), points[:: -(-n // _SAMPLE)]
    for t in range(dim):
        bins = strips if t < dim - 1 else min(_FINE * strips, 2**16 // strips ** (dim - 1))
        edges = np.sort(some[:, t])[np.arange(1, bins) * len(some) // bins]

        def place(rows: slice) -> None:
            at = np.searchsorted(edges, np.ascontiguousarray(points[rows, t]))  # noqa: B023
            keys[rows] = keys[rows] * bins + np.where(keys[rows] % 2, bins - 1 - at, at)  # noqa: B023

        parallel_rows(place, n)
    return np.argsort(keys.astype(np.uint16), kind="stable").astype(np.int32)


class _Cells:
    """The cells of a codebook: labels, bounds and sums, kept from one codebook to the next."""

    def __init__(self, way: LowDim, codes: FloatArray, *, several: bool) -> None:
        k, dim = codes.shape
        self._codes, self._following, self._fresh, self._way = codes, codes, True, way
        self.labels, self._slack = np.zeros(way.n, np.int32), np.empty(way.n, np.float32)
        self._totals, self._clock, self._passed = np.zeros((k, kernels.SHIFT + dim)), np.zeros(k), 0.0
        self._order, group = way.order(k, several), kernels.GROUP if dim < kernels.MANY else kernels.GROUP // 2
        self._packed = np.empty(dim), np.empty((k + -k % group, 1 + dim), np.float32)
        self._frame = self._pack()
        self._scale = self._frame[0]
        parts = min(_MOST_PARTS, _PARTIAL_BYTES // self._totals.nbytes, way.n * (k + _POINT) // _PART)
        apart = -(-CACHE_LINES // (kernels.SHIFT + dim))
        self.parts = np.empty((max(1, parts - parts % 2), k + apart, kernels.SHIFT + dim))[:, :k]
        self._by_cells = self._order is None
        self._spaces = [self._space() for _ in self.parts]

    def codes(self) -> FloatArray:
        return self._codes

    def search(self, squared: FloatArray = _NOWHERE) -> int:
        """Finds the labels, and what that changes in the sums; how many labels have changed. squared: filled if (n,)."""
        way, parts, k = self._way, len(self.parts), len(self._codes)
        centre, packed = self._packed
        most = -(-way.n // parts)
        calls = -(-most // max(kernels.BLOCK, _CALL // k))
        self.parts[:] = 0.0
        if self._fresh:
            self._slack[:] = -np.inf  # every point is in doubt

        def part(p: int, call: int) -> tuple[int, float]:
            start, stop, changed, passed = p * way.n // parts, (p + 1) * way.n // parts, 0, 0.0
            start, stop = start + call * most // calls, min(start + (call + 1) * most // calls, stop)
            for first, points in way.rows.chunks(start, stop) if self._order is None else way.rows.chunks(0, way.n):
                meant = (first, first + len(points)) if self._order is None else (start, stop)
                more = kernels.assign_rows(
                    points, first, *meant, way.weights, way.equal, self._codes, packed, centre, *self._frame, self._scale,
                    self._order, *self._spaces[p], self._clock, self._fresh, self.labels, self._slack, squared, self.parts[p],
                    (0,) * way.dim,
                )  # fmt: skip
                changed, passed = changed + more[0], passed + more[1]
            return changed, passed

        found: list[tuple[int, float]] = []
        for call in range(calls):
            found += parallel_map(partial(part, call=call), parts) if parts > 1 else [part(0, call)]
        self._passed += sum(passed for _, passed in found)
        return sum(changed for changed, _ in found)

    def _space(self) -> tuple[Any, Any, Any, Any]:
        """What the kernel computes in: codes near a block and their numbers, a block's coordinates and scores, its points."""
        k, dim = len(self._codes), self._way.dim
        ordered, most = self._order is not None, k + kernels.GROUP
        few, which = (np.empty((most, 1 + dim), np.float32), np.empty(most, np.int32)) if ordered else (None, None)
        return few, which, np.empty((dim + 4) * kernels.BLOCK, np.float32), np.empty(kernels.BLOCK, np.int32)

    def step(self) -> Step | None:
        """The cells of the current codes, and the centroids that follow."""
        codes, known, following = self._codes, not self._fresh, np.empty(self._codes.shape, self._way.rows.dtype)
        changed = self.search()
        while True:
            centre, packed = self._packed
            distortion, off, fewest, good, longest = kernels.advance(
                self.parts, self._way.equal, self._scale, self._passed, self._totals, codes, following, self._clock, centre,
                self._frame[0], packed,
            )  # fmt: skip
            masses = self._totals[:, kernels.MASS].copy()
            if fewest == 0:
                masses[self._totals[:, kernels.COUNT] == 0] = 0.0  # without what round-off has left
                return Step(codes, masses)
            if good:
                break
            if self._fresh:  # not finite: squares have overflowed
                return None
            self.move_to(codes)  # too many digits are lost
            self.search()
        self._following, self._frame = following.astype(np.float64), (self._frame[0], longest)
        self._passed += distortion
        self._fresh = False
        at_rest = (known and changed == 0) or np.array_equal(self._following, codes)
        return Step(codes, masses, distortion, 0.0, (off / distortion) ** 0.5 if distortion > 0 else 0.0, at_rest)

    def assign(self, codes: FloatArray) -> int | None:
        """On to codes near those at hand, for their labels alone; how many changed, None where none were known."""
        known = not self._fresh
        if known:
            self._sort_by_cells()
            with np.errstate(over="ignore"):
                drifts = np.sqrt(np.square(codes - self._codes).sum(1)) * (kernels.ROUNDED_UP * self._scale)
            farthest = int(drifts.argmax())
            others = np.full(len(codes), drifts[farthest])
            others[farthest] = np.delete(drifts, farthest).max(initial=0.0)
            self._clock += drifts + others
        self._codes = codes
        self._frame = self._pack()
        changed = self.search()
        self._fresh = False
        return changed if known else None

    def advance(self) -> None:
        """On to the centroids."""
        self._sort_by_cells()
        self._codes = self._following
        if not 1 / _FRAME < self._frame[1] < _FRAME:
            self._frame = self._pack()

    def _sort_by_cells(self) -> None:
        if not self._by_cells:  # once: cell after cell, cells near one another in a row, as in a k-d tree of their codes
            rank = np.empty(len(self._codes), np.uint16 if len(self._codes) <= 2**16 else np.int32)
            rank[cKDTree(self._codes, leafsize=1).indices] = np.arange(len(self._codes))
            self._order, self._by_cells = np.argsort(rank[self.labels], kind="stable").astype(np.int32), True

    def move_to(self, codes: FloatArray) -> None:
        """On to any other codes: all points are searched, and sums made, from the beginning."""
        codes = codes.astype(self._way.rows.dtype).astype(np.float64)
        self._codes, self._fresh, self._passed = codes, True, 0.0
        self._totals[:] = 0.0
        self._frame = self._pack()

    def _pack(self) -> tuple[float, float]:
        """The codes as the kernels take them, about their mean; a power of two that makes the longest about 1, and its length."""
        k, (centre, packed) = len(self._codes), self._packed
        centre[:] = (self._codes / k).sum(0)
        b = self._codes - centre
        longest = float(np.abs(b).max())
        factor = 2.0 ** (1 - min(max(frexp(longest)[1], -1000), 1000)) if longest > 0 else 1.0
        b *= factor
        squares = np.einsum("kd,kd->k", b, b)
        packed[:k, 0], packed[:k, 1:] = squares / 2, -b
        packed[k:, 0], packed[k:, 1:] = np.inf, 0.0  # never the nearest
        return factor, float(squares.max()) ** 0.5
