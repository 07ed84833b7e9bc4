r"""Transport on the line: quantiles of one measure go to those of the other, found by sorting."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status


@dataclass(frozen=True)
class Monotone:
    r"""The monotone plan on the line, $W_r^r = \int_0^1 |F^{-1}(t) - G^{-1}(t)|^r dt$, by sorting.

    Exact for every r ≥ 1, with potentials: at most n + m − 1 entries in O((n + m) log(n + m)), without any (n, m) array.

    References
    ----------
    santambrogio2015.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.transport([[1.0], [0.0]], [[5.0], [2.0]], r=1, method=qz.Monotone()).plan.tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        if source.dim != 1:
            raise ValueError(f"Monotone() is for measures on the line; received dimension {source.dim}. Use NetworkSimplex()")
        x, y = to_host(source.points)[:, 0], to_host(target.points)[:, 0]
        a, b = to_host(source.weights_float64), to_host(target.weights_float64)
        by_x, by_y = (np.lexsort((w == 0, z)) for w, z in ((a, x), (b, y)))
        i, k, masses = northwest_corner(a[by_x], b[by_y])
        with np.errstate(over="ignore"):
            costs = np.abs(x[by_x][i] - y[by_y][k]) ** r
            if not np.isfinite(costs).all():
                raise ValueError(f"the costs |x - y|^{r:g} overflow float64; scale the points down")
            u, v = _potentials(x[by_x], y[by_y], i, k, r)
        positive = masses > 0
        rows, columns = by_x[i[positive]], by_y[k[positive]]
        back_u, back_v = np.empty_like(u), np.empty_like(v)
        back_u[by_x], back_v[by_y] = u, v
        return TransportResult(
            float(masses @ costs), back_u, back_v, Status.CONVERGED, (rows, columns, masses[positive])
        )  # fmt: skip


def northwest_corner(a: FloatArray, b: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """The north-west corner plan of weights in sorted order: a path of n + m − 1 steps (i, k), each to the next i or the next k.

    Its masses are ≥ 0; where both marginals end at once an entry of mass 0 keeps the path connected.
    """
    n, m = len(a), len(b)
    ends_a, ends_b = np.cumsum(a), np.cumsum(b)
    # Both end at 1 to round-off; within it the last steps are of mass 0 or of round-off.
    ends_a, ends_b = np.minimum(ends_a / ends_a[-1], 1.0), np.minimum(ends_b / ends_b[-1], 1.0)
    levels = np.concatenate([ends_a[:-1], ends_b[:-1]])
    order = np.argsort(levels, kind="stable")
    from_a = order < n - 1
    i = np.concatenate([[0], np.cumsum(from_a)])
    k = np.concatenate([[0], np.cumsum(~from_a)])
    assert i[-1] == n - 1
    assert k[-1] == m - 1
    return i, k, np.diff(levels[order], prepend=0.0, append=1.0)


def _potentials(
    x: FloatArray, y: FloatArray, i: NDArray[np.intp], k: NDArray[np.intp], r: float
) -> tuple[FloatArray, FloatArray]:
    """u and v with u_i + v_k equal to the cost along the whole path; convexity makes that enough for all other pairs."""
    cost = np.abs(x[i] - y[k]) ** r
    to_i, to_k = np.flatnonzero(np.diff(i)) + 1, np.flatnonzero(np.diff(k)) + 1
    in_u, in_v, middle = np.zeros(len(x)), np.zeros(len(y)), len(x) // 2
    in_u[1:], in_v[1:] = cost[to_i] - cost[to_i - 1], cost[to_k] - cost[to_k - 1]
    at = np.searchsorted(i, middle)
    return _outward(in_u, middle), cost[at] + _outward(in_v, int(k[at]))


def _outward(steps: FloatArray, middle: int) -> FloatArray:
    """Their sums, 0 at the middle: an outlier at either end takes no digits off the others."""
    sums = np.zeros(len(steps))
    sums[middle + 1 :] = np.cumsum(steps[middle + 1 :])
    sums[:middle] = -np.cumsum(steps[middle:0:-1])[::-1]
    return sums
