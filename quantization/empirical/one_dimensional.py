"""Finite measures on the line: cells are intervals of the sorted points, and a dynamic programme finds the best of them."""

from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from quantization import assignment
from quantization.arrays import FloatArray, IntArray, rounded
from quantization.assignment.cells import Cells, stationarity
from quantization.empirical.samples import EmpiricalLaw
from quantization.empirical.sorted_samples import SortedSamples
from quantization.measure import DiscreteMeasure
from quantization.status import TooFewPoints

_DECADES, _MOST_DECADES = 300, 308  # of costs: what is smaller loses digits of float64, what is larger leaves it
_COARSE = 4 * float(np.finfo(np.float64).eps)  # of how far points reach: a gap between codes that rounded distances may not see
_FAR = 2.0**100  # codes this many ranges away from their points: squares leave the range that the sums are scaled for


@dataclass(frozen=True, eq=False)
class EmpiricalLaw1D:
    r"""A finite measure on the line, order r. Codes are held to numbers that the points' dtype can hold.

    The points are sorted once, 8 bytes a point (16 with weights). For r = 2 the cells of K codes then take
    $O(K \log n + \min(n, 512 K) + n / 256)$; they are those of :func:`quantization.assignment.cells`, ties included. For others
    they take O(n), and codes move to the r-means of their cells.
    """

    measure: DiscreteMeasure
    r: float

    def __post_init__(self) -> None:
        points = self.measure.points
        width = float(points.max()) / 2 - float(points.min()) / 2  # halves, as the whole may overflow
        if width > 0 and not -_DECADES <= self.r * np.log10(width) <= _MOST_DECADES:
            raise ValueError(
                f"the points' range to the power r must lie within 1e±{_DECADES}, or distances would count as zero or as "
                f"infinite; received a range of {2 * width:g} and r = {self.r:g}. Rescale the points"
            )

    def cells(self, codes: FloatArray) -> Cells:
        found = _intervals(self._line, codes, self.r)
        if found is None:
            return assignment.cells(self.measure.points, self.measure.weights_float64, codes, self.r)
        return found[0]

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes``, rounded, with the code of every empty cell moved to the point that costs the most, until none is empty.

        Each move lowers the distortion. Raises ``ValueError`` where the measure has fewer distinct points than there are codes.
        """
        codes = rounded(codes, self.measure.points)
        while (found := _intervals(self._line, codes, self.r)) is not None:
            c, split = found
            if c.masses.all() or not np.isfinite(c.distortion):
                return codes, c
            codes = _moved(self._line, codes, c.masses == 0, split)
        return EmpiricalLaw(self.measure, self.r).relocate_empty_cells(codes)

    def search(self, k: int, rng: np.random.Generator, *, exhaustive: bool = False) -> FloatArray:
        """The r-means of the best partition into k intervals: see :mod:`~quantization.empirical.optimal_partition_1d`."""
        from quantization.empirical.optimal_partition_1d import best_cuts, best_cuts_of_order  # numba loads here

        line = self._line
        if self.r != 2:
            return line.r_means(best_cuts_of_order(line, k, self.r, exhaustive), self.r)[:, None]
        _, means, _ = line.moments(best_cuts(line, k, exhaustive))
        return np.ldexp(means, line.exponent)[:, None]

    @cached_property
    def _line(self) -> SortedSamples:
        return SortedSamples(self.measure)


@dataclass(frozen=True)
class _Split:
    """Cells as intervals of the sorted points: edges (m + 1,), of m distinct codes in rising order, and their places."""

    edges: IntArray
    codes: FloatArray
    places: IntArray


def _intervals(line: SortedSamples, codes: FloatArray, r: float) -> tuple[Cells, _Split] | None:
    """The cells of codes (K, 1), order r, the lowest index winning ties; None where rounded distances do not part the line.

    Where two codes are so close, for points so far, that their distances round to one number, the lowest index wins points on
    one side of both codes as well.
    """
    column = codes[:, 0]
    places: IntArray = np.argsort(column)
    distinct = column[places]
    if not (distinct[1:] > distinct[:-1]).all():
        distinct, places = np.unique(column, return_index=True)
    masses, means, pulls = np.zeros(len(codes)), codes.copy(), np.zeros(codes.shape)
    edges, scaled, clear = line.cells(distinct, places, _COARSE, _FAR, masses, means[:, 0], pulls[:, 0])
    if not clear:
        return None
    if r != 2:
        return line.order_cells(edges, distinct, places, codes, masses, means, r), _Split(edges, distinct, places)
    with np.errstate(over="ignore", under="ignore"):
        distortion, gradient = float(np.ldexp(scaled, 2 * line.exponent)), np.ldexp(pulls, line.exponent)
    c = Cells(masses, means, gradient, distortion, stationarity(pulls, masses, scaled, 2.0))
    return c, _Split(edges, distinct, places)


def _moved(line: SortedSamples, codes: FloatArray, empty: NDArray[np.bool_], split: _Split) -> FloatArray:
    """``codes`` with those of ``empty`` cells on the points that cost the most, one after another while a point costs."""
    codes = codes.copy()

    def interval(start: int, stop: int, code: float) -> tuple[float, int, int, int, float]:
        index, cost = line.compiled.costliest(line.x, line.weights, start, stop, code, line.scale)
        return -cost, index, start, stop, code

    edges = zip(split.edges[:-1].tolist(), split.edges[1:].tolist(), split.codes.tolist(), strict=True)
    heap = [interval(start, stop, code) for start, stop, code in edges if start < stop]
    if not any(cost < 0 for cost, *_ in heap):
        raise TooFewPoints(len(codes), len(heap))
    heapify(heap)
    for k in np.flatnonzero(empty):
        cost, index, start, stop, code = heappop(heap)
        if not cost < 0:
            break
        point = float(line.x[index])
        codes[k] = point
        # Points beyond the ends of the interval that are nearer to the new code are left to the next look at the cells.
        middle = start + int(np.searchsorted(line.x[start:stop], point / 2 + code / 2))
        pair = (point, code) if point < code else (code, point)
        for part in ((start, middle, pair[0]), (middle, stop, pair[1])):
            heappush(heap, interval(*part))
    return codes
