"""The one answer: a weighted codebook with its distortion, how stationary it is, and why the solver stopped."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from quantization.arrays import FloatArray
from quantization.measure import DiscreteMeasure

if TYPE_CHECKING:
    from quantization.problem import Solver


class Status(Enum):
    """Why a solver stopped; the value is the sentence to show."""

    RUNNING = "The solver is still running; this is a snapshot."
    CONVERGED = "The stationarity residual is within the requested tolerance."
    STALLED = "No further descent is possible in floating point, yet the stationarity residual is above the tolerance."
    BUDGET_SPENT = "The budget of steps was spent before the stationarity residual reached the tolerance."
    NONFINITE = "The distortion became NaN or infinite; scale the data down."


class NotConverged(RuntimeError):
    """Raised by :meth:`Solution.require` on an answer that is not stationary to the tolerance asked for."""


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


@dataclass(frozen=True)
class Trace:
    """What every step saw, the start included: arrays of their true length steps + 1.

    distortion, stationarity: (steps + 1,); running estimates from mini-batches where the solver is stochastic.
    companion: (K,) the running companion weights at the end of a stochastic solver, else None.
    """

    distortion: FloatArray
    stationarity: FloatArray
    companion: FloatArray | None = None


@dataclass(frozen=True)
class Solution:
    r"""A K-point measure $\sum_k w_k \delta_{x_k}$ near a law, and what is known of it.

    measure: the codes with the masses of their Voronoi cells, in the kind of array the law came in.
    distortion: $D_r = E \min_k |X - x_k|^r$ of these very codes. distortion_se: its standard error, 0 where exact.
    stationarity: $(\sum_k w_k |x_k - E[X | V_k]|^2 / D_2)^{1/2}$, 0 at a stationary codebook.
    steps: steps taken. solver: the solver that took them, with its options.
    """

    measure: DiscreteMeasure
    distortion: float
    distortion_se: float
    stationarity: float
    status: Status
    steps: int
    trace: Trace
    solver: "Solver"

    def require(self) -> "Solution":
        """This solution if it converged; raises :class:`NotConverged` otherwise."""
        if self.status is not Status.CONVERGED:
            raise NotConverged(
                f"{self.status.value} Stationarity {self.stationarity:.3g} after {self.steps} steps of {self.solver!r}. "
                "Raise max_steps, or the solver's rtol"
            )
        return self
