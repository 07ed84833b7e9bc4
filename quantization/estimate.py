"""The distortion of a codebook: exact where the law is, with a confidence interval on laws known by sampling."""

from collections.abc import Callable

import numpy as np

from quantization.arrays import Array, FloatArray
from quantization.assignment import cells_of
from quantization.assignment.cells import Cells, stationarity
from quantization.interval import DRAWS, Estimate, mean_interval
from quantization.moments import Moments
from quantization.problem import Problem


def expected(
    problem: Problem, f: Callable[[Array], FloatArray], rng: np.random.Generator, draws: int, confidence: float, *,
    strict: bool = False,
) -> Estimate:  # fmt: skip
    """E f(X) ≥ 0 of a law known by sampling, f: (n, d) → (n,): the mean over new draws, with an interval.

    strict: as for :func:`mean_interval`.
    """
    return mean_interval(problem.fresh(draws, rng), f, confidence, replicated=problem.replicated, strict=strict)


def measured(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int = DRAWS) -> tuple[Cells, float]:
    """The cells of ``codes`` under the problem's law, and the standard error of their distortion, 0 where it is exact.

    Exact where the law is; else over ``draws`` draws, or as many first points of one pass of a stream.
    """
    if problem.exact is not None:
        return problem.exact.cells(codes), 0.0
    if problem.replicated:
        return _over_replicates(problem, codes, rng, draws)
    sums = cells_of(problem.unit_batches(draws, rng), codes, problem.r, variance=True)
    n, variance = float(sums.masses.sum()), sums.variance or 0.0
    return _mean(sums, problem.r), (variance / (n - 1)) ** 0.5 if n > 1 else np.inf


def _mean(sums: Cells, r: float) -> Cells:
    """The cells of a measure of mass n, as those of mass 1."""
    n = float(sums.masses.sum())
    masses, gradient, mean = sums.masses / n, sums.gradient / n, sums.distortion / n
    return Cells(masses, sums.means, gradient, mean, stationarity(gradient, masses, mean, r), sums.variance)


def _over_replicates(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int) -> tuple[Cells, float]:
    """The cells over all draws, and the standard error of their distortion from its variance between replicates."""
    between, batches = Moments(), list[Cells]()
    for batch in problem.unit_batches(draws, rng):
        batches.append(_mean(cells_of([batch], codes, problem.r), problem.r))
        between.add(np.array([batches[-1].distortion]))
    masses, gradient = (np.mean([getattr(c, name) for c in batches], axis=0) for name in ("masses", "gradient"))
    shifts = np.mean([c.masses[:, None] * (c.means - codes) for c in batches], axis=0)
    means = codes + np.divide(shifts, masses[:, None], out=np.zeros_like(shifts), where=masses[:, None] > 0)
    residual = stationarity(gradient, masses, between.mean, problem.r)
    return Cells(masses, means, gradient, between.mean, residual), between.standard_error
