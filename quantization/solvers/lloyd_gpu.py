"""Lloyd's algorithm on many finite measures at once, on a GPU."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch as _torch

from quantization.arrays import Array, FloatArray, asarray_like, epsilon, to_host
from quantization.assignment.padding_groups import Group, Tensor, grouped
from quantization.assignment.torch_blocks import Plain
from quantization.assignment.torch_d2_sampling import d2_sampling
from quantization.measure import DiscreteMeasure
from quantization.precision import full_precision
from quantization.problem import Initialization, Problem
from quantization.solvers.base import Observe, ProblemError, State
from quantization.status import Status, TooFewPoints

torch: Any = _torch


def solve_together(
    problems: Sequence[Problem], inits: "Sequence[Initialization]", rngs: Sequence[np.random.Generator], observe: Observe
) -> None:
    """The states of all runs; problems of about one size take each step together.

    Which problems are solved together changes no answer but for round-off. Raises
    :class:`~quantization.solvers.base.ProblemError`, the first by number of the group in which it was found, where a problem has
    more codes than distinct points.
    """
    runs = [_Run(i, *run) for i, run in enumerate(zip(problems, inits, rngs, strict=True))]
    for members in grouped([run.measure for run in runs], [run.problem.k for run in runs]):
        some = [runs[i] for i in sorted(members)]
        device = some[0].measure.points.device
        with full_precision(str(device.type)), torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            _solve_group(some, observe)


@dataclass(eq=False)
class _Run:
    """One run of one problem, with the codes and masses of its last state, kept on the device."""

    number: int
    problem: Problem
    init: Initialization
    rng: np.random.Generator
    codes: Tensor = None
    masses: Tensor = None

    def state(self, step: "_Step", i: int) -> State:
        """What the loop sees, row i of a step; codes and masses are looked at only where they are asked for."""
        k = self.problem.k
        self.codes, self.masses = step.codes[i, :k], step.masses[i, :k]
        ended = None if step.moved[i] else Status.CONVERGED
        distortion, residual, size = float(step.distortion[i]), float(step.stationarity[i]), float(step.sizes[i])
        resolution = partial(_resolution, epsilon(step.codes), size, distortion)
        return State(
            lambda: self.codes, lambda: to_host(self.masses), distortion, residual, resolution=resolution, ended=ended
        )  # fmt: skip

    def end(self) -> None:
        """Let go of the group's codebooks, of which these codes are a part."""
        self.codes, self.masses = self.codes.clone(), self.masses.clone()

    @property
    def measure(self) -> DiscreteMeasure:
        measure = self.problem.measure
        assert measure is not None
        return measure


@dataclass(frozen=True, eq=False)
class _Step:
    """Codebooks (P, K, d) and their cells: masses (P, K), means (P, K, d), and on the host (P,) what the loop decides by.

    sizes: $\\sum_k w_k |x_k|^2$.
    """

    codes: Tensor
    masses: Tensor
    means: Tensor
    distortion: FloatArray
    stationarity: FloatArray
    moved: FloatArray
    sizes: FloatArray

    def take(self, rows: Sequence[int], k: int) -> "_Step":
        at = torch.tensor(list(rows), device=self.codes.device)
        codes, masses, means = (x[at, :k].contiguous() for x in (self.codes, self.masses, self.means))
        return _Step(codes, masses, means, self.distortion[rows], self.stationarity[rows], self.moved[rows], self.sizes[rows])


def _solve_group(runs: list[_Run], observe: Observe) -> None:
    engine = engine_for(Group.of([run.measure for run in runs], [run.problem.k for run in runs]))
    step = _relocate_empty_cells(engine, runs, _started(engine, runs))
    while runs:
        going = [i for i, run in enumerate(runs) if observe(run.number, run.state(step, i)) and step.moved[i]]
        engine, step, runs = _left(engine, step, runs, going)
        if not runs:
            return
        before, step = step, _relocate_empty_cells(engine, runs, step.means)
        engine, step, runs = _left(engine, step, runs, np.flatnonzero(step.distortion <= before.distortion).tolist())


