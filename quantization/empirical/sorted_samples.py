"""A finite measure on the line with its points in rising order, as sums over intervals want it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, IntArray, epsilon, is_torch, namespace, to_host
from quantization.assignment.cells import Cells, stationarity
from quantization.measure import DiscreteMeasure
from quantization.threads import available, parallel_map

_WORTH_A_THREAD = 2**17  # points to sort


class SortedSamples:
    """The points of positive weight in rising order, on the host.

    x: (n,) float64. weights: (n,), or empty where all are one ``unit``; masses of this measure are sums of them times the unit.
    exponent, scale: $2^{-\\mathrm{exponent}}$ = scale makes the range about 1. 8 bytes a point are kept, 16 with weights.
    """

    def __init__(self, measure: DiscreteMeasure) -> None:
        from quantization.empirical import interval_sums as intervals

        self.compiled: Any = intervals
        self._rounding = epsilon(measure.points) / 2
        masses = measure.weights_float64
        if bool((masses == masses[0]).all()):
            self.unit, self.weights = float(masses[0]), np.empty(0)
            self.x = self._sorted(measure.points[:, 0])
        else:
            host, weights = _on_host(measure.points[:, 0]), to_host(masses)
            order = np.argsort(host)
            if not weights.all():
                order = order[weights[order] > 0]
            self.unit, self.weights = 1.0, weights[order]
            self.x = host[order].astype(np.float64, copy=False)
        # Half the range, as the whole may overflow; of points all alike any scale will do.
        half = float(self.x[-1] / 2 - self.x[0] / 2)
        self.exponent = int(np.frexp(half)[1]) + 1 if half > 0 else 0
        self.scale = float(np.ldexp(1.0, -self.exponent))
        self._blocks = np.empty((len(self.x) // intervals.BLOCK, 4))
        intervals.sum_blocks(self.x, self.weights, self.scale, self._blocks)

    def cells(
        self,
        codes: FloatArray,
        places: IntArray,
        coarse: float,
        far: float,
        masses: FloatArray,
        means: FloatArray,
        pulls: FloatArray,
    ) -> tuple[IntArray, float, bool]:
        """See :func:`~quantization.empirical.interval_sums.line_cells`."""
        held = self.x, self.weights, self._blocks, codes, places, self.scale, self.unit, self.exponent
        edges, sums = np.empty(len(codes) + 1, np.int64), np.zeros((len(codes), 3))
        return edges, *self.compiled.line_cells(*held, coarse, far, masses, means, pulls, edges, sums)

    def sums(self, edges: IntArray, centres: FloatArray) -> FloatArray:
        """The sums of w, w (x - c) and w (x - c)^2 over x[edges[t]:edges[t + 1]], scaled, (K, 3)."""
        sums = np.zeros((len(centres), 3))
        self.compiled.sum_intervals(self.x, self.weights, self._blocks, edges, centres, self.scale, sums)
        return sums

    def moments(self, edges: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The masses, means and sums of squares about the means, scaled, of intervals that are not empty."""
        middles = self.x[(edges[:-1] + edges[1:]) // 2]
        mass, first, second = self.sums(edges, middles).T
        shifts = first / mass
        return mass, middles * self.scale + shifts, (second - first * shifts).clip(0.0)

    def r_means(self, edges: IntArray, r: float) -> FloatArray:
        """The r-means of intervals that are not empty, (K,)."""
        return self._order_sums(edges, self.x[edges[:-1]], r)[3]

    def order_cells(
        self, edges: IntArray, codes: FloatArray, places: IntArray, all_codes: FloatArray, masses: FloatArray, means: FloatArray,
        r: float,
    ) -> Cells:  # fmt: skip
        """The cells of order r ≠ 2 of ``all_codes`` (K, 1): intervals of distinct codes in rising order, and their ``places``.

        masses, means: (K,) and (K, 1) of the cells. The gradient is the shortest within the rounding of codes that are points.
        """
        costs, sums, atoms, found = self._order_sums(edges, codes, r)
        if r < 2:
            within = (self._rounding * np.abs(codes) * self.scale) ** (r - 1)
            sums = np.sign(sums) * np.maximum(np.abs(sums) - atoms * within, 0.0)
        gradient, moved = np.zeros(all_codes.shape), all_codes.copy()
        gradient[places, 0] = -r * sums
        moved[places, 0] = np.where(np.diff(edges) > 0, found, codes)
        cost = float(costs.sum())
        residual = stationarity(gradient, masses, cost, r)
        with np.errstate(over="ignore", under="ignore"):
            high = 2.0 ** (self.exponent * (r - 1))
            return Cells(masses, means, gradient * high, float(cost * high * 2.0**self.exponent), residual, None, moved)

    def _order_sums(self, edges: IntArray, codes: FloatArray, r: float) -> FloatArray:
        """Costs, pulls and weights at the codes, scaled, and the r-means of the cells, (4, K)."""
        from quantization import interval_r_means

        found = np.zeros((4, len(codes)))
        interval_r_means.order_cells(self.x, self.weights, edges, codes, r, self.scale, *found)
        found[:3] *= self.unit
        return found

    def _sorted(self, column: Array) -> FloatArray:
        """The numbers of ``column`` in rising order, in float64; sorted in their own dtype, and where they live if on a GPU."""
        if is_torch(column) and column.is_cuda:
            return _on_host(column.sort().values).astype(np.float64, copy=False)
        host = _on_host(column)
        parts = np.array_split(host, max(1, min(available(), len(host) // _WORTH_A_THREAD)))
        parts = parallel_map(lambda i: np.sort(parts[i]).astype(np.float64, copy=False), len(parts))
        while len(parts) > 1:
            parts = self._merged(parts)
        return parts[0]

    def _merged(self, parts: list[FloatArray]) -> list[FloatArray]:
        def pair(i: int) -> FloatArray:
            both = np.empty(len(parts[2 * i]) + len(parts[2 * i + 1]))
            self.compiled.merge(parts[2 * i], parts[2 * i + 1], both)
            return both

        pairs = len(parts) // 2
        return parallel_map(pair, pairs) + parts[2 * pairs :]


def _on_host(column: Array) -> NDArray[Any]:
    """``column`` as a numpy array, of its own dtype where numpy has it."""
    if not is_torch(column):
        return column
    column = column.detach().cpu()
    return to_host(column) if column.dtype == namespace(column).bfloat16 else column.numpy()
