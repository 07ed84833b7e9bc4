"""The costs that k-means++ draws by, brought up to date code by code."""

from collections.abc import Callable
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import seeding as kernels
from quantization.threads import parallel_map

_FEW_DIMENSIONS = 16
_PART, _MOST_PARTS = 2**18, 64  # coordinates of a part that a thread takes, at least
_COPY_BYTES, _CHUNK_BYTES = 2**25, 2**22  # of points in another dtype or layout: all at once, or some rows at a time


class Costs:
    r"""$\min_j |x_i - c_j|^2$ for the codes chosen so far, as ``values`` (n,), from numpy points (n, d) and masses (n,)."""

    def __init__(self, points: Any, masses: FloatArray, first: int) -> None:
        self._dtype: Any = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        n, dim = points.shape
        if n * dim * self._dtype.itemsize <= _COPY_BYTES:
            points = np.ascontiguousarray(points, self._dtype)
        self._points, self._masses = points, masses
        ready = points.dtype == self._dtype and points.flags.c_contiguous
        self._rows = n if ready else max(1, _CHUNK_BYTES // (dim * self._dtype.itemsize))
        self._parts = min(_MOST_PARTS, max(1, n * dim // _PART))
        self.values = np.full(n, np.finfo(np.float64).max)
        self._squares = np.zeros(n)
        self.take(first)
        if dim > _FEW_DIMENSIONS:
            centre = np.zeros(dim)
            self._over_parts(lambda _, rows, points: kernels.square_rows(points, centre, self._squares[rows]))

    def after(self, candidates: list[int]) -> FloatArray:
        """The total cost, were each of the candidates (T,) chosen next; (T,)."""
        factors = np.ascontiguousarray(self._points[candidates], self._dtype)
        trials = factors.astype(np.float64)
        count, dim = trials.shape
        sums = np.zeros((self._parts, count))
        gamma = 10 * (dim + 8) * float(np.finfo(self._dtype).eps)  # below, a squared distance has no digit to be sure of

        def add(part: int, rows: slice, points: Any) -> None:
            costs, masses = self.values[rows], self._masses[rows]
            if dim <= _FEW_DIMENSIONS:
                kernels.cost_of_trials(points, trials, costs, masses, sums[part])
            else:
                scores = np.empty((len(points), count), self._dtype)
                kernels.cost_of_trials_by_products(
                    points, trials, factors, self._squares[rows], gamma, costs, masses, scores, sums[part]
                )

        self._over_parts(add)
        return sums.sum(0)

    def take(self, chosen: int) -> None:
        """Choose a point as the next code."""
        code = self._points[[chosen]].astype(np.float64)
        self._over_parts(lambda _, rows, points: kernels.lower_costs(points, code, self.values[rows]))

    def _over_parts(self, work: Callable[[int, slice, Any], None]) -> None:
        """``work`` on a part's number, some of its rows, and these points, contiguous in the working precision."""
        n = len(self._points)

        def part(number: int) -> None:
            first, end = number * n // self._parts, (number + 1) * n // self._parts
            for start in range(first, end, self._rows):
                rows = slice(start, min(start + self._rows, end))
                work(number, rows, np.ascontiguousarray(self._points[rows], self._dtype))

        parallel_map(part, self._parts)
