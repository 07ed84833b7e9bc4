r"""On the line the barycenter among all measures has the mean of the quantile functions, $\bar Q = \sum_j \lambda_j Q_j$.

$W_2$ is a distance between quantile functions in $L^2(0, 1)$, so that $F(\nu) = F_\infty + W_2^2(\bar\nu, \nu)$ for every ν, with
$F_\infty = \sum_j \lambda_j \int (Q_j - \bar Q)^2\,du$: what is best for $\bar\nu$ is best for F. Source: agueh2011.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.laws_1d.quantile_function import MeanQuantiles, QuantileFunction, QuantileLaw, StepQuantiles, quantile_function
from quantization.laws_1d.quantile_integrals import transport_integral
from quantization.make_problem import LawLike, known_law
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status

_ROUND_OFF = 4 * np.finfo(np.float64).eps  # of levels: pieces as narrow are none


def mean_of_quantiles(
    measures: Sequence[LawLike], mixing: FloatArray
) -> tuple[DiscreteMeasure | QuantileLaw, float, float] | None:
    r"""$\bar\nu$, $F_\infty$ and how far that may be off; None where a measure is not on the line or has no quantile function."""
    parts = [quantile_function(known_law(measure, 2.0)) for measure in measures]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    steps = [part for part in known if isinstance(part, StepQuantiles)]
    return _of_steps(steps, mixing) if len(steps) == len(known) else _of_laws(known, mixing)


def _of_steps(parts: Sequence[StepQuantiles], shares: FloatArray) -> tuple[DiscreteMeasure, float, float]:
    """Atoms between the levels at which one of the measures has a step."""
    levels = np.unique(np.concatenate([part.below for part in parts]))
    levels = levels[np.append(np.diff(levels) > _ROUND_OFF, True)]
    levels[0] = 0.0
    masses = np.diff(levels)
    middles = levels[:-1] + masses / 2
    quantiles = np.stack([part.x[np.searchsorted(part.below, middles) - 1] for part in parts])
    mean = shares @ quantiles
    limit = float(shares @ (np.square(quantiles - mean) @ masses))
    scale = float(np.abs(quantiles).max())
    rounding = _ROUND_OFF * (limit + scale * limit**0.5)
    mean, place = np.unique(mean, return_inverse=True)
    return DiscreteMeasure.from_unnormalized(mean[:, None], summed_by(place, masses, len(mean))), limit, rounding


def _of_laws(parts: Sequence[QuantileFunction], shares: FloatArray) -> tuple[QuantileLaw, float, float]:
    mean = MeanQuantiles(parts, shares)
    found = transport_integral(parts, shares, mean, 2.0)
    return QuantileLaw(mean), found.value, found.error + found.rounding


@dataclass(frozen=True)
class VoronoiMasses:
    """Codes that stay where they are, with the masses of their cells: the best weights on given points for one law."""

    rtol: float = 0.0
    exhausted: ClassVar[Status] = Status.CONVERGED

    def incompatibility(self, problem: Problem) -> str | None:
        return None if problem.exact is not None else f"cells must be computed exactly; received {problem.kind}"

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert problem.exact is not None
        c = problem.exact.cells(codes)
        yield State(codes, c.masses, c.distortion, 0.0)
