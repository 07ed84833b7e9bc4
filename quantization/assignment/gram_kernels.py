"""Compiled loops of Lloyd's algorithm on the Gram matrix: a pass over (K, n) scores, and sums over the members of cells."""

from typing import Any

import numpy as np

from quantization.compiler import compiled, unordered

BLOCK = 512  # points whose state stays in the first cache while all codes pass
_SPAN = 4096  # coordinates of a cell's sum that stay in the first cache while its members pass


@compiled
def label(
    sums: Any, totals: Any, half: Any, slopes: Any, offsets: Any, lengths: Any, labels: Any, limits: Any, seconds: Any
) -> Any:  # fmt: skip
    """Write the code of the least score, less its error bound, of every point; return how many labels are not certified.

    limits (n,): minus infinity where the label is certified; otherwise the upper bound of the least score: a code may be the
    nearest only if its score, less its bound, is no larger. seconds: (BLOCK,) space.
    """
    k, n = sums.shape
    count = np.int64(0)
    for a in range(0, n, BLOCK):
        size = BLOCK if n - a > BLOCK else n - a
        own, least, second, length = labels[a : a + size], limits[a : a + size], seconds[:size], lengths[a : a + size]
        for i in range(size):
            own[i], least[i], second[i] = 0, np.inf, np.inf
        for j in range(k):
            row, start, share, slope, code = sums[j, a : a + size], half[j] - offsets[j], 1 / totals[j], slopes[j], np.int32(j)
            for i in range(size):
                score, low, next_ = start - share * row[i] - slope * length[i], least[i], second[i]
                higher = low if score < low else score
                second[i] = higher if higher < next_ else next_
                own[i] = code if score < low else own[i]
                least[i] = score if score < low else low
        for i in range(size):
            upper = least[i] + 2 * (slopes[own[i]] * length[i] + offsets[own[i]])
            certified = second[i] > upper
            least[i] = -np.inf if certified else upper
            count += not certified
    return count


@unordered
def sum_cells(points: Any, weights: Any, origins: Any, order: Any, ends: Any, cells: Any, shifts: Any) -> float:
    """Write the sums of w (x - o) over some cells, a row each; return that of w |x - o|^2.

    order, ends: cell k has the points order[ends[k]:ends[k + 1]]. origins o: (K, d), or (1, d) for all.
    """
    cost = 0.0
    for row in range(len(cells)):
        first, last = ends[cells[row]], ends[cells[row] + 1]
        for a in range(0, points.shape[1], _SPAN):
            sums, origin = shifts[row, a : a + _SPAN], origins[cells[row] % len(origins), a : a + _SPAN]
            for t in range(len(sums)):
                sums[t] = 0
            for m in range(first, last, 4):  # four at a time: sums are read and written once, and memory is waited for together
                i, j = order[m], order[m + 1 if m + 1 < last else last - 1]
                k, q = order[m + 2 if m + 2 < last else last - 1], order[m + 3 if m + 3 < last else last - 1]
                w_i, w_j = weights[i], weights[j] if m + 1 < last else 0.0
                w_k, w_q = weights[k] if m + 2 < last else 0.0, weights[q] if m + 3 < last else 0.0
                x_i, x_j, x_k, x_q = points[i, a:], points[j, a:], points[k, a:], points[q, a:]
                for t in range(len(sums)):
                    e, f = np.float64(x_i[t]) - origin[t], np.float64(x_j[t]) - origin[t]
                    g, h = np.float64(x_k[t]) - origin[t], np.float64(x_q[t]) - origin[t]
                    sums[t] += w_i * e + w_j * f + w_k * g + w_q * h
                    cost += w_i * e * e + w_j * f * f + w_k * g * g + w_q * h * h
    return cost


@unordered
def tally(
    squares: Any, weights: Any, lengths: Any, labels: Any, before: Any, sums: Any, totals: Any, half: Any, slopes: Any,
    offsets: Any, gamma: float, cells: Any, moved: Any
) -> Any:  # fmt: skip
    """Write what the cells hold and which points of positive weight changed cells.

    cells (6, K), zeros at first: the masses, the sums of w <c, x>, of w |x|, of the latter over points that joined, the numbers
    of points and of changes. before: the labels of the last step; of length 0 where there are none.

    Returns the distortion, its error bound and how many points moved.
    """
    distortion, error, count = 0.0, 0.0, np.int64(0)
    for i in range(len(labels)):
        j, w, length = labels[i], weights[i], lengths[i]
        product = sums[j, i] / totals[j]
        cells[0, j] += w
        cells[1, j] += w * product
        cells[2, j] += w * length
        cells[4, j] += 1
        distortion += w * (squares[i] + 2 * half[j] - 2 * product)
        error += w * (gamma * length * length + 2 * (slopes[j] * length + offsets[j]))
        if w > 0 and (len(before) == 0 or before[i] != j):
            moved[count] = i
            count += 1
            cells[3, j] += w * length
            cells[5, j] += 1
            if len(before):
                cells[5, before[i]] += 1
    return distortion, error, count


@unordered
def add_rows(matrix: Any, weights: Any, rows: Any, labels: Any, sums: Any) -> None:
    """Add weighted rows of the matrix, in this order, to the sums of the cells of their labels."""
    m = np.int64(0)
    while m < len(rows):
        i, j, last = rows[m], rows[m], len(rows) - 1
        pair = m < last and labels[rows[m + 1]] == labels[i]  # of one cell: the sums are read and written once
        if pair:
            j = rows[m + 1]
        x, y, w, v, target = matrix[i], matrix[j], weights[i], weights[j] if pair else 0.0, sums[labels[i]]
        for t in range(len(target)):
            target[t] += w * x[t] + v * y[t]
        m += 2 if pair else 1


@unordered
def square_means(sums: Any, weights: Any, labels: Any, masses: Any, squares: Any) -> None:
    """Add up the squared lengths of the centroids; divided twice, as products of two weights may leave the range of float64."""
    for i in range(len(labels)):
        j = labels[i]
        squares[j] += weights[i] / masses[j] * (sums[j, i] / masses[j])
