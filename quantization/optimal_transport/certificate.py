r"""What proves a plan optimal: potentials and reduced costs $C_{ik} - u_i - v_k$, whose digits do not cancel, and the gap."""

from math import fsum

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray, IntArray


def reduced_costs(costs: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """C − u − v for arrays that broadcast, each entry to round-off of itself."""
    one, error = _difference(costs, u)
    two, more = _difference(one, v)
    return two + (error + more)


def _difference(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x − y, rounded, and what rounding has taken off (Knuth)."""
    rounded = x - y
    back = rounded - x
    return rounded, (x - (rounded - back)) - (y + back)


def total_reduced_cost(costs: FloatArray, u: FloatArray, v: FloatArray, masses: FloatArray) -> float:
    r"""$\sum_p m_p (C_p - u_p - v_p)$ of the entries of a plan: its cost less the dual value, to round-off of itself."""
    return fsum((masses * reduced_costs(costs, u, v)).tolist())


def components(rows: NDArray[np.intp], columns: NDArray[np.intp], n: int, m: int) -> IntArray:
    """(n + m,) which connected component of a plan's support each row and each column belongs to, numbered from 0."""
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, n + columns)), shape=(n + m, n + m))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], dtype=np.int64)


def rebased(costs: FloatArray, parts: list[FloatArray], component: IntArray) -> tuple[FloatArray, FloatArray]:
    r"""Potentials as small as the components of the plan's support allow, from optimal ones that are sums of ``parts``.

    Only differences within a component are given by the plan. In each the median of u becomes 0, and the constants between
    components are then the greatest $s \le 0$ for which $u_i + s_{c(i)} + v_k - s_{c(k)} \le C_{ik}$: the shortest paths from
    one component to another, where those are negative, by Bellman and Ford.
    """
    n = len(costs)
    count = int(component.max()) + 1
    order = np.lexsort((np.sum(parts, axis=0)[:n], component[:n]))
    begin = np.searchsorted(component[:n][order], np.arange(count + 1))
    middle = order[(begin[:-1] + begin[1:]) // 2]
    side = np.where(np.arange(len(component)) < n, 1.0, -1.0)
    high, low = np.zeros(len(component)), np.zeros(len(component))
    for part in parts:  # the differences of each part first, as its digits beyond those are lost in the sum
        difference, error = _difference(part, -side * -part[middle][component])
        high, more = _difference(high, -difference)
        low += error + more
    potential = high + low
    u, v = potential[:n], potential[n:]
    by_row, by_column = order, np.argsort(component[n:], kind="stable")
    slack = reduced_costs(costs, u[:, None], v)[np.ix_(by_row, by_column)]
    starts = np.searchsorted(component[n:][by_column], np.arange(count))
    least = np.minimum.reduceat(np.minimum.reduceat(slack, begin[:-1], axis=0), starts, axis=1)
    shift = np.zeros(len(least))
    for _ in range(len(least)):
        shorter = np.minimum(shift, (least + shift).min(1))
        if np.array_equal(shorter, shift):
            break
        shift = shorter
    return u + shift[component[:n]], v - shift[component[n:]]
