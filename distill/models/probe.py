"""The probe: weighted multinomial logistic regression on points, a convex problem, solved to its end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

_TOLERANCE = 1e-6  # of the gradient's largest entry, where a loss is of order 1


@dataclass(frozen=True)
class Probe:
    """A linear classifier. matrix: (classes, d). bias: (classes,). loss: the least value. gradient: its largest entry there."""

    matrix: NDArray[np.float64]
    bias: NDArray[np.float64]
    loss: float
    gradient: float

    def logits(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, d) → (n, classes)."""
        return points @ self.matrix.T + self.bias


def fit(points: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64], ridge: float) -> Probe:
    r"""$\min_{W, b} \frac1n \sum_i w_i\, H(p_i, \mathrm{softmax}(W x_i + b)) + \frac\rho2 |W|^2$, by L-BFGS from zero.

    points: (n, d). targets: probabilities p (n, classes). weights: w (n,), of mean 1. ridge: ρ > 0, so that one W alone is the
    minimum. ValueError where the gradient there is not 0 to 1e-6.
    """
    n, d = points.shape
    classes = targets.shape[1]
    shares, totals = (weights / n)[:, None] * targets, (weights / n)[:, None]

    def value(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        matrix, bias = flat[:-classes].reshape(classes, d), flat[-classes:]
        logs = log_softmax(points @ matrix.T + bias, axis=1)
        errors = totals * np.exp(logs) - shares
        gradient = np.concatenate([(errors.T @ points + ridge * matrix).ravel(), errors.sum(0)])
        return float(-(shares * logs).sum() + ridge / 2 * np.square(matrix).sum()), gradient

    options: Any = {"maxiter": 20_000, "maxfun": 40_000, "gtol": _TOLERANCE / 10, "ftol": 0.0, "maxcor": 20}
    found: Any = minimize(value, np.zeros(classes * (d + 1)), jac=True, method="L-BFGS-B", options=options)
    loss, gradient = value(found.x)
    worst = float(np.abs(gradient).max())
    if worst > _TOLERANCE:
        raise ValueError(
            f"the probe's gradient is {worst:.1e}, not 0 to {_TOLERANCE:g}, after {found.nit} steps; raise train.ridge, {ridge:g}"
        )
    return Probe(found.x[:-classes].reshape(classes, d), found.x[-classes:], loss, worst)
