"""Any finite measure: its cells by a search for the nearest codes."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from quantization.arrays import (
    Array,
    FloatArray,
    IntArray,
    asarray_like,
    device_of,
    dtype_of,
    epsilon,
    namespace,
    range_exponent,
    rounded,
    to_host,
)
from quantization.assignment import (
    Strategy,
    host_array,
    make_strategy,
    nearest,
    select_strategy,
    squared_distances,
    sums_of_cells,
)
from quantization.assignment.blocks import products_by_blocks, sums_by_blocks
from quantization.assignment.cells import Cells, Sums, relocated
from quantization.assignment.r_means import wants_tensors
from quantization.assignment.step import LabelledCells, Step
from quantization.empirical.median_intervals import middles
from quantization.exact_law import MovingCells
from quantization.measure import DiscreteMeasure
from quantization.validation import check_magnitude

if TYPE_CHECKING:
    from quantization.assignment.pulls import Pulls

_PARALLEL_WORK = 2**21  # n K (d + 8) of a pass below which runs, and not parts of a pass, share the threads
_ROUNDS = 4  # at most, in which codes go to middles of medians between two steps


@dataclass(frozen=True, eq=False)
class EmpiricalLaw:
    """A finite measure, order r. Codes are held to numbers that the points' dtype can hold.

    strategy: forces one of :mod:`quantization.assignment`, for tests; ``None`` lets :func:`select_strategy` choose.
    """

    measure: DiscreteMeasure
    r: float
    strategy: str | None = None
    _made: dict[str, Strategy] = field(default_factory=dict[str, Strategy], init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_magnitude(self.measure.points, self.r)

    def cells(self, codes: FloatArray) -> Cells:
        return self._sums(codes)[0].cells(codes, self.r)

    def _sums(self, codes: FloatArray) -> tuple[Sums, Array | None]:
        """The sums over the cells, and labels where they are known."""
        name = self._selected(len(codes), 1, 1)
        points, weights = self.measure.points, self.measure.weights_float64
        out_of_range = bool(range_exponent(codes))
        if not out_of_range and self.r > 2 and not wants_tensors(codes.shape[1], self.r):
            codes = np.ascontiguousarray(codes)
            found = nearest(points, codes).labels if name == "blocks" else self.prepared(name).nearest(codes)[0]
            labels = asarray_like(found, points, dtype=namespace(points).int64)
            sums = sums_by_blocks(points, weights, codes, self.r, labels=labels)
            return sums.with_products(partial(products_by_blocks, points, weights, codes, self.r, labels)), labels
        if name == "blocks" or out_of_range:
            return sums_of_cells(points, weights, codes, self.r, strategy="blocks"), None
        codes = np.ascontiguousarray(codes)
        if self.r == 2:
            return self.prepared(name).sums(codes), None
        labels = asarray_like(self.prepared(name).nearest(codes)[0], points, dtype=namespace(points).int64)
        return sums_by_blocks(points, weights, codes, self.r, labels=labels), labels

    def at_middles(self, codes: FloatArray, sums: Sums, labels: Array | None) -> FloatArray | None:
        """``codes`` with those moved to the middle of which an interval of points are medians; None where none is to move."""
        if self.r != 1 or sums.stiffness is None:
            return None
        balanced = sums.stiffness.balanced(sums.pulls, sums.masses, codes)
        if not len(balanced):
            return None
        points, moved = self.measure.points, codes.copy()
        known = to_host(nearest(points, codes).labels if labels is None else labels).astype(np.int64)
        which, middle = middles(points, to_host(self.measure.weights_float64), known, balanced)
        moved[which] = rounded(middle, points)
        return None if (moved == codes).all() else moved

    def moving_cells(self, codes: FloatArray, steps: int, restarts: int) -> MovingCells:
        """See :class:`~quantization.exact_law.HasMovingCells`; what one strategy leaves to others, another goes on with."""
        if self.r != 2:
            return _PulledCells(self, codes, self._selected(len(codes), steps, restarts))
        names = self._selected(len(codes), steps, restarts), self._selected(len(codes), 1, 1)
        return _LabelledCells(self, codes, [name for name in dict.fromkeys(names) if name != "blocks"])

    def restarts_in_parallel(self, k: int, steps: int, restarts: int) -> bool:
        work = self.measure.size * k * (self.measure.dim + 8)
        return work < _PARALLEL_WORK or self._selected(k, steps, restarts) == "gram_matrix"

    def prepare(self, k: int, steps: int, restarts: int) -> None:
        """Make what several runs share, before threads ask for it."""
        name = self._selected(k, steps, restarts)
        if name != "blocks":
            self.prepared(name)

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes``, rounded, with the code of every empty cell moved to the point that costs the most, until none is empty.

        Each move lowers the distortion, as an empty cell's code bears none of it. Raises ``ValueError`` where the measure has
        fewer distinct points than there are codes: then all points are codes, and those that are not empty its distinct points.
        """
        points, codes = self.measure.points, rounded(codes, self.measure.points)
        rounds = 0
        while True:
            sums, labels = self._sums(codes)
            if not sums.masses.all() and np.isfinite(sums.cost):
                codes = self.relocated(codes, sums.masses, nearest(points, codes).squared)
            elif rounds == _ROUNDS or (moved := self.at_middles(codes, sums, labels)) is None:
                return codes, sums.cells(codes, self.r)
            else:
                codes, rounds = moved, rounds + 1

    def relocated(self, codes: FloatArray, masses: FloatArray, squared: Array) -> FloatArray:
        """``codes`` with those of empty cells moved, by the squared distance of every point to the nearest code, (n,)."""
        points, weights, half = self.measure.points, to_host(self.measure.weights_float64), self.r / 2

        def costs(squares: Array) -> FloatArray:
            return to_host(squares) if half == 1 else to_host(squares) ** half

        def place(point: int, among: IntArray) -> tuple[FloatArray, FloatArray]:
            return to_host(points[point]), weights[among] * costs(squared_distances(points[among], points[point]))

        return relocated(codes, masses, weights * costs(squared), place)

    def _selected(self, k: int, steps: int, restarts: int) -> str:
        if self.strategy is not None:
            return self.strategy
        points, n, d = self.measure.points, self.measure.size, self.measure.dim
        return select_strategy(n, d, k, dtype_of(points), device_of(points), r=self.r, steps=steps, restarts=restarts)

    @cached_property
    def pulls(self) -> "Pulls":
        """Sums of order r over cells of known labels; numba loads here."""
        from quantization.assignment.pulls import Pulls

        points = self.measure.points
        return Pulls(host_array(points), to_host(self.measure.weights_float64), epsilon(points) / 2)

    def prepared(self, name: str) -> Strategy:
        with self._lock:
            if name not in self._made:
                self._made[name] = make_strategy(name, self.measure.points, self.measure.weights_float64)
            return self._made[name]


