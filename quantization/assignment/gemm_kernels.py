"""Many dimensions: scores by matrix products, bounds on distances kept from codebook to codebook, and the sums of cells."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from typing import Any

import llvmlite.binding as _llvm
import numpy as np
from numba import njit, types
from numba.extending import get_cython_function_address

from quantization.assignment.bounds import ROUNDING
from quantization.assignment.distance_kernels import direct_distance
from quantization.compiler import compiled, unordered

_SMALL = 1e-37  # absolute, pays for bounds in float32 that vanish
# Parts of `step_rows`, that nothing calls from Python: no wrapper is compiled for them.
_part: Any = njit(nogil=True, fastmath=False, no_cpython_wrapper=True)


def _blas(name: str) -> Any:
    """scipy's BLAS as a symbol of LLVM's, so that what calls it can be cached on disk; arguments are addresses."""
    symbol = f"quantization_address_{name}"
    _llvm.add_symbol(symbol, get_cython_function_address("scipy.linalg.cython_blas", name))
    return types.ExternalFunction(symbol, types.void(*[types.intp] * 13))


_sgemm, _dgemm = _blas("sgemm"), _blas("dgemm")


@unordered
def measure_distances(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to the code of its label."""
    for i in range(len(points)):
        x, code, square = points[i], codes[labels[i]], 0.0
        for t in range(len(code)):
            difference = np.float64(x[t]) - code[t]
            square += difference * difference
        squared[i] = square


@unordered
def prepare_codes(
    codes: Any, before: Any, centre: Any, factor: float, gamma: float, vanishing: float, scaled: Any, numbers: Any, drifts: Any
) -> float:
    r"""Codes after the shift and scaling, what their scores are off by, and how far they have come; returns the greatest length.

    numbers: (3, K), $\tfrac12|c|^2 - b$, and the slopes a and offsets b of the bound; see ``bounds``. drifts: (K,), rounded up.
    """
    reach = 0.0
    for k in range(len(codes)):
        code, old, target, square, way = codes[k], before[k], scaled[k], 0.0, 0.0
        for t in range(len(centre)):
            value, step = (code[t] - centre[t]) * factor, code[t] - old[t]
            target[t] = value
            square += value * value
            way += step * step
        length = np.sqrt(square)
        offset = (gamma * square / 2 + vanishing * (1 + length)) * (1 + ROUNDING)
        numbers[0, k], numbers[1, k], numbers[2, k] = square / 2 - offset, (gamma * length + vanishing) * (1 + ROUNDING), offset
        drifts[k] = np.sqrt(way) * factor * (1 + ROUNDING) + _SMALL
        reach = max(reach, length)
    return reach


@_part
def _least(scores: Any, numbers: Any, lengths: Any, count: int, best: Any, second: Any, labels: Any) -> None:
    """Of each row the least score from below, made of its products, the second least, and the code that has the least.

    Two codes at a time, as half of the work is to read and write what is known of the rows.
    """
    for i in range(count):
        best[i], second[i] = np.inf, np.inf
    k = len(scores)
    for a in range(0, k, 2):
        b = min(a + 1, k - 1)
        row_a, row_b = scores[a], scores[b]
        half_a, half_b, slope_a, slope_b = numbers[0, a], numbers[0, b], numbers[1, a], numbers[1, b]
        if b == a:
            half_b = scores.dtype.type(np.inf)
        label_a, label_b = np.int32(a), np.int32(b)
        for i in range(count):
            s, t = half_a - row_a[i] - slope_a * lengths[i], half_b - row_b[i] - slope_b * lengths[i]
            lower, label = t if t < s else s, label_b if t < s else label_a
            upper, before = s if t < s else t, best[i]
            worse = lower if before < lower else before
            worse = upper if upper < worse else worse
            second[i] = worse if worse < second[i] else second[i]
            labels[i] = label if lower < before else labels[i]
            best[i] = lower if lower < before else before


@_part
def _settle(
    points: Any, row: int, codes: Any, scores: Any, place: int, numbers: Any, length: float, limit: float
) -> tuple[int, float, float]:
    """The nearest code of a point by direct differences, of those whose score from below is within the limit.

    Also the squared distance to it, and the least score from below of all other codes.
    """
    label, least, lowest, second = -1, np.inf, np.inf, np.inf
    for k in range(len(codes)):
        score = np.float64(numbers[0, k] - scores[k, place] - numbers[1, k] * length)
        if not score > limit:
            squared = direct_distance(points, row, codes, k)
            if squared < least or label < 0:
                label, least, lowest, score = k, squared, score, lowest
        second = min(second, score)
    return label, least, second


