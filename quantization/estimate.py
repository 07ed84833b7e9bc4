"""The distortion of a codebook: exact on samples, with a confidence interval on laws known by sampling."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from quantization.arrays import as_floating, double, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import checked_count, pose
from quantization.voronoi import cells


@dataclass(frozen=True)
class Estimate:
    """A value and a confidence interval around it; low = value = high where it is exact."""

    value: float
    low: float
    high: float


def distortion(law: Any, points: Any, *, r: float = 2.0, confidence: float = 0.95, draws: int = 2**17, seed: int = 0) -> Estimate:
    r"""$D_r(x) = E \min_k |X - x_k|^r$: no factor ½, no root, summed over coordinates.

    law: as for :func:`quantization.quantize`. points: (K, d). Exact (to float64 round-off) for an array or a DiscreteMeasure. For other laws the mean over
    ``draws`` independent draws, for a stream over one pass of at most so many points, with the normal interval of the given
    confidence.
    """
    codes = DiscreteMeasure(points).points
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; received {confidence!r}")
    problem = pose(law, int(codes.shape[0]), r)
    draws = checked_count("draws", draws, least=2)
    if codes.shape[1] != problem.dim:
        raise ValueError(f"points must have the law's dimension {problem.dim}; received shape {tuple(codes.shape)}")
    host = to_host(as_floating(codes))
    if problem.measure is not None:
        value = cells(problem.measure.points, double(problem.measure.weights), host, problem.r).distortion
        return Estimate(value, value, value)
    total = squares = 0.0
    seen = 0
    for batch in problem.batches(min(draws, 2**14), np.random.default_rng(seed), epochs=1):
        c = cells(batch.points, batch.masses, host, problem.r)
        total, squares, seen = total + c.distortion, squares + c.second_moment, seen + len(batch.points)
        if seen >= draws:
            break
    value = total / seen
    half = NormalDist().inv_cdf((1 + confidence) / 2) * (max(squares / seen - value**2, 0.0) / max(seen - 1, 1)) ** 0.5
    return Estimate(value, max(value - half, 0.0), value + half)
