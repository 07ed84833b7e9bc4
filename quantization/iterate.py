"""The one loop: it runs a solver's generator, applies the budget and the stopping rule, and makes the Solution."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, as_floating, like, rounded
from quantization.estimate import measured
from quantization.exact.samples import Samples
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solution import Solution, Trace
from quantization.solver import Resumable, Solver, State
from quantization.solvers.lloyd import Lloyd
from quantization.starts import Continued
from quantization.status import Status
from quantization.task import Task, task
from quantization.threads import one_thread_each, spread

_AT_ONCE, _STARTS_BYTES = 16, 2**25  # restarts that are looked at together, and what their starts may take
_BOOKS_BYTES = 2**23  # of numbers that runs hold which are begun before any is finished


def quantize(
    law: Any,
    k: int,
    *,
    r: float = 2.0,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int | None = None,
) -> Solution:
    r"""A K-point measure with small distortion $D_r(x) = E \min_k |X - x_k|^r$, its weights the masses of the Voronoi cells.

    law: an array (n, d), numpy or torch; a DiscreteMeasure; a Law; a Stream; or a frozen continuous scipy.stats distribution.
    k: codes, at most the number of distinct points. r: 2; for laws with a density on the line any order ≥ 1.
    solver: ``None`` takes Newton for densities on the line and Gaussian mixtures in the plane, Lloyd for samples, and CLVQ
    otherwise. start: ``None`` takes Global() on the line and in that plane and k-means++ otherwise; else RandomPoints(),
    Given(points), an array (k, d), or an earlier Solution.
    restarts: independent runs, the least distortion kept. seed: an int or a numpy Generator; equal seeds give equal results.
    max_steps: steps (CLVQ: mini-batches) of each run; ``None`` is 300, or as many as the solver's ``epochs`` take if it has any.

    Then $W_r(\mu, \sum_k w_k \delta_{x_k})^r = D_r(x)$: see ``Solution.distortion``, and ``Solution.status`` for how it ended.
    Raises ``ValueError`` for bad input. Source: graf2000, pages2015.
    """
    return answer(task(law, k, r, solver, start, restarts, seed, max_steps))


def iterate(
    law: Any,
    k: int,
    *,
    r: float = 2.0,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int | None = None,
) -> Iterator[Solution]:
    """The snapshots of :func:`quantize`, the start first and the answer last: ``for`` watches a solve, ``break`` stops it.

    A snapshot's status is RUNNING. Restarts follow one another, each with its own final snapshot; the best of those comes last.
    Arguments are checked at the call, before the first snapshot.
    """
    return snapshots(task(law, k, r, solver, start, restarts, seed, max_steps))


def answer(asked: Task) -> Solution:
    """The best answer of all restarts: of runs that only estimate their distortion, those that may be the best are measured."""
    if asked.in_step:
        from quantization.cuda.batch import solve

        return solve([asked])[0]
    runs: list[_Run] = []
    with _steady(asked.problem):
        lot = max(1, min(_AT_ONCE, _STARTS_BYTES // (8 * asked.problem.k * asked.problem.dim)))
        for first in range(0, len(asked.streams), lot):
            new = [_Run(asked, rng) for rng in asked.streams[first : first + lot]]
            if all(run.set_apart() for run in new):
                if _fit_together(asked.problem, len(new)):
                    spread(lambda i: new[i].begin(), len(new))  # noqa: B023  # while what they share is in the cache
                spread(lambda i: new[i].finish(), len(new))  # noqa: B023
            else:
                for run in new:
                    run.finish()
            least = min(run.highest for run in [*runs, *new])
            runs = [run for run in [*runs, *new] if not run.lowest > least]
        return _least(runs)


def _fit_together(problem: Problem, runs: int) -> bool:
    """Whether so many runs may each hold a number for every code and point at the same time."""
    return problem.measure is not None and 8 * problem.k * problem.measure.size * runs <= _BOOKS_BYTES


def _least(runs: "list[_Run]") -> Solution:
    """The best answer, the first of equals: the most promising runs are measured first, as they may leave others no chance."""
    answers: dict[int, Solution] = {}
    for i in sorted(range(len(runs)), key=lambda i: runs[i].lowest):
        if not answers or not runs[i].lowest > min(found.distortion for found in answers.values()):
            answers[i] = runs[i].answer()
    return min((answers[i] for i in sorted(answers)), key=_rank)


def snapshots(asked: Task) -> Iterator[Solution]:
    """Every snapshot of every run, each run's answer, and the best of those last."""
    best: Solution | None = None
    found: Solution | None = None
    for rng in asked.streams:
        run = _Run(asked, rng)
        run.set_apart()
        for state in run.states():
            yield run.solution(state, Status.RUNNING)
        found = run.answer()
        yield found
        if best is None or _rank(found) < _rank(best):
            best = found
    if best is not None and best is not found:
        yield best


