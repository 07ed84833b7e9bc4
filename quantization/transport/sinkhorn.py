r"""Entropic transport in the log domain, and a feasible plan made from it."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

import numpy as np
from scipy.special import logsumexp

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import checked_count, checked_tolerance
from quantization.status import Status
from quantization.transport.costs import c_transforms, cost_matrix
from quantization.transport.coupling import Found

_COOLING = 0.25  # the factor between one regularization and the next, from the largest cost down
_STEPS_A_LEVEL = 20  # at most, before the last level


@dataclass(frozen=True)
class Sinkhorn:
    r"""$\min_\pi \langle \pi, C \rangle + \varepsilon\, \mathrm{KL}(\pi | a \otimes b)$ by iterations in the log domain.

    reg: ε > 0, in the unit of the costs $|x - y|^r$. rtol: the total variation by which the plan's marginals may miss the weights
    when it stops. max_steps: iterations at most; running out is the status BUDGET_SPENT, never silent.

    The plan is then rounded to one with exactly the right marginals, so that ``cost`` is an upper bound on $W_r^r$, and the
    potentials are made feasible, so that their dual value is a lower bound: no claim rests on ε being small.
    Source: cuturi2013, schmitzer2019, altschuler2017.
    """

    reg: float
    rtol: float = 1e-4
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        checked_regularization(self.reg)
        checked_tolerance(self.rtol)
        checked_count("Sinkhorn's max_steps", self.max_steps)

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> Found:
        costs = cost_matrix(to_host(source.points), to_host(target.points), r)
        a, b = to_host(source.masses), to_host(target.masses)
        here, there = a > 0, b > 0
        inner = costs[np.ix_(here, there)]
        u, v, error, status = potentials(a[here], b[there], inner, self.reg, self.rtol, self.max_steps)
        plan = np.zeros_like(costs)
        plan[np.ix_(here, there)] = rounded_plan(coupled(u, v, a[here], b[there], inner, self.reg), a[here], b[there])
        wide = np.zeros(len(a))
        wide[here] = u
        return Found(float((plan * costs).sum()), *c_transforms(wide, a, costs), status, plan=plan, marginal_error=error)


def checked_regularization(reg: Any) -> float:
    """``reg`` as a float in (0, ∞)."""
    level = np.nan if isinstance(reg, bool) or not isinstance(reg, Real) else float(reg)
    if not 0 < level < np.inf:
        raise ValueError(f"reg must be a finite number > 0, in the unit of the costs |x - y|^r; received {reg!r}")
    return level


def potentials(
    a: FloatArray, b: FloatArray, costs: FloatArray, reg: float, rtol: float, max_steps: int
) -> tuple[FloatArray, FloatArray, float, Status]:
    r"""u, v of the plan $a_i b_k e^{(u_i + v_k - C_{ik})/\varepsilon}$ for positive weights, its marginals' error, the status.

    The second marginal is met; the error is the total variation of the first. ε falls by steps from the largest cost.
    """
    v, steps = np.zeros(len(b)), 0
    eps = max(reg, float(costs.max()))
    u = soft_least(costs, v, b, eps)
    while True:
        last, error = eps <= reg, np.inf
        for _ in range(max_steps - steps if last else min(_STEPS_A_LEVEL, max_steps - steps)):
            v = soft_least(costs.T, u, a, eps)
            new = soft_least(costs, v, b, eps)
            error = float(a @ np.abs(np.expm1((u - new) / eps))) / 2
            steps += 1
            if error <= (rtol if last else max(rtol, 1e-2)):
                break
            u = new
        if last:
            return u, v, error, Status.CONVERGED if error <= rtol else Status.BUDGET_SPENT
        if steps >= max_steps:
            u, v = soft_least(costs, v, b, reg), v
            v = soft_least(costs.T, u, a, reg)
            error = float(a @ np.abs(np.expm1((u - soft_least(costs, v, b, reg)) / reg))) / 2
            return u, v, error, Status.BUDGET_SPENT
        eps = max(reg, eps * _COOLING)


def soft_least(costs: FloatArray, v: FloatArray, b: FloatArray, eps: float) -> FloatArray:
    r"""$-\varepsilon \log \sum_k b_k e^{(v_k - C_{ik})/\varepsilon}$, (n,): the soft form of $\min_k (C_{ik} - v_k)$."""
    return -eps * np.asarray(cast(Any, logsumexp)((v - costs) / eps + np.log(b), axis=1), dtype=np.float64)


def coupled(u: FloatArray, v: FloatArray, a: FloatArray, b: FloatArray, costs: FloatArray, eps: float) -> FloatArray:
    r"""$a_i b_k e^{(u_i + v_k - C_{ik})/\varepsilon}$."""
    return np.exp((u[:, None] + v - costs) / eps + np.log(a)[:, None] + np.log(b))


def rounded_plan(plan: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """A plan with exactly these marginals, within twice the L¹ error of the plan's own from it (altschuler2017)."""
    plan = plan * np.minimum(a / np.maximum(plan.sum(1), 1e-300), 1.0)[:, None]
    plan *= np.minimum(b / np.maximum(plan.sum(0), 1e-300), 1.0)
    left, over = a - plan.sum(1), b - plan.sum(0)
    missing = float(over.sum())
    if missing > 0:
        plan += np.outer(np.maximum(left, 0.0), np.maximum(over, 0.0)) / missing
    return plan
