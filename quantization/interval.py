"""Confidence intervals for means of numbers that come in parts, and a warning where a few of them decide the mean."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import Array, FloatArray
from quantization.moments import Moments

DRAWS = 2**17
_HEAVY = 1 / 3  # of skewness/√n; it tends to 0 like 1/√n where costs have three moments, to no limit where they have not two
_ENOUGH = 1000  # draws below which a large skewness says nothing about the law


@dataclass(frozen=True)
class Estimate:
    """A value and a confidence interval around it; ``float()`` takes the value.

    Parameters
    ----------
    value : float
        The estimate.
    low, high : float
        Ends of the interval, both equal to the value where it is exact.
    standard_error : float, default 0
        Of the value.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> class Exponential:
    ...     def sample(self, n, rng):
    ...         return rng.exponential(size=(n, 1))
    >>> found = qz.distortion(Exponential(), [[1.0]], draws=10_000, rng=0)  # the variance, 1
    >>> found.low < 1 < found.high, float(found) == found.value
    (True, True)
    """

    value: float
    low: float
    high: float
    standard_error: float = 0.0

    def __float__(self) -> float:
        return self.value


def mean_interval(
    batches: Iterable[Array], f: Callable[[Array], FloatArray], confidence: float, *, replicated: bool, strict: bool = False
) -> Estimate:
    """E f(X) ≥ 0 as the mean of f over batches of draws, f: (n, d) → (n,), with an interval.

    replicated: whether draws of a batch depend on one another, so that their means alone are independent. strict: no interval,
    from 0 to ∞, where a few draws decide the mean, as the variance then may be infinite.
    """
    costs, means = Moments(), Moments()
    for batch in batches:
        value = f(batch)
        costs.add(value)
        means.add(value.mean(keepdims=True))
    if _warn_of_heavy_tails(costs) and strict:
        return Estimate(costs.mean, 0.0, np.inf, np.inf)
    return _interval(means if replicated else costs, confidence, skewed=not replicated)


def _interval(costs: Moments, confidence: float, skewed: bool) -> Estimate:
    """Student's interval, or Hall's: $g(T)$ is nearer to Student's law than T, and the cubic g is inverted in closed form."""
    error, ratio = costs.standard_error, costs.skewness / costs.count**0.5 if skewed else 0.0
    if not np.isfinite(costs.mean):
        return Estimate(costs.mean, 0.0, np.inf, np.inf)
    quantile = float(scipy.special.stdtrit(costs.count - 1, (1 + confidence) / 2))
    below, above = _unskewed(quantile, ratio / 3), -_unskewed(-quantile, ratio / 3)
    low, high = costs.mean - max(below, 0.0) * error, costs.mean + max(above, 0.0) * error
    return Estimate(costs.mean, max(low, 0.0), high, error)


def _warn_of_heavy_tails(costs: Moments) -> bool:
    """Whether there is a warning: judged from single draws, dependent or not, as no interval accounts for tails not reached."""
    ratio = costs.skewness / costs.count**0.5
    heavy = ratio > _HEAVY and costs.count >= _ENOUGH
    if heavy:
        warnings.warn(
            f"the costs of {costs.count} draws have skewness {ratio:.2f}·√draws: a few draws decide the mean, as where E|X|^(2r) "
            "is infinite. The interval may not hold; use more draws, or a smaller r",
            RuntimeWarning,
            stacklevel=5,
        )
    return heavy


def _unskewed(x: float, a: float) -> float:
    """The T with T + a T² + a² T³/3 + a/2 = x, for a = skewness/(3 √n)."""
    return x if abs(a) < 1e-6 else float(np.cbrt(1 + 3 * a * (x - a / 2)) - 1) / a