@_part
def _assign(
    points: Any, rows: Any, count_all: int, centre: Any, factor: float, codes: Any, numbers: Any, reach: float, delta: float,
    largest: float, piece: int, lengths: Any, labels: Any, lower: Any, upper: Any, block: Any, scores: Any, turned: Any,
    sizes: Any, factors: Any, addresses: Any,
) -> int:  # fmt: skip
    """The nearest codes of the first ``rows``, and bounds on the distances to it and the second nearest, where there is space.

    Returns how many rows were settled by direct differences.
    """
    dim, most = points.shape[1], scores.shape[1]
    best, second, own = np.empty(most, scores.dtype), np.empty(most, scores.dtype), np.zeros(most, np.int32)
    some, limits, squares = np.empty(most, scores.dtype), np.empty(most), np.empty(most)
    doubtful, overflow = 0, not reach * reach <= largest
    letters, size, one, source, scaled, target, slim_target = addresses
    k, slim, bytes_ = len(codes), turned.shape[1] > 0, scores.itemsize
    for a in range(0, count_all, most):
        count = min(most, count_all - a)
        for t in range(0, dim, piece):
            length = min(piece, dim - t)
            shift = centre[t : t + length]
            for i in range(count):
                x, copy = points[rows[a + i], t : t + length], block[i * length : (i + 1) * length]
                for u in range(length):
                    copy[u] = (np.float64(x[u]) - shift[u]) * factor
            factors[1] = min(t, 1)
            if slim:
                sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5] = k, count, length, dim, length, k
                left, right, product = scaled + bytes_ * t, source, slim_target
            else:
                sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5] = count, k, length, length, dim, most
                left, right, product = source, scaled + bytes_ * t, target
            if bytes_ == 4:
                _sgemm(
                    letters, letters + 1, size, size + 4, size + 8, one, left, size + 12, right, size + 16, one + 4, product,
                    size + 20,
                )  # fmt: skip
            else:
                _dgemm(
                    letters, letters + 1, size, size + 4, size + 8, one, left, size + 12, right, size + 16, one + 8, product,
                    size + 20,
                )  # fmt: skip
        if slim:
            for i in range(count):
                for j in range(k):
                    scores[j, i] = turned[i, j]
        for i in range(count):
            some[i] = lengths[rows[a + i]]
        _least(scores, numbers, some, count, best, second, own)
        for i in range(count):
            long = np.float64(some[i])
            above = best[i] + 2 * (np.float64(numbers[1, own[i]]) * long + numbers[2, own[i]])
            squares[i] = max(long * long + 2 * above, 0.0)
            limits[i] = np.inf if overflow or not long * reach <= largest else above + delta * squares[i]
        for i in range(count):
            row, label, rival = rows[a + i], np.intp(own[i]), np.float64(second[i])
            if not rival > limits[i]:
                doubtful += 1
                label, square, rival = _settle(points, row, codes, scores, i, numbers, some[i], limits[i])
                squares[i] = square * factor * factor
                rival = rival if limits[i] < np.inf else -np.inf
            labels[row] = label
            if len(lower):
                long = np.float64(some[i])
                upper[row] = np.sqrt(squares[i]) * (1 + ROUNDING) + _SMALL
                lower[row] = np.sqrt(max(long * long * (1 - 4 * ROUNDING) + 2 * rival, 0.0)) * (1 - ROUNDING)
    return doubtful


@_part
def _find_doubtful(drifts: Any, labels: Any, lower: Any, upper: Any, rows: Any) -> int:
    """Brings bounds up to date now that codes have moved; ``rows`` lists those whose label is not certified by them.

    By the triangle inequality (hamerly2010). Returns how many there are. drifts: (K,), how far codes have come.
    """
    farthest, most, next_most, count = 0, drifts[0], np.float32(0), 0
    for k in range(1, len(drifts)):
        if drifts[k] > most:
            farthest, most, next_most = k, drifts[k], most
        else:
            next_most = max(next_most, drifts[k])
    falls = np.empty_like(drifts)
    for k in range(len(drifts)):
        falls[k] = next_most if k == farthest else most
    grown, shrunk, small = np.float32(1 + ROUNDING), np.float32(1 - ROUNDING), np.float32(_SMALL)
    for i in range(len(labels)):
        upper[i] = (upper[i] + drifts[labels[i]]) * grown
        lower[i] = lower[i] * shrunk - falls[labels[i]] - small
    for i in range(len(labels)):
        rows[count] = i
        count += 0 if upper[i] * grown < lower[i] else 1
    return count


