"""Which function couples which two laws, where one at least is no finite measure: the first row that fits, and a row a kind."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from quantization.arrays import FloatArray, to_host
from quantization.laws import GaussianMixture, Law
from quantization.laws_1d.quantile_function import quantile_function
from quantization.laws_1d.quantile_integrals import transport_integral
from quantization.laws_2d.balanced_mixture_law import BalancedMixture2D
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D
from quantization.make_problem import exact_law
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.coupling import LawTransport
from quantization.optimal_transport.gaussians import as_gaussian, gaussian_cost
from quantization.optimal_transport.semidiscrete import semidiscrete
from quantization.status import Status

_MOST_POINTS = 2**14  # of a measure, for cells that are integrated
_SAMPLED_RTOL = 0.05  # of the cost: what an interval may leave open
_ROUND_OFF = 1e-13  # of integrals over cells
_RTOL = 1e-9  # of the cost: what quadrature may miss beside round-off


class Row(NamedTuple):
    """Two kinds of laws in words, and what couples them.

    ``couple`` takes both laws and the order; it returns None for a pair or an order that it has no answer for.
    """

    kinds: str
    couple: Callable[[object, object, float], LawTransport | None]


def couple_laws(mu: object, nu: object, r: float) -> LawTransport:
    """The cost of the optimal coupling of two laws, with its gap; ``ValueError`` for a pair without a row."""
    dims = [getattr(law, "dim", None) for law in (mu, nu)]
    if None not in dims and dims[0] != dims[1]:
        raise ValueError(f"mu and nu must have the same dimension; received dimensions {dims[0]} and {dims[1]}")
    found = next((answer for row in ROWS if (answer := row.couple(mu, nu, r)) is not None), None)
    if found is None:
        names = " and ".join(type(law).__name__ for law in (mu, nu))
        rows = "; ".join(row.kinds for row in ROWS)
        raise ValueError(
            f"no certified method couples {names} for r = {r:g}; there are methods for {rows}. Give samples, as in "
            "wasserstein(law.sample(n, rng), nu)"
        )
    return found


def by_quantiles(mu: object, nu: object, r: float) -> LawTransport | None:
    r"""$W_r^r = \int_0^1 |F^{-1}(u) - G^{-1}(u)|^r\,du$ on the line, source: santambrogio2015."""
    f, g = quantile_function(mu), quantile_function(nu)
    if f is None or g is None:
        return None
    found = transport_integral([f], np.ones(1), g, r)
    converged = found.error <= _RTOL * found.value + found.rounding
    return LawTransport(found.value, found.error + found.rounding, Status.CONVERGED if converged else Status.STALLED)


def by_covariances(mu: object, nu: object, r: float) -> LawTransport | None:
    """The closed form of Bures for r = 2, a translation for equal covariances: source gelbrich1990."""
    f, g = as_gaussian(mu), as_gaussian(nu)
    if f is None or g is None or (r != 2 and not np.array_equal(f.cov, g.cov)):
        return None
    cost, gap = gaussian_cost(f, g, r)
    rounding = 4 * np.finfo(np.float64).eps * f.dim * float(np.trace(f.cov) + np.trace(g.cov))
    return LawTransport(cost, gap, Status.CONVERGED if gap <= _RTOL * cost + rounding else Status.STALLED)


def by_power_cells(mu: object, nu: object, r: float) -> LawTransport | None:
    r"""A mixture of Gaussians in the plane and points: $E \min_k (|X - y_k|^2 - p_k) + \sum_k w_k p_k$ at the best prices.

    Source: kitagawa2019.
    """
    law, measure = (nu, mu) if isinstance(mu, DiscreteMeasure) else (mu, nu)
    if r != 2 or not isinstance(measure, DiscreteMeasure) or not isinstance(law, GaussianMixture) or measure.dim != 2:
        return None
    plane = exact_law(law, r)
    y, w = distinct_points(measure)
    if not isinstance(plane, GaussianMixture2D) or len(y) > _MOST_POINTS:
        return None
    balanced = BalancedMixture2D(plane, w)
    cost = balanced.cells(y).distortion
    if not np.isfinite(cost):
        return None
    gap = balanced.certificate(y)[1]
    return LawTransport(cost, gap + _ROUND_OFF * cost, Status.CONVERGED if gap <= _RTOL * cost else Status.STALLED)


def by_draws(mu: object, nu: object, r: float) -> LawTransport | None:
    """A law known by sampling and points, r = 2: bounds by :func:`semidiscrete`, on draws of a fixed seed."""
    law, measure = (nu, mu) if isinstance(mu, DiscreteMeasure) else (mu, nu)
    if r != 2 or not isinstance(measure, DiscreteMeasure) or not isinstance(law, Law):
        return None
    found = semidiscrete(law, measure, rng=0)
    cost = found.upper.value
    gap = max(cost - found.dual.low, found.upper.high - cost)
    return LawTransport(cost, gap, Status.CONVERGED if gap <= _SAMPLED_RTOL * cost else Status.STALLED)


def distinct_points(measure: DiscreteMeasure) -> tuple[FloatArray, FloatArray]:
    """Its points of positive weight, each once, and their weights, in float64 on the host."""
    y, w = to_host(measure.points), to_host(measure.weights_float64)
    y, at = np.unique(y[w > 0].astype(np.float64), axis=0, return_inverse=True)
    return y, np.bincount(at.ravel(), w[w > 0]).astype(np.float64)


ROWS = [
    Row("mixtures of Gaussians in the plane and measures, r = 2", by_power_cells),
    Row("Gaussians, r = 2 or with equal covariances", by_covariances),
    Row("frozen scipy.stats laws, mixtures of Gaussians and measures on the line, any r", by_quantiles),
    Row("laws known by sampling and measures, r = 2", by_draws),
]
