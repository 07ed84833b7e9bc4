"""Evidence for an inequality, with the slack that arithmetic and chance allow it, and optionally the curve it was read from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Curve:
    """What a picture of the evidence shows: sequences measured at the same x, each under a name of its own.

    x, lines: the numbers. levels: name → a constant they should converge to. logs: which axes are logarithmic, "", "x", "xy".
    """

    x_label: str
    y_label: str
    x: tuple[float, ...]
    lines: dict[str, tuple[float, ...]]
    levels: dict[str, float] = field(default_factory=dict[str, float])
    logs: str = ""


@dataclass(frozen=True)
class Evidence:
    r"""$\text{observed} \le \text{bound} + \text{slack}$, for one law.

    Parameters
    ----------
    observed : float
        What was measured; for an equality the absolute difference, with a bound of 0.
    bound : float
        What the theorem allows it.
    slack : float
        What round-off, chance or a remainder of known order can add to their difference, derived where the claim is made.
    curve : Curve, optional
        What a picture shows.

    Examples
    --------
    >>> from theory_checks import Evidence
    >>> evidence = Evidence(observed=1.0, bound=0.9, slack=0.2)
    >>> evidence.holds, round(evidence.margin, 12), round(evidence.excess, 12)
    (True, 0.1, 0.5)
    """

    observed: float
    bound: float
    slack: float
    curve: Curve | None = field(default=None, compare=False, repr=False)

    @property
    def margin(self) -> float:
        r"""$\text{bound} + \text{slack} - \text{observed}$, in the units of the claim."""
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

    def drawn(self, curve: Curve) -> "Evidence":
        """The same, with a curve to show."""
        return replace(self, curve=curve)


def equal(value: float, truth: float, slack: float) -> Evidence:
    r"""$|\text{value} - \text{truth}| \le \text{slack}$."""
    return Evidence(abs(value - truth), 0.0, slack)


def worst(evidence: Iterable[Evidence]) -> Evidence:
    """The one with the largest excess: if it holds, all do."""
    return max(evidence, key=lambda e: (not e.holds, e.excess))
