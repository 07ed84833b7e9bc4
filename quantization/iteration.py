"""The one loop: it takes the states of a solver, applies the budget and the stopping rule, and makes the Solution."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Lock

import numpy as np

from quantization.arrays import FloatArray, asarray_like, is_torch, rounded, to_host
from quantization.estimate import measured
from quantization.gradients import differentiable_distortion
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solution import Solution, Trace
from quantization.solvers.base import State, Task, begin, solve_one, solves_batches
from quantization.status import Status
from quantization.threads import limit_blas_threads


def solve_tasks(tasks: Sequence[Task]) -> list[Solution]:
    """The best answer to each task, all of them of one solver: of its runs, those that may be the best are measured.

    Raises :class:`~quantization.solvers.base.ProblemError`, which names a run, where a solver of batches finds one that has no
    answer.
    """
    owners = [i for i, task in enumerate(tasks) for _ in task.rngs]
    runs = [_Run(task, rng, i) for i, (task, rng) in enumerate((task, rng) for task in tasks for rng in task.rngs)]
    best = [_Best() for _ in tasks]

    def observe(run: int, state: State) -> bool:
        if runs[run].observe(state):
            return True
        best[owners[run]].add(runs[run])
        return False

    solver = tasks[0].solver
    with _blas_threads(tasks[0].problem):
        problems, inits = [tasks[i].problem for i in owners], [tasks[i].init for i in owners]
        if solves_batches(solver):
            solver.solve_batch(problems, inits, [run.rng for run in runs], observe)
        else:
            for i, run in enumerate(runs):
                solve_one(solver, problems[i], inits[i], run.rng, i, observe)
        for i, run in zip(owners, runs, strict=True):
            run.close()
            best[i].add(run)
        answers = [candidates.answer() for candidates in best]
    return [_differentiable(answer, task.problem) for answer, task in zip(answers, tasks, strict=True)]


def snapshots(task: Task) -> Iterator[Solution]:
    """Every snapshot of every run, each run's answer, and the best of those last."""
    best: Solution | None = None
    found: Solution | None = None
    for rng in task.rngs:
        run = _Run(task, rng)
        for state in run.states(task):
            yield run.solution(state, Status.RUNNING)
        found = run.answer()
        yield found
        if best is None or _rank(found) < _rank(best):
            best = found
    if best is not None and best is not found:
        yield best


def _differentiable(answer: Solution, problem: Problem) -> Solution:
    """The answer, its distortion a tensor where the samples require a gradient."""
    if problem.measure is None or not problem.measure.requires_grad:
        return answer
    found = answer.distortion, problem.measure, answer.points, problem.r, answer.sparse_plan, answer.prices
    distortion = differentiable_distortion(*found)
    return replace(answer, distortion=distortion)


