"""What a solver is: one generator of states."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from quantization.arrays import FloatArray
from quantization.problem import Problem, checked_count
from quantization.progress import Progress
from quantization.status import Status

if TYPE_CHECKING:
    from quantization.transport.coupling import Method


@dataclass(frozen=True)
class State:
    """A solver's codebook after some steps, with what the step itself measured of it, on the host.

    points: the codes, or a function that makes them where that takes longer than a step.
    estimated: whether the numbers are estimates; the loop then measures the last codebook afresh if the law allows it.
    distortion_rtol: how far an estimated distortion may be off, relative to itself. measure: makes the codes, and their
    distortion and stationarity as they are, where the solver knows a shorter way than a new search; the weights are right.
    companion: the running companion weights of a stochastic solver. progress: what it needs to go on from here.
    weights_gap, distortion_gap, transport: of a barycenter, see Solution. ended: why the solver can't go on, where it knows.
    """

    points: FloatArray | Callable[[], FloatArray]
    weights: FloatArray
    distortion: float
    stationarity: float
    distortion_se: float = 0.0
    estimated: bool = False
    companion: FloatArray | None = None
    progress: Progress | None = None
    distortion_rtol: float = np.inf
    weights_gap: float = 0.0
    distortion_gap: float = 0.0
    transport: "Method | None" = None
    ended: "Status | None" = None
    measure: Callable[[], tuple[FloatArray, float, float]] | None = None

    def codes(self) -> FloatArray:
        """The codes, (K, d)."""
        return self.points() if callable(self.points) else self.points

    def within(self, rtol: float) -> bool:
        """Whether the residual is within the tolerance; a tolerance of zero is met by an exact fixed point alone.

        The square of the residual is what moving the points could take off the distortion, as a share: so is a gap in the
        weights.
        """
        return self.ended is None and self.stationarity <= rtol and self.weights_gap <= rtol * rtol * self.distortion


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


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver that goes on where an earlier run stopped, as if it had never stopped."""

    def resume(self, problem: Problem, progress: Progress, rng: np.random.Generator) -> Iterator[State]: ...


def budget(solver: Solver, max_steps: int | None) -> int:
    """``max_steps``, checked; where it is None 300, but no bound for a solver whose own ``epochs`` end it."""
    if max_steps is not None:
        return checked_count("max_steps", max_steps, least=0)
    return 300 if getattr(solver, "epochs", None) is None else sys.maxsize
