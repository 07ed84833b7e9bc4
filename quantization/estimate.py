"""The distortion of a codebook: exact where the law is, with a confidence interval on laws known by sampling."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import stdtrit

from quantization.arrays import Array, FloatArray, to_host
from quantization.cells import Cells, stationarity
from quantization.measure import DiscreteMeasure
from quantization.moments import Moments
from quantization.problem import Problem, checked_count, generator, pose
from quantization.quasi_monte_carlo import Replicated
from quantization.voronoi import cells_of, nearest

DRAWS = 2**17
_HEAVY = 1 / 3  # of skewness/√n; it tends to 0 like 1/√n where costs have three moments, to no limit where they have not two
_ENOUGH = 1000  # draws below which a large skewness tells nothing of the law


@dataclass(frozen=True)
class Estimate:
    """A value and a confidence interval around it; low = value = high, and a standard error of 0, where it is exact."""

    value: float
    low: float
    high: float
    standard_error: float = 0.0


def distortion(
    law: Any,
    points: Any,
    *,
    r: float = 2.0,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int | np.random.Generator = 0,
) -> Estimate:
    r"""$D_r(x) = E \min_k |X - x_k|^r$: no factor ½, no root, summed over coordinates.

    law: as for :func:`quantization.quantize`. points: (K, d), or a measure or Solution whose points they are. Exact (to float64
    round-off) for an array, a DiscreteMeasure and the laws of :mod:`quantization.exact`. For other laws the mean over ``draws``
    independent draws, for a stream over its first ``draws`` points (taken for independent), with an interval of the given
    confidence.

    The interval is Student's, corrected for the skewness of the costs by Hall's cubic transformation, so that it reaches further
    up than down. It assumes E|X|^{2r} < ∞ and covers with the stated probability as draws → ∞ (to O(1/draws) where the costs have
    enough moments). No interval can hold without such a moment: where the draws speak against it, a ``RuntimeWarning`` says so.

    The draws of a :class:`quantization.QuasiMonteCarlo` law make up for one another: they are shared out over its independent
    replicates, a power of two of points each, and the spread of those gives the standard error and a plain Student interval.
    Source: hall1992, lecuyer2023.
    """
    codes = _codes(points)
    confidence = checked_confidence(confidence)
    problem = pose(law, len(codes), r)
    draws, rng = checked_count("draws", draws, least=2), generator(seed)
    if codes.shape[1] != problem.dim:
        raise ValueError(f"points must have the law's dimension {problem.dim}; received shape {codes.shape}")
    if problem.exact is not None:
        value = problem.exact.cells(codes).distortion
        return Estimate(value, value, value)
    return expected(problem, lambda x: to_host(nearest(x, codes).squared) ** (problem.r / 2), rng, draws, confidence)


def _codes(points: Any) -> FloatArray:
    """Codes given as an array, a measure or a solution, (K, d)."""
    measure = getattr(points, "measure", points)
    return to_host(measure.points if isinstance(measure, DiscreteMeasure) else DiscreteMeasure(measure).points)


def expected(
    problem: Problem, f: Callable[[Array], FloatArray], rng: np.random.Generator, draws: int, confidence: float
) -> Estimate:
    """E f(X) ≥ 0 of a law known by sampling, f: (n, d) → (n,): the mean over fresh draws, with an interval."""
    every, means = Moments(), Moments()
    for batch, _ in _ones(problem, rng, draws):
        value = f(batch)
        every.add(value)
        means.add(value.mean(keepdims=True))
    _warn_of_heavy_tails(every)
    replicated = isinstance(problem.law, Replicated)
    return _interval(means if replicated else every, confidence, skewed=not replicated)


def checked_confidence(confidence: Any) -> float:
    """``confidence`` as a float in (0, 1)."""
    level = np.nan if isinstance(confidence, bool) or not isinstance(confidence, Real) else float(confidence)
    if not 0 < level < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; received {confidence!r}")
    return level


def measured(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int = DRAWS) -> tuple[Cells, float]:
    """The cells of ``codes`` under the problem's law, and the standard error of their distortion, 0 where it is exact.

    Exact where the law is; else over so many draws, or the first points of one pass of a stream.
    """
    if problem.exact is not None:
        return problem.exact.cells(codes), 0.0
    if isinstance(problem.law, Replicated):
        return _over_replicates(problem, codes, rng, draws)
    sums = cells_of(_ones(problem, rng, draws), codes, problem.r)
    n, variance = float(sums.masses.sum()), sums.variance or 0.0
    return _mean(sums, problem.r), (variance / (n - 1)) ** 0.5 if n > 1 else np.inf


def _interval(costs: Moments, confidence: float, skewed: bool) -> Estimate:
    """Student's interval, or Hall's: $g(T)$ is nearer to Student's law than T, and the cubic g is inverted in closed form."""
    error, ratio = costs.standard_error, costs.skewness / costs.count**0.5 if skewed else 0.0
    if not np.isfinite(costs.mean):
        return Estimate(costs.mean, 0.0, np.inf, np.inf)
    quantile = float(stdtrit(costs.count - 1, (1 + confidence) / 2))
    below, above = _unskewed(quantile, ratio / 3), -_unskewed(-quantile, ratio / 3)
    low, high = costs.mean - max(below, 0.0) * error, costs.mean + max(above, 0.0) * error
    return Estimate(costs.mean, max(low, 0.0), high, error)


