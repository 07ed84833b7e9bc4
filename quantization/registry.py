"""Which solver and start a problem gets when none is named: one table, first match wins."""

from collections.abc import Callable
from typing import Any

from quantization.exact.protocol import Searchable, Smooth
from quantization.problem import Problem
from quantization.solver import Solver
from quantization.solvers.clvq import CLVQ
from quantization.solvers.lloyd import Lloyd
from quantization.solvers.newton import Newton
from quantization.starts import Global, KMeansPlusPlus, Start, as_start

_CHOICES: list[tuple[Callable[[Problem], bool], Solver, Start]] = [
    (lambda problem: isinstance(problem.exact, Smooth) and isinstance(problem.exact, Searchable), Newton(), Global()),
    (lambda problem: isinstance(problem.exact, Searchable), Lloyd(), Global()),
    (lambda problem: problem.exact is not None, Lloyd(), KMeansPlusPlus()),
    (lambda problem: True, CLVQ(), KMeansPlusPlus()),
]


def choose(problem: Problem, solver: Solver | None, start: Any) -> tuple[Solver, Start]:
    """The solver and the start asked for, those of the table where ``None``."""
    usual_solver, usual_start = next((s, b) for fits, s, b in _CHOICES if fits(problem))
    if solver is not None and (isinstance(solver, type) or not callable(getattr(solver, "solve", None))):
        raise ValueError(f"solver must be Lloyd(...), Newton(...) or CLVQ(...); received {solver!r}")
    return usual_solver if solver is None else solver, usual_start if start is None else as_start(start)