class _PulledCells(MovingCells):
    """Cells of order r ≠ 2: a strategy keeps labels, and a pass over all points sums what pulls at the codes."""

    def __init__(self, law: EmpiricalLaw, codes: FloatArray, name: str) -> None:
        super().__init__(law, rounded(codes, law.measure.points), law.measure.points, law.r)
        self._samples, self._name = law, name
        self._cells: LabelledCells | None = None

    def step(self) -> Step:
        if self._name == "blocks" or range_exponent(self._codes):
            self._cells = None
            return super().step()
        strategy, pulls, r = self._samples.prepared(self._name), self._samples.pulls, self._samples.r
        cells = self._cells = self._cells or strategy.moving_cells(self._codes)
        rounds = 0
        while True:
            changed = cells.assign(self._codes)
            sums = pulls.sums(self._codes, cells.labels, r)
            if not sums.masses.all() and np.isfinite(sums.cost):
                squared = strategy.distances(self._codes, cells.labels)
                self._codes = self._samples.relocated(self._codes, sums.masses, squared)
            elif rounds == _ROUNDS or (moved := self._samples.at_middles(self._codes, sums, cells.labels)) is None:
                return self._kept(sums.cells(self._codes, r), changed == 0)
            else:
                self._codes, rounds = moved, rounds + 1


class _LabelledCells(MovingCells):
    """Cells by a strategy that keeps labels, while there is one; by array operations then, or where codes are out of range."""

    def __init__(self, law: EmpiricalLaw, codes: FloatArray, names: list[str]) -> None:
        super().__init__(law, codes, law.measure.points)
        self._samples, self._names = law, names
        self._cells: LabelledCells | None = None

    def step(self) -> Step:
        while self._cells is not None or (self._names and not range_exponent(self._codes)):
            strategy = self._samples.prepared(self._names[0])
            cells = self._cells = self._cells or strategy.moving_cells(self._codes)
            step = cells.step()
            if step is None:
                self._codes, self._cells, self._names = cells.codes(), None, self._names[1:]
            elif step.masses.all():
                return step
            else:
                cells.move_to(self._relocated(strategy, cells, step.masses))
        return super().step()

    def advance(self) -> None:
        self._cells.advance() if self._cells is not None else super().advance()

    def _relocated(self, strategy: Strategy, cells: LabelledCells, masses: FloatArray) -> FloatArray:
        codes = cells.codes()
        return self._samples.relocated(codes, masses, strategy.distances(codes, cells.labels))