class _Run:
    """One run of a solver: what its states said, why it ended, and its answer."""

    def __init__(self, task: Task, rng: np.random.Generator, number: int = 0) -> None:
        self.problem, self.solver, self.rng, self.number = task.problem, task.solver, rng, number
        self._max_iter = task.max_iter
        self._distortions, self._residuals = _GrowingArray(), _GrowingArray()
        self.state: State | None = None
        self.status = Status.RUNNING

    def observe(self, state: State) -> bool:
        """Record a state; whether the run goes on: here the stopping rule (``State.within``) and the budget are applied."""
        if state.estimated and (state.measure or state.finish) and state.within(self.solver.rtol):
            state = _measured_state(self.problem, state, self.rng)
        self.state = state
        self._distortions.append(state.distortion)
        self._residuals.append(state.stationarity)
        if not np.isfinite(state.distortion):
            self.status = Status.NONFINITE
        elif not state.estimated and state.within(self.solver.rtol):
            self.status = Status.CONVERGED
        elif state.ended is not None:
            self.status = state.ended
        elif self._distortions.length > self._max_iter:
            self.status = Status.BUDGET_SPENT
        return self.status is Status.RUNNING

    def close(self) -> None:
        """The solver has no further state."""
        if self.state is None and self._distortions.length == 0:
            raise ValueError("the law gave no points: every batch was empty or of weight zero")
        if self.status is Status.RUNNING:
            self.status = self.solver.exhausted

    def states(self, task: Task) -> Iterator[State]:
        """The states before the last, until the solver is done or the budget spent; other threads' BLAS is left alone between."""
        with _blas_threads(self.problem):
            states = begin(self.solver, self.problem, task.init, self.rng)
        while True:
            with _blas_threads(self.problem):
                state = next(states, None)
            if state is None or not self.observe(state):
                self.close()
                return
            yield state

    def bounds(self) -> tuple[float, float]:
        """What the distortion is at least and at most, as far as the last state knows."""
        assert self.state is not None
        value, error = self.state.distortion, self.state.distortion_rtol if self.state.estimated else 0.0
        return (value * (1 - min(error, 1.0)), value * (1 + error)) if np.isfinite(value) else (np.inf, np.inf)

    def answer(self) -> Solution:
        """The solution at the last state, its numbers measured."""
        assert self.state is not None
        state, status = self.state, self.status
        if status is not Status.NONFINITE:
            with _blas_threads(self.problem):
                state = _measured_state(self.problem, state, self.rng.spawn(1)[0])
            if state.within(self.solver.rtol):
                status = Status.CONVERGED
        return self.solution(state, status)

    def solution(self, state: State, status: Status) -> Solution:
        """A snapshot."""
        codes, masses = state.codes(), state.masses()
        points = codes if is_torch(codes) else asarray_like(codes, self.problem.like)
        trace = Trace(self._distortions.so_far(), self._residuals.so_far(), state.companion, state.clvq_state)
        return Solution(
            measure=DiscreteMeasure(points, masses / masses.sum() if self.problem.masses is None else masses),
            distortion=state.distortion,
            distortion_se=state.distortion_se,
            stationarity=state.stationarity,
            status=status,
            n_iter=len(trace.distortion) - 1,
            trace=trace,
            solver=self.solver,
            masses_gap=float(state.masses_gap),
            distortion_gap=state.distortion_gap,
            transport=state.transport,
            prices=state.prices,
            sparse_plan=state.sparse_plan,
        )


class _Best:
    """The runs of one task that may still have the least distortion; runs may end in several threads."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}
        self._lock = Lock()

    def add(self, run: _Run) -> None:
        """Keep a run that has ended, unless another is better for certain."""
        with self._lock:
            self._runs[run.number] = run
            least = min(kept.bounds()[1] for kept in self._runs.values())
            self._runs = {i: kept for i, kept in self._runs.items() if not kept.bounds()[0] > least}

    def answer(self) -> Solution:
        """The best answer, the first of equals; the most promising run is measured first, as it may leave others no chance."""
        answers: dict[int, Solution] = {}
        for i, run in sorted(self._runs.items(), key=lambda item: (item[1].bounds()[0], item[0])):
            if not answers or not run.bounds()[0] > min(found.distortion for found in answers.values()):
                answers[i] = run.answer()
        return min((answers[i] for i in sorted(answers)), key=_rank)


def _blas_threads(problem: Problem) -> AbstractContextManager[None]:
    """One thread for BLAS: passes over samples have threads of their own, other cells small matrices; a sampler keeps its own."""
    return limit_blas_threads() if problem.exact is not None else nullcontext()


def _measured_state(problem: Problem, state: State, rng: np.random.Generator) -> State:
    """``state`` with its numbers measured on its codes as they will be returned, which mini-batches only estimate.

    Exactly where the law is exact (a code of no mass is moved first), else on independent draws; a stream has what it saw.
    """
    if not state.estimated or problem.stream is not None:
        return state
    if state.finish is not None:
        return state.finish()
    if state.measure is not None:
        codes, distortion, residual = state.measure()
        return replace(state, points=codes, distortion=distortion, stationarity=residual, estimated=False)
    codes, error = rounded(to_host(state.codes()), problem.like), 0.0
    if problem.exact is not None:
        codes, c = problem.exact.relocate_empty_cells(codes)
    else:
        c, error = measured(problem, codes, rng)
    return replace(
        state, points=codes, weights=c.masses, distortion=c.distortion, stationarity=c.stationarity, distortion_se=error
    )


def _rank(solution: Solution) -> tuple[bool, float]:
    """The order of restarts: by distortion, those that broke down last."""
    return solution.status is Status.NONFINITE, solution.distortion


class _GrowingArray:
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
