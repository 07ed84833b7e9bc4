r"""Lloyd's algorithm on inner products: where points are few and dimensions many, and steps or restarts many more.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search by $\langle x_i, m_k \rangle = P_{ki} / W_k$ alone, with
$P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix $G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step
takes a pass over (K, n) numbers and over the rows of G of the points that changed cells: no coordinate is touched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.cells import Sums
from quantization.compiled.kernels import gram as kernels
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes
from quantization.compiled.product import Frame
from quantization.compiled.steps import Step
from quantization.compiled.sums import CellSums, add_by_columns
from quantization.threads import spread

_PAYS = 0.6  # the share of the passes' arithmetic that the matrix may take
_MATRIX_BYTES = 2**25  # beyond a quarter of the points' own
_REFRESH = 8  # sums are made anew once so many times as many terms went into them as the cell has points
_DOUBTFUL = 1 / 8


def pays(points: Any, k: int, passes: int) -> bool:
    """Whether so many passes with codebooks of k codes take more arithmetic than the matrix, and the matrix fits in memory."""
    n, size = len(points), points.dtype.itemsize
    # Numbers whose squares overflow, or vanish beside others, in the points' own precision are left to direct passes.
    ready = points.dtype in (np.float32, np.float64) and points.flags.c_contiguous
    fits = size * n * n <= _MATRIX_BYTES + points.nbytes // 4
    return ready and fits and n <= _PAYS * 2 * k * passes and 1e-12 < max(points.max(), -points.min()) < 1e12


@dataclass
class _Codebook:
    """Codes that are means of points: sums of rows of the matrix, of weights, and of terms that went in; |c|²; the mean |x|."""

    sums: Any
    totals: FloatArray
    terms: FloatArray
    squares: FloatArray
    lengths: FloatArray


def _matrix(points: Any, frame: Frame) -> Any:
    """All inner products of the points in the frame, (n, n) and columns that fill the last vector."""
    n, width = len(points), 2 * lanes(points.dtype)
    matrix = np.zeros((n, -(-n // width) * width), points.dtype)
    starts = range(0, n, kernels.PANELS * width)

    def columns(part: int) -> None:
        panels = np.zeros((kernels.PANELS, PIECE, width), points.dtype)
        moved = np.empty((ROWS if frame.shifted else 0, PIECE), points.dtype)
        first, last = starts[part], min(starts[part] + kernels.PANELS * width, n)
        kernels.gram_columns(points, frame.centre, frame.shifted, first, last, panels, moved, matrix)

    spread(columns, len(starts), sizes=starts)
    return matrix


class Gram:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64, by their inner products in that precision.

    Nothing here changes once it is made: walks in several threads share it.
    """

    def __init__(self, points: Any, masses: FloatArray) -> None:
        n, dim = points.shape
        self.points, self.masses, self._dtype = points, masses, points.dtype
        self._weights = (masses * n).astype(self._dtype)  # of the order of 1
        self.frame = Frame(np.asarray(points[:: max(1, n // 64)], dtype=np.float64), self._dtype)
        self._places: dict[float, list[int]] = {}  # of points, by their first coordinate
        for i, head in enumerate(points[:, 0].tolist()):
            self._places.setdefault(head, []).append(i)
        self._matrix = _matrix(points, self.frame)
        self._squares = np.diagonal(self._matrix).astype(np.float64)
        self._lengths = np.sqrt(np.maximum(self._squares, 0.0)) * (1 + 1e-3)
        self._terms = min(kernels.DEPTH, dim) + -(-dim // kernels.DEPTH)  # that an entry's round-off grows with
        # What a distortion is off by, as sums of so many rounded terms go: a few times the root of their number.
        self._error = 8 * kernels.DEPTH**0.5 * float(np.finfo(self._dtype).eps) * float(masses @ self._squares)

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: see :class:`~quantization.compiled.steps.Descent`. The numbers are as good as the points' precision.

        Ends where a code of the first codebook is no point, a cell is empty, or many points lie as good as between two codes.
        """
        chosen = self._among_points(codes)
        if chosen is None:
            return
        k, before = len(chosen), None
        book = _Codebook(self._matrix[chosen], np.ones(k), np.ones(k), self._squares[chosen], self._lengths[chosen])
        while True:
            labels = self._labels(book, chosen if before is None else before, before is None)
            if labels is None:
                return
            masses, across = np.zeros(k), np.zeros(k)
            distortion = kernels.gram_cells(
                book.sums, book.totals, book.squares, labels, self.masses, self._squares, masses, across
            )  # fmt: skip
            if not masses.all() or not distortion > 0:
                return
            squares = book.squares
            at_rest = self._advance(book, labels, before)
            residual = 0.0 if at_rest else float(masses @ np.maximum(squares - 2 * across / masses + book.squares, 0.0))
            found = _Labelling(self, chosen if before is None else before, before is None, labels, masses)
            yield Step(
                found.codes, masses, distortion, self._error / distortion, (residual / distortion) ** 0.5, found.following,
                at_rest, found.measure,
            )  # fmt: skip
            if at_rest:
                return
            before = labels

    def _among_points(self, codes: FloatArray) -> Any:
        """For each code a point that equals it, (K,) indices; or None where a code is no point."""
        given: Any = codes.astype(self._dtype)
        places = [self._places.get(head, []) for head in given[:, 0].tolist()]
        if not all(places):
            return None
        found = np.array([place[0] for place in places])
        for k in np.flatnonzero((self.points[found] != given).any(1)):  # others have that first coordinate too
            found[k] = next((i for i in places[k] if np.array_equal(self.points[i], given[k])), -1)
        return found if (found >= 0).all() else None

    def _labels(self, book: _Codebook, origin: Any, chosen: bool) -> Any:
        """The nearest code of every point; None where too many points are in doubt.

        origin: the points that are the codes, where ``chosen``; else the labels of the cells whose centroids they are.
        """
        n = len(self.points)
        labels, limits, doubtful = np.empty(n, np.int32), np.empty(n, self._dtype), np.empty(n, np.int64)
        inverse, half = (1 / book.totals).astype(self._dtype), (book.squares / 2).astype(self._dtype)
        count = kernels.gram_assign(book.sums, inverse, half, self._lengths, *self._slack(book), labels, limits, doubtful)
        if count > _DOUBTFUL * n:
            return None
        if count:
            kernels.settle(
                self.points, self.masses, self.frame.centre, origin, chosen, book.sums, inverse, half, limits,
                doubtful[:count], np.empty((len(half), self.points.shape[1]), self._dtype), labels,
            )  # fmt: skip
        return labels

    def _advance(self, book: _Codebook, labels: Any, before: Any) -> bool:
        """Makes the book's codes the means of these cells, from those before where few points have moved; whether none has."""
        k = len(book.terms)
        moved, counts, changes = np.empty(len(labels), np.int64), np.zeros(k), np.zeros(k)
        count = kernels.gram_moved(labels, labels if before is None else before, moved, counts, changes)
        terms = book.terms + changes
        if before is None or 3 * count > len(labels) or (terms > _REFRESH * np.maximum(counts, 8)).any():
            terms = counts
            kernels.gram_add(self._matrix, self._weights, labels, book.sums)
        else:
            kernels.gram_move(self._matrix, self._weights, moved[:count], before, labels, book.sums)
        book.terms, book.totals, book.squares, book.lengths = terms, np.empty(k), np.empty(k), np.empty(k)
        kernels.gram_means(book.sums, self._weights, self._lengths, labels, book.totals, book.squares, book.lengths)
        return before is not None and count == 0

    def _slack(self, book: _Codebook) -> tuple[float, float]:
        r"""How far apart two scores of a point must be to be in their true order: a slope, times its length, and an offset.

        An entry of the matrix is off by $\gamma |x_i| |x_j|$, so a mean of entries by $\gamma |x_i|$ times the mean length of its
        terms; a sum of so many terms adds as many units of round-off, and rounding a code to the points' precision moves it by a
        unit of its own length.
        """
        longest, unit = float(book.lengths.max()), float(np.finfo(self._dtype).eps)
        worst = float(((self._terms + book.terms + 12) * book.lengths).max())
        rounding = unit * (longest + float(np.linalg.norm(self.frame.centre.astype(np.float64))))
        return 1.1 * unit * worst + rounding, 0.55 * unit * worst * longest + rounding * longest


class _Labelling:
    """The codes of a labelling, chosen points or the centroids of cells, and what coordinates say of it; made when asked for."""

    def __init__(self, gram: Gram, origin: Any, chosen: bool, labels: Any, masses: FloatArray) -> None:
        self._gram, self._origin, self._chosen, self._labels, self._masses = gram, origin, chosen, labels, masses

    @cached_property
    def _codes(self) -> FloatArray:
        points = self._gram.points
        return points[self._origin].astype(np.float64) if self._chosen else self._centroids(self._origin, len(self._masses))

    def _centroids(self, labels: Any, k: int) -> FloatArray:
        """Of the cells, (K, d), rounded to the points' precision."""
        gram = self._gram
        sums, centre = CellSums(gram.points, gram.masses, gram.frame), np.tile(gram.frame.centre, (k, 1))
        return sums.advance(labels, summed_by(labels, gram.masses, k), centre).following.astype(np.float64)

    def codes(self) -> FloatArray:
        return self._codes

    def following(self) -> FloatArray:
        return self._centroids(self._labels, len(self._masses))

    def measure(self) -> tuple[float, float]:
        """The distortion and the stationarity."""
        gram, shifts = self._gram, np.zeros(self._codes.shape)
        cost = add_by_columns(gram.points, self._codes, self._labels, gram.masses, shifts)
        cells = Sums(self._masses, shifts, shifts, cost, float(self._masses.sum()), None).cells(self._codes, 2.0)
        return cells.distortion, cells.stationarity
