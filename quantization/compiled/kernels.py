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
_UNITS = 1e-6  # relative, pays for bounds kept in float32
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


@unordered
def measure_rows(points: Any, centre: Any, factor: float, lengths: Any) -> None:
    """$|x - a|$ times the factor, rounded up."""
    for i in range(len(points)):
        x, total = points[i], 0.0
        for t in range(len(centre)):
            difference = (np.float64(x[t]) - np.float64(centre[t])) * factor
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
    chosen: Any,
    labels: Any,
    lower: Any,
    upper: Any,
) -> None:
    r"""Nearest codes by $\tfrac12|c|^2 - \langle x, c \rangle$, in blocks of rows; where in doubt, by direct differences.

    factors, half: the codes after a shift by ``centre`` and a scaling by ``factor``, in the precision of the product, and half
    their squares. lengths: of the points so treated; ``moved``: space for pieces of them, of no rows where they stay as they are.
    chosen: the rows to label, where ``moved`` has rows; all of them where it is empty. lower, upper: bounds on the distances to
    all codes (n, K) and to the nearest (n,), or empty.
    Scores further apart than ``gamma`` times $|x| \max|c| + \tfrac12\max|c|^2$ are in their true order.
    """
    dim, k, rows = points.shape[1], len(codes), len(scores)
    letters = np.array([84, 78], dtype=np.int8)  # "T", "N"
    sizes = np.array([k, 0, 0, dim, moved.shape[1]], dtype=np.int32)
    ones = np.array([1.0, 0.0, 1.0], dtype=scores.dtype)
    single = scores.itemsize == 4
    top = 0.0
    for j in range(k):
        top = max(top, np.float64(half[j]))
    reach = np.sqrt(2 * top)
    some = len(chosen) > 0
    count = len(chosen) if some else len(points)
    for a in range(0, count, rows):
        size = min(rows, count - a)
        sizes[1] = size
        for t in range(0, dim, PIECE):
            width = min(PIECE, dim - t)
            sizes[2] = width
            piece, stride = points[a, t:], sizes[3:]
            if len(moved):  # piece by piece, so that the copy stays in the cache
                for i in range(size):
                    x, space = points[chosen[a + i] if some else a + i, t : t + width], moved[i, :width]
                    for u in range(width):
                        space[u] = (x[u] - centre[t + u]) * factor
                piece, stride = moved[0], sizes[4:]
            beta = ones[1:] if t == 0 else ones[2:]
            if single:
                _sgemm(letters.ctypes, letters[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes,
                       factors[0, t:].ctypes, sizes[3:].ctypes, piece.ctypes, stride.ctypes, beta.ctypes,
                       scores.ctypes, sizes.ctypes)  # fmt: skip
            else:
                _dgemm(letters.ctypes, letters[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes,
                       factors[0, t:].ctypes, sizes[3:].ctypes, piece.ctypes, stride.ctypes, beta.ctypes,
                       scores.ctypes, sizes.ctypes)  # fmt: skip
        for i in range(size):
            row = chosen[a + i] if some else a + i
            length = np.float64(lengths[row])
            slack = scores.dtype.type(gamma * (length * reach + top))
            label = _clear_minimum(scores[i], bits[i], half, slack, layout)
            if label < 0:
                limit = scores[i].min() + slack
                least = np.inf
                for j in range(k):
                    if scores[i, j] <= limit:
                        squared = _squared(points, row, codes, j)
                        if squared < least:
                            label, least = j, squared
            labels[row] = label
            if len(lower):
                square = length * length
                error = np.float64(slack) + 4e-6 * square  # of a squared distance: two scores' worth, and the length's
                for j in range(k):
                    lower[row, j] = np.sqrt(max(square + 2 * np.float64(scores[i, j]) - error, 0.0)) * (1 - _UNITS)
                upper[row] = np.sqrt(square + 2 * np.float64(scores[i, label]) + error) * (1 + _UNITS)


@unordered
def compare_codes(codes: Any, before: Any, rounded: Any, inexact: Any, drifts: Any) -> None:
    """Codes in the points' precision, how far that moves them, and how far they have come from those before; rounded up."""
    for k in range(len(codes)):
        code, old, target = codes[k], before[k], rounded[k]
        moved, off = 0.0, 0.0
        for t in range(len(code)):
            target[t] = code[t]
        for t in range(len(code)):
            moved += (code[t] - old[t]) * (code[t] - old[t])
            off += (code[t] - target[t]) * (code[t] - target[t])
        drifts[k] = np.sqrt(moved) * (1 + _UNITS)
        inexact[k] = np.sqrt(off) * (1 + _UNITS)


@_njit(nogil=True, inline="always")
def _rough_squared(x: Any, code: Any) -> Any:
    squared = x.dtype.type(0)
    for t in range(len(code)):
        difference = x[t] - code[t]
        squared += difference * difference
    return squared


@unordered
def find_unsure(
    points: Any, exact: Any, codes: Any, inexact: Any, drifts: Any, labels: Any, lower: Any, upper: Any, few: int, unsure: Any
) -> int:
    """Brings labels and bounds on distances up to date, now that codes have moved; returns how many rows are left ``unsure``.

    By the triangle inequality; where that does not tell, by measuring distances, in the points' precision: to the own code, then
    to rivals, where they are ``few`` at most; those that come out equal by differences in float64, from the ``exact`` codes.
    codes: in the points' precision, off by ``inexact`` (K,) in length. drifts: (K,).
    """
    count, single = 0, points.itemsize == 4
    rounding = points.shape[1] * (6e-8 if single else 1.2e-16) + _UNITS  # d u, of a squared length
    vanishing = 1e-18 if single else 1e-150  # differences whose squares may be lost
    for i in range(len(points)):
        own, least = labels[i], 3e38
        for k in range(len(drifts)):
            bound = np.float64(lower[i, k]) * (1 - _UNITS) - drifts[k]
            lower[i, k] = bound
            if k != own and bound < least:
                least = bound
        reach = (np.float64(upper[i]) + drifts[own]) * (1 + _UNITS)
        if reach >= least:
            distance = np.sqrt(np.float64(_rough_squared(points[i], codes[own])))
            off = distance * rounding + inexact[own] + vanishing
            lower[i, own], reach = (distance - off) * (1 - _UNITS), distance + off
            rivals = 0
            for k in range(len(drifts)):
                if k != own and lower[i, k] <= reach:
                    rivals += 1
            if rivals > few:
                unsure[count] = i
                count += 1
            elif rivals > 0:
                best = own
                for k in range(len(drifts)):
                    if k != own and lower[i, k] <= reach:
                        distance = np.sqrt(np.float64(_rough_squared(points[i], codes[k])))
                        off = distance * rounding + inexact[k] + vanishing
                        lower[i, k] = (distance - off) * (1 - _UNITS)
                        if distance + off < reach:
                            best, reach = np.int32(k), distance + off
                close = 0
                for k in range(len(drifts)):
                    if lower[i, k] <= reach:
                        close += 1
                if close > 1:
                    least = 1e300
                    for k in range(len(drifts)):
                        if lower[i, k] <= reach:
                            squared = _squared(points, i, exact, k)
                            if squared < least:
                                best, least = np.int32(k), squared
                labels[i] = best
        upper[i] = reach
    return count


@_njit(nogil=True, inline="always")
def _add_difference(x: Any, code: Any, w: float, sums: Any) -> float:
    """Adds w (x − c) to the sums; returns |x − c|². Where rows are long, in two loops, of which each is vectorized."""
    squared = 0.0
    if len(sums) < 8:
        for t in range(len(sums)):
            difference = np.float64(x[t]) - code[t]
            sums[t] += w * difference
            squared += difference * difference
        return squared
    for t in range(len(sums)):
        sums[t] += w * (np.float64(x[t]) - code[t])
    for t in range(len(sums)):
        difference = np.float64(x[t]) - code[t]
        squared += difference * difference
    return squared


@unordered
def add_rows(points: Any, codes: Any, labels: Any, weights: Any, masses: Any, shifts: Any, tally: Any) -> None:
    """Per code the sums of w and w (x − c); in ``tally`` a pilot cost, and the sums of w, w (cost − pilot), w (cost − pilot)²."""
    for i in range(len(points)):
        k, w = labels[i], weights[i]
        squared = _add_difference(points[i], codes[k], w, shifts[k])
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
        k, w = labels[i], weights[i]
        total += w * _add_difference(points[i, first:last], codes[k, first:last], w, shifts[k, first:last])
    return total


@unordered
def add_members(points: Any, reference: Any, members: Any, weights: Any, total: Any) -> None:
    """The sum of w (x − a) of some points."""
    for i in members:
        x, w = points[i], weights[i]
        for t in range(len(total)):
            total[t] += w * (np.float64(x[t]) - reference[t])


@unordered
def move_columns(
    points: Any, reference: Any, rows: Any, left: Any, joined: Any, weights: Any, first: int, last: int, sums: Any
) -> None:
    """Some coordinates of the sums of w (x − a) per code, brought up to date where ``rows`` left one code and joined another."""
    a = reference[first:last]
    for q in range(len(rows)):
        x, w = points[rows[q], first:last], weights[rows[q]]
        source, target = sums[left[q], first:last], sums[joined[q], first:last]
        for t in range(len(a)):
            source[t] -= w * (np.float64(x[t]) - a[t])
        for t in range(len(a)):
            target[t] += w * (np.float64(x[t]) - a[t])


@unordered
def shifts_about_codes(sums: Any, masses: Any, reference: Any, codes: Any, shifts: Any, squares: Any) -> None:
    """From the sums of w (x − a) per code those of w (x − c); in ``squares`` (K, 2) the squared lengths of both."""
    for k in range(len(codes)):
        row, code, target, w = sums[k], codes[k], shifts[k], masses[k]
        about, own = 0.0, 0.0
        for t in range(len(code)):
            shift = row[t] + w * (reference[t] - code[t])
            target[t] = shift
            about += row[t] * row[t]
            own += shift * shift
        squares[k, 0], squares[k, 1] = about, own


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
        x, total = points[i], 0.0
        for t in range(len(centre)):
            difference = np.float64(x[t]) - centre[t]
            total += difference * difference
        squares[i] = total


@unordered
def lower_costs(points: Any, code: Any, costs: Any) -> None:
    """The lesser of each point's cost and its squared distance to the code (1, d), by direct differences."""
    own = code[0]
    for i in range(len(points)):
        x, squared = points[i], 0.0
        for t in range(len(own)):
            difference = np.float64(x[t]) - own[t]
            squared += difference * difference
        costs[i] = min(costs[i], squared)
