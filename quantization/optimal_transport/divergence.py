"""The Sinkhorn divergence: entropic transport without its bias."""

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, to_host
from quantization.gradients import centred, cost_gradients, differentiable
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.distances import pair
from quantization.optimal_transport.sinkhorn import checked_regularization, entropic_plan, potentials, softmin
from quantization.validation import checked_count, checked_order, checked_tolerance


def sinkhorn_divergence(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, reg: float, *, r: float = 2.0, rtol: float = 1e-6,
    max_iter: int = 10_000,
) -> float | Array:  # fmt: skip
    r"""The Sinkhorn divergence $T_\varepsilon(\mu, \nu) - \frac12 T_\varepsilon(\mu, \mu) - \frac12 T_\varepsilon(\nu, \nu)$.

    Here $T_\varepsilon(\mu, \nu) = \min_\pi \langle \pi, |x - y|^r \rangle + \varepsilon\, \mathrm{KL}(\pi | \mu \otimes \nu)$;
    no root is taken. For r in [1, 2] the divergence is ≥ 0, and 0 only for equal measures; it tends to $W_r^r$ as ε → 0 and to an
    energy distance as ε → ∞.

    Parameters
    ----------
    mu, nu : DiscreteMeasure or array (n, d)
        An array stands for the uniform measure on its rows.
    reg : float
        ε > 0, in the unit of the costs $|x - y|^r$.
    r : float, default 2
        Order ≥ 1.
    rtol : float, default 1e-6
        The total variation to which all marginals are met.
    max_iter : int, default 10000
        Iterations at most of each of the three problems.

    Returns
    -------
    float, or tensor
        A tensor where points or weights require a gradient, which is right to the marginals' error.

    Raises
    ------
    ValueError
        For bad input, and where costs overflow.
    RuntimeError
        Where ``max_iter`` iterations are not enough.

    References
    ----------
    genevay2018, feydy2019.

    Examples
    --------
    >>> import quantization as qz
    >>> round(qz.sinkhorn_divergence([[0.0]], [[3.0]], reg=1.0), 9)
    9.0
    """
    reg, r, rtol = checked_regularization(reg), checked_order(r), checked_tolerance(rtol)
    max_iter = checked_count("max_iter", max_iter)
    mu, nu = pair(mu, nu)
    (x, a), (y, b) = (_support(m) for m in (mu, nu))
    costs = cost_matrix(x, y, r)
    u, v, error, _ = potentials(a, b, costs, reg, rtol, max_iter)
    between = float(a @ u + b @ v)
    own = [_self_transport(cost_matrix(z, z, r), w, reg, rtol, max_iter) for z, w in ((x, a), (y, b))]
    worst = max(error, *(e for _, e in own))
    if worst > rtol:
        raise RuntimeError(f"marginals are still off by {worst:.2g} in total variation. Raise rtol, max_iter or reg")
    value = between - float(a @ own[0][0]) - float(b @ own[1][0])
    if not (mu.requires_grad or nu.requires_grad):
        return value
    plan = entropic_plan(u, v, a, b, costs, reg)
    gradients = (
        *_gradients(mu, (x, a), (y, b), v, own[0][0], plan, reg, r), *_gradients(nu, (y, b), (x, a), u, own[1][0], plan.T, reg, r)
    )  # fmt: skip
    return differentiable(value, list(zip(mu.graph + nu.graph, gradients, strict=True)))


def _gradients(
    measure: DiscreteMeasure, own: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray], v: FloatArray,
    own_u: FloatArray, plan: FloatArray, reg: float, r: float,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """The divergence's gradients in a measure's points and weights; potentials of points without weight are soft minima too.

    own, other: support and weights of this measure and the other one. v, own_u: potentials on the other one's support, and of the
    transport to itself. plan: (n, m) between the supports.
    """
    (x, a), (y, b) = own, other
    pull, _ = cost_gradients(x, y, *_entries(plan), r)
    back, _ = cost_gradients(x, x, *_entries(entropic_plan(own_u, own_u, a, a, cost_matrix(x, x, r), reg)), r)
    everywhere = to_host(measure.points)
    in_points = np.zeros_like(everywhere)
    in_points[to_host(measure.weights_float64) > 0] = pull - back
    in_weights = softmin(cost_matrix(everywhere, y, r), v, b, reg) - softmin(cost_matrix(everywhere, x, r), own_u, a, reg)
    return in_points, centred(in_weights)


def _entries(plan: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    rows, columns = np.indices(plan.shape).reshape(2, -1)
    return rows, columns, plan.ravel()


def _self_transport(costs: FloatArray, a: FloatArray, reg: float, rtol: float, max_iter: int) -> tuple[FloatArray, float]:
    """The one potential of T_ε of a measure with itself, by averaged steps, which take a few dozen; and its marginal error."""
    u, eps, error = np.zeros(len(a)), max(reg, float(costs.max())), np.inf
    for _ in range(max_iter):
        new = softmin(costs, u, a, eps)
        error = float(a @ np.abs(np.expm1((u - new) / eps))) / 2
        if eps == reg and error <= rtol:
            break
        u, eps = (u + new) / 2, max(reg, eps / 2)
    return u, error


def _support(measure: DiscreteMeasure) -> tuple[FloatArray, FloatArray]:
    a = to_host(measure.weights_float64)
    return to_host(measure.points)[a > 0], a[a > 0]
