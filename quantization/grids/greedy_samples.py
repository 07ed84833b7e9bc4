"""The sample that lowers the distortion of a finite measure the most as a further code, found by lazy evaluation."""

from heapq import heapify, heappop, heappush

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure

_MOST = 30_000  # samples, whose distances to each other are all computed once
_BLOCK = 2**22
_AT_ONCE = 32


class PointSearch:
    r"""Gains $\sum_i w_i (m_i - |x_i - x|^r)^+$ of the points x of a measure, $m_i$ the least $|x_i - c|^r$ over the codes c.

    The gain of a point falls as codes are added, so that one computed earlier is an upper bound: the first of the heap, once it
    is up to date, is the best of all.
    """

    def __init__(self, measure: DiscreteMeasure, r: float) -> None:
        points, weights = to_host(measure.points), to_host(measure.weights_float64)
        if len(points) > _MOST:
            raise ValueError(
                f"a greedy sequence is found on at most {_MOST:,} samples, all pairs of which are compared; received "
                f"{len(points):,}. Give a subsample of that size"
            )
        self._points, self._weights, self._r = points, weights, r
        self._least = np.full(len(points), np.inf)
        self._heap: list[tuple[float, int, int]] = []  # minus gain, point, number of codes then
        self._count = 0
        self.distortion = np.inf

    def add(self, code: FloatArray) -> None:
        self._least = np.minimum(self._least, self._costs(code[None])[0])
        if not self._count:
            self._heap = []  # of what the first code would cost, which bounds no gain
        self._count += 1
        self.distortion = float(self._weights @ self._least)

    def best(self) -> FloatArray:
        if not self._heap:
            rows = max(1, _BLOCK // len(self._points))
            blocks = [range(i, min(i + rows, len(self._points))) for i in range(0, len(self._points), rows)]
            gains = np.concatenate([self._gains(list(block)) for block in blocks])
            self._heap = [(-float(gain), i, self._count) for i, gain in enumerate(gains)]
            heapify(self._heap)
        while self._heap[0][2] != self._count:
            stale = [heappop(self._heap)[1] for _ in range(min(_AT_ONCE, len(self._heap)))]
            for i, gain in zip(stale, self._gains(stale), strict=True):
                heappush(self._heap, (-float(gain), i, self._count))
        gain, best, _ = self._heap[0]
        if self._count and gain >= 0:
            raise ValueError(
                f"k must be at most the number of distinct points, {self._count}, which are all codes by now. Lower k"
            )
        return self._points[best]

    def _gains(self, candidates: list[int]) -> FloatArray:
        costs = self._costs(self._points[candidates])
        if not self._count:  # the distortion itself, from zero down
            return -costs @ self._weights
        return np.maximum(self._least - costs, 0.0) @ self._weights

    def _costs(self, codes: FloatArray) -> FloatArray:
        squares = np.asarray(scipy.spatial.distance.cdist(codes, self._points, "sqeuclidean"), dtype=np.float64)
        return squares if self._r == 2 else squares ** (self._r / 2)
