"""The distortion of a codebook: exact where the law is, with a confidence interval on laws known by sampling."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import Array, FloatArray
from quantization.assignment import cells_of
from quantization.assignment.cells import Cells, stationarity
from quantization.moments import Moments
from quantization.problem import Problem
from quantization.quasi_monte_carlo import Replicated

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


def expected(
    problem: Problem, f: Callable[[Array], FloatArray], rng: np.random.Generator, draws: int, confidence: float, *,
    strict: bool = False,
) -> Estimate:  # fmt: skip
    """E f(X) ≥ 0 of a law known by sampling, f: (n, d) → (n,): the mean over new draws, with an interval.

    strict: none, from 0 to ∞, where a few draws decide the mean, as the variance then may be infinite.
    """
    costs, means = Moments(), Moments()
    for batch, _ in _unit_batches(problem, rng, draws):
        value = f(batch)
        costs.add(value)
        means.add(value.mean(keepdims=True))
    if _warn_of_heavy_tails(costs) and strict:
        return Estimate(costs.mean, 0.0, np.inf, np.inf)
    replicated = isinstance(problem.law, Replicated)
    return _interval(means if replicated else costs, confidence, skewed=not replicated)


def measured(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int = DRAWS) -> tuple[Cells, float]:
    """The cells of ``codes`` under the problem's law, and the standard error of their distortion, 0 where it is exact.

    Exact where the law is; else over ``draws`` draws, or as many first points of one pass of a stream.
    """
    if problem.exact is not None:
        return problem.exact.cells(codes), 0.0
    if isinstance(problem.law, Replicated):
        return _over_replicates(problem, codes, rng, draws)
    sums = cells_of(_unit_batches(problem, rng, draws), codes, problem.r, variance=True)
    n, variance = float(sums.masses.sum()), sums.variance or 0.0
    return _mean(sums, problem.r), (variance / (n - 1)) ** 0.5 if n > 1 else np.inf


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
            stacklevel=4,
        )
    return heavy


def _unskewed(x: float, a: float) -> float:
    """The T with T + a T² + a² T³/3 + a/2 = x, for a = skewness/(3 √n)."""
    return x if abs(a) < 1e-6 else float(np.cbrt(1 + 3 * a * (x - a / 2)) - 1) / a


def _mean(sums: Cells, r: float) -> Cells:
    """The cells of a measure of mass n, as those of mass 1."""
    n = float(sums.masses.sum())
    masses, gradient, mean = sums.masses / n, sums.gradient / n, sums.distortion / n
    return Cells(masses, sums.means, gradient, mean, stationarity(gradient, masses, mean, r), sums.variance)


def _over_replicates(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int) -> tuple[Cells, float]:
    """The cells over all draws, and the standard error of their distortion from its variance between replicates."""
    between, batches = Moments(), list[Cells]()
    for batch in _unit_batches(problem, rng, draws):
        batches.append(_mean(cells_of([batch], codes, problem.r), problem.r))
        between.add(np.array([batches[-1].distortion]))
    masses, gradient = (np.mean([getattr(c, name) for c in batches], axis=0) for name in ("masses", "gradient"))
    shifts = np.mean([c.masses[:, None] * (c.means - codes) for c in batches], axis=0)
    means = codes + np.divide(shifts, masses[:, None], out=np.zeros_like(shifts), where=masses[:, None] > 0)
    residual = stationarity(gradient, masses, between.mean, problem.r)
    return Cells(masses, means, gradient, between.mean, residual), between.standard_error


def _unit_batches(problem: Problem, rng: np.random.Generator, draws: int) -> Iterator[tuple[Array, Array]]:
    """Batches with mass 1 per point, ``draws`` points in all or one pass of a stream; small where d is large.

    Of a replicated law every batch is a replicate of 2^m points: as many replicates as the law asks for, more where d is large.
    """
    size = min(draws, max(1, 2**21 // problem.dim))
    if isinstance(problem.law, Replicated):
        size = 1 << (max(1, min(size, draws // problem.law.replicates)).bit_length() - 1)
        draws = max(draws // size, 2) * size
    for batch in problem.batches(size, rng, epochs=1 if problem.stream is not None else None):
        yield batch.points[:draws], batch.masses[:draws]
        draws -= len(batch.points)
        if draws <= 0:
            return
