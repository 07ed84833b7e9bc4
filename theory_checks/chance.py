r"""What chance may add to a comparison, and how often all of them together may raise a false alarm: one budget.

Every comparison with a random error is made at 4.5 standard errors, or at the same probability by a sharper law: a true claim
is refused once in 150,000 comparisons. A case of a claim is one comparison, whatever it compares inside (``among`` shares the
probability out), so that a run raises a false alarm with probability at most (cases of claims with a random error) · 6.8e-6.
:data:`FALSE_ALARMS` is what a run may have; :func:`false_alarms` what it has, by Bonferroni's inequality.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist

from scipy.special import stdtrit

SIGMAS = 4.5
LEVEL = 2 * NormalDist().cdf(-SIGMAS)  # of one comparison, two-sided: 6.8e-6
FALSE_ALARMS = 1e-3  # of a run, at most
CONFIDENCE = 1 - LEVEL  # of an interval that serves as one comparison


def false_alarms(random_cases: Iterable[int]) -> float:
    """The probability, at most, that a run refuses a true claim: from how many cases each claim with a random error has."""
    return sum(random_cases) * LEVEL


def monte_carlo(standard_error: float, *, degrees: float = math.inf, among: int = 1) -> float:
    r"""$t\,\mathrm{se}$ with $P(|T| > t) = P(|Z| > 4.5) / \text{among}$, T of Student's law: the half-width for a mean of draws.

    degrees: of freedom of the standard error, where it was estimated from few draws. among: comparisons that share the level.
    """
    tail = LEVEL / (2 * among)
    quantile = -NormalDist().inv_cdf(tail) if math.isinf(degrees) else float(-stdtrit(degrees, tail))
    return quantile * standard_error


def bernoulli_error(variance: float, n: int, *, among: int = 1) -> float:
    r"""$\sqrt{2 v \ell / n} + 2 \ell / 3n$, $\ell = \log(2\,\text{among} / P(|Z| > 4.5))$: the half-width for n indicators.

    variance: v, at least every conditional variance. This is Freedman's inequality at the level of :func:`monte_carlo`; for
    rare events, whose counts are Poisson rather than normal, 4.5 standard errors would be too few. Source: freedman1975.
    """
    log_odds = math.log(2 * among / LEVEL)
    return math.sqrt(2 * variance * log_odds / n) + 2 * log_odds / (3 * n)
