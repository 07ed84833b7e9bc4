r"""Lloyd's algorithm on inner products: where points are few and dimensions many, and steps or restarts many more.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search by $\langle x_i, m_k \rangle = P_{ki} / W_k$ alone, with
$P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix $G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step
takes a pass over (K, n) numbers and over the rows of G of the points that changed cells: no coordinate is touched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.compiled.kernels import adding
from quantization.compiled.kernels import gram as kernels
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes
from quantization.compiled.product import Frame
from quantization.compiled.steps import Step
from quantization.threads import spread

_PAYS = 0.6  # the share of the passes' arithmetic that the matrix may take
_MATRIX_BYTES = 2**25  # beyond a quarter of the points' own
_REFRESH = 8  # sums are made anew once so many times as many terms went into them as the cell has points
_DOUBTFUL = 1 / 8
_COLUMNS = 256


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
    """All inner products of the points in the frame, (n, n)."""
    n, width = len(points), 2 * lanes(points.dtype)
    matrix = np.empty((n, -(-n // width) * width), points.dtype)
    starts = range(0, n, kernels.PANELS * width)

    def columns(part: int) -> None:
        panels = np.zeros((kernels.PANELS, PIECE, width), points.dtype)
        moved = np.empty((ROWS if frame.shifted else 0, PIECE), points.dtype)
        first, last = starts[part], min(starts[part] + kernels.PANELS * width, n)
        kernels.gram_columns(points, frame.centre, frame.shifted, first, last, panels, moved, matrix)

    spread(columns, len(starts), sizes=starts)
    return matrix[:, :n]


class Gram:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64, by their inner products in that precision."""

    def __init__(self, points: Any, masses: FloatArray) -> None:
        n, dim = points.shape
        self._points, self._masses, self._dtype = points, masses, points.dtype
        self._weights = (masses * n).astype(self._dtype)  # of the order of 1
        frame = Frame(np.asarray(points[:: max(1, n // 64)], dtype=np.float64), self._dtype)
        self._centre = frame.centre.astype(np.float64)
        self._heads = points[:, 0].copy()
        self._matrix = _matrix(points, frame)
        self._squares = np.diagonal(self._matrix).astype(np.float64)
        self._lengths = np.sqrt(np.maximum(self._squares, 0.0)) * (1 + 1e-3)
        self._terms = min(kernels.DEPTH, dim) + -(-dim // kernels.DEPTH)  # that an entry's round-off grows with
        # What a distortion is off by, as sums of so many rounded terms go: a few times the root of their number.
        self._error = 8 * kernels.DEPTH**0.5 * float(np.finfo(self._dtype).eps) * float(masses @ self._squares)

    def _among_points(self, codes: FloatArray) -> Any:
        """For each code a point that equals it, (K,) indices; or None where a code is no point."""
        found = np.full(len(codes), -1)
        for k, code in enumerate(codes):
            same = (i for i in np.flatnonzero(self._heads == code[0]) if np.array_equal(self._points[i], code))
            found[k] = next(same, -1)
        return found if (found >= 0).all() else None

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: see :class:`~quantization.compiled.steps.Descent`. The numbers are as good as the points' precision.

        Ends where a code of the first codebook is no point, a cell is empty, or many points lie as good as between two codes.
        """
        chosen = self._among_points(codes)
        if chosen is None:
            return
        k, before = len(chosen), None
        current = _Codebook(
            np.ascontiguousarray(self._matrix[chosen]), np.ones(k), np.ones(k), self._squares[chosen], self._lengths[chosen]
        )
        while True:
            made = self._codes_after(before, k) if before is not None else lambda: self._points[chosen].astype(np.float64)
            labels = self._labels(current, chosen if before is None else before, before is None)
            if labels is None:
                return
            masses = summed_by(labels, self._masses, k)
            if not masses.all():
                return
            own = current.sums[labels, np.arange(len(labels))].astype(np.float64) / current.totals[labels]  # <c, x> of its code
            distortion = float(self._masses @ (self._squares + current.squares[labels] - 2 * own))
            across = summed_by(labels, self._masses * own, k) / masses  # <c_k, m_k>
            at_rest = before is not None and np.array_equal(labels, before)
            following = self._means_of(labels, before, current)
            gaps = np.maximum(current.squares - 2 * across + following.squares, 0.0)
            residual = 0.0 if at_rest else float(masses @ gaps)
            if not distortion > 0:
                return
            after = self._codes_after(labels, k)
            yield Step(made, masses, distortion, self._error / distortion, (residual / distortion) ** 0.5, after, at_rest)
            if at_rest:
                return
            before, current = labels, following

    def _codes_after(self, labels: Any, k: int) -> Callable[[], FloatArray]:
        return lambda: self._centroids(labels, k).astype(self._dtype).astype(np.float64)

    def _labels(self, current: _Codebook, origin: Any, chosen: bool) -> Any:
        """The nearest code of every point; None where too many points are in doubt.

        origin: the points that are the codes, where ``chosen``; else the labels of the cells whose centroids they are.
        """
        n = len(self._matrix)
        labels, best, second = np.empty(n, np.int32), np.empty(n, self._dtype), np.empty(n, self._dtype)
        inverse, half = (1 / current.totals).astype(self._dtype), (current.squares / 2).astype(self._dtype)
        kernels.gram_assign(current.sums, inverse, half, labels, best, second)
        slack = self._slack(current)
        doubtful = np.flatnonzero(second <= best + slack)
        if len(doubtful) > _DOUBTFUL * n:
            return None
        if len(doubtful):
            exact = np.empty((len(half), len(self._centre)), self._dtype)
            kernels.settle(
                self._points, self._masses, self._centre, origin, chosen, current.sums, inverse, half, best + slack, doubtful,
                exact, labels,
            )  # fmt: skip
        return labels

    def _means_of(self, labels: Any, before: Any, current: _Codebook) -> _Codebook:
        """The means of the cells, from those before where few points have moved."""
        n, k = len(labels), len(current.sums)
        counts = np.bincount(labels, minlength=k).astype(np.float64)
        sums, terms = current.sums, current.terms
        moved = np.arange(n) if before is None else np.flatnonzero(labels != before)
        if before is not None:
            terms = terms + np.bincount(labels[moved], minlength=k) + np.bincount(before[moved], minlength=k)
        if before is None or 3 * len(moved) > n or (terms > _REFRESH * np.maximum(counts, 8)).any():
            sums[:], terms = 0, counts
            kernels.gram_add(self._matrix, self._weights, np.arange(n), labels, sums)
        else:
            kernels.gram_move(self._matrix, self._weights, moved, before[moved], labels[moved], sums)
        totals = summed_by(labels, self._weights, k)
        own = self._weights * sums[labels, np.arange(n)].astype(np.float64)
        lengths = summed_by(labels, self._weights * self._lengths, k) / totals
        return _Codebook(sums, totals, terms, summed_by(labels, own, k) / np.square(totals), lengths)

    def _centroids(self, labels: Any, k: int) -> FloatArray:
        """The centroids of the cells, (K, d), none of them empty."""
        dim = len(self._centre)
        reference, sums = np.tile(self._centre, (k, 1)), np.zeros((k, dim))
        starts = range(0, dim, _COLUMNS)

        def add(i: int) -> None:
            last = min(starts[i] + _COLUMNS, dim)
            adding.add_columns(self._points, reference, labels, self._masses, starts[i], last, sums)

        spread(add, len(starts))
        return reference + sums / summed_by(labels, self._masses, k)[:, None]

    def _slack(self, current: _Codebook) -> Any:
        r"""How far apart two scores of each point must be to be in their true order, (n,).

        An entry of the matrix is off by $\gamma |x_i| |x_j|$, so a mean of entries by $\gamma |x_i|$ times the mean length of its
        terms; a sum of so many terms adds as many units of round-off, and rounding a code to the points' precision moves it by a
        unit of its own length.
        """
        longest, unit = float(current.lengths.max()), float(np.finfo(self._dtype).eps)
        terms = self._terms + float(current.terms.max()) + 12
        rounding = unit * (longest + float(np.linalg.norm(self._centre)))
        bound = 1.1 * terms * unit * longest * (self._lengths + longest / 2) + rounding * (self._lengths + longest)
        return bound.astype(self._dtype)
