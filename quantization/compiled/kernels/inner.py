"""All inner products of some points, and marks by which equal points are found."""

from typing import Any

import numpy as np

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.compiler import PIECE, compiled, unordered
from quantization.compiled.kernels.product import SPAN, fill_panel

PANELS = 4  # of columns that are worked on together: they stay in the cache while all rows pass
# Terms that are summed in registers. Such sums are summed over a piece, and pieces over the row, so that the bound on round-off
# grows with the three numbers of terms and not with d.
DEPTH = 64
_ROWS = tile.ROWS
_tile, _row = tile.wide_tile, tile.wide_row


def depth(dim: int) -> int:
    """Roundings, one after the other, of an inner product of so many coordinates: of its sums, and of its two shifted numbers."""
    return min(DEPTH, dim) + -(-min(PIECE, dim) // DEPTH) + -(-dim // PIECE)


@unordered
def _add_tile(sums: Any, count: int, matrix: Any, i: int, j: int) -> None:
    for q in range(count):
        some = sums[q]
        row = matrix[i + q, j : j + len(some)]
        for v in range(len(some)):
            row[v] += some[v]


@compiled
def gram_columns(points: Any, centre: Any, shifted: bool, first: int, last: int, panels: Any, moved: Any, matrix: Any) -> None:
    """Some columns of the matrix of all inner products, down to the diagonal, and the rows that are their mirror image.

    The points are shifted by the centre where it is asked for. panels: space (PANELS, PIECE, width). moved: space for
    shifted rows (ROWS, PIECE). matrix: zeros (n, a multiple of the width).
    """
    dim = points.shape[1]
    width, bytes_ = panels.shape[2], matrix.itemsize
    ready, piece = np.empty((width, SPAN), panels.dtype), np.empty((_ROWS, width), panels.dtype)
    groups = (last - first + width - 1) // width
    for t in range(0, dim, PIECE):
        length = min(PIECE, dim - t)
        for g in range(groups):
            some = points[first + g * width : min(first + (g + 1) * width, last)]
            ready[len(some) :] = 0
            for a in range(0, length, SPAN):
                size = min(SPAN, length - a)
                for lane in range(len(some)):
                    x, shift, row = some[lane, t + a : t + a + size], centre[t + a : t + a + size], ready[lane]
                    for u in range(len(x)):
                        row[u] = x[u] - shift[u]
                fill_panel(ready, size, panels[g, a : a + size])
        i = 0
        while i < last:
            count = _ROWS if last - i >= _ROWS else 1
            x, stride = points.ctypes.data + bytes_ * (i * dim + t), dim
            if shifted:
                for q in range(count):
                    row, target, shift = points[i + q, t : t + length], moved[q, :length], centre[t : t + length]
                    for u in range(len(row)):
                        target[u] = row[u] - shift[u]
                x, stride = moved.ctypes.data, PIECE
            for g in range(max(0, i - first) // width, groups):  # those left of the diagonal are mirror images
                for u in range(0, length, DEPTH):
                    panel, some = panels.ctypes.data + bytes_ * (g * PIECE + u) * width, min(DEPTH, length - u)
                    sums = piece.ctypes.data
                    if count == 1:
                        _row(matrix, x + bytes_ * u, stride, panel, some, sums, width, u == 0, False, panel, panel, 0)
                    else:
                        _tile(matrix, x + bytes_ * u, stride, panel, some, sums, width, u == 0, False, panel, panel, 0)
                _add_tile(piece, count, matrix, i, first + g * width)
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


@compiled
def same_rows(points: Any, rows: Any, others: Any, same: Any) -> None:
    """Whether each of some rows equals another, rounded to their precision."""
    for k in range(len(others)):
        x, y, equal = points[rows[k]], others[k], True
        for t in range(len(y)):
            equal &= x[t] == x.dtype.type(y[t])
        same[k] = equal
