"""What Lloyd's algorithm looks like from outside where passes need not begin anew: a walk from codebook to codebook."""

from collections.abc import Iterator
from typing import Protocol

from quantization.arrays import FloatArray
from quantization.assignment.step import Step


class Descent(Protocol):
    """A way to take Lloyd's steps on some samples that remembers from one to the next what it can."""

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """The steps from ``codes``, rounded to the points' precision, that codebook first, until one is at rest.

        Ends early, after the last step beyond doubt or before the first, where this way does not lead on: general passes do.
        """
        ...
