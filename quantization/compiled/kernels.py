"""The loops, compiled by numba: each works on some rows, in one thread, without the interpreter's lock.

Rows are contiguous, float32 or float64; codes are float64. Distances are direct differences in float64; the lowest index wins a
tie. Nothing here allocates more than a row.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from typing import Any

import llvmlite.binding as _llvm
import numpy as np
from numba import njit as _njit
from numba import types
from numba.extending import get_cython_function_address

compiled: Any = _njit(nogil=True, cache=True)
# Only where no score is NaN and the order of a sum may change: the scores' bound pays for any order.
unordered: Any = _njit(nogil=True, cache=True, fastmath={"nnan", "ninf", "nsz", "reassoc", "contract"})

PIECE = 512  # terms of an inner product summed by one call of BLAS, so that the bound on its round-off does not grow with d
_TRIANGLE = 1 + 1e-13  # pays for the rounding of three distances in the triangle inequality, d < 100


def _blas(name: str, arguments: int) -> Any:
    """scipy's BLAS as a symbol of LLVM's, so that what calls it can be kept on disk."""
    symbol = f"quantization_{name}"
    _llvm.add_symbol(symbol, get_cython_function_address("scipy.linalg.cython_blas", name))
    return types.ExternalFunction(symbol, types.void(*[types.voidptr] * arguments))


_sgemm, _dgemm = _blas("sgemm", 13), _blas("dgemm", 13)
_ssyrk, _dsyrk = _blas("ssyrk", 10), _blas("dsyrk", 10)


@_njit(nogil=True, inline="always")
def _squared(points: Any, i: int, codes: Any, k: int) -> float:
    total = 0.0
    for t in range(points.shape[1]):
        difference = np.float64(points[i, t]) - codes[k, t]
        total += difference * difference
    return total


@compiled
def nearest_pivot(points: Any, codes: Any, pivots: Any, labels: Any) -> None:
    """The nearest of a few codes, as the place where a walk begins."""
    for i in range(len(points)):
        least = np.inf
        for pivot in pivots:
            squared = _squared(points, i, codes, pivot)
            if squared < least:
                least, labels[i] = squared, pivot


@compiled
def walk_to_nearest(points: Any, codes: Any, neighbours: Any, gaps: Any, labels: Any) -> None:
    """From the code in ``labels`` to ever nearer neighbours of it.

    A code nearer than the one at hand lies within twice its distance of it, so a list of neighbours in the order of their gaps
    proves the nearest once the gap is wider. Where a list is too short for the proof, all codes are tried.
    """
    count = neighbours.shape[1]
    for i in range(len(points)):
        best = labels[i]
        least = _squared(points, i, codes, best)
        walking = True
        while walking:
            walking, proved = False, False
            reach = 2 * np.sqrt(least) * _TRIANGLE
            for q in range(count):
                if gaps[best, q] > reach:
                    proved = True
                    break
                other = neighbours[best, q]
                squared = _squared(points, i, codes, other)
                if squared < least or (squared == least and other < best):
                    best, least, walking = other, squared, True
                    break
            if not (walking or proved):
                for other in range(len(codes)):
                    squared = _squared(points, i, codes, other)
                    if squared < least or (squared == least and other < best):
                        best, least = np.int32(other), squared
        labels[i] = best


@compiled
def try_all(points: Any, columns: Any, labels: Any) -> None:
    """Every code, a coordinate at a time; ``columns`` are the codes transposed, (d, K)."""
    dim, k = columns.shape
    squared = np.empty(k)
    bits = squared.view(np.int64)
    never = np.int64(2**62)
    for i in range(len(points)):
        x = np.float64(points[i, 0])
        for j in range(k):
            difference = x - columns[0, j]
            squared[j] = difference * difference
        for t in range(1, dim):
            x = np.float64(points[i, t])
            for j in range(k):
                difference = x - columns[t, j]
                squared[j] += difference * difference
        least = np.int64(2**63 - 1)
        for j in range(k):  # numbers ≥ 0 are in the order of their bits, and a minimum of integers is vectorized
            least = min(least, bits[j])
        first = never
        for j in range(k):
            first = min(first, np.int64(j) if bits[j] == least else never)
        labels[i] = first


@compiled
def measure_from(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to its code."""
    for i in range(len(points)):
        squared[i] = _squared(points, i, codes, labels[i])


@compiled
def measure_rows(points: Any, centre: Any, factor: float, lengths: Any) -> None:
    """$|x - a|$ times the factor, rounded up."""
    for i in range(len(points)):
        total = 0.0
        for t in range(points.shape[1]):
            difference = (np.float64(points[i, t]) - np.float64(centre[t])) * factor
            total += difference * difference
        lengths[i] = np.sqrt(total) * (1 + 1e-6)


