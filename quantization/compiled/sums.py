r"""The sums of cells, some columns at a time; and kept from one labelling to the next.

The sums $S_k = \sum_{i \in V_k} w_i (x_i - a)$ of cells about one reference a give the centroids $m_k = a + S_k / W_k$, and the
distortion of codes c without another look at the points:
$D = \sum_i w_i |x_i - a|^2 - \sum_k |S_k|^2 / W_k + \sum_k W_k |c_k - m_k|^2$.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.compiled.kernels import adding, keeping
from quantization.compiled.kernels.product import UNITS
from quantization.compiled.product import Frame
from quantization.threads import parallel_map

_COLUMNS = 1024  # of a part that a thread takes
_MOST_MOVED, _MOST_PASSED = 1 / 3, 100  # of the points, and of a cell's mass: beyond, sums are made anew


def add_by_columns(points: Any, codes: FloatArray, labels: Any, masses: FloatArray, shifts: FloatArray) -> float:
    """Adds w (x − c) to the ``shifts`` (K, d) of the codes that labels name; returns the sum of w |x − c|²."""
    dim = points.shape[1]
    starts = range(0, dim, _COLUMNS)

    def part(i: int) -> float:
        return adding.add_columns(points, codes, labels, masses, starts[i], min(starts[i] + _COLUMNS, dim), shifts)

    return sum(parallel_map(part, len(starts)))


@dataclass(frozen=True)
class Advance:
    r"""From a codebook c to the centroids of its cells: ``following`` (K, d), rounded to the points' precision.

    drifts: (K,), how far codes will have come, rounded up. between: $\sum_k |S_k|^2 / W_k$. off: $\sum_k W_k |c_k - m_k|^2$.
    """

    following: Any
    drifts: FloatArray
    between: float
    off: float


class CellSums:
    """Of samples (n, d), contiguous float32 or float64, with masses (n,) in float64, about the centre of a frame."""

    def __init__(self, points: Any, masses: FloatArray, frame: Frame) -> None:
        self._points, self._masses = points, masses
        self._reference = frame.centre.astype(np.float64)
        self._labels: Any = None
        self._sums, self._passed = np.empty((0, 0)), np.empty(0)

    def _moved(self, labels: Any, masses: FloatArray) -> Any:
        """The points that have changed cells; None where they, or the masses that went through a cell, are too many."""
        if self._labels is None:
            return None
        moved = np.flatnonzero(labels != self._labels)
        if len(moved) > _MOST_MOVED * len(labels):
            return None
        for cells in (labels[moved], self._labels[moved]):
            self._passed = self._passed + summed_by(cells, self._masses[moved], len(masses))
        return None if (self._passed > _MOST_PASSED * masses).any() else moved

    def advance(self, labels: Any, masses: FloatArray, codes: Any) -> Advance:
        """The centroids of the cells that labels (n,) make of codes (K, d), in the points' precision, with masses (K,) > 0."""
        left, moved = self._labels, self._moved(labels, masses)
        anew = moved is None
        if anew:
            self._sums, self._passed, left = np.zeros(codes.shape), masses, labels
            moved = np.arange(len(labels))
        following = np.empty_like(codes)
        starts = range(0, codes.shape[1], _COLUMNS)
        parts = np.empty((len(starts), len(codes), 3))

        def part(i: int) -> None:
            columns = (starts[i], min(starts[i] + _COLUMNS, codes.shape[1]))
            keeping.move_sums(self._points, self._reference, moved, left, labels, self._masses, anew, *columns, self._sums)
            keeping.advance_codes(self._sums, masses, self._reference, codes, *columns, following, parts[i])

        parallel_map(part, len(starts))
        self._labels = labels.copy()
        about, own, ways = parts.sum(0).T
        return Advance(following, np.sqrt(ways) * (1 + UNITS), float((about / masses).sum()), float((own / masses).sum()))