def _warn_of_heavy_tails(costs: Moments) -> None:
    """Of draws, also where these make up for one another: what they do not reach, no interval knows."""
    ratio = costs.skewness / costs.count**0.5
    if ratio > _HEAVY and costs.count >= _ENOUGH:
        warnings.warn(
            f"the costs of {costs.count} draws have skewness {ratio:.2f}·√draws: a few draws decide the mean, as where E|X|^(2r) "
            "is infinite. The interval may not hold; use more draws, or a smaller r",
            RuntimeWarning,
            stacklevel=4,
        )


def _unskewed(x: float, a: float) -> float:
    """The T with T + a T² + a² T³/3 + a/2 = x, for a = skewness/(3 √n)."""
    return x if abs(a) < 1e-6 else float(np.cbrt(1 + 3 * a * (x - a / 2)) - 1) / a


def _mean(sums: Cells, r: float) -> Cells:
    """The cells of a measure of mass n, as those of mass 1."""
    n = float(sums.masses.sum())
    masses, gradient, mean = sums.masses / n, sums.gradient / n, sums.distortion / n
    return Cells(masses, sums.means, gradient, mean, stationarity(gradient, masses, mean, r), sums.variance)


def _over_replicates(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int) -> tuple[Cells, float]:
    """The cells over all draws, and the standard error from the spread of their distortions over the replicates."""
    spread, batches = Moments(), list[Cells]()
    for batch in _ones(problem, rng, draws):
        batches.append(_mean(cells_of([batch], codes, problem.r), problem.r))
        spread.add(np.array([batches[-1].distortion]))
    masses, gradient = (np.mean([getattr(c, name) for c in batches], axis=0) for name in ("masses", "gradient"))
    shifts = np.mean([c.masses[:, None] * (c.means - codes) for c in batches], axis=0)
    means = codes + np.divide(shifts, masses[:, None], out=np.zeros_like(shifts), where=masses[:, None] > 0)
    residual = stationarity(gradient, masses, spread.mean, problem.r)
    return Cells(masses, means, gradient, spread.mean, residual), spread.standard_error


def _ones(problem: Problem, rng: np.random.Generator, draws: int) -> Iterator[tuple[Array, Array]]:
    """Batches with a mass of 1 a point, ``draws`` points in all or one pass of a stream; small where d is large.

    Over a replicated law every batch is a replicate, of a power of two of points: as many as it asks for, more where d is large.
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
