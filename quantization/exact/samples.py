"""Any finite measure: its cells by a search for the nearest codes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, rounded, to_host
from quantization.cells import Cells
from quantization.measure import DiscreteMeasure
from quantization.voronoi import cells, nearest, squared_distances, sweep


@dataclass(frozen=True, eq=False)
class Samples:
    """A finite measure, order r. Codes are held to numbers that the points' dtype can hold."""

    measure: DiscreteMeasure
    r: float
    _passes: Any = field(default=None, init=False, repr=False)

    def cells(self, codes: FloatArray) -> Cells:
        if self.r == 2:
            if self._passes is None:
                object.__setattr__(self, "_passes", sweep(self.measure.points, self.measure.masses, len(codes)))
            if self._passes is not None:
                return self._passes.cells(codes)
        return cells(self.measure.points, self.measure.masses, codes, self.r)

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
                raise too_few_points(len(codes), int((c.masses > 0).sum()))
            for k in np.flatnonzero(c.masses == 0):
                costliest = int(costs.argmax())
                if not float(costs[costliest]) > 0:
                    break
                codes[k] = to_host(measure.points[costliest])
                reached = measure.masses * squared_distances(measure.points, measure.points[costliest])
                costs = costs - (costs - reached).clip(0)
            c = self.cells(codes)
        return codes, c


def too_few_points(k: int, distinct: int) -> ValueError:
    """The error for more codes than distinct points of positive weight."""
    return ValueError(
        f"k = {k} codes need at least {k} distinct points of positive weight; received {distinct}. Lower k to {distinct} or less"
    )
