"""A step of Lloyd's algorithm, and what takes it: an assignment strategy that remembers from codebook to codebook what it can."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from quantization.arrays import FloatArray


@dataclass(slots=True)
class Step:
    r"""The cells of one codebook, whose labels are certified. Where a strategy has met an empty cell, only their masses.

    codes: (K, d), or makes them. masses: (K,) of the cells. distortion: $D_r$; distortion_rtol: how far off it may be, 0 where it
    is as good as measured. stationarity: for r = 2 $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2}$. at_rest: no label changed since
    the step before, or the centroids are the codes; for r ≠ 2, no label, and the codes are the r-means to round-off. stuck: the
    codes that follow are these, and yet are not at rest. measure: where the distortion is off, makes the codes, the distortion
    and the stationarity as they are. curvatures: see :class:`~quantization.assignment.cells.Cells`.
    """

    codes: FloatArray | Callable[[], FloatArray]
    masses: FloatArray
    distortion: float = float("inf")
    distortion_rtol: float = 0.0
    stationarity: float = float("inf")
    at_rest: bool = False
    measure: Callable[[], tuple[FloatArray, float, float]] | None = None
    stuck: bool = False
    curvatures: FloatArray | None = None


class LabelledCells(Protocol):
    """The cells of a codebook that moves, as a strategy sees them: it keeps labels, bounds and sums from step to step.

    labels: the index of the nearest code of every point, (n,) int32, as the last step found it.
    """

    labels: Any

    def codes(self) -> FloatArray:
        """The current codebook, (K, d), rounded to the points' precision."""
        ...

    def step(self) -> Step | None:
        """The cells of the current codebook, of which some may be empty; None where this strategy leaves them to another."""
        ...

    def advance(self) -> None:
        """On to the centroids of the cells that the last step found, none of them empty."""
        ...

    def assign(self, codes: FloatArray) -> int | None:
        """On to codes near those at hand, for their labels alone; how many changed, None where none were known."""
        ...

    def move_to(self, codes: FloatArray) -> None:
        """On to any other codes; what was prepared for the samples is kept."""
        ...
