"""Starting codebooks: k-means++, random points of the law, a global search, or codes that are given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating, asarray_like, check_exact, namespace, rounded, to_host
from quantization.assignment.d2_sampling import d2_sampling
from quantization.clvq_state import CLVQState
from quantization.empirical.out_of_core import OutOfCoreSamples
from quantization.empirical.pooled_start import pooled_codes
from quantization.empirical.sparse_samples import SparseSamples
from quantization.exact_law import has_global_search
from quantization.measure import DiscreteMeasure
from quantization.problem import Initialization, Problem
from quantization.solution import Solution
from quantization.status import TooFewPoints
from quantization.validation import checked_count


@dataclass(frozen=True)
class KMeansPlusPlus:
    r"""Greedy $D^2$ sampling: codes are drawn with probability ∝ $w_i \min_j |x_i - c_j|^2$, each the best of 2 + ⌊log k⌋ draws.

    Every draw has exactly that probability, over all points: a set of points that bears the share s of the cost, however few or
    far they are, is missed by all T candidates of a draw with probability $(1 - s)^T$.

    Parameters
    ----------
    pool : int, default 50,000
        Above this many points (at least 100 a code) the best of the candidates is judged on a sample of so many, drawn in
        proportion to weights and costs. Of a law that is sampled and of a stream it sees 2^14 points (at least 64 a code). So
        it does of shards and of a stream that Lloyd reads, but further passes over all points add those that this sample
        missed: a set of points that bears the share s of the cost then is missed with probability $(1 - s)^{1024}$ at most.
    on_progress : callable, optional
        ``on_progress(drawn, k)`` is called now and then: many codes of many points take minutes to draw.

    Raises
    ------
    ValueError
        Where the law has fewer than K distinct points.

    References
    ----------
    arthur2007.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> qz.quantize(x, 5, init=qz.KMeansPlusPlus(pool=500), rng=0).converged
    True
    """

    pool: int = 50_000
    on_progress: Callable[[int, int], None] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        checked_count("KMeansPlusPlus's pool", self.pool)

    def check(self, problem: Problem) -> None:
        """Any problem will do; too few distinct points are found in drawing."""

    def on_all_points(self, problem: Problem) -> bool:
        """Whether candidates are judged on all points of a finite measure, and not on a pool of them.

        Parameters
        ----------
        problem : Problem

        Returns
        -------
        bool
        """
        return problem.measure is not None and problem.measure.size <= max(self.pool, 100 * problem.k)

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        if isinstance(problem.exact, SparseSamples):
            return problem.exact.dense(problem.exact.d2_sampling(problem.k, rng))
        if isinstance(problem.exact, OutOfCoreSamples):
            return pooled_codes(problem.exact, problem.k, problem.pilot_size, rng, self.on_progress)
        pilot = problem.pilot(rng)
        chosen = d2_sampling(pilot.points, pilot.weights_float64, problem.k, rng, pool=self.pool, on_progress=self.on_progress)
        return to_host(pilot.points[asarray_like(chosen, pilot.points, dtype=namespace(pilot.points).int64)])


@dataclass(frozen=True)
class RandomPoints:
    """K points of the law: drawn by weight without replacement from samples, K independent draws (of a sample) otherwise.

    Raises
    ------
    ValueError
        Where the law has fewer than K points of positive weight.

    Examples
    --------
    >>> import quantization as qz
    >>> start = qz.quantize([[0.0], [1.0], [2.0]], 2, init=qz.RandomPoints(), max_iter=0, rng=0)
    >>> set(start.points[:, 0].tolist()) <= {0.0, 1.0, 2.0}
    True
    """

    def check(self, problem: Problem) -> None:
        """Any problem will do; too few points are found in drawing."""

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        if isinstance(problem.exact, SparseSamples):
            return problem.exact.dense(problem.exact.random_points(problem.k, rng))
        pilot = problem.pilot(rng)
        weights = to_host(pilot.weights_float64)
        support = np.flatnonzero(weights)
        if len(support) < problem.k:
            raise TooFewPoints(problem.k, len(np.unique(to_host(pilot.points[support]), axis=0)))
        chosen = rng.choice(support, size=problem.k, replace=False, p=weights[support] / weights[support].sum())
        return to_host(pilot.points[chosen])


@dataclass(frozen=True)
class GlobalSearch:
    """The best codebook that a global search finds: a dynamic programme on the line, basin hopping in the plane.

    For samples and laws with a density on the line, and Gaussian mixtures in the plane.

    Parameters
    ----------
    exhaustive : bool, default True
        For samples on the line: whether no partition is better, however many samples there are. Otherwise many of them are put
        into bins first, which is what ``init=None`` does: within 1e-6 of the least distortion for a million samples, r = 2 and
        100 codes, in a tenth of the time.

    Raises
    ------
    ValueError
        For any other law.

    References
    ----------
    aggarwal1994.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, init=qz.GlobalSearch(), rng=0)
    >>> sorted(solution.points[:, 0].tolist())
    [0.5, 10.5]
    """

    exhaustive: bool = True

    def check(self, problem: Problem) -> None:
        if not has_global_search(problem.exact):
            raise ValueError(
                "GlobalSearch() is for samples and laws on the line and Gaussian mixtures in the plane; "
                f"received {problem.kind} in dimension {problem.dim}. Use KMeansPlusPlus() with restarts"
            )

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        assert has_global_search(problem.exact)
        return problem.exact.search(problem.k, rng, exhaustive=self.exhaustive)


@dataclass(frozen=True, eq=False)
class GivenCodes:
    """These codes: (K, d), numpy or torch."""

    points: Any

    def check(self, problem: Problem) -> None:
        given = as_floating(self.points, "init")
        codes = to_host(given)
        if codes.shape != (problem.k, problem.dim):
            raise ValueError(f"init must have shape (k, d) = ({problem.k}, {problem.dim}); received {codes.shape}")
        check_exact(self.points, given)
        with np.errstate(over="ignore"):
            finite = np.isfinite(rounded(codes, problem.like)).all()
        if not finite:
            raise ValueError(f"init must be finite in the law's dtype {problem.like.dtype}; received NaN or infinite codes")

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        return to_host(as_floating(self.points)).copy()


@dataclass(frozen=True, eq=False)
class WarmStart(GivenCodes):
    """The codes of a Solution; for a solver that can go on from it, also how far its run had come."""

    clvq_state: CLVQState | None = None


@dataclass(frozen=True, eq=False)
class CallableInit:
    """Codes that a function ``init(points, k, rng)`` makes of a finite sample (n, d) of the law."""

    function: Callable[[Array, int, np.random.Generator], Any]

    def check(self, problem: Problem) -> None:
        """What the function returns is checked when it is called."""

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        codes = GivenCodes(self.function(problem.pilot(rng).points, problem.k, rng))
        codes.check(problem)
        return codes.draw(problem, rng)


InitLike: TypeAlias = str | Initialization | Solution | DiscreteMeasure | Callable[..., Array] | Array | None
_NAMES: dict[str, Callable[[], Initialization]] = {
    "k-means++": KMeansPlusPlus,
    "random": RandomPoints,
    "global": GlobalSearch,
}


def as_initialization(init: InitLike) -> Initialization:
    """``init`` as an :class:`Initialization`: by name, itself, a Solution to go on from, codes of a measure or an array, or made
    by a function."""
    if isinstance(init, str):
        if init in _NAMES:
            return _NAMES[init]()
    elif isinstance(init, Solution):
        return WarmStart(init.measure.points, init.trace.clvq_state)
    elif isinstance(init, DiscreteMeasure):
        return GivenCodes(init.points)
    elif not isinstance(init, type):
        if callable(getattr(init, "draw", None)):
            return cast(Initialization, init)
        if hasattr(init, "__array__") or isinstance(init, list | tuple):
            return GivenCodes(init)
        if callable(init):
            return CallableInit(init)
    received = init.__name__ + ", a class: write its brackets" if isinstance(init, type) else repr(init)
    raise ValueError(
        'init must be "k-means++", "random", "global", KMeansPlusPlus(...) or another Initialization, an array (k, d), a '
        f"DiscreteMeasure, a Solution or a callable (points, k, rng); received {received}"
    )
