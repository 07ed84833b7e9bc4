"""Starting codebooks: k-means++, random points of the law, or codes that are given. A Solution is a start too."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating, check_exact, like, namespace, range_exponent, rounded, to_host
from quantization.exact.protocol import Searchable
from quantization.exact.samples import TooFewPoints
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem, checked_count
from quantization.progress import Progress
from quantization.solution import Solution
from quantization.voronoi import distances_to_codes, on_host


class Start(Protocol):
    """``draw(problem, rng)`` returns starting codes (K, d) on the host; ``check(problem)`` raises where it can't.

    Codes may be of any real dtype: runs that begin at points are the faster begun, the less there is to convert.
    """

    def check(self, problem: Problem) -> None: ...

    def draw(self, problem: Problem, rng: np.random.Generator) -> Array: ...


@dataclass(frozen=True)
class KMeansPlusPlus:
    r"""$D^2$ sampling: each code is drawn with probability ∝ $w_i \min_j |x_i - c_j|^2$, the best of 2 + ⌊log K⌋ draws kept.

    Expected distortion within 8 (log K + 2) of the optimum for a single draw (Arthur and Vassilvitskii 2007). Above ``pool``
    points (at least 100 a code) it works on that many, drawn by weight. Of a stream it sees the first 2^14
    points (at least 64 a code).

    Raises ``ValueError`` where the law has fewer than K distinct points.
    """

    pool: int = 50_000

    def __post_init__(self) -> None:
        checked_count("KMeansPlusPlus's pool", self.pool)

    def check(self, problem: Problem) -> None:
        """Any problem will do; too few distinct points are found in drawing."""

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

    def check(self, problem: Problem) -> None:
        """Any problem will do; too few points are found in drawing."""

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        pilot = problem.pilot(rng)
        weights = to_host(pilot.masses)
        support = np.flatnonzero(weights)
        if len(support) < problem.k:
            raise TooFewPoints(problem.k, len(np.unique(to_host(pilot.points[support]), axis=0)))
        chosen = rng.choice(support, size=problem.k, replace=False, p=weights[support] / weights[support].sum())
        return to_host(pilot.points[chosen])


@dataclass(frozen=True)
class Global:
    """The best codebook that a search from afar finds: see ``search`` of the laws on the line and in the plane."""

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.exact, Searchable):
            raise ValueError(
                "Global() is for samples and laws on the line and Gaussian mixtures in the plane; "
                f"received {problem.kind} in dimension {problem.dim}. Use KMeansPlusPlus() with restarts"
            )

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        assert isinstance(problem.exact, Searchable)
        return problem.exact.search(problem.k, rng)


@dataclass(frozen=True, eq=False)
class Given:
    """These codes: (K, d), numpy or torch."""

    points: Any

    def check(self, problem: Problem) -> None:
        given = as_floating(self.points, "the start")
        codes = to_host(given)
        if codes.shape != (problem.k, problem.dim):
            raise ValueError(f"the start must have shape (k, d) = ({problem.k}, {problem.dim}); received {codes.shape}")
        check_exact(self.points, given)
        with np.errstate(over="ignore"):
            finite = np.isfinite(rounded(codes, problem.like)).all()
        if not finite:
            raise ValueError(f"the start must be finite in the law's dtype {problem.like.dtype}; received NaN or infinite codes")

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        return to_host(as_floating(self.points)).copy()


@dataclass(frozen=True, eq=False)
class Continued(Given):
    """The codes of a Solution; for a solver that can go on from it, also how far its run had come."""

    progress: Progress | None = None


def as_start(start: Any) -> Start:
    """``start`` as a :class:`Start`: itself, a Solution to go on from, or codes given as a measure or an array."""
    if isinstance(start, Solution):
        return Continued(start.measure.points, start.trace.progress)
    if isinstance(start, DiscreteMeasure):
        return Given(start.points)
    if callable(getattr(start, "draw", None)) and not isinstance(start, type):
        return start
    if hasattr(start, "__array__") or isinstance(start, list | tuple):
        return Given(start)
    received = start.__name__ + ", a class: write its brackets" if isinstance(start, type) else type(start).__name__
    raise ValueError(
        "start must be KMeansPlusPlus(), RandomPoints(), Global(), Given(points), a Solution or an array (k, d); "
        f"received {received}"
    )


def _d2_sampling(measure: DiscreteMeasure, k: int, rng: np.random.Generator) -> FloatArray:
    points, weights = measure.points, measure.masses
    if on_host(points):
        points, weights = np.asarray(points), np.asarray(weights)
    xp, exponent = namespace(points), range_exponent(points)
    if exponent:
        return _d2_sampling(DiscreteMeasure(points * 2.0**-exponent, weights), k, rng) * 2.0**exponent
    trials = 2 + int(np.log(k))
    chosen = [_by_mass(weights, rng.random(1))[0]]
    costs = distances_to_codes(points, weights, chosen[0], k * trials)
    while len(chosen) < k:
        with np.errstate(over="ignore", invalid="ignore"):
            mass = weights * costs.values
            if not bool(xp.isfinite(mass.sum())):  # squares overflowed: any of the furthest points
                mass = weights * xp.isinf(costs.values)
        if not bool((mass > 0).any()):
            raise TooFewPoints(k, len(chosen))
        candidates = _by_mass(mass, rng.random(trials))
        chosen.append(candidates[int(np.argmin(costs.after(candidates)))])
        costs.take(chosen[-1])
    return to_host(points[chosen])


def _by_mass(mass: Array, uniforms: FloatArray) -> list[int]:
    """Indices drawn with probability ∝ mass; never one of mass zero."""
    xp = namespace(mass)
    cumulative = xp.cumsum(mass, 0)
    levels = like(uniforms, mass) * cumulative[-1]
    last = int((mass > 0).nonzero()[0][-1]) if xp is np else int((mass > 0).nonzero()[-1, 0])
    drawn = xp.searchsorted(cumulative, levels, side="right")
    return [min(int(i), last) for i in to_host(drawn)]
