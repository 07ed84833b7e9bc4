"""Any finite measure: its cells by a search for the nearest codes."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from quantization.arrays import Array, FloatArray, epsilon, rounded, to_host
from quantization.cells import Cells
from quantization.measure import DiscreteMeasure
from quantization.voronoi import cells, nearest, squared_distances, sweep

if TYPE_CHECKING:
    from quantization.compiled.steps import Descent
    from quantization.compiled.sweep import Sweep

_DECADES = 300  # what costs may span, in powers of ten


@dataclass(frozen=True, eq=False)
class Samples:
    """A finite measure, order r. Codes are held to numbers that the points' dtype can hold."""

    measure: DiscreteMeasure
    r: float
    _passes: "Sweep | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_magnitude(self.measure.points, self.r)

    def cells(self, codes: FloatArray) -> Cells:
        passes = self._sweep(codes) if self.r == 2 else None
        if passes is not None:
            return passes.cells(codes)
        return cells(self.measure.points, self.measure.masses, codes, self.r)

    def descents(self, codes: FloatArray, passes: int) -> "list[Descent]":
        """The ways of Lloyd's algorithm that pay for so many passes with codebooks like this, to be tried in their order."""
        passable = self._sweep(codes) if self.r == 2 else None
        return [] if passable is None else passable.descents(len(codes), passes)

    def apart(self, codes: FloatArray, passes: int) -> "tuple[Samples, Callable[[], FloatArray]] | None":
        """The same measure with a search memory of its own, for a run from ``codes`` in another thread, and what makes these.

        None where too little is shared.
        """
        passable = self._sweep(codes) if self.r == 2 else None
        begun = None if passable is None else passable.apart(codes, passes)
        if begun is None:
            return None
        same, (passes_apart, start) = copy(self), begun
        object.__setattr__(same, "_passes", passes_apart)
        return same, start

    def _sweep(self, codes: FloatArray) -> "Sweep | None":
        if self._passes is None:
            object.__setattr__(self, "_passes", sweep(self.measure.points, self.measure.masses, codes))
        return self._passes

    def occupied(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes``, rounded, with the code of every empty cell moved to the point that costs the most, until none is empty.

        Each move lowers the distortion, as an empty cell's code bears none of it. Raises ``ValueError`` where the measure has
        fewer distinct points than there are codes: then all points are codes, and those that are not empty its distinct points.
        """
        measure, codes = self.measure, rounded(codes, self.measure.points)
        c = self.cells(codes)
        while not c.masses.all() and np.isfinite(c.distortion):
            codes = codes.copy()
            costs = measure.masses * nearest(measure.points, codes).squared
            if not float(costs.max()) > 0:
                raise TooFewPoints(len(codes), int((c.masses > 0).sum()))
            for k in np.flatnonzero(c.masses == 0):
                costliest = int(costs.argmax())
                if not float(costs[costliest]) > 0:
                    break
                codes[k] = to_host(measure.points[costliest])
                reached = measure.masses * squared_distances(measure.points, measure.points[costliest])
                costs = costs - (costs - reached).clip(0)
            c = self.cells(codes)
        return codes, c


def check_magnitude(points: Array, r: float) -> None:
    """Refuses points (n, d) whose distances to the power r would leave the range of float64."""
    if epsilon(points) > 1e-10 and r < 7:
        return  # no power of these numbers does
    largest = max(float(points.max()), -float(points.min()))
    if largest > 0 and abs(r * float(np.log10(largest))) > _DECADES:
        raise ValueError(
            f"the points' magnitude to the power r must lie within 1e±{_DECADES}; received points up to {largest:g} in "
            f"absolute value and r = {r:g}. Rescale the points"
        )


class TooFewPoints(ValueError):
    """There are more codes than distinct points of positive weight, ``distinct``."""

    def __init__(self, k: int, distinct: int) -> None:
        super().__init__(
            f"k = {k} codes need at least {k} distinct points of positive weight; received {distinct}. Lower k to {distinct} or "
            "less"
        )
        self.k, self.distinct = k, distinct

    def __reduce__(self) -> Any:
        return type(self), (self.k, self.distinct)