class _Run:
    """One run of a solver: its states, what every one of them saw, and its answer."""

    def __init__(self, asked: Task, rng: np.random.Generator) -> None:
        self._problem, self._solver, self._start, self._max_steps = asked.problem, asked.solver, asked.start, asked.max_steps
        self._start_rng, self._solver_rng, self._certify_rng = rng.spawn(3)
        self._distortions, self._residuals = _Record(), _Record()
        self._state: State | None = None
        self._codes: Callable[[], FloatArray] | None = None
        self._ahead: Iterator[State] | None = None
        self._alone = len(asked.streams) == 1
        self._ended = asked.solver.exhausted

    def set_apart(self) -> bool:
        """Draws the start and parts from other runs of the problem what they would share; whether any thread may finish this one.

        To be called in the order of the runs: a start may be anybody's.
        """
        if self._alone or type(self._solver) is not Lloyd or not isinstance(self._problem.exact, Samples):
            return False
        with _steady(self._problem):
            codes = np.asarray(as_floating(self._start.draw(self._problem, self._start_rng), "starting codes"))
            begun = self._problem.apart(codes)
        if begun is None:
            kept = np.array(codes, dtype=np.float64)
            self._codes = lambda: kept
            return False
        self._problem, self._codes = begun
        return True

    def begin(self) -> None:
        """Take the first step, for :meth:`finish` to go on from."""
        self._ahead = self.states()
        next(self._ahead, None)

    def finish(self) -> None:
        """Take every step that is left."""
        deque(self._ahead or self.states(), maxlen=0)

    def states(self) -> Iterator[State]:
        """The states before the last, until the solver is done or the budget spent."""
        for state in self._steps():
            self._state = state
            self._distortions.append(state.distortion)
            self._residuals.append(state.stationarity)
            if not np.isfinite(state.distortion):
                self._ended = Status.NONFINITE
                return
            if not state.estimated and state.within(self._solver.rtol):
                return
            if self._distortions.length > self._max_steps:
                self._ended = Status.BUDGET_SPENT
                return
            yield state
        if self._state is not None and self._state.ended is not None:
            self._ended = self._state.ended
        if self._state is None:
            raise ValueError("the law gave no points: every batch was empty or of weight zero")

    def _steps(self) -> Iterator[State]:
        with _steady(self._problem):
            states = self._begun()
        while True:
            with _steady(self._problem):  # never while a caller looks at a snapshot
                state = next(states, None)
            if state is None:
                return
            yield state

    def _begun(self) -> Iterator[State]:
        start, solver = self._start, self._solver
        if isinstance(start, Continued) and start.progress is not None and isinstance(solver, Resumable):
            return solver.resume(self._problem, start.progress, self._solver_rng)
        drawn, self._codes = self._codes, None
        codes = np.asarray(start.draw(self._problem, self._start_rng), np.float64) if drawn is None else drawn()
        return solver.solve(self._problem, codes, self._solver_rng)

    @property
    def highest(self) -> float:
        """What the distortion is at most, as far as the last state knows."""
        assert self._state is not None
        value, error = self._state.distortion, self._state.distortion_rtol if self._state.estimated else 0.0
        return value * (1 + error) if np.isfinite(value) else np.inf

    @property
    def lowest(self) -> float:
        """What it is at least."""
        assert self._state is not None
        value, error = self._state.distortion, self._state.distortion_rtol if self._state.estimated else 0.0
        return value * (1 - min(error, 1.0)) if np.isfinite(value) else np.inf

    def answer(self) -> Solution:
        """The solution at the last state, certified."""
        assert self._state is not None
        state, ended = self._state, self._ended
        if ended is not Status.NONFINITE:
            with _steady(self._problem):
                state = _certified(self._problem, state, self._certify_rng)
            if state.within(self._solver.rtol):
                ended = Status.CONVERGED
        return self.solution(state, ended)

    def solution(self, state: State, status: Status) -> Solution:
        """A snapshot."""
        points = like(state.codes(), self._problem.like)
        trace = Trace(self._distortions.so_far(), self._residuals.so_far(), state.companion, state.progress)
        measure = DiscreteMeasure(points, state.weights / state.weights.sum())
        steps = len(trace.distortion) - 1
        return Solution(
            measure, state.distortion, state.distortion_se, state.stationarity, status, steps, trace, self._solver,
            state.weights_gap, state.distortion_gap, state.transport,
        )  # fmt: skip


def _steady(problem: Problem) -> AbstractContextManager[None]:
    """One thread for BLAS, as passes over samples are spread over threads themselves; a caller's sampler keeps its own."""
    return one_thread_each() if problem.measure is not None else nullcontext()


def _certified(problem: Problem, state: State, rng: np.random.Generator) -> State:
    """``state`` with its numbers measured on its codes as they will be returned, which mini-batches only estimate.

    Exactly where the law is exact (a code of no mass is moved first), else on independent draws; a stream has what it saw.
    """
    if not state.estimated or problem.stream is not None:
        return state
    if state.measure is not None:
        codes, distortion, residual = state.measure()
        return replace(state, points=codes, distortion=distortion, stationarity=residual, estimated=False)
    codes, error = rounded(state.codes(), problem.like), 0.0
    if problem.exact is not None:
        codes, c = problem.exact.occupied(codes)
    else:
        c, error = measured(problem, codes, rng)
    return replace(
        state, points=codes, weights=c.masses, distortion=c.distortion, stationarity=c.stationarity, distortion_se=error
    )


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