@unordered
def move_sums(
    points: Any, rows: Any, count: int, reference: Any, left: Any, joined: Any, weights: Any, fresh: bool, first: int, sums: Any
) -> None:
    """Some coordinates of the sums of w (x - a) over cells: points have left one, unless ``fresh``, and joined another."""
    size = sums.shape[1]
    a = reference[first : first + size]
    for r in range(count):
        i = rows[r]
        x, w, target, source = points[i, first : first + size], weights[i], sums[joined[i]], sums[left[i]]
        for t in range(size):
            target[t] += w * (np.float64(x[t]) - a[t])
        if not fresh:
            for t in range(size):
                source[t] -= w * (np.float64(x[t]) - a[t])


@unordered
def add_residuals(points: Any, codes: Any, labels: Any, weights: Any, first: int, sums: Any) -> float:
    """Some coordinates of the sums of w (x - c) over cells; returns their share of the sum of w |x - c|²."""
    size, total = sums.shape[1], 0.0
    for i in range(len(points)):
        w, square, target = weights[i], 0.0, sums[labels[i]]
        x, code = points[i, first : first + size], codes[labels[i], first : first + size]
        for t in range(size):
            target[t] += w * (np.float64(x[t]) - code[t])
        for t in range(size):
            difference = np.float64(x[t]) - code[t]
            square += difference * difference
        total += w * square
    return total


@_part
def _count_cells(labels: Any, before: Any, weights: Any, masses: Any, passed: Any, fresh: bool, moved: Any) -> int:
    """Masses of cells; ``moved`` lists the points whose label has changed, ``passed`` the masses that left or joined a cell.

    Returns how many have moved.
    """
    count = 0
    for i in range(len(labels)):
        label, w = labels[i], weights[i]
        masses[label] += w
        if fresh or label != before[i]:
            passed[label] += w
            passed[before[i]] += w
            moved[count] = i
            count += 1
    return count


@compiled
def step_rows(
    points: Any, weights: Any, centre: Any, factor: float, codes: Any, drifts: Any, numbers: Any, reach: float, delta: float,
    largest: float, piece: int, lengths: Any, labels: Any, before: Any, lower: Any, upper: Any, rows: Any, fresh: bool,
    masses: Any, sums: Any, block: Any, scores: Any, turned: Any, sizes: Any, factors: Any, addresses: Any,
) -> tuple[int, int, int]:  # fmt: skip
    r"""Labels of some points for the codebook at hand, from those for the codebook before it unless ``fresh``.

    Returns how many points were searched, settled by direct differences, and moved to another cell; ``rows`` lists the last of
    these in the end, all points if ``fresh``.

    codes: (K, d), as given. drifts, numbers, reach: see :func:`prepare_codes`. delta: the margin of the certificate. largest: the
    product of lengths up to which nothing overflows. piece: coordinates that are copied and multiplied at a time. lower, upper:
    bounds on distances to the second nearest and to the own code; empty where they are not wanted. masses: (2, K), those of the
    cells, and those that left or joined a cell. sums: (K, d), where those who moved are added, unless it is empty; then they have
    the new label ``before``, too. block, scores, turned: space, (rows × piece,), (K, rows), (rows, K);
    ``turned`` has no columns where points are BLAS's first factor. sizes, factors, addresses: what BLAS is told.
    """
    n = len(points)
    count = n
    if fresh:
        for i in range(n):
            rows[i] = i
    else:
        count = _find_doubtful(drifts, labels, lower, upper, rows)
    settled = 0
    if len(codes) > 1 and count > 0:
        settled = _assign(
            points, rows, count, centre, factor, codes, numbers, reach, delta, largest, piece, lengths, labels, lower, upper,
            block, scores, turned, sizes, factors, addresses,
        )  # fmt: skip
    moved = _count_cells(labels, before, weights, masses[0], masses[1], fresh, rows)
    if len(sums):
        move_sums(points, rows, moved, centre, before, labels, weights, fresh, 0, sums)
        for r in range(moved):
            before[rows[r]] = labels[rows[r]]
    return count, settled, moved


@unordered
def advance_codes(sums: Any, masses: Any, reference: Any, codes: Any, means: Any) -> tuple[float, float]:
    r"""The centroids, of sums $S_k$ of w (x - a).

    Returns $\sum_k |S_k|^2 / W_k$, and the same of the sums of w (x - c).
    """
    between, off = 0.0, 0.0
    for k in range(len(codes)):
        row, code, target, w = sums[k], codes[k], means[k], masses[k]
        share, about, own = 1 / w, 0.0, 0.0
        for t in range(len(reference)):
            shift = row[t] + w * (reference[t] - code[t])
            target[t] = code[t] + share * shift
            about += row[t] * row[t]
            own += shift * shift
        between, off = between + share * about, off + share * own
    return between, off
