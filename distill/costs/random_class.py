"""A synthetic class, of the size of the real ones, for microbenchmarks of what is done to a class's latents."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUMBERS = 2**25  # that a microbenchmark holds at most, so that a plan is made within the memory of a small machine
_CENTRES = 40


@dataclass(frozen=True)
class RandomClass:
    """n latents of d entries, or as many as a microbenchmark holds; all of them are taken to take ``times`` as long.

    Right for what grows with the number of points; too much for what does not.
    """

    n: int
    d: int

    @property
    def held(self) -> int:
        """The points at hand."""
        return max(1, min(self.n, _NUMBERS // self.d))

    @property
    def times(self) -> float:
        return self.n / self.held

    @property
    def ground(self) -> str:
        """What is to be said where the points at hand are not all."""
        return f", {self.held:,} of {self.n:,} images per class timed" if self.held < self.n else ""

    def points(self) -> NDArray[np.float64]:
        """(held, d): clusters in noise. In noise alone, where all are equally far, mini-batches take several times as long."""
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((_CENTRES, self.d)) / 2
        return rng.standard_normal((self.held, self.d)) + centres[rng.integers(_CENTRES, size=self.held)]
