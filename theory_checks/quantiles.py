"""$W_2$ on the line by quantiles: between laws with a density, and between a law and uniform atoms."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from quantization import GaussianMixture
from theory_checks.cells import FloatArray

_PANELS, _HALVINGS = 200, 50


def between_mixtures(mu: GaussianMixture, nu: GaussianMixture) -> float:
    r"""$W_2(\mu, \nu) = (\int (x - G^{-1}(F(x)))^2 f(x)\,dx)^{1/2}$ on the line.

    By 8 Gauss nodes in each of 200 panels over 12 standard deviations beyond the means; quantiles by bisection, of cdf or
    survival function, whichever is small.
    """
    far = 12 * float(np.sqrt(max(mu.covs.max(), nu.covs.max())))
    low, high = float(mu.means.min()) - far, float(mu.means.max()) + far
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(low, high, _PANELS + 1)
    widths = np.diff(edges)[:, None] / 2
    x, dx = (edges[:-1, None] + widths * (nodes + 1)).ravel(), (widths * weights).ravel()
    below, above = _tails(mu, x)
    left, right = np.full_like(x, low - far), np.full_like(x, high + far)
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        under, over = _tails(nu, middle)
        beyond = np.where(below < 0.5, under > below, over < above)
        left, right = np.where(beyond, left, middle), np.where(beyond, middle, right)
    density = np.exp(mu.log_density(x[:, None]))
    return float((dx * density * np.square(x - (left + right) / 2)).sum()) ** 0.5


def _tails(law: GaussianMixture, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    z = (x[:, None] - law.means[:, 0]) / np.sqrt(law.covs[:, 0, 0])
    return np.asarray(ndtr(z)) @ law.weights, np.asarray(ndtr(-z)) @ law.weights


def to_uniform_atoms(law: Any, codes: FloatArray) -> float:
    r"""$W_2(\mu, \tfrac1K \sum_k \delta_{x_k})$ for a frozen scipy law and ordered codes (K,), K ≥ 2: $\sum_k
    \int_{(k-1)/K}^{k/K} (F^{-1}(u) - x_k)^2 du$, by 64 Gauss nodes a piece, the two at the ends in a variable that flattens the
    tail.
    """
    k = len(codes)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    t, dt = (nodes + 1) / 2, weights / 2
    total = 0.0
    for i, code in enumerate(codes):
        # u = (i + t)/K inside; at the ends the distance to 0 or 1 is t^8/K, so that the quantile's logarithm does no harm.
        if 0 < i < k - 1:
            x, du = law.ppf((i + t) / k), dt / k
        else:
            x, du = (law.ppf if i == 0 else law.isf)(t**8 / k), 8 * t**7 * dt / k
        total += float((du * np.square(x - code)).sum())
    return total**0.5
