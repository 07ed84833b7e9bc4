r"""The network simplex: optimal plans whose duality gap is closed, whatever the costs' range."""

from dataclasses import dataclass, replace
from math import fsum, gcd

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.certificate import components, rebased, reduced_costs, total_reduced_cost
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status
from quantization.threads import check_stopped
from quantization.validation import checked_count

_RTOL, _AIM = 1e-9, 1e-12  # of the gap, relative to the cost: at which it is closed, and above which it is worth another round
_WORK = 2**23  # numbers looked at between two chances to interrupt
_ROUNDS = 8  # on reduced costs at most, each of which gains 50 bits
_ROUND_OFF = float(np.finfo(np.float64).eps)
_LEAST_SHARE = 2 * _ROUND_OFF  # of the weights that an arc joins: what their own rounding may leave between them


@dataclass(frozen=True)
class NetworkSimplex:
    r"""The network simplex, exact to round-off; costs (n, m) are held in memory.

    Parameters
    ----------
    max_pivots : int, default 10000000
        Pivots at most; running out is the status BUDGET_SPENT, never silent.

    Notes
    -----
    A simplex on costs over many decades stops where round-off of the largest hides the small ones. So the gap between the plan's
    cost and the dual value is computed, on reduced costs $C_{ik} - u_i - v_k$; where it is open these are solved as costs of
    their own, from the same tree. The status is CONVERGED where the gap is at most 1e-9 of the cost, else STALLED. Measures of
    equal weights are solved in whole numbers.

    References
    ----------
    bonneel2011, cunningham1976.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.transport([[0.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]], method=qz.NetworkSimplex()).cost
    4.0
    """

    max_pivots: int = 10_000_000

    def __post_init__(self) -> None:
        checked_count("NetworkSimplex's max_pivots", self.max_pivots)

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        costs = cost_matrix(to_host(source.points), to_host(target.points), r)
        return self.solve(to_host(source.weights_float64), to_host(target.weights_float64), costs)

    def solve(
        self, a: FloatArray, b: FloatArray, costs: FloatArray, trees: "list[SpanningTree] | None" = None
    ) -> TransportResult:
        """The optimal plan of given costs.

        Parameters
        ----------
        a : array (n,)
            Weights of the source, of sum 1.
        b : array (m,)
            Weights of the target, of sum 1.
        costs : array (n, m)
            Finite.
        trees : list, optional
            Where a tree to begin from is looked for, that of a solution with the same weights, and where this one's is left. An
            empty list for the first.

        Returns
        -------
        TransportResult

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> half = np.array([0.5, 0.5])
        >>> rows, columns, masses = qz.NetworkSimplex().solve(half, half, np.array([[0.0, 1.0], [1.0, 0.0]])).sparse_plan
        >>> sorted(zip(rows.tolist(), columns.tolist(), masses.tolist()))
        [(0, 0, 0.5), (1, 1, 0.5)]
        """
        here, there = np.flatnonzero(a > 0), np.flatnonzero(b > 0)
        if len(here) == len(a) and len(there) == len(b):
            return _solved(a, b, np.ascontiguousarray(costs, dtype=np.float64), self.max_pivots, trees)
        found = _solved(a[here], b[there], np.ascontiguousarray(costs[np.ix_(here, there)]), self.max_pivots, trees)
        # Points of no weight have no place in the tree, and potentials as large as their costs allow.
        v = np.full(len(b), np.inf)
        for i, u in zip(here, found.u, strict=True):
            np.minimum(v, costs[i] - u, out=v)
        v[there] = found.v
        u = np.array([(row - v).min() for row in costs])
        u[here] = found.u  # feasible already: a minimum that is rounded would take digits off
        rows, columns, masses = found.entries()
        return TransportResult(found.cost, u, v, found.status, (here[rows], there[columns], masses), gap=found.gap)

    def plan(self, a: FloatArray, b: FloatArray, costs: FloatArray) -> tuple[FloatArray, FloatArray, Status]:
        """The same as a dense plan (n, m), the source's potential (n,) and the status.

        Parameters
        ----------
        a, b, costs
            As for :meth:`solve`.

        Returns
        -------
        plan : array (n, m)
        u : array (n,)
        status : Status

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> half = np.array([0.5, 0.5])
        >>> qz.NetworkSimplex().plan(half, half, np.array([[0.0, 1.0], [1.0, 0.0]]))[0].tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        """
        found = self.solve(a, b, costs)
        return found.dense(), found.u, found.status


