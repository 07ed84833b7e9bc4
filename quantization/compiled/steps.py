"""What Lloyd's algorithm looks like from outside where passes need not begin anew: a walk from codebook to codebook."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from quantization.arrays import FloatArray


@dataclass(frozen=True)
class Step:
    """The cells of one codebook, whose labels are beyond doubt.

    codes, following: make the codebook, (K, d), and the next one, rounded to the points' precision. distortion_rtol: how far off
    the distortion may be, 0 where it is as good as measured. at_rest: the next codebook is this one. measure: where the
    distortion is off, makes the codes, the distortion and the stationarity as they are.
    """

    codes: Callable[[], FloatArray]
    masses: FloatArray
    distortion: float
    distortion_rtol: float
    stationarity: float
    following: Callable[[], FloatArray]
    at_rest: bool
    measure: Callable[[], tuple[FloatArray, float, float]] | None = None


class Descent(Protocol):
    """A way to take Lloyd's steps on some samples that remembers from one to the next what it can."""

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """The steps from ``codes``, rounded to the points' precision, that codebook first, until one is at rest.

        Ends early, after the last step beyond doubt or before the first, where this way does not lead on: general passes do.
        """
        ...
