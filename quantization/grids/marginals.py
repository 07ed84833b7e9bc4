"""Laws on the line with their optimal grids, each computed once; all Gaussians share those of N(0, 1)."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from quantization.arrays import FloatArray, IntArray, to_host
from quantization.iteration import solve_tasks
from quantization.laws import FrozenLaw, Gaussian, GaussianMixture
from quantization.make_problem import LawLike, known_law, make_problem
from quantization.measure import DiscreteMeasure
from quantization.solution import Solution
from quantization.task import make_task


class OptimalGrids:
    r"""The optimal grids of a law on the line, and their distortions D(n), each computed when it is first asked for.

    most: the number of its points, where it is finite. Bounds are Shannon's, $D(n) \ge e^{2h} / (2 \pi e\, n^2)$ for a law of
    differential entropy h (cover2006), 0 where h is not known.
    """

    def __init__(self, law: LawLike, entropy: float, most: int | None) -> None:
        self._law, self._most = law, most
        self._shannon = float(np.exp(2 * entropy - 1) / (2 * np.pi)) if np.isfinite(entropy) else 0.0
        self._solutions: dict[int, Solution] = {}

    def bounds(self, counts: IntArray) -> FloatArray:
        bounds = self._shannon / np.square(counts.astype(np.float64))
        for n, solution in self._solutions.items():
            bounds[counts == n if n != self._most else counts >= n] = float(solution.distortion)
        return bounds

    def distortion(self, n: int) -> float:
        return float(self.solution(n).distortion)

    def solution(self, n: int) -> Solution:
        """The optimal grid of n codes."""
        n = n if self._most is None else min(n, self._most)
        if n not in self._solutions:
            (solution,) = solve_tasks([make_task(self._law, n, 2.0, None, None, 1, 0, None)])
            self._solutions[n] = solution.require()
        return self._solutions[n]


@dataclass(frozen=True)
class Marginal:
    """The law of a coordinate, location + scale × a law whose grids are known."""

    curve: OptimalGrids
    location: float = 0.0
    scale: float = 1.0

    def grid(self, n: int) -> DiscreteMeasure:
        """Its optimal grid of n codes, in rising order; of one code where it is constant."""
        measure = self.curve.solution(n if self.scale else 1).measure
        codes, weights = to_host(measure.points)[:, 0], to_host(measure.weights_float64)
        order = np.argsort(codes)
        return DiscreteMeasure((self.location + self.scale * codes[order])[:, None], weights[order])


@cache
def standard_normal() -> OptimalGrids:
    """The grids of N(0, 1), kept as long as the process lives."""
    return OptimalGrids(Gaussian([0.0], [[1.0]]), np.log(2 * np.pi * np.e) / 2, None)


def marginal(law: LawLike, i: int) -> Marginal:
    """The law of coordinate i; ``ValueError`` for one that is not on the line, or known by sampling alone."""
    known = known_law(law, 2.0)
    if isinstance(known, GaussianMixture) and known.dim == 1 and len(known.weights) == 1:
        return Marginal(standard_normal(), float(known.means[0, 0]), float(np.sqrt(known.covs[0, 0, 0])))
    if isinstance(known, FrozenLaw) and getattr(getattr(known.distribution, "dist", None), "name", "") == "norm":
        return Marginal(standard_normal(), float(known.distribution.mean()), float(known.distribution.std()))
    problem = make_problem(law, 1, 2.0)
    if problem.dim != 1:
        raise ValueError(
            f"marginals[{i}] must be a law on the line; received one of dimension {problem.dim}. List its independent coordinates"
        )
    if problem.exact is None:
        raise ValueError(
            f"marginals[{i}] must be a law whose cells are computed exactly; received {type(law).__name__}, known by sampling "
            "alone. Give a sample (m, 1) of it, or a scipy.stats distribution"
        )
    if problem.measure is not None:
        points: FloatArray = to_host(problem.measure.points)[to_host(problem.measure.weights_float64) > 0]
        return Marginal(OptimalGrids(law, np.nan, len(np.unique(points))))
    return Marginal(OptimalGrids(law, _entropy(known), None))


def _entropy(law: object) -> float:
    """The differential entropy of a law, NaN where it is not known."""
    entropy = getattr(law.distribution, "entropy", None) if isinstance(law, FrozenLaw) else None
    with np.errstate(all="ignore"):
        return np.nan if entropy is None else float(entropy()) - 1e-6  # which scipy may have integrated
