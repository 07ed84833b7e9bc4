"""One pass over samples: the nearest code of every point, and what the cells hold."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.assignment.cells import Cells, Sums
from quantization.compiled import gram, kept
from quantization.compiled.gram import Gram
from quantization.compiled.kept import Kept
from quantization.compiled.kernels import adding, near
from quantization.compiled.near import DIMENSIONS, Near
from quantization.compiled.product import Frame, Product
from quantization.compiled.steps import Descent
from quantization.compiled.sums import add_by_columns
from quantization.threads import parallel_map, parallel_rows

_PARTIAL_BYTES, _MOST_GROUPS, _LEAST_GROUPS = 2**22, 16, 4  # of sums that every group of rows has for itself
_CHUNK_BYTES = 2**22  # of rows that are brought to another dtype or layout at a time
_PART = 2**20  # rows times codes of a part


class Sweep:
    """Samples (n, d), a numpy array of any floating dtype, with masses (n,) in float64, and what earlier passes taught.

    The labels of the last codebook are where the next search begins. Rows and columns are cut by shape alone, so the number of
    threads changes no bit of an answer.
    """

    def __init__(self, points: Any, masses: FloatArray) -> None:
        self._points, self._masses = points, masses
        self._dtype = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        self._labels, self._coded = np.zeros(len(points), np.int32), 0
        self._near: Near | None = None
        self._frame: Frame | None = None
        self._lengths: Any = None
        self._descents: list[Descent] | None = None

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        codes = np.ascontiguousarray(codes)
        return self._labelled(codes), self._squared(codes)

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d), r = 2, from all points."""
        codes = np.ascontiguousarray(codes)
        groups = self._groups(codes)
        if groups:
            return self._by_rows(codes, groups)
        sums, costs = self._summed_by_columns(codes, self._labelled(codes)), self._squared(codes)
        return replace(sums, spread=float(self._masses @ np.square(costs - sums.cost / sums.mass)) if sums.mass > 0 else 0.0)

    def cells(self, codes: FloatArray) -> Cells:
        """The cells of ``codes`` (K, d), r = 2."""
        codes = np.ascontiguousarray(codes)
        groups = self._groups(codes)
        sums = self._by_rows(codes, groups) if groups else self._summed_by_columns(codes, self._labelled(codes))
        return sums.cells(codes, 2.0)

    def descents(self, k: int, passes: int) -> list[Descent]:
        """The ways of Lloyd's algorithm that pay for so many passes with codebooks of k codes, to be tried in their order."""
        if self._descents is None:
            high = self._points.shape[1] > DIMENSIONS
            on_products = Gram.of(self._points, self._masses) if high and gram.pays(self._points, k, passes) else None
            on_sums = Kept(self._points, self._masses) if high and kept.pays(self._points, k) else None
            self._descents = [way for way in (on_products, on_sums) if way is not None]
        return self._descents

    def apart(self, codes: FloatArray, passes: int) -> "tuple[Sweep, Callable[[], FloatArray]] | None":
        """Passes for another thread, with their own memory beside the Gram matrix, and what makes the codes they begin at.

        None where no steps from there are on the matrix.
        """
        shared = next((way for way in self.descents(len(codes), passes) if isinstance(way, Gram)), None)
        begun = None if shared is None else shared.begin(codes)
        if begun is None:
            return None
        other = Sweep(self._points, self._masses)
        other._descents = [begun]
        return other, begun.start

    def _by_rows(self, codes: FloatArray, groups: int) -> Sums:
        """Labels and sums in one go, while a block of rows is in the cache."""
        finder, n = self._finder(codes), len(self._points)

        def part(group: int) -> Sums:
            masses, shifts, tally = np.zeros(len(codes)), np.zeros(codes.shape), np.zeros(4)
            for first, points in self._chunks(group * n // groups, (group + 1) * n // groups):
                rows = slice(first, first + len(points))
                self._label(finder, first, points)
                adding.add_rows(points, codes, self._labels[rows], self._masses[rows], masses, shifts, tally)
            mass, cost, _, spread = map(float, tally)
            return Sums(masses, shifts, shifts, cost, mass, spread)

        parts = parallel_map(part, groups)
        self._coded = len(codes)
        return reduce(add, parts)

    def _summed_by_columns(self, codes: FloatArray, labels: Any) -> Sums:
        """Sums of all rows, some columns at a time."""
        masses = summed_by(labels, self._masses, len(codes))
        shifts, cost = np.zeros(codes.shape), 0.0
        for first, points in self._chunks(0, len(self._points)):
            rows = slice(first, first + len(points))
            cost += add_by_columns(points, codes, labels[rows], self._masses[rows], shifts)
        return Sums(masses, shifts, shifts, cost, float(masses.sum()), None)

    def _squared(self, codes: FloatArray) -> FloatArray:
        """The squared distance of every point to the code of its label."""
        squared = np.empty(len(self._points))
        self._over_rows(lambda first, points, rows: near.measure_from(points, codes, self._labels[rows], squared[rows]))
        return squared

    def _labelled(self, codes: FloatArray) -> Any:
        finder = self._finder(codes)
        self._over_rows(lambda first, points, rows: self._label(finder, first, points))
        self._coded = len(codes)
        return self._labels

    def _groups(self, codes: FloatArray) -> int:
        """Into how many parts rows are cut that each have sums of their own; 0 where codebooks are too large for that."""
        groups = _PARTIAL_BYTES // (8 * codes.size + 8 * len(codes))
        if groups < _LEAST_GROUPS:
            return 0
        return min(_MOST_GROUPS, groups, max(1, len(self._points) * len(codes) // _PART))

    def _finder(self, codes: FloatArray) -> Near | Product:
        if codes.shape[1] <= DIMENSIONS:
            self._near = Near(codes, len(self._points), self._near)
            return self._near
        if self._frame is None:
            self._frame = frame = Frame(codes, self._dtype)
            squares = np.empty(len(self._points))
            self._over_rows(lambda first, points, rows: frame.measure(points, squares[rows]))
            self._lengths = frame.lengths(squares)
        return Product(codes, self._frame, self._lengths, self._dtype)

    def _label(self, finder: Near | Product, first: int, points: Any) -> None:
        warm = 0 < self._coded <= finder.k
        finder.label(first, points, self._labels[first : first + len(points)], warm)

    def _over_rows(self, work: Callable[[int, Any, slice], None]) -> None:
        def part(rows: slice) -> None:
            for first, points in self._chunks(rows.start, rows.stop):
                work(first, points, slice(first, first + len(points)))

        parallel_rows(part, len(self._points))

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """(first row, contiguous rows in the working precision) of the rows from start to stop."""
        dim = self._points.shape[1]
        ready = self._points.dtype == self._dtype and self._points.flags.c_contiguous
        step = max(1, stop - start) if ready else max(1, _CHUNK_BYTES // (dim * self._dtype.itemsize))
        for first in range(start, stop, step):
            yield first, np.ascontiguousarray(self._points[first : min(first + step, stop)], self._dtype)
