"""The one loop: it runs a solver's generator, applies the budget and the stopping rule, and makes the Solution."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, like, rounded
from quantization.estimate import measured
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem, checked_count, generator, pose
from quantization.registry import choose
from quantization.solution import Solution, Trace
from quantization.solver import Solver, State, Status
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
    return deque(_begun(law, k, r, solver, start, restarts, seed, max_steps, watched=False), maxlen=1)[0]


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
    return _begun(law, k, r, solver, start, restarts, seed, max_steps, watched=True)


def _begun(
    law: Any, k: int, r: float, solver: Solver | None, start: Any, restarts: int, seed: Any, max_steps: int, *, watched: bool
) -> Iterator[Solution]:
    problem = pose(law, k, r)
    restarts, max_steps = checked_count("restarts", restarts), checked_count("max_steps", max_steps, least=0)
    solver, start = choose(problem, solver, start)
    refusal = solver.refuses(problem)
    if refusal:
        raise ValueError(refusal)
    start.check(problem)
    streams = generator(seed).spawn(restarts)
    return _restarted(problem, solver, start, streams, max_steps, watched)


def _restarted(
    problem: Problem, solver: Solver, start: Start, streams: list[np.random.Generator], max_steps: int, watched: bool
) -> Iterator[Solution]:
    best: Solution | None = None
    snapshot: Solution | None = None
    for rng in streams:
        for snapshot in _run(problem, solver, start, rng, max_steps, watched):
            yield snapshot
        if snapshot is not None and (best is None or _rank(snapshot) < _rank(best)):
            best = snapshot
    if best is not None and best is not snapshot:
        yield best


def _run(
    problem: Problem, solver: Solver, start: Start, rng: np.random.Generator, max_steps: int, watched: bool
) -> Iterator[Solution]:
    """The snapshots of one run, or where none are watched, its answer alone."""
    start_rng, solver_rng, certify_rng = rng.spawn(3)
    distortions, residuals = _Record(), _Record()

    def solution(state: State, status: Status) -> Solution:
        points = like(state.points, problem.like)
        trace = Trace(distortions.so_far(), residuals.so_far(), state.companion)
        measure = DiscreteMeasure(points, state.weights / state.weights.sum())
        steps = len(trace.distortion) - 1
        return Solution(measure, state.distortion, state.distortion_se, state.stationarity, status, steps, trace, solver)

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
        if distortions.length > max_steps:
            ended = Status.BUDGET_SPENT
            break
        if watched:
            yield solution(state, Status.RUNNING)
    if state is None:
        raise ValueError("the law gave no points: every batch was empty or of weight zero")
    if ended is not Status.NONFINITE:
        state = _certified(problem, state, certify_rng)
    if ended is not Status.NONFINITE and _within(state, solver.rtol):
        ended = Status.CONVERGED
    yield solution(state, ended)


def _certified(problem: Problem, state: State, rng: np.random.Generator) -> State:
    """``state`` with its numbers measured on its codes as they will be returned, which mini-batches only estimate.

    Exactly where the law is exact (a code of no mass is moved first), else on independent draws; a stream has what it saw.
    """
    if not state.estimated or problem.stream is not None:
        return state
    codes, error = rounded(state.points, problem.like), 0.0
    if problem.exact is not None:
        codes, c = problem.exact.occupied(codes)
    else:
        c, error = measured(problem, codes, rng)
    return replace(
        state, points=codes, weights=c.masses, distortion=c.distortion, stationarity=c.stationarity, distortion_se=error
    )


def _within(state: State, rtol: float) -> bool:
    """Whether the residual is within the tolerance; a tolerance of zero is met by an exact fixed point alone."""
    return state.stationarity <= rtol


def _rank(solution: Solution) -> tuple[bool, float]:
    """The order of restarts: by distortion, those that broke down last."""
    return solution.status is Status.NONFINITE, solution.distortion


class _Record:
    """A growing row of numbers, whose beginnings are shared by the snapshots so that watching a long run stays cheap."""

    def __init__(self) -> None:
        self._values = np.empty(64)
        self.length = 0

    def append(self, value: float) -> None:
        if self.length == len(self._values):
            self._values = np.concatenate([self._values, np.empty(self.length)])
        self._values[self.length] = value
        self.length += 1

    def so_far(self) -> FloatArray:
        values = self._values[: self.length]
        values.flags.writeable = False
        return values
