"""Evidence for an inequality, and the slacks that arithmetic and chance allow it: each derived, none picked by eye."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNIT_ROUND_OFF = 2.0**-53
SIGMAS = 4.5  # a true claim is refused by chance once in 150,000 draws
_LOG_ODDS = math.log(2 / 6.8e-6)  # the same chance, P(|Z| > 4.5), as an exponent


@dataclass(frozen=True)
class Evidence:
    r"""$\text{observed} \le \text{bound} + \text{slack}$, for one law.

    observed: what was measured; for an equality the absolute difference, with a bound of 0. bound: what the theorem allows it.
    slack: what round-off or Monte-Carlo error can add to their difference, derived where the claim is made.
    """

    observed: float
    bound: float
    slack: float

    @property
    def margin(self) -> float:
        r"""$\text{bound} + \text{slack} - \text{observed}$, in the units of the claim: what was left over."""
        return self.bound + self.slack - self.observed

    @property
    def holds(self) -> bool:
        """Whether observed ≤ bound + slack, all three finite and the slack not negative: NaN never holds."""
        return all(map(math.isfinite, (self.observed, self.bound, self.slack))) and self.slack >= 0 and self.margin >= 0

    @property
    def excess(self) -> float:
        r"""$(\text{observed} - \text{bound}) / \text{slack}$, which compares across claims: it holds up to 1. NaN is $\infty$."""
        over = self.observed - self.bound
        if math.isnan(over) or math.isnan(self.slack):
            return math.inf
        if over == 0:
            return 0.0
        return over / self.slack if self.slack > 0 else math.copysign(math.inf, over)


def worst(evidence: Iterable[Evidence]) -> Evidence:
    """The one with the largest excess: if it holds, all do."""
    return max(evidence, key=lambda e: (not e.holds, e.excess))


def round_off(operations: int, magnitude: float) -> float:
    r"""$\gamma_m M$ with $\gamma_m = m u / (1 - m u)$, $u = 2^{-53}$: the error of a float64 sum of products.

    operations: m, the roundings that any one term goes through; for a sum of n products of d-term sums n + d + a few.
    magnitude: M, the sum of the terms' absolute values. Source: higham2002.
    """
    relative = operations * UNIT_ROUND_OFF
    return relative / (1 - relative) * magnitude


def transport_round_off(n: int, k: int, largest_cost: float) -> float:
    r"""$\gamma_{N^2 + 20 N} (1 + \max c)$ with $N = n + k$: the error of a transport cost found by the network simplex.

    A vertex of the polytope has fewer than N positive entries, each a signed sum of at most N masses: $N^2 u \max c$. The
    simplex stops at reduced costs above $-20 u \max |\pi|$, with potentials bounded by its artificial arcs, $|\pi| \le N (1 +
    \max c)$. Source: flamary2021.
    """
    nodes = n + k
    return round_off(nodes**2 + 20 * nodes, 1.0 + largest_cost)


def root_error(value: float, error: float) -> float:
    r"""$|\sqrt{a} - \sqrt{a + h}| \le \min(|h| / \sqrt{a}, \sqrt{|h|})$: the error of a root, from that of its radicand."""
    return min(error / math.sqrt(value), math.sqrt(error)) if value > 0 else math.sqrt(error)


def monte_carlo(standard_error: float) -> float:
    r"""$4.5\,\mathrm{se}$: the reach of a mean of many independent draws, which the central limit theorem makes normal."""
    return SIGMAS * standard_error


def bernoulli_error(variance: float, n: int) -> float:
    r"""$\sqrt{2 v \ell / n} + 2 \ell / 3n$, $\ell = \log(2 / P(|Z| > 4.5))$: the reach of a mean of n indicators, centred.

    variance: v, at least every conditional variance. This is Freedman's inequality at the level of :func:`monte_carlo`; for
    rare events, whose counts are Poisson rather than normal, 4.5 standard errors would be too few. Source: freedman1975.
    """
    return math.sqrt(2 * variance * _LOG_ODDS / n) + 2 * _LOG_ODDS / (3 * n)
