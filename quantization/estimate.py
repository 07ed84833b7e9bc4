"""The distortion of a codebook: exact on samples, with a confidence interval on laws known by sampling."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from statistics import NormalDist
from typing import Any

import numpy as np

from quantization.arrays import Array, FloatArray, to_host
from quantization.cells import Cells, stationarity
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem, checked_count, generator, pose
from quantization.voronoi import cells_of

DRAWS = 2**17


@dataclass(frozen=True)
class Estimate:
    """A value and a confidence interval around it; low = value = high where it is exact."""

    value: float
    low: float
    high: float


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

    law: as for :func:`quantization.quantize`. points: (K, d). Exact (to float64 round-off) for an array or a DiscreteMeasure.
    For other laws the mean over ``draws`` independent draws, for a stream over its first ``draws`` points, with the normal
    interval of the given confidence.
    """
    codes = to_host(DiscreteMeasure(points).points)
    if isinstance(confidence, bool) or not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; received {confidence!r}")
    problem = pose(law, len(codes), r)
    draws = checked_count("draws", draws, least=2)
    if codes.shape[1] != problem.dim:
        raise ValueError(f"points must have the law's dimension {problem.dim}; received shape {codes.shape}")
    c, error = measured(problem, codes, generator(seed), draws)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error if error else 0.0
    return Estimate(c.distortion, max(c.distortion - half, 0.0), c.distortion + half)


def measured(problem: Problem, codes: FloatArray, rng: np.random.Generator, draws: int = DRAWS) -> tuple[Cells, float]:
    """The cells of ``codes`` under the problem's law, and the standard error of their distortion, 0 where it is exact.

    Exact where the law is; else over so many independent draws, or the first points of one pass of a stream.
    """
    if problem.exact is not None:
        return problem.exact.cells(codes), 0.0
    sums = cells_of(_ones(problem, rng, draws), codes, problem.r)
    n = float(sums.masses.sum())
    mean, variance = sums.distortion / n, sums.variance or 0.0
    residual = stationarity(sums.gradient / n, sums.masses / n, mean, problem.r)
    c = Cells(sums.masses / n, sums.means, sums.gradient / n, mean, residual, variance)
    return c, (variance / (n - 1)) ** 0.5 if n > 1 else np.inf


def _ones(problem: Problem, rng: np.random.Generator, draws: int) -> Iterator[tuple[Array, Array]]:
    """Batches with a mass of 1 a point, ``draws`` points in all or one pass of a stream; small where d is large."""
    size = min(draws, max(1, 2**21 // problem.dim))
    for batch in problem.batches(size, rng, epochs=1 if problem.stream is not None else None):
        yield batch.points[:draws], batch.masses[:draws]
        draws -= len(batch.points)
        if draws <= 0:
            return
