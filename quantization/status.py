"""Why an iteration stopped."""

from enum import Enum


class Status(Enum):
    """Why a solver stopped; the value is the sentence to show."""

    RUNNING = "The solver is still running; this is a snapshot."
    CONVERGED = "The stationarity residual is within the requested tolerance."
    STALLED = "No further descent is possible in floating point, yet the stationarity residual is above the tolerance."
    BUDGET_SPENT = "The budget of steps was spent before the stationarity residual reached the tolerance."
    NONFINITE = "The distortion became NaN or infinite; scale the data down."
