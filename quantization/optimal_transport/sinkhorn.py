r"""Entropic transport in the log domain, and a feasible plan made from it."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import c_transforms, cost_matrix
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status
from quantization.validation import checked_count, checked_number, checked_tolerance

_FIRST, _LAST = 3, 20  # alternating steps at a level before Newton's, and at the last one
_INTERMEDIATE_RTOL = 1e-3  # the marginal error at levels before the last
_LEAST_SHARE = 1e-6  # of a Newton step
_ROUND_OFF = 4 * float(np.finfo(np.float64).eps)  # of the dual value


@dataclass(frozen=True)
class Sinkhorn:
    r"""Entropic transport $\min_\pi \langle \pi, C \rangle + \varepsilon\, \mathrm{KL}(\pi | a \otimes b)$ in the log domain.

    Parameters
    ----------
    reg : float
        ε > 0, in the unit of the costs $|x - y|^r$.
    rtol : float, default 1e-4
        The total variation by which the plan's marginals may miss the weights when it stops.
    max_iter : int, default 10000
        Steps at most, Sinkhorn's alternating ones and Newton's where those are slow; running out is the status BUDGET_SPENT,
        never silent.

    Raises
    ------
    ValueError
        For options out of range.

    Notes
    -----
    The plan is rounded to one with exactly the right marginals, so that ``cost`` is an upper bound on $W_r^r$, and the potentials
    are made feasible, so that their dual value is a lower bound: neither depends on ε being small.

    References
    ----------
    cuturi2013, schmitzer2019, brauer2017, altschuler2017.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> coupling, exact = qz.transport(x, y, method=qz.Sinkhorn(reg=0.1)), qz.transport(x, y)
    >>> u, v = coupling.potentials
    >>> bool(u.mean() + v.mean() <= exact.cost <= coupling.cost)
    True
    """

    reg: float
    rtol: float = 1e-4
    max_iter: int = 10_000

    def __post_init__(self) -> None:
        checked_regularization(self.reg)
        checked_tolerance(self.rtol)
        checked_count("Sinkhorn's max_iter", self.max_iter)

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        costs = cost_matrix(to_host(source.points), to_host(target.points), r)
        a, b = to_host(source.weights_float64), to_host(target.weights_float64)
        here, there = a > 0, b > 0
        inner = costs[np.ix_(here, there)]
        u, v, error, status = potentials(a[here], b[there], inner, self.reg, self.rtol, self.max_iter)
        plan = np.zeros_like(costs)
        plan[np.ix_(here, there)] = rounded_plan(entropic_plan(u, v, a[here], b[there], inner, self.reg), a[here], b[there])
        wide = np.zeros(len(a))
        wide[here] = u
        return TransportResult(
            float((plan * costs).sum()), *c_transforms(wide, a, costs), status, plan=plan, marginal_error=error
        )


def checked_regularization(reg: object) -> float:
    """``reg`` as a float in (0, ∞)."""
    return checked_number(reg, "reg must be a finite number > 0, in the unit of the costs |x - y|^r", open_ends=True)


def potentials(
    a: FloatArray, b: FloatArray, costs: FloatArray, reg: float, rtol: float, max_iter: int
) -> tuple[FloatArray, FloatArray, float, Status]:
    r"""u, v of the plan $a_i b_k e^{(u_i + v_k - C_{ik})/\varepsilon}$ for positive weights, its marginals' error, the status.

    One marginal is met, but for round-off; the error is the greater total variation. ε is halved from the largest cost down. At
    each level a few alternating steps are followed by Newton's: those converge like $1 - e^{-\max C/\varepsilon}$ at worst,
    these do not.
    """
    if len(a) < len(b):
        v, u, error, status = potentials(b, a, costs.T, reg, rtol, max_iter)
        return u, v, error, status
    v, left, eps = np.zeros(len(b)), max_iter, max(reg, float(costs.max()))
    while True:
        last = eps <= reg
        goal = rtol if last else max(rtol, _INTERMEDIATE_RTOL)
        for method, most in ((_alternate, _LAST if last else _FIRST), (_newton, left), (_alternate, left if last else 0)):
            v, taken = method(v, a, b, costs, eps, goal, min(most, left))
            left -= taken
        if last:
            break
        eps = reg if left == 0 else max(reg, eps / 2)
    u = softmin(costs, v, b, reg)
    v = softmin(costs.T, u, a, reg)
    plan = entropic_plan(u, v, a, b, costs, reg)  # of the rounded potentials, which may meet neither marginal
    error = max(float(np.abs(plan.sum(1) - a).sum()), float(np.abs(plan.sum(0) - b).sum())) / 2
    return u, v, error, Status.CONVERGED if error <= rtol else Status.BUDGET_SPENT


def _alternate(
    v: FloatArray, a: FloatArray, b: FloatArray, costs: FloatArray, eps: float, goal: float, most: int
) -> tuple[FloatArray, int]:
    """v after Sinkhorn's steps, until it misses the second marginal by no more than the goal; and the number of steps."""
    for step in range(most):
        new = softmin(costs.T, softmin(costs, v, b, eps), a, eps)
        error = float(b @ np.abs(np.expm1((v - new) / eps))) / 2
        v = new
        if error <= goal:
            return v, step + 1
    return v, most


