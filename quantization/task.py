"""What is asked of the loop, checked before any work: a problem with its solver, its start, its restarts and its budget."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantization.arrays import is_torch
from quantization.problem import Problem, checked_count, generator, pose
from quantization.registry import choose
from quantization.solver import Solver, budget
from quantization.solvers.lloyd import Lloyd
from quantization.starts import Start

_USUAL_STEPS = 20  # that a run takes at least, as a rule
IN_STEP = {"cuda"}  # devices on which all restarts, and all problems of a call, take their steps together


@dataclass(frozen=True, eq=False)
class Task:
    """A problem with its solver and start, a generator for each restart and a budget of steps."""

    problem: Problem
    solver: Solver
    start: Start
    streams: list[np.random.Generator]
    max_steps: int

    @property
    def in_step(self) -> bool:
        """Whether ``cuda.batch`` solves it: samples on a GPU by Lloyd's algorithm. On the line they have a way of their own."""
        problem = self.problem
        at_home = is_torch(problem.like) and problem.like.device.type in IN_STEP
        return at_home and problem.measure is not None and problem.dim > 1 and type(self.solver) is Lloyd


def task(law: Any, k: int, r: float, solver: Solver | None, start: Any, restarts: int, seed: Any, max_steps: int | None) -> Task:
    """The arguments of ``quantize`` as a task; ``ValueError`` for what is not one."""
    problem = pose(law, k, r)
    restarts = checked_count("restarts", restarts)
    solver, start = choose(problem, solver, start)
    max_steps = budget(solver, max_steps)
    problem = replace(problem, passes=restarts * min(max_steps, _USUAL_STEPS))
    refusal = solver.refuses(problem)
    if refusal:
        raise ValueError(refusal)
    start.check(problem)
    return Task(problem, solver, start, generator(seed).spawn(restarts), max_steps)
