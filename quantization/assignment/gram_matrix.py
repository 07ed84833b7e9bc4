r"""Lloyd's algorithm on the Gram matrix: few points, many dimensions, and many steps or restarts.

A centroid $m_k = \sum_{j \in V_k} w_j x_j / W_k$ enters the search for the nearest code only by
$\langle x_i, m_k \rangle = P_{ki} / W_k$, with $P_{ki} = \sum_{j \in V_k} w_j G_{ij}$ and the Gram matrix
$G_{ij} = \langle x_i, x_j \rangle$, which all restarts share. A step passes over the (K, n) numbers P and over the rows of G of
the points that changed cells. Coordinates are read only for points whose label the round-off bound does not certify.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.assignment import gram_kernels as kernels
from quantization.assignment.bounds import PIECE, product_error
from quantization.assignment.cells import Sums
from quantization.assignment.distance_kernels import measure_from, nearest_of
from quantization.assignment.step import Step
from quantization.threads import parallel_map, parallel_rows

_ROWS = 330  # of a tile of the matrix
_SPACE = 2**25  # bytes of points in float32 at a time
_KEYS = 16  # coordinates by which a code that is a point is found
_PARTS = 24  # into which cells are cut for threads
_DOUBTFUL = 8  # at most one of so many points is decided on its coordinates; beyond, general passes are faster
_STALE = 8  # sums are recomputed once so many times as many terms went into them, or as much weight, as the cell has
_MANY = 3  # and where more than one of so many points changed cells
_COARSE = 1e-2  # relative error bound of a distortion above which it is measured on coordinates
_FAR = 2.0**60  # length of a code that products in float32 cannot hold
_LEAST_WEIGHT = 1e-250
_NO_LABELS = np.empty(0, np.int32)
_SINGLE, _DOUBLE = np.finfo(np.float32), np.finfo(np.float64)


@dataclass
class Codebook:
    r"""K codes as a step sees them, after the shift and scaling of :class:`GramMatrix`.

    sums (K, n): P. totals (K,): W. half: $\tfrac12 |c_k|^2$. slopes, offsets: the score of code k and point i is off by at most
    ``slopes[k] * lengths[i] + offsets[k]``. reaches: $\sum_{j \in V_k} w_j |x_j|$. terms: how many were added to or subtracted
    from a sum since it was last computed from scratch; peaks: the most that the reach has been since then.
    """

    sums: FloatArray
    totals: FloatArray
    half: FloatArray
    slopes: FloatArray
    offsets: FloatArray
    reaches: FloatArray
    terms: FloatArray
    peaks: FloatArray


class GramMatrix:
    r"""Samples (n, d) with weights (n,) by their inner products. Nothing changes after construction: threads share it.

    Notes
    -----
    Points enter as $y_i = \mathrm{fl}(\sigma (x_i - a))$ in float32. Here a is the mean of some points, or 0 where that is small
    beside their spread, and $\sigma$ a power of two, 1 unless the range of float32 asks for another. How far scores are off in
    relation to the lengths $|x|$ about a is the second corollary of ``bounds``.
    """

    def __init__(self, points: Any, weights: FloatArray) -> None:
        self.points: Any = points if points.dtype in (np.float32, np.float64) else points.astype(np.float32)
        self.weights = np.ascontiguousarray(weights, np.float64)
        # Sums of such weights would leave the range of float64.
        self.light = bool(((weights > 0) & (weights < _LEAST_WEIGHT)).any())
        n, d = points.shape
        some = np.asarray(self.points[:: -(-n // 16)], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            shifts = not np.square(some.mean(0)).sum() <= 4 * np.square(some - some.mean(0)).sum(1).mean()
        self.centre = (some.mean(0) if shifts else np.zeros(d)).astype(self.points.dtype).astype(np.float64)
        sizes = parallel_rows(lambda rows: max(-float(self.points[rows].min()), float(self.points[rows].max())), n)
        largest = (max(sizes) + float(np.abs(self.centre).max())) * d**0.5
        exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
        self.scale = 2.0**-exponent if abs(exponent) > 30 else 1.0
        self._as_given = not shifts and self.scale == 1 and points.dtype == np.float32 and points.flags.c_contiguous
        self.gamma = product_error(d)
        self._floor = float(_SINGLE.smallest_normal * d / self.gamma) ** 0.5
        self._matrix = self._inner_products()
        self.squares = np.diagonal(self._matrix).astype(np.float64)
        self.lengths = np.sqrt(self.squares) * (1 + 1e-3) + self._floor
        limits = np.finfo(self.points.dtype)
        length = self.scale * float(np.linalg.norm(self.centre))
        lost = self.scale * float(limits.smallest_subnormal) * d**0.5
        self._rounding = float(limits.eps) / 2 + float(_DOUBLE.eps)
        self._lost = self._rounding * length + lost
        # The first point of these coordinates; others that share them are taken for codes that are no points.
        keys = self._keys(self.points)
        self._found = dict(zip(reversed(keys), reversed(range(n)), strict=True))

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """Return the index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        codes = np.ascontiguousarray(codes, np.float64)
        labels = self.labels(self.codebook(codes), _Codes(self, known=codes), 1)
        return labels, self.distances(codes, labels)

    def sums(self, codes: FloatArray) -> Sums:
        """Return the sums over the cells of the codes."""
        labels = self.nearest(codes)[0]
        masses = summed_by(labels, self.weights, len(codes))
        shifts, cost = _Codes(self, labels, masses).sums_about(codes)
        return Sums(masses, shifts, shifts, cost, float(masses.sum()), None)

    def distances(self, codes: FloatArray, labels: Any) -> FloatArray:
        """Return the squared distance of every point to the code of its label, (n,)."""
        squared = np.empty(len(self.weights))
        parallel_rows(lambda rows: measure_from(self.points[rows], codes, labels[rows], squared[rows]), len(squared))
        return squared

    def moving_cells(self, codes: FloatArray) -> "_Cells":
        """Return the cells of these codes, rounded to the points' dtype, which are about to move."""
        return _Cells(self, codes)

    def advance(self, book: Codebook, cells: FloatArray, moved: Any, before: Any, labels: Any) -> tuple[float, float]:
        """Bring a codebook to the centroids of these cells; return the sum of W |m - c|^2, and what rounding the codes adds."""
        masses, across, reaches, joined, counts, changes = cells
        terms, peaks = book.terms + changes, np.maximum(book.peaks, book.reaches + joined)
        stale = (terms > _STALE * np.maximum(counts, _STALE)) | (peaks > _STALE * reaches)
        if len(before) == 0 or len(moved) * _MANY > len(labels) or stale.any():
            terms, peaks = counts, reaches
            book.sums[:] = 0
            kernels.add_rows(self._matrix, self.weights, _by_cell(labels, len(masses)), labels, book.sums)
        else:
            kernels.add_rows(self._matrix, -self.weights, moved, before, book.sums)
            kernels.add_rows(self._matrix, self.weights, moved, labels, book.sums)
        squares = np.zeros(len(masses))
        kernels.square_means(book.sums, self.weights, labels, masses, squares)
        way = float(masses @ (2 * book.half + squares) - 2 * across.sum())
        lengths, summed = reaches / masses, float(_DOUBLE.eps) * (4 * terms + 12) * peaks / masses
        rounded = self._rounding * lengths + self._lost
        products = self.gamma * lengths
        book.totals, book.half, book.reaches, book.terms, book.peaks = masses, squares / 2, reaches, terms, peaks
        book.slopes = 1.1 * (products + summed + rounded)
        book.offsets = 1.1 * ((products / 2 + summed + rounded) * lengths + np.square(rounded) / 2)
        return way, float(masses @ np.square(rounded))

    def _inner_products(self) -> Any:
        """The matrix in tiles on and below the diagonal, and their mirror images; of some columns of the points at a time."""
        n, d = self.points.shape
        matrix, parts = np.zeros((n, n), np.float32), -(-n // _ROWS)
        cuts = [slice(i * n // parts, (i + 1) * n // parts) for i in range(parts)]
        tiles = [(rows, columns) for i, rows in enumerate(cuts) for columns in cuts[: i + 1]]
        width = min(d, max(1, _SPACE // (4 * n * PIECE)) * PIECE)
        space = np.empty((0 if self._as_given else n, width), np.float32)
        for first in range(0, d, width):
            framed = self.points[:, first : first + width] if self._as_given else space[:, : d - first]

            def fill(rows: slice) -> None:
                framed[rows] = self._framed(self.points[rows, first : first + width], first)  # noqa: B023

            def multiply(tile: int) -> None:
                rows, columns = tiles[tile]
                total = matrix[rows, columns].copy()
                for t in range(0, framed.shape[1], PIECE):  # noqa: B023
                    piece = framed[:, t : t + PIECE]  # noqa: B023
                    total += piece[rows] @ piece[columns].T  # numpy computes half of what is symmetric
                matrix[rows, columns], matrix[columns, rows] = total, total.T

            if not self._as_given:
                parallel_rows(fill, n)
            parallel_map(multiply, len(tiles), sizes=[1 if rows is columns else 2 for rows, columns in tiles])
        return matrix

    def _framed(self, rows: Any, first: int) -> Any:
        """Some coordinates of some points or codes, from the ``first`` on, after the shift and scaling, in float32."""
        centre = self.centre[first : first + rows.shape[1]]
        if self.scale != 1:
            return ((rows - centre) * self.scale).astype(np.float32)
        return (rows - centre.astype(rows.dtype)).astype(np.float32, copy=False)

    def _keys(self, rows: Any) -> list[bytes]:
        d = rows.shape[1]
        columns = np.linspace(0, d - 1, min(d, _KEYS), dtype=np.int64)
        some: Any = rows[:, columns].astype(np.float64)
        return [row.tobytes() for row in some + 0.0]  # 0.0: zeros of one sign

    def codebook(self, codes: FloatArray) -> Codebook:
        """The state of any codes: their products with the points, rows of the matrix where a code is a point."""
        k, n = len(codes), len(self.points)
        sums, lengths, half = np.empty((k, n)), np.empty(k), np.empty(k)
        places = np.array([self._found.get(key, 0) for key in self._keys(codes)])
        known = (self.points[places] == codes).all(1)
        at = places[known]
        sums[known], lengths[known], half[known] = self._matrix[at], self.lengths[at], self._matrix[at, at] / 2
        others = codes[~known]
        if len(others):
            with np.errstate(over="ignore"):
                squares = np.square((others - self.centre) * self.scale).sum(1)
            lengths[~known], half[~known] = np.sqrt(squares) * (1 + 1e-3) + self._floor, squares / 2
            with np.errstate(over="ignore", invalid="ignore"):
                sums[~known] = self._products(others).T
        slopes = 1.1 * self.gamma * lengths
        return Codebook(sums, np.ones(k), half, slopes, slopes * lengths / 2, lengths, np.ones(k), lengths.copy())

    def _products(self, codes: FloatArray) -> Any:
        """The products of all points with some codes, (n, K) in float32."""
        d = codes.shape[1]

        def part(rows: slice) -> Any:
            total: Any = 0
            for first in range(0, d, PIECE):
                columns = slice(first, first + PIECE)
                total += self._framed(self.points[rows, columns], first) @ self._framed(codes[:, columns], first).T
            return total

        return np.concatenate(parallel_rows(part, len(self.points)))

    def labels(self, book: Codebook, codes: "_Codes", share: float) -> Any:
        """The nearest code of every point; None where more than this share of the labels is not certified."""
        n = len(self.points)
        labels, limits = np.empty(n, np.int32), np.empty(n)
        scores = book.sums, book.totals, book.half, book.slopes, book.offsets
        in_range = bool(book.reaches.max() < _FAR * book.totals.min())
        count = kernels.label(*scores, self.lengths, labels, limits, np.empty(kernels.BLOCK)) if in_range else n
        if count > share * n:
            return None
        if count:
            rows = np.flatnonzero(limits > -np.inf) if in_range else np.arange(n)
            errors = book.slopes[:, None] * self.lengths[rows] + book.offsets[:, None]
            lower = book.half[:, None] - book.sums[:, rows] / book.totals[:, None] - errors
            rivals = lower <= limits[rows] if in_range else np.ones(lower.shape, bool)
            needed = np.flatnonzero(rivals.any(1))
            made = codes.some(needed)
            for row, among in zip(rows, rivals[needed].T, strict=True):
                labels[row] = needed[among][nearest_of(self.points, row, made[among])]
        return labels


class _Codes:
    """A codebook whose coordinates are computed only where somebody asks: codes as given, or the centroids of cells."""

    def __init__(self, matrix: GramMatrix, labels: Any = None, masses: Any = None, known: Any = None) -> None:
        self._points, self._weights, self._centre = matrix.points, matrix.weights, matrix.centre
        self._labels, self.masses, self._known = labels, masses, known

    def all(self) -> FloatArray:
        """The codes, (K, d), rounded to the points' dtype."""
        if self._known is not None:
            return self._known.copy()
        return self._rounded(self.sums_about(self._centre[None])[0], self.masses)

    def some(self, chosen: Any) -> FloatArray:
        """Some of them."""
        if self._known is not None:
            return self._known[chosen]
        return self._rounded(self._summed(self._centre[None], chosen)[0], self.masses[chosen])

    def sums_about(self, origins: FloatArray) -> tuple[FloatArray, float]:
        """The sums of w (x - o) over each cell, (K, d), and that of w |x - o|^2 over all points; origins (K, d) or (1, d)."""
        k = len(self.masses)
        parts = min(k, _PARTS)
        found = parallel_map(lambda i: self._summed(origins, np.arange(i * k // parts, (i + 1) * k // parts)), parts)
        return np.concatenate([shifts for shifts, _ in found]), float(sum(cost for _, cost in found))

    def _summed(self, origins: FloatArray, cells: Any) -> tuple[FloatArray, float]:
        k, shifts = len(self.masses), np.empty((len(cells), self._points.shape[1]))
        order, ends = _by_cell(self._labels, k), np.zeros(k + 1, np.int64)
        np.cumsum(np.bincount(self._labels, minlength=k), out=ends[1:])
        return shifts, kernels.sum_cells(self._points, self._weights, origins, order, ends, cells, shifts)

    def _rounded(self, shifts: FloatArray, masses: FloatArray) -> FloatArray:
        return (self._centre + shifts / masses[:, None]).astype(self._points.dtype).astype(np.float64)


class _Cells:
    """The cells of a codebook that moves, whose coordinates are computed only where somebody asks."""

    def __init__(self, matrix: GramMatrix, codes: FloatArray) -> None:
        self._matrix, self.labels = matrix, _NO_LABELS
        self.move_to(codes)

    def codes(self) -> FloatArray:
        return self._current.all()

    def step(self) -> Step | None:
        """The cells of the current codes, unless too many labels are not certified; the codebook goes on to their centroids.

        The distortion is an estimate with an error bound, unless that is too coarse or the distortion hardly falls any more.
        """
        m, book, current, rows = self._matrix, self._book, self._current, np.empty(len(self._matrix.weights), np.int64)
        labels = None if m.light else m.labels(book, current, 1 / _DOUBTFUL)
        if labels is None:
            return None
        cells, before, self.labels = np.zeros((6, len(book.half))), self._before, labels
        distortion, error, moved = kernels.tally(
            m.squares, m.weights, m.lengths, labels, before, book.sums, book.totals, book.half, book.slopes, book.offsets,
            m.gamma, cells, rows,
        )  # fmt: skip
        if not cells[0].all():
            return Step(current.all, cells[0])
        way, floor = m.advance(book, cells, rows[:moved], before, labels)
        self._following = following = _Codes(m, labels, cells[0])
        if not error < _COARSE * distortion or (moved and way <= 4 * floor):
            _, distortion, stationarity = _measure(current, following)
            return Step(current.all, cells[0], distortion, 0.0, stationarity, moved == 0)
        rtol, stationarity = 1.1 * error / distortion + len(rows) * float(_DOUBLE.eps), (max(way, 0.0) / distortion) ** 0.5
        measure = partial(_measure, current, following)
        return Step(current.all, cells[0], distortion * m.scale**-2, rtol, stationarity, moved == 0, measure)

    def advance(self) -> None:
        """On to the centroids."""
        self._current, self._before = self._following, self.labels

    def move_to(self, codes: FloatArray) -> None:
        """On to any other codes, by their products with the points; the matrix is kept."""
        m, codes = self._matrix, codes.astype(self._matrix.points.dtype).astype(np.float64)
        self._book, self._before = m.codebook(codes), _NO_LABELS
        self._current = self._following = _Codes(m, known=codes)


def _by_cell(labels: Any, k: int) -> Any:
    """The points in the order of their cells; small integers are sorted in linear time."""
    return np.argsort(labels.astype(np.min_scalar_type(k)), kind="stable")


def _measure(current: _Codes, cells: _Codes) -> tuple[FloatArray, float, float]:
    """The codes, their distortion and stationarity, on coordinates. cells: those of the codes, as the centroids that follow."""
    codes = current.all()
    shifts, distortion = cells.sums_about(codes)
    off = float((np.square(shifts).sum(1) / cells.masses).sum())
    return codes, distortion, (off / distortion) ** 0.5 if distortion > 0 else 0.0
