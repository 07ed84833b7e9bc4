r"""Many points to few, r = 2: prices of the few, $\max_p \sum_i a_i \min_k (|x_i - y_k|^2 - p_k) + \sum_k b_k p_k$."""

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import cost_matrix, pair_costs
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status

_COSTS, _RATIO, _MOST = 2**20, 16, 1000  # at least, points of one for a point of the other at least, of which there are at most
_RTOL = 1e-9  # of the cost: the gap up to which it is solved
_BLOCK = 2**20  # costs at a time
_RANGE = 2.0**400  # of coordinates, up to which no product overflows


def pays(n: int, m: int) -> bool:
    """Whether a plan between so many points takes longer by a tree over all of them."""
    few, many = min(n, m), max(n, m)
    return n * m >= _COSTS and many >= _RATIO * few and few <= _MOST


def couple_few(source: DiscreteMeasure, target: DiscreteMeasure) -> TransportResult | None:
    """The optimal plan, its gap closed; None where round-off keeps it open, or costs may overflow."""
    if source.size < target.size:
        found = couple_few(target, source)
        if found is None:
            return None
        rows, columns, masses = found.entries()
        return TransportResult(found.cost, found.v, found.u, found.status, (columns, rows, masses), gap=found.gap)
    from quantization.assignment.capacities import CapacitatedAssignment  # needs numba

    (x, a), (y, b) = ((to_host(m.points), to_host(m.weights_float64)) for m in (source, target))
    if not max(np.abs(x).max(), np.abs(y).max()) < _RANGE:
        return None
    here, there = np.flatnonzero(a), np.flatnonzero(b)
    points, codes = x if len(here) == len(a) else x[here], np.asarray(y[there], dtype=np.float64)
    plan = CapacitatedAssignment(points, a[here], b[there]).plan(codes, None, certified=True)
    rows, columns, masses = plan.split
    rows, columns = np.concatenate([np.arange(len(here)), rows]), np.concatenate([plan.labels, columns])
    rows, columns, masses = here[rows], there[columns], np.concatenate([plan.parts, masses])
    cost = float(masses @ pair_costs(x, y, rows, columns))
    if not plan.gap <= _RTOL * cost:
        return None
    u, v = _potentials(x, y, there, plan.prices)
    middle = float(np.median(u))
    return TransportResult(cost, u - middle, v + middle, Status.CONVERGED, (rows, columns, masses), gap=plan.gap)


def _potentials(x: FloatArray, y: FloatArray, there: NDArray[np.intp], prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """u (n,), the least priced costs of points, and v (m,): prices, or as large as u allows where there is no mass."""
    u, v, step = np.empty(len(x)), np.full(len(y), np.inf), max(1, _BLOCK // len(y))
    for begin in range(0, len(x), step):
        costs = cost_matrix(x[begin : begin + step], y)
        u[begin : begin + step] = (costs[:, there] - prices).min(1)
        np.minimum(v, (costs - u[begin : begin + step, None]).min(0), out=v)
    v[there] = prices
    return u, v
