"""Optimal grids of N(0, I_d), made when first asked for and kept in the user's cache folder."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantization.archive import read, write
from quantization.arrays import FloatArray, to_host
from quantization.assignment import nearest
from quantization.estimate import expected
from quantization.initialization import InitLike
from quantization.interval import Estimate
from quantization.iteration import solve_tasks
from quantization.laws import Gaussian
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.quasi_monte_carlo import QuasiMonteCarlo
from quantization.solution import Solution
from quantization.solvers.base import Solver
from quantization.solvers.clvq import CLVQ, RobbinsMonro
from quantization.solvers.lloyd import Lloyd
from quantization.task import make_task
from quantization.validation import checked_confidence, checked_count

METHOD = 2  # raised with what decides a grid, so that kept ones are made again
_FORMAT = 1  # of the files
_MOST_DIMENSIONS = 10


@dataclass(frozen=True)
class SearchEffort:
    """What is spent on one grid.

    Parameters
    ----------
    restarts : int
        Searches, where d ≥ 2. All else is for d ≥ 3.
    search, points, refine, certify : int
        Draws of a search by CLVQ; points of Lloyd's sample; draws of the refinement, and of the certificate.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.gaussian_grid(1, 4, effort=qz.SearchEffort(restarts=8), cache=False).measure.size
    4
    """

    restarts: int = 4
    search: int = 2**20
    points: int = 2**17
    refine: int = 2**21
    certify: int = 2**21

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            checked_count(name, value)


@dataclass(frozen=True, eq=False)
class GaussianGrid:
    r"""A grid of N(0, I_d) with its certificate.

    Attributes
    ----------
    measure : DiscreteMeasure
        The codes (K, d) with the masses of their cells.
    distortion : Estimate
        $E \min_k |X - x_k|^2$: both ends of its interval are the value in one and two dimensions, where cells are exact. Beyond,
        it is measured on draws that nothing else has seen, a 95 % interval.
    stationarity : float
        The residual of the codes, on up to 2^20 draws of its own where cells are not exact, as the masses are.
    method : str
        How it was found.

    Examples
    --------
    >>> import quantization as qz
    >>> grid = qz.gaussian_grid(1, 3, cache=False)
    >>> grid.measure.points.ravel().round(4).tolist(), round(float(grid.distortion), 6)
    ([-1.224, 0.0, 1.224], 0.190174)
    """

    measure: DiscreteMeasure
    distortion: Estimate
    stationarity: float
    method: str


def gaussian_grid(
    d: int, k: int, *, rng: int = 0, effort: SearchEffort | None = None, cache: str | Path | bool = True
) -> GaussianGrid:
    r"""The best K-point grid of $N(0, I_d)$ that a search finds, with a certificate; made once, then read.

    For $N(m, A A^T)$ take $A x_k + m$ with the same weights: optimal again where A is a multiple of a rotation.

    Parameters
    ----------
    d : int
        The dimension, 1 to 10.
    k : int
        The number K of codes.
    rng : int, default 0
        A seed. Equal seeds give equal grids on equal hardware.
    effort : SearchEffort, optional
        What is spent.
    cache : bool, str or Path, default True
        The folder in which grids are kept; ``True`` is the user's cache folder, ``False`` keeps nothing.

    Returns
    -------
    GaussianGrid

    Raises
    ------
    ValueError
        For d above 10, and a seed that is no integer.

    Notes
    -----
    On the line and in the plane by exact cells; in the plane the best of several searches. From three dimensions on several
    searches by CLVQ with large steps, each polished by Lloyd on a randomized quasi-Monte Carlo sample, the best refined by Lloyd
    and by averaged CLVQ: a stationary grid with a certificate of its own distortion, which says nothing of others. With the
    usual effort, milliseconds on the line; in the plane 1 s for ten codes, 15 s for a hundred; beyond 15 to 90 s up to a
    hundred codes (two cores).

    A kept file says the version of the method and the effort; one of others, or one that is damaged, is made again.

    References
    ----------
    pages2015.

    Examples
    --------
    >>> import quantization as qz
    >>> grid = qz.gaussian_grid(2, 3, cache=False)  # 2 − 27/(8π)
    >>> round(float(grid.distortion), 9)
    0.925704134
    """
    d, k = checked_count("d", d, most=_MOST_DIMENSIONS), checked_count("k", k)
    seed, effort = checked_count("rng", rng, least=0), effort or SearchEffort()
    folder = _cache_folder() if cache is True else Path(cache) if cache else None  # None keeps nothing, as False does
    if folder is None:
        return find_grid(d, k, effort, seed)
    made_of = np.array([_FORMAT, METHOD, d, k, seed, *asdict(effort).values()])
    path = folder / f"gaussian-d{d}-k{k}-seed{seed}.npz"
    kept = _kept(path, made_of)
    if kept is not None:
        return kept
    grid = find_grid(d, k, effort, seed)
    certificate = np.array([*asdict(grid.distortion).values(), grid.stationarity])
    content = {"made_of": made_of, "certificate": certificate, "method": np.array(grid.method)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(path, {**content, "points": grid.measure.points, "weights": grid.measure.weights})
    except OSError as error:
        warnings.warn(f"the grid can't be kept in {folder}, and will be made again: {error}. Give cache=FOLDER", stacklevel=2)
    return grid


def find_grid(
    d: int, k: int, effort: SearchEffort, seed: int = 0, confidence: float = 0.95, say: Callable[[str], None] = lambda stage: None
) -> GaussianGrid:
    """The best grid that this effort finds; ``say`` is told what is being done."""
    law, seeds, confidence = Gaussian(np.zeros(d), np.eye(d)), np.random.default_rng([seed, d, k]), checked_confidence(confidence)
    if d <= 2:
        say("solving")
        solution = _solved(law, k, n_init=effort.restarts if d == 2 else 1, rng=seeds, max_iter=2000)
        return GaussianGrid(
            solution.measure, _distortion(law, solution, effort.certify, seeds), solution.stationarity, repr(solution.solver)
        )
    even = QuasiMonteCarlo(law)
    sample = to_host(even.sample(effort.points, seeds))
    candidates = list[Solution]()
    for i in range(effort.restarts):
        say(f"search {i + 1} of {effort.restarts}")
        candidates.append(_searched(law, sample, k, effort, seeds))
    judge = int(seeds.integers(2**31)), max(effort.certify // 8, 16)
    best = _least(even, candidates, *judge)
    say("refining")
    best = _least(even, [best, *_refined(even, sample, best, effort, seeds)], *judge)
    say("certifying")
    certificate = _distortion(even, best, effort.certify, seeds, confidence)
    exact = make_problem(even.sample(min(effort.certify, 2**20), seeds), k, 2.0).exact
    assert exact is not None  # as of every sample
    codes = to_host(best.points)
    c = exact.cells(codes)
    measure = DiscreteMeasure.from_unnormalized(codes, c.masses)
    return GaussianGrid(measure, certificate, c.stationarity, "CLVQ, Lloyd, averaged CLVQ on scrambled Sobol points")


def _solved(
    law: LawLike, k: int, *, init: InitLike = None, solver: Solver | None = None, n_init: int = 1, rng: Any = 0,
    max_iter: int | None = None,
) -> Solution:  # fmt: skip
    return solve_tasks([make_task(law, k, 2.0, solver, init, n_init, rng, max_iter)])[0]


def _distortion(law: Any, solution: Solution, draws: int, rng: Any, confidence: float = 0.95) -> Estimate:
    codes = to_host(solution.points)
    problem = make_problem(law, len(codes), 2.0)
    if problem.exact is not None:
        value = problem.exact.cells(codes).distortion
        return Estimate(value, value, value)
    return expected(problem, lambda x: to_host(nearest(x, codes).squared), np.random.default_rng(rng), draws, confidence)


def _searched(law: Any, sample: FloatArray, k: int, effort: SearchEffort, rng: np.random.Generator) -> Solution:
    """CLVQ from k-means++ with steps of about K/2, then Lloyd for as long as it falls quickly."""
    schedule, batch = RobbinsMonro(scale=max(k / 2, 1.0), exponent=0.75, horizon=100), 256
    found = _solved(law, k, solver=CLVQ(batch=batch, schedule=schedule), rng=rng, max_iter=max(effort.search // batch, 1))
    return _solved(sample[: 2**16], k, init=found, solver=Lloyd(rtol=1e-4), max_iter=30)


def _refined(
    even: QuasiMonteCarlo, sample: FloatArray, best: Solution, effort: SearchEffort, rng: np.random.Generator
) -> Iterator[Solution]:
    """Lloyd to the end on the whole sample, and averaged CLVQ from there, which knows no sample."""
    k, batch = best.measure.size, 4096
    polished = _solved(sample, k, init=best, solver=Lloyd(rtol=1e-5), max_iter=200)
    yield polished
    for scale in (k / 32, k / 8):
        schedule = RobbinsMonro(scale=scale, exponent=0.75, horizon=50)
        steps = max(effort.refine // batch, 1)
        yield _solved(even, k, init=polished, solver=CLVQ(batch=batch, schedule=schedule), rng=rng, max_iter=steps)


def _least(even: QuasiMonteCarlo, candidates: list[Solution], seed: int, draws: int) -> Solution:
    """The candidate of the least distortion, all on the same draws, so that their differences are far better known than they."""
    return min(candidates, key=lambda s: _distortion(even, s, draws, seed).value)


def _cache_folder() -> Path | None:
    """The user's cache folder for this package; None, with a warning, where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        usual = Path(given) if given else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError as error:
        warnings.warn(f"grids are not kept: {error} Give cache=FOLDER, or set XDG_CACHE_HOME", stacklevel=3)
        return None
    return usual / "optimal-quantization"


def _kept(path: Path, made_of: np.ndarray) -> GaussianGrid | None:
    """The grid of a file, if it is whole and made of the same."""
    try:
        held = read(path, "grid", ("made_of", "certificate", "method", "points", "weights"))
        k, d = int(made_of[3]), int(made_of[2])
        whole = held["certificate"].shape == (5,) and held["points"].shape == (k, d) and held["weights"].shape == (k,)
        if not (whole and np.array_equal(held["made_of"], made_of) and np.isfinite(held["certificate"]).all()):
            return None
        value, low, high, error, residual = map(float, held["certificate"])
        measure = DiscreteMeasure(held["points"], held["weights"])
        return GaussianGrid(measure, Estimate(value, low, high, error), residual, str(held["method"]))
    except (OSError, ValueError):
        return None
