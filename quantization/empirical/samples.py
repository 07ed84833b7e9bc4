"""Any finite measure: its cells by a search for the nearest codes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantization.arrays import FloatArray, rounded, to_host
from quantization.assignment import cells, nearest, squared_distances, sweep
from quantization.assignment.cells import Cells
from quantization.assignment.step import Step
from quantization.measure import DiscreteMeasure
from quantization.validation import TooFewPoints, check_magnitude

if TYPE_CHECKING:
    from quantization.compiled.sweep import Sweep


@dataclass(frozen=True, eq=False)
class EmpiricalLaw:
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
        return cells(self.measure.points, self.measure.weights_float64, codes, self.r)

    def lloyd_steps(self, codes: FloatArray, expected_steps: int) -> Iterator[Step]:
        """See :class:`~quantization.exact_law.HasLloydSteps`."""
        passable = self._sweep(codes) if self.r == 2 else None
        for descent in [] if passable is None else passable.descents(len(codes), expected_steps):
            step = None
            for step in descent.steps(codes):
                yield step
            if step is not None:
                if step.at_rest:
                    return
                codes = step.following()

    def restarts_in_parallel(self, k: int, expected_steps: int) -> bool:
        return False

    def _sweep(self, codes: FloatArray) -> "Sweep | None":
        if self._passes is None:
            object.__setattr__(self, "_passes", sweep(self.measure.points, self.measure.weights_float64, codes))
        return self._passes

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes``, rounded, with the code of every empty cell moved to the point that costs the most, until none is empty.

        Each move lowers the distortion, as an empty cell's code bears none of it. Raises ``ValueError`` where the measure has
        fewer distinct points than there are codes: then all points are codes, and those that are not empty its distinct points.
        """
        measure, codes = self.measure, rounded(codes, self.measure.points)
        c = self.cells(codes)
        while not c.masses.all() and np.isfinite(c.distortion):
            codes = codes.copy()
            costs = measure.weights_float64 * nearest(measure.points, codes).squared
            if not float(costs.max()) > 0:
                raise TooFewPoints(len(codes), int((c.masses > 0).sum()))
            for k in np.flatnonzero(c.masses == 0):
                costliest = int(costs.argmax())
                if not float(costs[costliest]) > 0:
                    break
                codes[k] = to_host(measure.points[costliest])
                reached = measure.weights_float64 * squared_distances(measure.points, measure.points[costliest])
                costs = costs - (costs - reached).clip(0)
            c = self.cells(codes)
        return codes, c
