"""Lloyd's algorithm on many finite measures at once, and their solutions."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch as _torch

from quantization.arrays import Array, FloatArray, like, to_host
from quantization.cuda.group import Group, Tensor, grouped
from quantization.cuda.plain import Plain
from quantization.cuda.seeding import d2_sampling
from quantization.exact.samples import TooFewPoints
from quantization.measure import DiscreteMeasure
from quantization.precision import full_precision
from quantization.solution import Solution, Trace
from quantization.starts import KMeansPlusPlus
from quantization.status import Status
from quantization.task import Task

torch: Any = _torch


class Refused(ValueError):
    """An error of one task, and which."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def solve(tasks: Sequence[Task]) -> list[Solution]:
    """What ``quantize`` answers to each task, restarts included, to round-off; problems of about one size are solved together.

    Which problems are solved together changes no answer but for round-off. Raises :class:`Refused`, the first by index of the
    group in which it was found, where a task has more codes than distinct points.
    """
    runs = [_Run(i, task, rng) for i, task in enumerate(tasks) for rng in task.streams]
    for members in grouped([run.measure for run in runs], [run.task.problem.k for run in runs]):
        some = [runs[i] for i in sorted(members)]
        device = some[0].measure.points.device
        with full_precision(str(device.type)), torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            _solve_group(some)
    best: dict[int, _Run] = {}
    for run in runs:
        if run.index not in best or run.rank() < best[run.index].rank():
            best[run.index] = run
    return [best[i].solution() for i in range(len(tasks))]


@dataclass(eq=False)
class _Run:
    """One restart of one task: its trace so far and, in the end, its codes and why it stopped."""

    index: int
    task: Task
    rng: np.random.Generator
    distortions: list[float] = field(default_factory=list[float])
    residuals: list[float] = field(default_factory=list[float])
    status: Status = Status.RUNNING
    points: Tensor = None
    masses: FloatArray = field(default_factory=lambda: np.empty(0))

    @property
    def measure(self) -> DiscreteMeasure:
        measure = self.task.problem.measure
        assert measure is not None
        return measure

    def see(self, distortion: float, residual: float) -> bool:
        """Record a codebook's numbers; whether the run ends with it, as ``iterate`` ends its own."""
        self.distortions.append(distortion)
        self.residuals.append(residual)
        if not np.isfinite(distortion):
            self.status = Status.NONFINITE
        elif residual <= self.task.solver.rtol:
            self.status = Status.CONVERGED
        elif len(self.distortions) > self.task.max_steps:
            self.status = Status.BUDGET_SPENT
        return self.status is not Status.RUNNING

    def end(self, step: "_Step", i: int) -> None:
        """Keep the codes of this step as the answer; a run that no rule has stopped is stalled."""
        k = self.task.problem.k
        self.points = step.codes[i, :k].clone()
        self.masses = to_host(step.masses[i, :k])
        if self.status is Status.RUNNING:
            self.status = self.task.solver.exhausted

    def rank(self) -> tuple[bool, float]:
        return self.status is Status.NONFINITE, self.distortions[-1]

    def solution(self) -> Solution:
        trace = Trace(np.array(self.distortions), np.array(self.residuals))
        measure = DiscreteMeasure(self.points, self.masses / self.masses.sum())
        steps = len(self.distortions) - 1
        return Solution(measure, self.distortions[-1], 0.0, self.residuals[-1], self.status, steps, trace, self.task.solver)


@dataclass(frozen=True, eq=False)
class _Step:
    """Codebooks (P, K, d) and their cells: masses (P, K), means (P, K, d), and on the host (P,) what the loop decides by."""

    codes: Tensor
    masses: Tensor
    means: Tensor
    distortion: FloatArray
    stationarity: FloatArray
    moved: FloatArray

    def take(self, rows: Sequence[int], k: int) -> "_Step":
        at = torch.tensor(list(rows), device=self.codes.device)
        codes, masses, means = (x[at, :k].contiguous() for x in (self.codes, self.masses, self.means))
        return _Step(codes, masses, means, self.distortion[rows], self.stationarity[rows], self.moved[rows])


