"""What a solver is: one generator of states, and why it may stop."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol

import numpy as np

from quantization.arrays import FloatArray
from quantization.problem import Problem


class Status(Enum):
    """Why a solver stopped; the value is the sentence to show."""

    RUNNING = "The solver is still running; this is a snapshot."
    CONVERGED = "The stationarity residual is within the requested tolerance."
    STALLED = "No further descent is possible in floating point, yet the stationarity residual is above the tolerance."
    BUDGET_SPENT = "The budget of steps was spent before the stationarity residual reached the tolerance."
    NONFINITE = "The distortion became NaN or infinite; scale the data down."


@dataclass(frozen=True)
class State:
    """A solver's codebook after some steps, with what the step itself measured of it, on the host.

    estimated: whether the numbers come from mini-batches; the loop then measures the last codebook afresh if the law allows it.
    companion: the running companion weights of a stochastic solver.
    """

    points: FloatArray
    weights: FloatArray
    distortion: float
    stationarity: float
    distortion_se: float = 0.0
    estimated: bool = False
    companion: FloatArray | None = None


class Solver(Protocol):
    """One generator: the state of the start, then a state a step. Options are the fields of a frozen dataclass.

    exhausted: the status of a run whose generator ended by itself above the tolerance.
    """

    exhausted: ClassVar[Status]

    @property
    def rtol(self) -> float: ...

    def refuses(self, problem: Problem) -> str | None:
        """Why this solver does not fit the problem, or None."""
        ...

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]: ...