class SpanningTree:
    """A spanning tree with its flows and potentials, for costs that may be replaced by reduced ones."""

    def __init__(self, supply: FloatArray, costs: FloatArray) -> None:
        from quantization.optimal_transport import simplex_kernels  # loads numba

        self._kernels, self.supply, self.costs = simplex_kernels, supply, costs
        n, nodes = len(costs), supply.shape[1]
        self._parent, self._size, self._order = np.ones((3, nodes), np.int64)
        self._left, self._right = np.full((2, 2 * nodes + 1), -1)
        self.flow, self.potential, self._net, self._low = np.zeros((4, nodes))
        self.potential[n:], self._net[:] = costs.min(0), supply[0]
        self._state = np.zeros(3, np.int64)

    def start(self) -> None:
        """The first tree, read."""
        self._kernels.start(
            self.costs, self._net, self._parent, self._size, self._left, self._right, self._order, self.potential
        )  # fmt: skip
        self._read()

    def _read(self) -> None:
        self._kernels.read_tree(
            self.costs, self.supply, self._parent, self._right, self._order, self.flow, self.potential, self._net, self._low
        )

    def replace_costs(self, costs: FloatArray, pivots: int | None = None) -> None:
        """Goes on from this tree with other costs; pivots: how many are said to be done so far."""
        self.costs = costs
        if pivots is not None:
            self._state[:] = 0, 0, pivots
        self._read()

    def optimize(self, max_pivots: int) -> bool:
        """Pivots until the tree is optimal to round-off; False where the budget was spent before."""
        done, self._state[1] = False, 0
        while not done and self._state[2] < max_pivots:
            check_stopped()
            done = bool(self._kernels.pivot(
                self.costs, self._parent, self._size, self._left, self._right, self.flow, self.potential, self._order[0],
                self._state, max_pivots, _WORK, self._net, self._low,
            ))  # fmt: skip
        self._read()
        return done

    def optimum(self, max_pivots: int) -> tuple[float, float]:
        """All of it in one compiled call: the least cost, and the gap of its tree."""
        answer = np.empty(2)
        self._kernels.optimum(
            self.costs, self.supply, self._parent, self._size, self._left, self._right, self._order, self.flow, self.potential,
            self._net, self._low, self._state, max_pivots, _LEAST_SHARE, answer,
        )  # fmt: skip
        return float(answer[0]), float(answer[1])

    def excess(self, costs: FloatArray, potential: FloatArray) -> FloatArray:
        """(n + m,), by how much potentials have to fall to be feasible for these costs."""
        excess = np.empty(len(potential))
        self._kernels.find_excess(costs, potential, excess)
        return excess

    def arcs(self) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
        """Sources, sinks and flows of the tree's arcs."""
        child = np.flatnonzero(self._parent >= 0)
        parent, n = self._parent[child].astype(np.intp), len(self.costs)
        return np.where(child < n, child, parent), np.where(child < n, parent, child) - n, self.flow[child]


def _solved(
    a: FloatArray, b: FloatArray, costs: FloatArray, max_pivots: int, trees: list[SpanningTree] | None
) -> TransportResult:
    """The same where all weights are positive."""
    n, m = costs.shape
    if n > m:  # the fewer rows, the more arcs a pivot chooses from
        found = _solved(b, a, np.ascontiguousarray(costs.T), max_pivots, trees)
        rows, columns, masses = found.entries()
        return replace(found, u=found.v, v=found.u, sparse_plan=(columns, rows, masses))
    supply, unit = _supplies(a, b)
    basis = trees.pop() if trees else None
    if basis is None or basis.costs.shape != costs.shape or not np.array_equal(basis.supply, supply):
        basis = SpanningTree(supply, costs)
        basis.start()
    else:
        basis.replace_costs(costs, 0)
    potentials = list[FloatArray]()  # of the costs, then of reduced costs, and so on
    while True:
        done = basis.optimize(max_pivots)
        rows, columns, flow = basis.arcs()
        kept = flow > _LEAST_SHARE * np.minimum(supply[0, rows], -supply[0, n + columns])
        rows, columns, masses = rows[kept], columns[kept], flow[kept] * unit
        cost = float(masses @ costs[rows, columns])
        u, v = basis.potential[:n].copy(), basis.potential[n:].copy()
        excess = basis.excess(basis.costs, basis.potential)
        above = total_reduced_cost(basis.costs[rows, columns], u[rows], v[columns], masses)
        gap = max(above - float(a @ excess[:n]) - float(b @ excess[n:]), 0.0)
        potentials.append(basis.potential.copy())
        if not done or gap <= _AIM * cost or len(potentials) == _ROUNDS:
            break
        basis.replace_costs(reduced_costs(basis.costs, u[:, None], v))
    if trees is not None:
        trees.append(basis)
    if _ROUND_OFF * float(a @ np.abs(u) + b @ np.abs(v)) <= _AIM * cost and len(potentials) == 1:
        middle = float(np.median(u))
        u, v = u - middle, v + middle
    else:
        u, v = rebased(costs, potentials, components(rows, columns, n, m))
    excess = basis.excess(costs, np.concatenate([u, v]))
    u, v = u + excess[:n], v + excess[n:]
    status = Status.BUDGET_SPENT if not done else Status.CONVERGED if gap <= _RTOL * cost else Status.STALLED
    return TransportResult(cost, u, v, status, (rows, columns, masses), gap=gap)


def small_cost(a: FloatArray, b: FloatArray, costs: FloatArray, max_pivots: int) -> float | None:
    """The least cost alone, for positive weights, in one compiled call; None where one tree in floating point is no proof."""
    if len(a) > len(b):
        return small_cost(b, a, np.ascontiguousarray(costs.T), max_pivots)
    supply, unit = _supplies(a, b)
    cost, gap = SpanningTree(supply, costs).optimum(max_pivots)
    return cost * unit if gap <= _RTOL * cost else None


def _supplies(a: FloatArray, b: FloatArray) -> tuple[FloatArray, float]:
    """(2, n + m), the weights of the one side and less those of the other, as sums of two numbers, and the unit they are in.

    All of them have the sum 0. Whole numbers where each side has equal weights. Else the largest of the second side balances what
    rounding has left.
    """
    n, m = len(a), len(b)
    supply = np.zeros((2, n + m))
    if a.min() == a.max() and b.min() == b.max():
        divisor = gcd(n, m)
        supply[0, :n], supply[0, n:] = m // divisor, -(n // divisor)
        return supply, divisor / (n * m)
    supply[0, :n], supply[0, n:] = a, -b * (a.sum() / b.sum())
    supply[1, n + b.argmax()] = -fsum(supply[0].tolist())
    return supply, 1.0