def _solve_group(runs: list[_Run]) -> None:
    engine = engine_for(Group.of([run.measure for run in runs], [run.task.problem.k for run in runs]))
    step = _occupied(engine, runs, _started(engine, runs))
    while True:
        pairs = zip(step.distortion.tolist(), step.stationarity.tolist(), strict=True)
        ended = [run.see(distortion, residual) for run, (distortion, residual) in zip(runs, pairs, strict=True)]
        for i, run in enumerate(runs):
            if ended[i] or not step.moved[i]:
                run.end(step, i)
        engine, step, runs = _left(engine, step, runs, [i for i, run in enumerate(runs) if run.points is None])
        if not runs:
            return
        before, step = step, _occupied(engine, runs, step.means)
        for i in np.flatnonzero(step.distortion > before.distortion):
            runs[i].end(before, int(i))
        engine, step, runs = _left(engine, step, runs, [i for i, run in enumerate(runs) if run.points is None])
        if not runs:
            return


def _left(engine: Plain, step: "_Step", runs: list[_Run], going: list[int]) -> tuple[Plain, "_Step", list[_Run]]:
    """The group without the runs that have ended."""
    if len(going) in (0, len(runs)):
        return engine, step, runs if going else []
    group = engine.group.take(going)
    return engine_for(group), step.take(going, group.k), [runs[i] for i in going]


def engine_for(group: Group) -> Plain:
    """What computes for this group: fused kernels on a GPU, torch's own operations elsewhere."""
    if group.device.type == "cuda" and torch.version.hip is None and find_spec("triton") is not None:
        from quantization.cuda.fused import Fused

        if Fused.fits(group):
            return Fused(group)
    return Plain(group)


def _started(engine: Plain, runs: list[_Run]) -> Tensor:
    """The starting codes (P, K, d): by k-means++ together, other starts one by one."""
    group = engine.group
    codes = torch.zeros(group.size, group.k, group.dim, dtype=group.dtype, device=group.device)
    rngs = [run.rng.spawn(3)[0] for run in runs]
    together = [i for i, run in enumerate(runs) if _is_drawn_together(run)]
    for i in sorted(set(range(len(runs))) - set(together)):
        run = runs[i]
        codes[i, : run.task.problem.k] = like(_drawn(run, rngs[i]), codes)
    if together:
        part = engine if len(together) == group.size else engine_for(group.take(together))
        chosen, distinct = d2_sampling(part, [rngs[i] for i in together])
        for i, rows, number in zip(together, chosen, distinct, strict=True):
            k = runs[i].task.problem.k
            if number is not None:
                raise Refused(runs[i].index, str(TooFewPoints(k, number)))
            codes[i, :k] = group.points[i][rows[:k]]
    return codes


def _is_drawn_together(run: _Run) -> bool:
    """Whether the start is k-means++ on all the points."""
    start = run.task.start
    return type(start) is KMeansPlusPlus and run.measure.size <= max(start.pool, 100 * run.task.problem.k)


def _drawn(run: _Run, rng: np.random.Generator) -> Array:
    try:
        return run.task.start.draw(run.task.problem, rng)
    except ValueError as error:
        raise Refused(run.index, str(error)) from error


def _occupied(engine: Plain, runs: list[_Run], codes: Tensor) -> _Step:
    """The cells of codebooks; where one is empty, that measure's codes are mended as they are when it is alone."""
    cells = engine.cells(codes, engine.assign(codes))
    empty = ((cells.masses == 0) & engine.group.coded).any(1)
    distortion, pull, moved, mend = torch.stack([cells.costs, cells.pulls, cells.moved.double(), empty.double()]).cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(pull == 0, 0.0, np.where(distortion > 0, pull / np.sqrt(distortion), np.inf))
    step = _Step(codes, cells.masses, cells.means, distortion, residual, moved)
    for i in np.flatnonzero((mend > 0) & np.isfinite(distortion)).tolist():
        _mend(step, i, runs[i])
    return step


def _mend(step: _Step, i: int, run: _Run) -> None:
    k, exact = run.task.problem.k, run.task.problem.exact
    assert exact is not None
    try:
        codes, cells = exact.occupied(to_host(step.codes[i, :k]))
    except ValueError as error:
        raise Refused(run.index, str(error)) from error
    for whole, part in ((step.codes, codes), (step.masses, cells.masses), (step.means, cells.means)):
        whole[i, :k] = like(part, whole)
    step.distortion[i], step.stationarity[i] = cells.distortion, cells.stationarity
    step.moved[i] = float((step.means[i] != step.codes[i]).any())
