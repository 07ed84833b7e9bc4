"""Why an iteration stopped."""

from enum import Enum


class Status(Enum):
    """Why a solver stopped; the value is the sentence to show."""

    RUNNING = "The solver is still running; this is a snapshot."
    CONVERGED = "The stationarity residual is within the requested tolerance, or as small as the points' dtype allows."
    STALLED = "No further descent is possible in floating point, yet the stationarity residual is above the tolerance."
    BUDGET_SPENT = "The budget of steps was spent before the stationarity residual reached the tolerance."
    NONFINITE = "The distortion became NaN or infinite; scale the data down."


class ConvergenceWarning(UserWarning):
    """A solver with a tolerance spent its default budget, or stalled, above that tolerance."""
