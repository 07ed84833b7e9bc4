"""Starting codebooks: k-means++, random points of the law, or codes that are given. A Solution is a start too."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating, double, like, namespace, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solution import Solution
from quantization.voronoi import squared_distances


class Start(Protocol):
    """``draw(problem, rng)`` returns starting codes (K, d) on the host."""

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray: ...


@dataclass(frozen=True)
class KMeansPlusPlus:
    r"""$D^2$ sampling: each code is drawn with probability ∝ $w_i \min_j |x_i - c_j|^2$, the best of 2 + ⌊log K⌋ draws kept.

    Expected distortion within 8 (log K + 2) of the optimum for a single draw (Arthur and Vassilvitskii 2007). Above ``pool`` points
    (at least 100 a code) it works on that many, drawn by weight.

    Raises ``ValueError`` where the law has fewer than K distinct points.
    """

    pool: int = 50_000

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        pilot, k = problem.pilot(rng), problem.k
        pool = max(self.pool, 100 * k)
        if pilot.size > pool:
            try:
                return _d2_sampling(DiscreteMeasure(pilot.sample(pool, rng)), k, rng)
            except ValueError:
                pass  # too few distinct points in the draw; all of them decide
        return _d2_sampling(pilot, k, rng)


@dataclass(frozen=True)
class RandomPoints:
    """K points of the law: drawn by weight without replacement from samples, K independent draws (of a sample) otherwise."""

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        pilot = problem.pilot(rng)
        weights = to_host(pilot.weights)
        support = np.flatnonzero(weights)
        if len(support) < problem.k:
            raise too_few_points(problem.k, len(support))
        chosen = rng.choice(support, size=problem.k, replace=False, p=weights[support] / weights[support].sum())
        return to_host(pilot.points[chosen])


@dataclass(frozen=True, eq=False)
class Given:
    """These codes: (K, d), numpy or torch."""

    points: Any

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        codes = to_host(as_floating(self.points))
        if codes.shape != (problem.k, problem.dim):
            raise ValueError(f"the start must have shape (k, d) = ({problem.k}, {problem.dim}); received {codes.shape}")
        if not np.isfinite(codes).all():
            raise ValueError("the start must be finite; received NaN or infinite codes")
        return codes


def as_start(start: Any) -> Start:
    """``start`` as a :class:`Start`: itself, a Solution's codes, or codes given as an array."""
    if isinstance(start, Solution):
        return Given(start.measure.points)
    if isinstance(start, DiscreteMeasure):
        return Given(start.points)
    if callable(getattr(start, "draw", None)):
        return start
    if hasattr(start, "__array__") or isinstance(start, list | tuple):
        return Given(start)
    raise ValueError(
        f"start must be KMeansPlusPlus(), RandomPoints(), Given(points), a Solution or an array (k, d); received {type(start).__name__}"
    )


def too_few_points(k: int, distinct: int) -> ValueError:
    """The error for more codes than distinct points of positive weight."""
    return ValueError(
        f"k = {k} codes need at least {k} distinct points of positive weight; received {distinct}. Lower k to {distinct} or less"
    )


def _d2_sampling(measure: DiscreteMeasure, k: int, rng: np.random.Generator) -> FloatArray:
    points, weights, xp = measure.points, double(measure.weights), namespace(measure.points)
    trials = 2 + int(np.log(k))
    chosen = [_by_mass(weights, rng.random(1))[0]]
    costs = squared_distances(points, points[chosen[0]])
    while len(chosen) < k:
        mass = weights * costs
        if not bool((mass > 0).any()):
            raise too_few_points(k, len(chosen))
        candidates = _by_mass(mass, rng.random(trials))
        trial_costs = [xp.minimum(costs, squared_distances(points, points[i])) for i in candidates]
        best = min(range(trials), key=lambda t: float(weights @ trial_costs[t]))
        chosen.append(candidates[best])
        costs = trial_costs[best]
    return to_host(points[chosen])


def _by_mass(mass: Array, uniforms: FloatArray) -> list[int]:
    """Indices drawn with probability ∝ mass; never one of mass zero."""
    xp = namespace(mass)
    cumulative = xp.cumsum(mass, 0)
    levels = like(uniforms, mass) * cumulative[-1]
    last = int((mass > 0).nonzero()[0][-1]) if xp is np else int((mass > 0).nonzero()[-1, 0])
    drawn = xp.searchsorted(cumulative, levels, side="right")
    return [min(int(i), last) for i in drawn]
