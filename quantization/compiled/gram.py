r"""Lloyd's algorithm on inner products: where points are few and dimensions many, and steps or restarts many more.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search by $\langle x_i, m_k \rangle = P_{ki} / W_k$ alone, with
$P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix $G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step
takes a pass over (K, n) numbers and over the rows of G of the points that changed cells: no coordinate is touched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
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
_LEAST_WEIGHT = 1e-30  # of points whose mean weight is 1: sums of less would leave float32's range


def pays(points: Any, k: int, passes: int) -> bool:
    """Whether so many passes with codebooks of k codes take more arithmetic than the matrix, and the matrix fits in memory."""
    n, size = len(points), points.dtype.itemsize
    # Numbers whose squares overflow, or vanish beside others, in the points' own precision are left to direct passes.
    ready = points.dtype in (np.float32, np.float64) and points.flags.c_contiguous
    fits = size * n * n <= _MATRIX_BYTES + points.nbytes // 4
    return ready and fits and n <= _PAYS * 2 * k * passes and 1e-12 < max(points.max(), -points.min()) < 1e12


@dataclass
class _Codebook:
    """Codes that are means of points: sums of rows of the matrix, of weights, and of terms that went in; |c|²; the mean |x|.

    peaks: the most that w |x| summed over a cell has been since its sums were made, over the sum of its weights now.
    """

    sums: Any
    totals: FloatArray
    terms: FloatArray
    squares: FloatArray
    lengths: FloatArray
    peaks: FloatArray


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


def _marks(points: Any) -> list[int]:
    """A number for every point, equal where points are, and otherwise as good as never."""
    generator: Any = np.random.default_rng(0)  # whose integers are typed by half
    factors: Any = 2 * generator.integers(2**63, size=points.shape[1], dtype=np.uint64) + 1
    marks = np.empty(len(points), np.uint64)
    kernels.mark_rows(points, points.view(f"u{points.itemsize}"), factors, marks)
    return marks.tolist()


class Gram:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64, by their inner products in that precision.

    Nothing here changes once it is made: walks in several threads share it.
    """

    def __init__(self, points: Any, masses: FloatArray) -> None:
        n, dim = points.shape
        self.points, self.masses, self._dtype = points, masses, points.dtype
        self._weights = (masses * n).astype(self._dtype)  # of the order of 1
        self._weighty = not ((masses > 0) & (self._weights < _LEAST_WEIGHT)).any()
        self.frame = Frame(np.asarray(points[:: -(-n // 64)], dtype=np.float64), self._dtype)
        self._places: dict[int, list[int]] = {}  # of points, by their marks
        for i, mark in enumerate(_marks(points)):
            self._places.setdefault(mark, []).append(i)
        self._matrix = _matrix(points, self.frame)
        self._squares = np.diagonal(self._matrix).astype(np.float64)
        self._lengths = np.sqrt(np.maximum(self._squares, 0.0)) * (1 + 1e-3)
        self._terms = min(kernels.DEPTH, dim) + -(-dim // kernels.DEPTH)  # that an entry's round-off grows with
        # What a distortion is off by: as inner products of so many rounded terms go, a few times the root of their number of
        # units; and a unit a term of the sums of rows, which equal points may round the same way each time.
        self._unit = float(np.finfo(self._dtype).eps) * float(masses @ self._squares)

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: see :class:`~quantization.compiled.steps.Descent`. The numbers are as good as the points' precision.

        Ends where a code of the first codebook is no point, a cell is empty, or many points lie as good as between two codes.
        """
        chosen = self._among_points(codes) if self._weighty else None
        if chosen is None:
            return
        k, before, origin, totals = len(chosen), None, chosen, np.empty(0)
        lengths = self._lengths[chosen]
        book = _Codebook(self._matrix[chosen], np.ones(k), np.ones(k), self._squares[chosen], lengths, lengths.copy())
        while True:
            labels = self._labels(book, origin, totals)
            if labels is None:
                return
            masses, across = np.zeros(k), np.zeros(k)
            distortion = kernels.gram_cells(
                book.sums, book.totals, book.squares, labels, self.masses, self._squares, masses, across
            )  # fmt: skip
            if not masses.all() or not distortion > 0:
                return
            squares, units = book.squares, 8 * kernels.DEPTH**0.5 + float(book.terms.max())
            at_rest = self._advance(book, labels, before)
            residual = 0.0 if at_rest else float(masses @ np.maximum(squares - 2 * across / masses + book.squares, 0.0))
            found = _Labelling(self, origin, totals, labels, masses)
            yield Step(
                found.codes, masses, distortion, self._unit * units / distortion, (residual / distortion) ** 0.5, found.following,
                at_rest, found.measure,
            )  # fmt: skip
            if at_rest:
                return
            before = origin = labels
            totals = masses

    def takes(self, codes: FloatArray) -> bool:
        """Whether steps from there can be taken."""
        return self._weighty and self._among_points(codes) is not None

    def _among_points(self, codes: FloatArray) -> Any:
        """For each code a point that equals it, (K,) indices; or None where a code is no point."""
        given: Any = np.ascontiguousarray(codes, self._dtype)
        places = [self._places.get(mark, []) for mark in _marks(given)]
        if not all(places):
            return None
        found = np.array([place[0] for place in places])
        for k in np.flatnonzero((self.points[found] != given).any(1)):  # others have that mark too
            found[k] = next((i for i in places[k] if np.array_equal(self.points[i], given[k])), -1)
        return found if (found >= 0).all() else None

    def _labels(self, book: _Codebook, origin: Any, totals: FloatArray) -> Any:
        """The nearest code of every point; None where too many points are in doubt. origin, totals: see ``kernels.settle``."""
        n = len(self.points)
        labels, limits, doubtful = np.empty(n, np.int32), np.empty(n, self._dtype), np.empty(n, np.int64)
        inverse, half = (1 / book.totals).astype(self._dtype), (book.squares / 2).astype(self._dtype)
        count = kernels.gram_assign(book.sums, inverse, half, self._lengths, *self._slack(book), labels, limits, doubtful)
        if count > _DOUBTFUL * n:
            return None
        if count:
            kernels.settle(
                self.points, self.masses, self.frame.centre, origin, totals, book.sums, inverse, half, limits,
                doubtful[:count], np.empty((len(half), self.points.shape[1]), self._dtype), labels,
            )  # fmt: skip
        return labels

    def _advance(self, book: _Codebook, labels: Any, before: Any) -> bool:
        """Makes the book's codes the means of these cells, from those before where few points have moved; whether none has."""
        k = len(book.terms)
        moved, counts, changes, joined = np.empty(len(labels), np.int64), np.zeros(k), np.zeros(k), np.zeros(k)
        count = kernels.gram_moved(
            labels, labels if before is None else before, self._weights, self._lengths, moved, counts, changes, joined
        )  # fmt: skip
        terms, peaks = book.terms + changes, np.maximum(book.peaks, book.lengths + joined / book.totals) * book.totals
        book.totals, book.lengths = np.empty(k), np.empty(k)
        kernels.gram_means(self._weights, self._lengths, labels, book.totals, book.lengths)
        many = (terms > _REFRESH * np.maximum(counts, 8)) | (peaks > _REFRESH * book.totals * book.lengths)
        if before is None or 3 * count > len(labels) or many.any():
            terms, peaks = counts, book.totals * book.lengths
            kernels.gram_add(self._matrix, self._weights, labels, book.sums)
        else:
            kernels.gram_move(self._matrix, self._weights, moved[:count], before, labels, book.sums)
        book.terms, book.peaks, book.squares = terms, peaks / book.totals, np.empty(k)
        kernels.gram_squares(book.sums, self._weights, labels, book.totals, book.squares)
        return before is not None and count == 0

    def _slack(self, book: _Codebook) -> tuple[float, float]:
        r"""How far apart two scores of a point must be to be in their true order: a slope, times its length, and an offset.

        An entry of the matrix is off by $\gamma |x_i| |x_j|$, so a mean of entries by $\gamma |x_i|$ times the mean length of its
        terms; a sum of so many terms, those that have left again included, adds as many units of the most that it has been; and
        rounding a code to the points' precision moves it by a unit of its own length.
        """
        longest, unit = float(book.lengths.max()), float(np.finfo(self._dtype).eps)
        worst = float((self._terms * book.lengths + (book.terms + 12) * book.peaks).max())
        rounding = unit * (longest + float(np.linalg.norm(self.frame.centre.astype(np.float64))))
        vanishing = 4 * float(np.finfo(self._dtype).smallest_subnormal)  # of a product too small for its type
        lost = vanishing * (self.points.shape[1] + float(((book.terms + 12) * (1 + 1 / book.totals)).max()))
        return 1.1 * unit * worst + rounding, 0.55 * unit * worst * longest + rounding * longest + lost


@dataclass(frozen=True)
class _Labelling:
    """The codes of a labelling, and what coordinates say of it. origin, totals: what the codes are, see ``kernels.settle``."""

    gram: Gram
    origin: Any
    totals: FloatArray
    labels: Any
    masses: FloatArray

    def codes(self) -> FloatArray:
        if len(self.totals):
            return self._centroids(self.origin, self.totals)
        return self.gram.points[self.origin].astype(np.float64)

    def following(self) -> FloatArray:
        return self._centroids(self.labels, self.masses)

    def measure(self) -> tuple[FloatArray, float, float]:
        """The codes, their distortion and their stationarity."""
        codes = self.codes()
        shifts = np.zeros(codes.shape)
        cost = add_by_columns(self.gram.points, codes, self.labels, self.gram.masses, shifts)
        cells = Sums(self.masses, shifts, shifts, cost, float(self.masses.sum()), None).cells(codes, 2.0)
        return codes, cells.distortion, cells.stationarity

    def _centroids(self, labels: Any, masses: FloatArray) -> FloatArray:
        """Of the cells, (K, d), rounded to the points' precision."""
        gram = self.gram
        centre = np.tile(gram.frame.centre, (len(masses), 1))
        return CellSums(gram.points, gram.masses, gram.frame).advance(labels, masses, centre).following.astype(np.float64)
