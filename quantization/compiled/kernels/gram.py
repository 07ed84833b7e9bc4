"""Inner products of points, and the sums of their rows that stand for codes."""

from typing import Any

import numpy as np

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.compiler import PIECE, compiled, unordered
from quantization.compiled.kernels.near import squared_distance
from quantization.compiled.kernels.product import SPAN, spread_rows

PANELS = 4  # of columns that are worked on together: they stay in the cache while all rows pass
DEPTH = 128  # terms that are summed in registers before they join the matrix: the bound on round-off grows with this, not with d
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
                spread_rows(ready, len(some), panels[g, a : a + size])
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


@unordered
def gram_assign(sums: Any, inverse: Any, half: Any, labels: Any, best: Any, second: Any) -> None:
    """For each column of the sums (K, n), the least over k of half − inverse · sums, where it is, and the second least."""
    k, n = sums.shape
    for i in range(n):
        best[i] = half[0] - inverse[0] * sums[0, i]
        second[i] = np.inf
        labels[i] = 0
    for j in range(1, k):
        h, v, row = half[j], inverse[j], sums[j]
        for i in range(n):
            score = h - v * row[i]
            less = score < best[i]
            second[i] = best[i] if less else min(second[i], score)
            labels[i] = j if less else labels[i]
            best[i] = score if less else best[i]


@compiled
def gram_add(matrix: Any, weights: Any, rows: Any, labels: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, added to the sums of their labels."""
    for i in rows:
        w, row, target = weights[i], matrix[i], sums[labels[i]]
        for j in range(len(row)):
            target[j] += w * row[j]


@compiled
def gram_move(matrix: Any, weights: Any, rows: Any, left: Any, joined: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, taken from the sums of one label and added to those of another."""
    for q in range(len(rows)):
        w, row = weights[rows[q]], matrix[rows[q]]
        source, target = sums[left[q]], sums[joined[q]]
        for j in range(len(row)):
            source[j] -= w * row[j]
        for j in range(len(row)):
            target[j] += w * row[j]


@unordered
def settle(
    points: Any,
    masses: Any,
    centre: Any,
    origin: Any,
    chosen: bool,
    sums: Any,
    inverse: Any,
    half: Any,
    limits: Any,
    doubtful: Any,
    exact: Any,
    labels: Any,
) -> None:
    """The nearest code of points in doubt, among the codes whose scores are within the points' limits, by direct differences.

    origin: the points that are the codes, where ``chosen``; else the labels of the cells whose centroids they are. exact: space
    for the codes themselves, (K, d), in the points' precision; those that are needed are made once.
    """
    made = np.zeros(len(exact), np.bool_)
    for i in doubtful:
        least = np.inf
        for k in range(len(exact)):
            if half[k] - inverse[k] * sums[k, i] <= limits[i]:
                code = exact[k]
                if not made[k]:
                    made[k], total = True, 0.0
                    if chosen:
                        code[:] = points[origin[k]]
                    else:
                        mean = np.zeros(len(centre))
                        for j in range(len(origin)):
                            if origin[j] == k:
                                x, w = points[j], masses[j]
                                total += w
                                for t in range(len(mean)):
                                    mean[t] += w * (np.float64(x[t]) - np.float64(centre[t]))
                        for t in range(len(mean)):
                            code[t] = np.float64(centre[t]) + mean[t] / total
                squared = squared_distance(points, i, exact, k)
                if squared < least:
                    least, labels[i] = squared, k