@_njit(nogil=True, inline="always")
def _clear_minimum(scores: Any, bits: Any, half: Any, slack: Any, layout: Any) -> Any:
    """The first least of half − scores (kept in ``scores``), or −1 where another comes within the slack.

    The bits of floats, those of negative ones turned over, are in the order of the floats, and minima of integers are vectorized.
    """
    shift, mask, never = layout[0], layout[1], layout[2]
    for j in range(len(half)):
        scores[j] = half[j] - scores[j]
    least = never
    for j in range(len(half)):
        least = min(least, bits[j] ^ ((bits[j] >> shift) & mask))
    least = least ^ ((least >> shift) & mask)
    first = never
    for j in range(len(half)):
        first = min(first, j if bits[j] == least else never)
    limit, rivals = scores[first] + slack, 0
    for j in range(len(half)):
        if scores[j] <= limit:
            rivals += 1
    return first if rivals == 1 else -1


@compiled
def label_by_products(
    points: Any,
    codes: Any,
    factors: Any,
    half: Any,
    centre: Any,
    factor: Any,
    lengths: Any,
    gamma: float,
    scores: Any,
    bits: Any,
    moved: Any,
    layout: Any,
    labels: Any,
) -> None:
    r"""Nearest codes by $\tfrac12|c|^2 - \langle x, c \rangle$, in blocks of rows; where in doubt, by direct differences.

    factors, half: the codes (K, d) in the precision of the product, after a shift by ``centre`` and a scaling by ``factor``, and
    half their squares. moved: space for points treated alike, of no rows where neither is needed. lengths: of such points.
    Scores further apart than ``gamma`` times $|x| \max|c| + \tfrac12\max|c|^2$ are in their true order.
    """
    dim, k, rows = points.shape[1], len(codes), len(scores)
    trans = np.array([84, 78], dtype=np.int8)  # "T", "N"
    sizes = np.array([k, 0, 0, dim], dtype=np.int32)
    ones = np.array([1.0, 0.0, 1.0], dtype=scores.dtype)
    single = scores.itemsize == 4
    top = 0.0
    for j in range(k):
        top = max(top, np.float64(half[j]))
    reach = np.sqrt(2 * top)
    for a in range(0, len(points), rows):
        size = min(rows, len(points) - a)
        block = points[a : a + size]
        if len(moved):
            for i in range(size):
                for t in range(dim):
                    moved[i, t] = (points[a + i, t] - centre[t]) * factor
            block = moved[:size]
        sizes[1] = size
        for t in range(0, dim, PIECE):
            sizes[2] = min(PIECE, dim - t)
            beta = ones[1:] if t == 0 else ones[2:]
            if single:
                _sgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes,
                       factors[0, t:].ctypes, sizes[3:].ctypes, block[0, t:].ctypes, sizes[3:].ctypes, beta.ctypes,
                       scores.ctypes, sizes.ctypes)  # fmt: skip
            else:
                _dgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes,
                       factors[0, t:].ctypes, sizes[3:].ctypes, block[0, t:].ctypes, sizes[3:].ctypes, beta.ctypes,
                       scores.ctypes, sizes.ctypes)  # fmt: skip
        for i in range(size):
            slack = scores.dtype.type(gamma * (lengths[a + i] * reach + top))
            label = _clear_minimum(scores[i], bits[i], half, slack, layout)
            if label < 0:
                limit = scores[i].min() + slack
                least = np.inf
                for j in range(k):
                    if scores[i, j] <= limit:
                        squared = _squared(points, a + i, codes, j)
                        if squared < least:
                            label, least = j, squared
            labels[a + i] = label


@unordered
def add_rows(points: Any, codes: Any, labels: Any, weights: Any, masses: Any, shifts: Any, tally: Any) -> None:
    """Per code the sums of w and w (x − c); in ``tally`` a pilot cost, and the sums of w, w (cost − pilot), w (cost − pilot)²."""
    for i in range(len(points)):
        k, w, squared = labels[i], weights[i], 0.0
        for t in range(points.shape[1]):
            difference = np.float64(points[i, t]) - codes[k, t]
            shifts[k, t] += w * difference
            squared += difference * difference
        masses[k] += w
        if tally[1] == 0.0:
            tally[0] = squared
        tally[1] += w
        tally[2] += w * (squared - tally[0])
        tally[3] += w * (squared - tally[0]) * (squared - tally[0])


