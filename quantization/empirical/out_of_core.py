"""Samples larger than memory: their cells from sums over parts, each of them read once a pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from quantization.arrays import FloatArray, IntArray, asarray_like, namespace, rounded, to_host
from quantization.assignment import nearest, squared_distances, sums_of_cells
from quantization.assignment.cells import Cells, Sums, costliest_of, relocated
from quantization.assignment.r_means import wants_tensors
from quantization.empirical.readers import Blocks, Reader
from quantization.measure import DiscreteMeasure
from quantization.stream import Batch

_CANDIDATES = 16  # costly points for each code of an empty cell, that many codes at least


class OutOfCoreSamples:
    r"""$\sum_i w_i \delta_{x_i}$ on points that a reader reads pass by pass, order r: nothing is kept of a point.

    As no labels are kept, codes are at rest where masses are equal and the centroids are the codes to round-off.
    """

    def __init__(self, reader: Reader, r: float = 2.0) -> None:
        self.reader, self.like, self.kind, self.r = reader, reader.like, reader.kind, r

    def cells(self, codes: FloatArray) -> Cells:
        codes = np.ascontiguousarray(codes)
        rows = 2 + (codes.shape[1] if wants_tensors(codes.shape[1], self.r) else 0)
        sums: Sums = reduce(add, self.reader.map(_SumCells(codes, self.r), rows * codes.nbytes))
        return sums.normalized().cells(codes, self.r)

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """See :class:`~quantization.exact_law.ExactLaw`: another pass finds the points that cost the most."""
        codes = rounded(codes, self.like)
        c = self.cells(codes)
        while not c.masses.all() and np.isfinite(c.distortion):
            many = _CANDIDATES * max(_CANDIDATES, int((c.masses == 0).sum()))
            answers = self.reader.map(_FindCostliest(codes, many, self.r), 8 * many * (codes.shape[1] + 2))
            found: _Costly = reduce(lambda one, other: one.merged(other, many), answers)
            others = float(found.costs.min()) if len(found.costs) == many else 0.0
            codes = relocated(codes, c.masses, found.costs, found.place, others)
            c = self.cells(codes)
        return codes, c

    def pilot(self, wanted: int, rng: np.random.Generator) -> DiscreteMeasure:
        """About so many of the points, drawn in proportion to their weights."""
        return self.reader.pilot(wanted, rng)[0]

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in mini-batches."""
        return self.reader.batches(size, rng)


@dataclass(frozen=True, eq=False)
class _SumCells:
    """The sums over the cells of these codes."""

    codes: FloatArray
    r: float

    def __call__(self, blocks: Blocks, number: int) -> Sums:
        return reduce(add, (sums_of_cells(points, weights, self.codes, self.r) for points, weights in blocks))


@dataclass(frozen=True, eq=False)
class _Costly:
    """Points (m, d) with weights and costs (m,), of order r, in the order of the data."""

    points: FloatArray
    weights: FloatArray
    costs: FloatArray
    r: float

    def merged(self, other: "_Costly", many: int) -> "_Costly":
        points, weights, costs = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("points", "weights", "costs")
        )
        rows = costliest_of(costs, many)[0]
        return _Costly(points[rows], weights[rows], costs[rows], self.r)

    def place(self, point: int, among: IntArray) -> tuple[FloatArray, FloatArray]:
        """See :func:`~quantization.assignment.cells.relocated`."""
        return self.points[point], self.weights[among] * squared_distances(self.points[among], self.points[point]) ** (self.r / 2)


@dataclass(frozen=True, eq=False)
class _FindCostliest:
    """So many points of which w |x − c|^r is the largest, c the nearest code."""

    codes: FloatArray
    many: int
    r: float

    def __call__(self, blocks: Blocks, number: int) -> _Costly:
        found = _Costly(np.empty((0, self.codes.shape[1])), np.empty(0), np.empty(0), self.r)
        for points, weights in blocks:
            host, costs = to_host(weights), to_host(weights) * to_host(nearest(points, self.codes).squared) ** (self.r / 2)
            rows = costliest_of(costs, self.many)[0]
            chosen = points[asarray_like(rows, points, dtype=namespace(points).int64)]
            found = found.merged(_Costly(to_host(chosen), host[rows], costs[rows], self.r), self.many)
        return found
