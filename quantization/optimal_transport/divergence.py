"""The Sinkhorn divergence: entropic transport without its bias."""

import numpy as np

from quantization.arrays import Array, FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.distances import pair
from quantization.optimal_transport.sinkhorn import checked_regularization, potentials, softmin
from quantization.validation import checked_count, checked_order, checked_tolerance


def sinkhorn_divergence(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, reg: float, *, r: float = 2.0, rtol: float = 1e-6,
    max_iter: int = 10_000,
) -> float:  # fmt: skip
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
    float

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
    (x, a), (y, b) = (_support(m) for m in pair(mu, nu))
    u, v, error, _ = potentials(a, b, cost_matrix(x, y, r), reg, rtol, max_iter)
    between = float(a @ u + b @ v)
    own = [_self_transport(cost_matrix(z, z, r), w, reg, rtol, max_iter) for z, w in ((x, a), (y, b))]
    worst = max(error, *(e for _, e in own))
    if worst > rtol:
        raise RuntimeError(f"marginals are still off by {worst:.2g} in total variation. Raise rtol, max_iter or reg")
    return between - sum(value for value, _ in own) / 2


def _self_transport(costs: FloatArray, a: FloatArray, reg: float, rtol: float, max_iter: int) -> tuple[float, float]:
    """T_ε of a measure with itself: one potential, by averaged steps, which converge in a few dozen; and its marginal error."""
    u, eps, error = np.zeros(len(a)), max(reg, float(costs.max())), np.inf
    for _ in range(max_iter):
        new = softmin(costs, u, a, eps)
        error = float(a @ np.abs(np.expm1((u - new) / eps))) / 2
        if eps == reg and error <= rtol:
            break
        u, eps = (u + new) / 2, max(reg, eps / 2)
    return 2 * float(a @ u), error


def _support(measure: DiscreteMeasure) -> tuple[FloatArray, FloatArray]:
    a = to_host(measure.weights_float64)
    return to_host(measure.points)[a > 0], a[a > 0]