@unordered
def add_columns(points: Any, codes: Any, labels: Any, weights: Any, first: int, last: int, shifts: Any) -> float:
    """Some coordinates of the sums of w (x − c) per code; returns their share of the distortion."""
    total = 0.0
    for i in range(len(points)):
        k, w, squared = labels[i], weights[i], 0.0
        for t in range(first, last):
            difference = np.float64(points[i, t]) - codes[k, t]
            shifts[k, t] += w * difference
            squared += difference * difference
        total += w * squared
    return total


@unordered
def add_members(points: Any, reference: Any, members: Any, weights: Any, total: Any) -> None:
    """The sum of w (x − a) of some points."""
    for i in members:
        w = weights[i]
        for t in range(points.shape[1]):
            total[t] += w * (np.float64(points[i, t]) - reference[t])


@unordered
def move_columns(
    points: Any, reference: Any, rows: Any, left: Any, joined: Any, weights: Any, first: int, last: int, sums: Any
) -> None:
    """Some coordinates of the sums of w (x − a) per code, brought up to date where ``rows`` left one code and joined another."""
    for q in range(len(rows)):
        i = rows[q]
        for t in range(first, last):
            term = weights[i] * (np.float64(points[i, t]) - reference[t])
            sums[left[q], t] -= term
            sums[joined[q], t] += term


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
        h, v = half[j], inverse[j]
        for i in range(n):
            score = h - v * sums[j, i]
            less = score < best[i]
            second[i] = best[i] if less else min(second[i], score)
            labels[i] = j if less else labels[i]
            best[i] = score if less else best[i]


@compiled
def gram_add(matrix: Any, weights: Any, rows: Any, labels: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, added to the sums of their labels."""
    for i in rows:
        k, w = labels[i], weights[i]
        for j in range(len(matrix)):
            sums[k, j] += w * matrix[i, j]


@compiled
def gram_move(matrix: Any, weights: Any, rows: Any, left: Any, joined: Any, sums: Any) -> None:
    """Rows of the matrix, times their weights, taken from the sums of one label and added to those of another."""
    for q in range(len(rows)):
        i = rows[q]
        w = weights[i]
        for j in range(len(matrix)):
            term = w * matrix[i, j]
            sums[left[q], j] -= term
            sums[joined[q], j] += term


@unordered
def cost_of_trials(points: Any, trials: Any, costs: Any, weights: Any, sums: Any) -> None:
    """For each code of ``trials`` (T, d), the sum of w times the lesser of a point's cost and its squared distance to it."""
    for i in range(len(points)):
        for q in range(len(trials)):
            squared = 0.0
            for t in range(points.shape[1]):
                difference = np.float64(points[i, t]) - trials[q, t]
                squared += difference * difference
            sums[q] += weights[i] * min(costs[i], squared)


@unordered
def cost_of_trials_by_products(
    points: Any, trials: Any, factors: Any, squares: Any, gamma: float, costs: Any, weights: Any, scores: Any, sums: Any
) -> None:
    """The same from products in the points' precision; where a squared distance would be lost in round-off, directly.

    factors: the trials in that precision. squares: (n,) those of the points. scores: space, (n, T).
    """
    dim, count = points.shape[1], len(trials)
    trans = np.array([84, 78], dtype=np.int8)
    sizes = np.array([count, len(points), dim], dtype=np.int32)
    ones = np.array([1.0, 0.0], dtype=scores.dtype)
    if scores.itemsize == 4:
        _sgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes, factors.ctypes,
               sizes[2:].ctypes, points.ctypes, sizes[2:].ctypes, ones[1:].ctypes, scores.ctypes, sizes.ctypes)  # fmt: skip
    else:
        _dgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes, factors.ctypes,
               sizes[2:].ctypes, points.ctypes, sizes[2:].ctypes, ones[1:].ctypes, scores.ctypes, sizes.ctypes)  # fmt: skip
    for q in range(count):
        own = 0.0
        for t in range(dim):
            own += trials[q, t] * trials[q, t]
        for i in range(len(points)):
            squared = squares[i] + own - 2 * np.float64(scores[i, q])
            if squared < gamma * (squares[i] + own):
                squared = _squared(points, i, trials, q)
            sums[q] += weights[i] * min(costs[i], squared)


@unordered
def square_rows(points: Any, centre: Any, squares: Any) -> None:
    """$|x - a|^2$ for every point."""
    for i in range(len(points)):
        total = 0.0
        for t in range(points.shape[1]):
            difference = np.float64(points[i, t]) - centre[t]
            total += difference * difference
        squares[i] = total


@unordered
def lower_costs(points: Any, code: Any, costs: Any) -> None:
    """The lesser of each point's cost and its squared distance to the code (1, d), by direct differences."""
    for i in range(len(points)):
        costs[i] = min(costs[i], _squared(points, i, code, 0))
