"""Why an iteration stopped, and the errors and warnings that have names."""

from enum import Enum
from typing import Any


class Status(Enum):
    """Why a solver stopped; the value of a member is the sentence to show.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.quantize([[0.0], [1.0], [3.0]], 2, rng=0).status is qz.Status.CONVERGED
    True
    >>> [status.name for status in qz.Status]
    ['RUNNING', 'CONVERGED', 'STALLED', 'BUDGET_SPENT', 'UNPROVED_ORDER', 'NONFINITE']
    """

    RUNNING = "The solver is still running; this is a snapshot."
    CONVERGED = "The stationarity residual or the gap is within the tolerance, or as small as the points' dtype or draws allow."
    STALLED = "No further descent is possible in floating point, yet the stationarity residual or the gap is above the tolerance."
    BUDGET_SPENT = "The budget of steps or draws was spent before the stationarity residual or the gap reached the tolerance."
    UNPROVED_ORDER = "No exchange of two masses on the line lowers the cost; that no other order of them does is not proved."
    NONFINITE = "The distortion became NaN or infinite; scale the data down."


class ConvergenceWarning(UserWarning):
    """A solver with a tolerance spent its default budget, or stalled, above that tolerance.

    Never issued for an explicit ``max_iter`` or ``epochs``: a caller who sets a budget knows that it may be spent.

    Examples
    --------
    >>> import warnings, quantization as qz
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", qz.ConvergenceWarning)
    ...     solution = qz.quantize([[0.0], [1.0], [3.0]], 2, rng=0)
    """


class TooFewPoints(ValueError):
    """There are more codes than distinct points of positive weight, ``distinct``."""

    def __init__(self, k: int, distinct: int, message: str = "") -> None:
        super().__init__(
            message
            or f"k = {k} codes need at least {k} distinct points of positive weight; received {distinct}. Lower k to {distinct} "
            "or less"
        )
        self.k, self.distinct = k, distinct

    def __reduce__(self) -> Any:
        return type(self), (self.k, self.distinct, str(self))
