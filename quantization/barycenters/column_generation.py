r"""The best weights to the end: the linear program on few of its columns, by the dual simplex method of HiGHS.

Where masses span many decades, or F is far below the costs, an interior point stops early. Its potentials v leave reduced
costs $S_{jik} = C_{jik} - v_{jk} - u_{ji} \ge 0$ with $u_{ji} = \min_k (C_{jik} - v_{jk})$. With costs S the program is the same
but for the bound that v proves: its least cost is by what F exceeds that bound. So it is solved in units of the gap itself, on
columns of small reduced cost; columns that its potentials ask for are added until the gap closes (gleixner2016).
"""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray

_MOST_PROGRAMS = 30
_PER_ATOM, _PER_POINT = 4, 2  # columns of the first program: of least reduced cost for each atom, and for each point
_ADDED = 3  # at most for each atom, from one program to the next
_NEGLIGIBLE = 1e-7  # of the gap: what all atoms together that a program leaves out may cost
_TOTAL_MASS = 1e4  # with which the least tolerance that HiGHS takes is 1e-14 of all mass
_TOLERANCE = 1e-10
_OPTIONS = {"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE}


class RestrictedProgram:
    r"""The program with the atoms of all measures one below the other, N in all, restricted to the columns chosen so far.

    costs: (N, K), λ_j C_j. a: (N,). owner: (N,), each atom's measure. potentials: (m, K), $\lambda_j v_j$ of sum 0 over j.
    bound: what they prove. slack: (N, K), their reduced costs. plan, value: (N, K) and at most what it costs.
    """

    def __init__(self, costs: list[FloatArray], masses: list[FloatArray], plan: FloatArray, potentials: FloatArray) -> None:
        self.costs, self.a = np.concatenate(costs), np.concatenate(masses)
        self.owner = np.repeat(np.arange(len(costs)), [len(c) for c in costs])
        self.plan, self.value, self.bound = plan, np.inf, -np.inf
        self.potentials: FloatArray
        self.slack: FloatArray
        self._take_plan(plan)
        self._take_potentials(potentials)
        self._chosen = self._first_columns()

    def rows(self, j: int) -> NDArray[np.intp]:
        """Of the atoms of measure j."""
        return np.flatnonzero(self.owner == j)

    def improve(self) -> bool:
        """Solve it once and choose further columns; False where nothing better is left to find."""
        a, slack, unit = self.a, self.slack, self.value - self.bound
        m, k = len(self.potentials), int(slack.shape[1])
        most = a * slack.max(1)
        order = np.argsort(most)
        kept = np.sort(order[np.cumsum(most[order]) > _NEGLIGIBLE * unit])
        at, points = np.nonzero(self._chosen[kept])
        rows, owner, n = kept[at], self.owner[kept], len(kept)
        count = len(rows)
        ones = np.concatenate([np.ones(2 * count), np.full(m * k, -1.0)])
        equation = np.concatenate([at, n + owner[at] * k + points, n + np.arange(m * k)])
        unknown = np.concatenate([np.arange(count), np.arange(count), count + np.tile(np.arange(k), m)])
        sparse = cast(Any, scipy.sparse)
        marginals = sparse.csc_array((ones, (equation, unknown)), shape=(n + m * k, count + k))
        share = np.bincount(owner, a[kept], minlength=m)[owner]
        right = np.concatenate([a[kept] / share * _TOTAL_MASS, np.zeros(m * k)])
        cost = np.concatenate([slack[rows, points] / unit, np.zeros(k)])
        found = cast(Any, scipy.optimize.linprog)(cost, A_eq=marginals, b_eq=right, method="highs-ds", options=_OPTIONS)
        if found.x is None:
            return False
        plan = np.zeros_like(slack)
        plan[rows, points] = np.maximum(found.x[:count], 0.0)
        sums = plan.sum(1)
        left = np.flatnonzero(sums <= 0)
        plan *= np.divide(a, sums, out=np.zeros_like(a), where=sums > 0)[:, None]
        plan[left, slack[left].argmin(1)] = a[left]
        self._take_plan(plan)
        y = unit * np.asarray(found.eqlin.marginals, dtype=np.float64)
        steps = y[n:].reshape(m, k)
        asked = slack[kept] - steps[owner] - y[:n, None]
        asked[self._chosen[kept]] = 0.0
        worst = np.argpartition(asked, min(_ADDED, k) - 1, axis=1)[:, :_ADDED]
        new = np.take_along_axis(asked, worst, axis=1) < -_TOLERANCE * unit
        self._chosen[np.repeat(kept, new.sum(1)), worst[new]] = True
        return self._take_potentials(self.potentials + steps) or bool(new.any())

    def _take_plan(self, plan: FloatArray) -> None:
        """If it costs less, with mass that does not fit paying the most there is to pay."""
        rows = [self.rows(j) for j in range(int(self.owner[-1]) + 1)]
        sums = np.array([plan[r].sum(0) for r in rows])
        missed = np.abs(sums - sums.mean(0)).sum(1) @ np.array([self.costs[r].max() for r in rows])
        value = float(np.vdot(plan, self.costs)) + float(missed)
        if value < self.value:
            self.plan, self.value = plan, value

    def _take_potentials(self, potentials: FloatArray) -> bool:
        """If they prove more."""
        potentials = potentials - potentials.mean(0)
        reduced = self.costs - potentials[self.owner]
        least = reduced.min(1)
        bound = float(self.a @ least)
        better = bound > self.bound
        if better:
            self.potentials, self.bound, self.slack = potentials, bound, reduced - least[:, None]
        return better

    def _first_columns(self) -> NDArray[np.bool_]:
        n, k = self.costs.shape
        chosen = np.zeros((n, k), bool)
        few = np.argpartition(self.slack, min(_PER_ATOM, k) - 1, axis=1)[:, :_PER_ATOM]
        np.put_along_axis(chosen, few, True, axis=1)
        for j in range(len(self.potentials)):
            rows = self.rows(j)
            few = np.argpartition(self.slack[rows], min(_PER_POINT, len(rows)) - 1, axis=0)[:_PER_POINT]
            chosen[rows[few], np.arange(k)] = True
        chosen[:, int(np.argmin(self.a @ self.slack))] = True  # where all may send to, so that no program is infeasible
        return chosen


def close_gap(
    costs: list[FloatArray], masses: list[FloatArray], mixing: FloatArray, plans: list[FloatArray], potentials: list[FloatArray],
    rtol: float,
) -> tuple[list[FloatArray], list[FloatArray]]:  # fmt: skip
    """Better plans and potentials, to a gap within ``rtol`` of the value or down to what rounding the weights costs."""
    program = RestrictedProgram(
        [share * c for share, c in zip(mixing, costs, strict=True)],
        masses,
        np.concatenate(plans),
        np.array([share * v for share, v in zip(mixing, potentials, strict=True)]),
    )
    round_off = float(mixing @ np.array([rounding_cost(c, a) for c, a in zip(costs, masses, strict=True)]))
    for _ in range(_MOST_PROGRAMS):
        if program.value - program.bound <= max(rtol * program.value, round_off) or not program.improve():
            break
    found = [program.plan[program.rows(j)] for j in range(len(costs))]
    return found, [v / share for v, share in zip(program.potentials, mixing, strict=True)]


def rounding_cost(costs: FloatArray, a: FloatArray) -> float:
    """What a transport may cost more or less as its weights are rounded: below it a gap says nothing."""
    return 8 * float(np.finfo(np.float64).eps) * float(a @ costs.max(1))
