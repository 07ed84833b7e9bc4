"""The one loop: it runs a solver's generator, applies the budget and the stopping rule, and makes the Solution."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantization.arrays import like
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem, Solver, checked_count, pose
from quantization.registry import choose
from quantization.solution import Solution, State, Status, Trace
from quantization.starts import Start


def quantize(
    law: Any,
    k: int,
    *,
    r: float = 2.0,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int = 300,
) -> Solution:
    r"""A K-point measure with small distortion $D_r(x) = E \min_k |X - x_k|^r$, its weights the masses of the Voronoi cells.

    law: an array (n, d), numpy or torch; a DiscreteMeasure; a Law; a Stream; or a frozen continuous scipy.stats distribution.
    k: codes, at most the number of distinct points. solver: ``None`` takes Lloyd for samples and CLVQ otherwise.
    start: ``None`` takes k-means++; else RandomPoints(), Given(points), an array (k, d), or an earlier Solution.
    restarts: independent runs, the least distortion kept. seed: an int or a numpy Generator; equal seeds give equal results.
    max_steps: steps (CLVQ: mini-batches) of each run.

    Then $W_r(\mu, \sum_k w_k \delta_{x_k})^r = D_r(x)$: see ``Solution.distortion``, and ``Solution.status`` for how it ended.
    Raises ``ValueError`` for bad input. Source: graf2000, pages2015.
    """
    answer: Solution | None = None
    for answer in iterate(law, k, r=r, solver=solver, start=start, restarts=restarts, seed=seed, max_steps=max_steps):
        pass
    assert answer is not None
    return answer


def iterate(
    law: Any,
    k: int,
    *,
    r: float = 2.0,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int = 300,
) -> Iterator[Solution]:
    """The snapshots of :func:`quantize`, the start first and the answer last: ``for`` watches a solve, ``break`` stops it.

    A snapshot's status is RUNNING. Restarts follow one another, each with its own final snapshot; the best of those comes last.
    Arguments are checked at the call, before the first snapshot.
    """
    problem = pose(law, k, r)
    restarts, max_steps = checked_count("restarts", restarts), checked_count("max_steps", max_steps, least=0)
    solver, start = choose(problem, solver, start)
    refusal = solver.refuses(problem)
    if refusal:
        raise ValueError(refusal)
    streams = _generator(seed).spawn(restarts)
    return _restarted(problem, solver, start, streams, max_steps)


def _restarted(
    problem: Problem, solver: Solver, start: Start, streams: list[np.random.Generator], max_steps: int
) -> Iterator[Solution]:
    best: Solution | None = None
    snapshot: Solution | None = None
    for rng in streams:
        for snapshot in _run(problem, solver, start, rng, max_steps):
            yield snapshot
        if snapshot is not None and (best is None or snapshot.distortion < best.distortion):
            best = snapshot
    if best is not None and best is not snapshot:
        yield best


def _run(problem: Problem, solver: Solver, start: Start, rng: np.random.Generator, max_steps: int) -> Iterator[Solution]:
    start_rng, solver_rng, certify_rng = rng.spawn(3)
    distortions: list[float] = []
    residuals: list[float] = []

    def solution(state: State, status: Status) -> Solution:
        points = like(state.points, problem.like)
        trace = Trace(np.array(distortions), np.array(residuals), state.companion)
        measure = DiscreteMeasure(points, state.weights / state.weights.sum())
        return Solution(
            measure, state.distortion, state.distortion_se, state.stationarity, status, len(distortions) - 1, trace, solver
        )

    state: State | None = None
    ended = solver.exhausted
    for state in solver.solve(problem, start.draw(problem, start_rng), solver_rng):
        distortions.append(state.distortion)
        residuals.append(state.stationarity)
        if not np.isfinite(state.distortion):
            ended = Status.NONFINITE
            break
        if not state.estimated and _within(state, solver.rtol):
            break
        if len(distortions) > max_steps:
            ended = Status.BUDGET_SPENT
            break
        yield solution(state, Status.RUNNING)
    if state is None:
        raise ValueError("the law gave no points: every batch was empty or of weight zero")
    state = problem.certify(state, certify_rng)
    if ended is not Status.NONFINITE and _within(state, solver.rtol):
        ended = Status.CONVERGED
    yield solution(state, ended)


def _within(state: State, rtol: float) -> bool:
    """Whether the residual is within the tolerance; a tolerance of zero is met by an exact fixed point alone."""
    return state.stationarity <= rtol


def _generator(seed: int | np.random.Generator) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer ≥ 0 or a numpy Generator; received {seed!r}")
    return np.random.default_rng(int(seed))
