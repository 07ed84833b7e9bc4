"""Any finite measure: its cells by a search for the nearest codes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from quantization.arrays import FloatArray, device_of, dtype_of, range_exponent, rounded, to_host
from quantization.assignment import Strategy, cells, make_strategy, nearest, select_strategy, squared_distances
from quantization.assignment.cells import Cells
from quantization.assignment.step import Step
from quantization.measure import DiscreteMeasure
from quantization.status import TooFewPoints
from quantization.validation import check_magnitude

_PARALLEL_WORK = 2**21  # n K (d + 8) of a pass below which runs, and not parts of a pass, share the threads


@dataclass(frozen=True, eq=False)
class EmpiricalLaw:
    """A finite measure, order r. Codes are held to numbers that the points' dtype can hold.

    strategy: forces one of :mod:`quantization.assignment`, for tests; ``None`` lets :func:`select_strategy` choose.
    """

    measure: DiscreteMeasure
    r: float
    strategy: str | None = None
    _made: dict[str, Strategy] = field(default_factory=dict[str, Strategy], init=False, repr=False)

    def __post_init__(self) -> None:
        check_magnitude(self.measure.points, self.r)

    def cells(self, codes: FloatArray) -> Cells:
        name = self._selected(len(codes), 1, 1)
        if name == "blocks" or range_exponent(codes):
            return cells(self.measure.points, self.measure.weights_float64, codes, self.r, strategy="blocks")
        return self._strategy(name).sums(np.ascontiguousarray(codes)).cells(codes, self.r)

    def lloyd_steps(self, codes: FloatArray, steps: int, restarts: int) -> Iterator[Step]:
        """See :class:`~quantization.exact_law.HasLloydSteps`; what one strategy leaves to others, another goes on with."""
        chosen = self._selected(len(codes), steps, restarts)
        names = [chosen, self._selected(len(codes), 1, 1)] if chosen == "gram_matrix" else [chosen]
        for name in names if not range_exponent(codes) else ():
            step: Step | None = None
            for step in self._strategy(name).steps(codes) if name != "blocks" else ():
                yield step
            if step is not None:
                if step.at_rest:
                    return
                codes = step.following()

    def restarts_in_parallel(self, k: int, steps: int, restarts: int) -> bool:
        work = self.measure.size * k * (self.measure.dim + 8)
        return work < _PARALLEL_WORK or self._selected(k, steps, restarts) == "gram_matrix"

    def prepare(self, k: int, steps: int, restarts: int) -> None:
        """Make what several runs share, before threads ask for it."""
        name = self._selected(k, steps, restarts)
        if name != "blocks":
            self._strategy(name)

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

    def _selected(self, k: int, steps: int, restarts: int) -> str:
        if self.strategy is not None:
            return self.strategy
        points, n, d = self.measure.points, self.measure.size, self.measure.dim
        return select_strategy(n, d, k, dtype_of(points), device_of(points), r=self.r, steps=steps, restarts=restarts)

    def _strategy(self, name: str) -> Strategy:
        if name not in self._made:
            self._made[name] = make_strategy(name, self.measure.points, self.measure.weights_float64)
        return self._made[name]
