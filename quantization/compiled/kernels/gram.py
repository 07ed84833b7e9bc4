"""Inner products of points, and the sums of their rows that stand for codes."""

from typing import Any

import numpy as np

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.compiler import PIECE, compiled, unordered
from quantization.compiled.kernels.near import direct_distance
from quantization.compiled.kernels.product import SPAN, fill_panel

PANELS = 4  # of columns that are worked on together: they stay in the cache while all rows pass
DEPTH = 128  # terms that are summed in registers before they join the matrix: the bound on round-off grows with this, not with d
_FAR = 3e38
_ROWS = tile.ROWS
_tile, _row = tile.wide_tile, tile.wide_row


@compiled
def gram_columns(points: Any, centre: Any, shifted: bool, first: int, last: int, panels: Any, moved: Any, matrix: Any) -> None:
    """Some columns of the matrix of all inner products, down to the diagonal, and the rows that are their mirror image.

    The points are shifted by the centre where it is asked for. panels: space, zeros (PANELS, PIECE, width). moved: space for
    shifted rows (ROWS, PIECE). matrix: (n, a multiple of the width).
    """
    dim = points.shape[1]
    width, across, bytes_ = panels.shape[2], matrix.shape[1], matrix.itemsize
    ready = np.empty((width, SPAN), panels.dtype)
    groups = (last - first + width - 1) // width
    for t in range(0, dim, PIECE):
        length = min(PIECE, dim - t)
        for g in range(groups):
            some = points[first + g * width : min(first + (g + 1) * width, last)]
            for a in range(0, length, SPAN):
                size = min(SPAN, length - a)
                for lane in range(len(some)):
                    x, shift, row = some[lane, t + a : t + a + size], centre[t + a : t + a + size], ready[lane]
                    for u in range(len(x)):
                        row[u] = x[u] - shift[u]
                fill_panel(ready, len(some), panels[g, a : a + size])
        i = 0
        while i < last:
            count = _ROWS if last - i >= _ROWS else 1
            x, stride = points.ctypes.data + bytes_ * (i * dim + t), dim
            if shifted:
                for q in range(count):
                    for u in range(length):
                        moved[q, u] = points[i + q, t + u] - centre[t + u]
                x, stride = moved.ctypes.data, PIECE
            for g in range(max(0, i - first) // width, groups):  # those left of the diagonal are mirror images
                target = matrix.ctypes.data + bytes_ * (i * across + first + g * width)
                for u in range(0, length, DEPTH):
                    panel, terms = panels.ctypes.data + bytes_ * (g * PIECE + u) * width, min(DEPTH, length - u)
                    fresh = t == 0 and u == 0
                    if count == 1:
                        _row(matrix, x + bytes_ * u, stride, panel, terms, target, across, fresh, False, panel, panel, 0)
                    else:
                        _tile(matrix, x + bytes_ * u, stride, panel, terms, target, across, fresh, False, panel, panel, 0)
            i += count
    for a in range(0, last, 64):
        for j in range(max(first, a), last):
            for i in range(a, min(a + 64, j)):
                matrix[j, i] = matrix[i, j]


@compiled
def mark_rows(points: Any, bits: Any, factors: Any, marks: Any) -> None:
    """A number for every row, equal where rows are and otherwise as good as never; ``bits`` are the points as whole numbers."""
    for i in range(len(points)):
        total = np.uint64(0)
        for t in range(points.shape[1]):
            total += np.uint64(bits[i, t]) * factors[t] if points[i, t] != 0 else np.uint64(0)  # zeros of either sign are equal
        marks[i] = total


@unordered
def gram_assign(
    sums: Any, inverse: Any, half: Any, lengths: Any, slope: float, offset: float, labels: Any, limits: Any, doubtful: Any
) -> int:
    """For each column of the sums (K, ≥ n) the k with the least half − inverse · sums; returns how many points are in doubt.

    A doubtful point, listed in ``doubtful``, has a second score within its limit: the least one and ``slope`` times the point's
    length and ``offset``.
    """
    k, n = len(sums), len(labels)
    second = np.empty(n, sums.dtype)
    row = sums[0]
    for i in range(n):
        limits[i] = half[0] - inverse[0] * row[i]
        second[i] = _FAR
        labels[i] = 0
    for j in range(1, k):
        h, v, row = half[j], inverse[j], sums[j]
        for i in range(n):
            score = h - v * row[i]
            less = score < limits[i]
            second[i] = limits[i] if less else min(second[i], score)
            labels[i] = j if less else labels[i]
            limits[i] = score if less else limits[i]
    count = 0
    for i in range(n):
        limits[i] += slope * lengths[i] + offset
        if second[i] <= limits[i]:
            doubtful[count] = i
            count += 1
    return count


@unordered
def gram_cells(
    sums: Any, totals: Any, code_squares: Any, labels: Any, weights: Any, squares: Any, masses: Any, across: Any
) -> float:
    """The distortion; per code the masses (K,) of the cells, and in ``across`` (K,) the sums of w <c, x>."""
    distortion = 0.0
    for i in range(len(labels)):
        k, w = labels[i], weights[i]
        own = np.float64(sums[k, i]) / totals[k]
        masses[k] += w
        across[k] += w * own
        distortion += w * (squares[i] + code_squares[k] - 2 * own)
    return distortion


@compiled
def gram_moved(labels: Any, before: Any, weights: Any, lengths: Any, moved: Any, counts: Any, changes: Any, joined: Any) -> int:
    """How many points have moved, which are listed in ``moved``.

    Adds to ``counts`` the points of each cell, to ``changes`` those that left or joined it, to ``joined`` w |x| of the latter.
    """
    count = 0
    for i in range(len(labels)):
        counts[labels[i]] += 1
        if labels[i] != before[i]:
            moved[count] = i
            count += 1
            changes[labels[i]] += 1
            changes[before[i]] += 1
            joined[labels[i]] += np.float64(weights[i]) * lengths[i]
    return count


@unordered
def gram_add(matrix: Any, weights: Any, labels: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, summed by their labels."""
    sums[:] = 0
    for i in range(len(labels)):
        w, row, target = weights[i], matrix[i], sums[labels[i]]
        for j in range(len(row)):
            target[j] += w * row[j]


@unordered
def gram_move(matrix: Any, weights: Any, rows: Any, left: Any, joined: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, taken from the sums of one label and added to those of another."""
    for i in rows:
        w, row = weights[i], matrix[i]
        source, target = sums[left[i]], sums[joined[i]]
        for j in range(len(row)):
            source[j] -= w * row[j]
        for j in range(len(row)):
            target[j] += w * row[j]


@unordered
def gram_means(weights: Any, lengths: Any, labels: Any, totals: Any, means: Any) -> None:
    """Per cell the total of the weights, and the mean of the points' ``lengths``."""
    totals[:], means[:] = 0, 0
    for i in range(len(labels)):
        k, w = labels[i], np.float64(weights[i])
        totals[k] += w
        means[k] += w * lengths[i]
    for k in range(len(totals)):
        means[k] /= totals[k]


@unordered
def gram_squares(sums: Any, weights: Any, labels: Any, totals: Any, squares: Any) -> None:
    """The squared lengths of the centroids."""
    squares[:] = 0
    for i in range(len(labels)):
        squares[labels[i]] += np.float64(weights[i]) * sums[labels[i], i]
    for k in range(len(totals)):
        squares[k] /= totals[k] * totals[k]


@unordered
def _make_code(points: Any, masses: Any, centre: Any, members: Any, total: float, code: Any) -> None:
    """The centroid of some points whose masses have this total, to the bit as ``keeping`` makes it of all cells."""
    sums, share = np.empty(SPAN), 1 / total
    for a in range(0, len(centre), SPAN):
        some, target = centre[a : a + SPAN], code[a : a + SPAN]
        sums[:] = 0
        for j in members:
            x, w = points[j, a : a + SPAN], masses[j]
            for t in range(len(some)):
                sums[t] += w * (np.float64(x[t]) - some[t])
        for t in range(len(some)):
            target[t] = some[t] + share * sums[t]


@unordered
def settle(
    points: Any,
    masses: Any,
    centre: Any,
    origin: Any,
    totals: Any,
    sums: Any,
    inverse: Any,
    half: Any,
    limits: Any,
    doubtful: Any,
    exact: Any,
    labels: Any,
) -> None:
    """The nearest code of points in doubt, among the codes whose scores are within the points' limits, by direct differences.

    origin: the labels of the cells whose centroids the codes are, with ``totals`` (K,) of their masses; or, where there are no
    totals, the points that are the codes. centre: about which centroids are summed. exact: space for the codes themselves,
    (K, d), in the points' precision; those that are needed are made once.
    """
    made, members = np.zeros(len(exact), np.bool_), np.empty(len(points), np.int64)
    for i in doubtful:
        least = 1e300
        for k in range(len(exact)):
            if half[k] - inverse[k] * sums[k, i] <= limits[i]:
                if not made[k]:
                    made[k] = True
                    if len(totals) == 0:
                        exact[k] = points[origin[k]]
                    else:
                        count = 0
                        for j in range(len(origin)):
                            if origin[j] == k:
                                members[count] = j
                                count += 1
                        _make_code(points, masses, centre, members[:count], totals[k], exact[k])
                squared = direct_distance(points, i, exact, k)
                if squared < least:
                    least, labels[i] = squared, k
