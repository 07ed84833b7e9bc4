"""The costs that k-means++ draws by, brought up to date code by code."""

from collections.abc import Callable
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import seeding as kernels
from quantization.threads import spread

_FEW_DIMENSIONS = 16
_PART, _MOST_PARTS = 2**18, 64  # coordinates of a part that a thread takes, at least


class Costs:
    r"""$\min_j |x_i - c_j|^2$ for the codes chosen so far, as ``values`` (n,), from numpy points (n, d) and masses (n,)."""

    def __init__(self, points: Any, masses: FloatArray, first: int) -> None:
        working = np.float64 if points.dtype == np.float64 else np.float32
        self._points, self._masses = np.ascontiguousarray(points, dtype=working), masses
        n, dim = points.shape
        self._parts = min(_MOST_PARTS, max(1, n * dim // _PART))
        self.values = np.full(n, np.finfo(np.float64).max)
        self._squares = np.zeros(n)
        self.take(first)
        if dim > _FEW_DIMENSIONS:
            centre = np.zeros(dim)
            self._over_parts(lambda rows: kernels.square_rows(self._points[rows], centre, self._squares[rows]))

    def after(self, candidates: list[int]) -> FloatArray:
        """The total cost, were each of the candidates (T,) chosen next; (T,)."""
        trials = self._points[candidates].astype(np.float64)
        count, dim = trials.shape
        parts = np.zeros((self._parts, count))
        gamma = 10 * (dim + 8) * float(np.finfo(self._points.dtype).eps)  # below, a squared distance has no digit to be sure of

        def add(part: int, rows: slice) -> None:
            points, costs, masses = self._points[rows], self.values[rows], self._masses[rows]
            if dim <= _FEW_DIMENSIONS:
                kernels.cost_of_trials(points, trials, costs, masses, parts[part])
            else:
                factors, scores = self._points[candidates], np.empty((len(points), count), self._points.dtype)
                kernels.cost_of_trials_by_products(
                    points, trials, factors, self._squares[rows], gamma, costs, masses, scores, parts[part]
                )

        spread(lambda part: add(part, self._rows(part)), self._parts)
        return parts.sum(0)

    def take(self, chosen: int) -> None:
        """Choose a point as the next code."""
        code = self._points[[chosen]].astype(np.float64)
        self._over_parts(lambda rows: kernels.lower_costs(self._points[rows], code, self.values[rows]))

    def _over_parts(self, work: Callable[[slice], None]) -> None:
        spread(lambda part: work(self._rows(part)), self._parts)

    def _rows(self, part: int) -> slice:
        n = len(self._points)
        return slice(part * n // self._parts, (part + 1) * n // self._parts)