def _left(engine: Plain, step: "_Step", runs: list[_Run], going: list[int]) -> tuple[Plain, "_Step", list[_Run]]:
    """The group without the runs that have ended."""
    for i in set(range(len(runs))) - set(going):
        runs[i].end()
    if len(going) in (0, len(runs)):
        return engine, step, runs if going else []
    group = engine.group.take(going)
    return engine_for(group), step.take(going, group.k), [runs[i] for i in going]


def engine_for(group: Group) -> Plain:
    """What computes for this group: fused kernels on a GPU, torch's own operations elsewhere."""
    if group.device.type == "cuda" and torch.version.hip is None and find_spec("triton") is not None:
        from quantization.assignment.triton_blocks import Fused

        if Fused.fits(group):
            return Fused(group)
    return Plain(group)


def _started(engine: Plain, runs: list[_Run]) -> Tensor:
    """The starting codes (P, K, d): by k-means++ together, other starts one by one."""
    group = engine.group
    codes = torch.zeros(group.size, group.k, group.dim, dtype=group.dtype, device=group.device)
    rngs = [run.rng.spawn(2)[0] for run in runs]
    together = [i for i, run in enumerate(runs) if _is_drawn_together(run)]
    for i in sorted(set(range(len(runs))) - set(together)):
        run = runs[i]
        codes[i, : run.problem.k] = asarray_like(_drawn(run, rngs[i]), codes)
    if together:
        part = engine if len(together) == group.size else engine_for(group.take(together))
        chosen, distinct = d2_sampling(part, [rngs[i] for i in together])
        for i, rows, number in zip(together, chosen, distinct, strict=True):
            k = runs[i].problem.k
            if number is not None:
                raise ProblemError(runs[i].number, str(TooFewPoints(k, number)))
            codes[i, :k] = group.points[i][rows[:k]]
    return codes


def _is_drawn_together(run: _Run) -> bool:
    """Whether the start is k-means++ on all the points."""
    on_all_points = getattr(run.init, "on_all_points", None)
    return on_all_points is not None and bool(on_all_points(run.problem))


def _drawn(run: _Run, rng: np.random.Generator) -> Array:
    try:
        return run.init.draw(run.problem, rng)
    except ValueError as error:
        raise ProblemError(run.number, str(error)) from error


def _relocate_empty_cells(engine: Plain, runs: list[_Run], codes: Tensor) -> _Step:
    """The cells of codebooks; where one is empty, that measure's codes are mended as they are when it is alone."""
    cells = engine.cells(codes, engine.assign(codes))
    empty = ((cells.masses == 0) & engine.group.coded).any(1)
    sizes = (cells.masses * torch.linalg.vector_norm(codes, dim=2, dtype=torch.float64).square()).sum(1)
    numbers = [cells.costs, cells.pulls, cells.moved.double(), sizes, empty.double()]
    distortion, pull, moved, sizes, mend = torch.stack(numbers).cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(pull == 0, 0.0, np.where(distortion > 0, pull / np.sqrt(distortion), np.inf))
    step = _Step(codes, cells.masses, cells.means, distortion, residual, moved, sizes)
    for i in np.flatnonzero((mend > 0) & np.isfinite(distortion)).tolist():
        _mend(step, i, runs[i])
    return step


def _mend(step: _Step, i: int, run: _Run) -> None:
    k, exact = run.problem.k, run.problem.exact
    assert exact is not None
    try:
        codes, cells = exact.relocate_empty_cells(to_host(step.codes[i, :k]))
    except ValueError as error:
        raise ProblemError(run.number, str(error)) from error
    for whole, part in ((step.codes, codes), (step.masses, cells.masses), (step.means, cells.means)):
        whole[i, :k] = asarray_like(part, whole)
    step.distortion[i], step.stationarity[i] = cells.distortion, cells.stationarity
    step.moved[i] = float((step.means[i] != step.codes[i]).any())


def _resolution(unit: float, size: float, distortion: float) -> float:
    r"""$(\sum_k w_k |u\, c_k|^2 / D)^{1/2}$ from the sum of $w_k |c_k|^2$, u half a unit."""
    return unit / 2 * (size / distortion) ** 0.5 if 0 < distortion < np.inf else 0.0