def _newton(
    v: FloatArray, a: FloatArray, b: FloatArray, costs: FloatArray, eps: float, goal: float, most: int
) -> tuple[FloatArray, int]:
    r"""The same by Newton's steps on the concave $F(v) = \sum_i a_i u_i(v) + \sum_k b_k v_k$, u the soft minimum.

    With the plan P of u(v), v and its second marginal q, $\nabla F = b - q$ and
    $-\varepsilon \nabla^2 F = \mathrm{diag}(q) - P^\top \mathrm{diag}(a)^{-1} P$. Adding $b b^\top$ leaves alone the constants,
    which it does not see; adding the square of the error times diag(b) keeps steps short while the plan is far off.
    """

    def at(v: FloatArray) -> tuple[float, FloatArray, FloatArray, float]:
        u = softmin(costs, v, b, eps)
        plan = entropic_plan(u, v, a, b, costs, eps)
        slope = b - plan.sum(0)
        return float(a @ u + b @ v), plan, slope, float(np.abs(slope).sum()) / 2

    value, plan, slope, error = at(v)
    for step in range(most):
        if error <= goal or not error <= 1:  # an error above 1 is no plan's: u + v − C is all round-off
            return v, step
        curvature = np.diag(b - slope + error**2 * b) - plan.T @ (plan / a[:, None]) + np.outer(b, b)
        try:
            direction = eps * np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError:
            return v, step
        rise, share = float(slope @ direction), 1.0
        while True:
            new = v + share * direction
            reached = at(new)
            if reached[0] >= value + 1e-4 * share * rise or reached[3] <= error / 2:
                break
            share /= 2
            if share < _LEAST_SHARE:  # the rise is below round-off
                return v, step + 1
        if reached[3] >= error and reached[0] <= value + _ROUND_OFF * abs(value):
            return v, step + 1
        v, (value, plan, slope, error) = new, reached
    return v, most


def softmin(costs: FloatArray, v: FloatArray, b: FloatArray, eps: float) -> FloatArray:
    r"""$-\varepsilon \log \sum_k b_k e^{(v_k - C_{ik})/\varepsilon}$, (n,): the soft form of $\min_k (C_{ik} - v_k)$."""
    return -eps * np.asarray(cast(Any, scipy.special.logsumexp)((v - costs) / eps + np.log(b), axis=1), dtype=np.float64)


def entropic_plan(u: FloatArray, v: FloatArray, a: FloatArray, b: FloatArray, costs: FloatArray, eps: float) -> FloatArray:
    r"""$a_i b_k e^{(u_i + v_k - C_{ik})/\varepsilon}$."""
    # No entry of a plan is above 1, whatever u + v − C rounds to where ε is tiny beside it.
    return np.exp(np.minimum((u[:, None] + v - costs) / eps + np.log(a)[:, None] + np.log(b), 0.0))


def rounded_plan(plan: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """A plan with exactly these marginals, within twice the L¹ error of the plan's own from it (altschuler2017)."""
    plan = plan * np.minimum(a / np.maximum(plan.sum(1), 1e-300), 1.0)[:, None]
    plan *= np.minimum(b / np.maximum(plan.sum(0), 1e-300), 1.0)
    left, over = a - plan.sum(1), b - plan.sum(0)
    missing = float(over.sum())
    if missing > 0:
        plan += np.outer(np.maximum(left, 0.0), np.maximum(over, 0.0)) / missing
    return plan
