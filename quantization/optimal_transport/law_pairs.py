"""Which function couples which two laws, where one at least is no finite measure: the first row that fits, and a row a kind."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from quantization.laws_1d.quantile_function import quantile_function
from quantization.laws_1d.quantile_integrals import transport_integral
from quantization.optimal_transport.coupling import LawTransport
from quantization.optimal_transport.gaussians import as_gaussian, gaussian_cost
from quantization.status import Status

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
            f"of laws these are coupled with a certificate: {rows}. Received {names} and r = {r:g}. Give samples, as in "
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


ROWS = [
    Row("Gaussians, r = 2 or with equal covariances", by_covariances),
    Row("frozen scipy.stats laws, mixtures of Gaussians and measures on the line, any r", by_quantiles),
]
