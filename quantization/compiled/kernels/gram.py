"""Inner products of points, and the sums of their rows that stand for codes."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import PIECE, blas, compiled, unordered

_ssyrk, _dsyrk = blas("ssyrk", 10), blas("dsyrk", 10)


@compiled
def gram_matrix(points: Any, centre: Any, shifted: bool, matrix: Any) -> None:
    """All inner products of the points, after a shift by the centre where it is asked for; some coordinates at a time."""
    n, dim = points.shape
    letters = np.array([76, 84], dtype=np.int8)  # "L", "T"
    sizes = np.array([n, 0, dim, 0], dtype=np.int32)
    ones = np.ones(1, dtype=matrix.dtype)
    moved = np.empty((n if shifted else 0, min(PIECE, dim)), dtype=matrix.dtype)
    for t in range(0, dim, PIECE):
        size = min(PIECE, dim - t)
        sizes[1] = size
        piece, stride = points[0, t:], sizes[2:]
        if shifted:
            for i in range(n):
                for s in range(size):
                    moved[i, s] = points[i, t + s] - centre[t + s]
            sizes[3] = moved.shape[1]
            piece, stride = moved[0], sizes[3:]
        if matrix.itemsize == 4:
            _ssyrk(letters.ctypes, letters[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, ones.ctypes,
                   piece.ctypes, stride.ctypes, ones.ctypes, matrix.ctypes, sizes.ctypes)  # fmt: skip
        else:
            _dsyrk(letters.ctypes, letters[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, ones.ctypes,
                   piece.ctypes, stride.ctypes, ones.ctypes, matrix.ctypes, sizes.ctypes)  # fmt: skip
    tile = 64
    for a in range(0, n, tile):
        for b in range(a, n, tile):
            for i in range(a, min(a + tile, n)):
                for j in range(max(b, i + 1), min(b + tile, n)):
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
