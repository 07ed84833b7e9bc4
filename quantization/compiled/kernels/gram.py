"""A step of Lloyd's algorithm on inner products: labels beyond doubt, what the cells hold, and the codes that follow.

What is wanted of a step in coordinates, centroids and what a labelling costs, is made some columns at a time.
"""

from typing import Any, NamedTuple

import numpy as np

from quantization.compiled.kernels.compiler import compiled, inlined, part, unordered, unordered_part
from quantization.compiled.kernels.near import direct_distance
from quantization.compiled.kernels.product import SPAN

_FAR = 1e300
_REFRESH = 8  # sums are made anew once so many times as many terms went into them as the cell has points
_DOUBTFUL = 8  # at most one of so many points is settled on its coordinates
_MOVED = 3  # and sums are made anew where more than one of so many has changed cells
_SPARE = 1.1  # pays for terms of second order, and for the rounding of the bounds
_FEW = 12  # roundings of a score itself


class Samples(NamedTuple):
    """What all steps share. points (n, d) with masses (n,); in a frame about the centre (d,) their matrix of inner products
    (n, ≥ n), their lengths, rounded up, and squared lengths (n,)."""

    points: Any
    masses: Any
    centre: Any
    matrix: Any
    lengths: Any
    squares: Any


class Codes(NamedTuple):
    """K codes that are centroids of cells, each number with K entries, brought up to date by every step.

    sums: (K, ≥ n), of masses times rows of the matrix. totals: of the masses. squares: |c|². lengths: the mean of the lengths in
    the cell. terms: how many went into a sum since it was made anew. peaks: the most that the sum of w |x| has been since then,
    over the total.
    """

    sums: Any
    totals: Any
    squares: Any
    lengths: Any
    terms: Any
    peaks: Any


class Errors(NamedTuple):
    """What the numbers are off by at most, in relation to lengths: an inner product of two points, a code that is rounded to the
    points' precision, a term of a sum in float64; the length of the centre, which codes are rounded with; what vanishes of an
    inner product, and of a term, that is too small for its type."""

    product: float
    code: float
    term: float
    centre: float
    lost: float
    lost_term: float


@unordered_part
def _bound(codes: Codes, errors: Errors, slopes: Any, offsets: Any) -> None:
    r"""How far off the score of a code, as it will be returned, may be: a slope, times the point's length, and an offset.

    An inner product is off by $\gamma |x_i| |x_j|$, so a mean of them by $\gamma |x_i|$ times the mean length of its terms. Sums
    of T terms, those that have left again included, are off by T units of the most that they have been: the sums of the matrix,
    those of their squares, and those of coordinates that make the code; without fused instructions a term is rounded twice.
    Rounding the code moves it by a unit of its length.
    """
    lengths, counts, peaks, totals = codes.lengths, codes.terms, codes.peaks, codes.totals
    for k in range(len(slopes)):
        length, terms = lengths[k], 4 * counts[k] + _FEW
        products, sums = _SPARE * errors.product * length, _SPARE * errors.term * terms * peaks[k]
        rounding = errors.code * (length + errors.centre)
        slopes[k] = products + sums + rounding
        vanished = errors.lost + errors.lost_term * terms * (1 + 1 / totals[k])
        offsets[k] = (products / 2 + sums + rounding) * length + vanished


@unordered_part
def _assign(codes: Codes, lengths: Any, slopes: Any, offsets: Any, labels: Any, limits: Any, seconds: Any, doubtful: Any) -> int:
    """For each point the code whose score, from below, is least; returns how many points are in doubt.

    A doubtful point, listed in ``doubtful``, has a second score that from below is no more than the first from above: its limit.
    """
    n, sums, totals, squares = len(labels), codes.sums, codes.totals, codes.squares
    for i in range(n):
        limits[i], seconds[i], labels[i] = _FAR, _FAR, 0
    for k in range(len(slopes)):
        start, share, slope, row = squares[k] / 2 - offsets[k], 1 / totals[k], slopes[k], sums[k]
        for i in range(n):
            score = start - share * row[i] - slope * lengths[i]
            seconds[i] = min(seconds[i], max(score, limits[i]))
            labels[i] = k if score < limits[i] else labels[i]
            limits[i] = min(score, limits[i])
    count = 0
    for i in range(n):
        limits[i] += 2 * (slopes[labels[i]] * lengths[i] + offsets[labels[i]])
        if seconds[i] <= limits[i]:
            doubtful[count] = i
            count += 1
    return count


@unordered_part
def _centroid(samples: Samples, members: Any, total: float, code: Any) -> None:
    """The centroid of some points whose masses have this total, to the bit as :func:`centroid_columns` makes it of all cells."""
    points, masses, centre = samples.points, samples.masses, samples.centre
    sums, share = np.empty(SPAN), 1 / total
    for a in range(0, len(code), SPAN):
        some, target = centre[a : a + SPAN], code[a : a + SPAN]
        sums[:] = 0
        for j in members:
            x, w = points[j, a : a + SPAN], masses[j]
            for t in range(len(some)):
                sums[t] += w * (np.float64(x[t]) - some[t])
        for t in range(len(some)):
            target[t] = some[t] + share * sums[t]


@unordered_part
def settle(
    samples: Samples, codes: Codes, origin: Any, masses: Any, slopes: Any, offsets: Any, limits: Any, doubtful: Any, labels: Any
) -> Any:
    """The nearest code of points in doubt, among the codes whose scores are within the points' limits, by direct differences.

    origin: the labels of the cells whose centroids the codes are, with their ``masses`` (K,); or, where there are no masses, the
    points that are the codes. Returns what it went by: the codes themselves, (K, d), in the points' precision, of which those
    that were needed are made.
    """
    points, lengths = samples.points, samples.lengths
    sums, totals, squares = codes.sums, codes.totals, codes.squares
    n, k, dim = len(points), len(slopes), points.shape[1]
    exact, made, members = np.empty((k, dim), points.dtype), np.zeros(k, np.bool_), np.empty(n, np.int64)
    for i in doubtful:
        least = _FAR
        for j in range(k):
            if squares[j] / 2 - offsets[j] - sums[j, i] / totals[j] - slopes[j] * lengths[i] > limits[i]:
                continue
            if not made[j]:
                made[j] = True
                if len(masses) == 0:
                    for t in range(dim):
                        exact[j, t] = points[origin[j], t]
                else:
                    count = 0
                    for m in range(n):
                        if origin[m] == j:
                            members[count] = m
                            count += 1
                    _centroid(samples, members[:count], masses[j], exact[j])
            squared = direct_distance(points, i, exact, j)
            if squared < least:
                least, labels[i] = squared, j
    return exact


@unordered_part
def _measure(
    samples: Samples, codes: Codes, errors: Errors, slopes: Any, offsets: Any, labels: Any, masses: Any, across: Any
) -> tuple[float, float]:
    """The distortion, and how far off it is at most; per code the masses (K,) of the cells, and the sums of w <c, x>, (K,)."""
    weights, lengths, squared = samples.masses, samples.lengths, samples.squares
    sums, totals, squares, product = codes.sums, codes.totals, codes.squares, errors.product
    distortion, error = 0.0, 0.0
    for i in range(len(labels)):
        k, w = labels[i], weights[i]
        own = sums[k, i] / totals[k]
        masses[k] += w
        across[k] += w * own
        distortion += w * (squared[i] + squares[k] - 2 * own)
        error += w * (product * squared[i] + 2 * (slopes[k] * lengths[i] + offsets[k]))
    return distortion, _SPARE * error + errors.term * (len(labels) + _FEW) * distortion


@inlined
def _move(row: Any, w: float, left: Any, joined: Any) -> None:
    for j in range(len(row)):
        left[j] -= w * row[j]
        joined[j] += w * row[j]


@inlined
def _add_four(matrix: Any, masses: Any, rows: Any, target: Any) -> None:
    a, b, c, d = rows
    row_a, row_b, row_c, row_d = matrix[a], matrix[b], matrix[c], matrix[d]
    w_a, w_b, w_c, w_d = masses[a], masses[b], masses[c], masses[d]
    for j in range(len(target)):
        target[j] += w_a * row_a[j] + w_b * row_b[j] + w_c * row_c[j] + w_d * row_d[j]


@unordered_part
def _add_cells(matrix: Any, masses: Any, labels: Any, sums: Any) -> None:
    """The sums of all cells, one after the other: what is added to stays in the cache."""
    ends, order = np.zeros(len(sums), np.int64), np.empty(len(labels), np.int64)
    for k in labels[labels < len(sums) - 1]:
        ends[k + 1] += 1  # where the cell begins, and where it ends once its points have been put into order
    for k in range(1, len(ends)):
        ends[k] += ends[k - 1]
    for i in range(len(labels)):
        order[ends[labels[i]]] = i
        ends[labels[i]] += 1
    first = 0
    for k in range(len(sums)):
        target = sums[k]
        target[:] = 0
        while first + 4 <= ends[k]:
            _add_four(matrix, masses, order[first : first + 4], target)
            first += 4
        for i in order[first : ends[k]]:
            for j in range(len(target)):
                target[j] += masses[i] * matrix[i, j]
        first = ends[k]


@part
def _add_squares(sums: Any, masses: Any, totals: Any, labels: Any, squares: Any) -> None:
    """The squared lengths of the centroids; in this order, as products of two weights may leave the range of float64."""
    for i in range(len(labels)):
        share = 1 / totals[labels[i]]
        squares[labels[i]] += masses[i] * share * (sums[labels[i], i] * share)


@unordered_part
def advance(samples: Samples, codes: Codes, labels: Any, before: Any) -> int:
    """Makes codes the centroids of these cells; returns how many points have changed cells.

    before: the labels of the cells whose centroids they were; none, where they were not.
    """
    masses, lengths, matrix = samples.masses, samples.lengths, samples.matrix
    sums, totals, squares, means, terms, peaks = codes
    n, k, first = len(labels), len(terms), len(before) == 0
    counts, joined, moved = np.zeros(k), np.zeros(k), np.empty(n, np.int64)
    count = 0
    for i in range(n):
        counts[labels[i]] += 1
        if first or labels[i] != before[i]:
            moved[count] = i
            count += 1
            terms[labels[i]] += 1
            joined[labels[i]] += masses[i] * lengths[i]
            if not first:
                terms[before[i]] += 1
    for j in range(k):
        peaks[j] = max(peaks[j] * totals[j], means[j] * totals[j] + joined[j])
        totals[j], means[j], squares[j] = 0, 0, 0
    for i in range(n):
        totals[labels[i]] += masses[i]
        means[labels[i]] += masses[i] * lengths[i]
    anew = first or count * _MOVED > n
    for j in range(k):
        anew |= terms[j] > _REFRESH * max(counts[j], 8.0) or peaks[j] > _REFRESH * means[j]
    if anew:
        for j in range(k):
            terms[j], peaks[j] = counts[j], means[j]
        _add_cells(matrix, masses, labels, sums)
    else:
        for i in moved[:count]:
            _move(matrix[i], masses[i], sums[before[i]], sums[labels[i]])
    _add_squares(sums, masses, totals, labels, squares)
    for j in range(k):
        means[j] /= totals[j]
        peaks[j] /= totals[j]
    return count


@compiled
def step(
    of_samples: Any, of_codes: Any, of_errors: Any, origin: Any, totals: Any, labels: Any, masses: Any
) -> tuple[bool, float, float, float, bool]:
    r"""The cells of the codes, labels (n,) and masses (K,), zeros at first, and the codes that follow.

    of_samples, of_codes, of_errors: what :class:`Samples`, :class:`Codes` and :class:`Errors` hold, as plain tuples. origin,
    totals: those and the masses of :func:`settle`.

    Returns whether it was done, the distortion, how far off that is at most, $\sum_k w_k |c_k - m_k|^2$, and whether no code has
    moved. It is not done where too many points are in doubt, a cell is empty or the distortion is not positive.
    """
    samples, codes, errors = Samples(*of_samples), Codes(*of_codes), Errors(*of_errors)
    n, k = len(labels), len(masses)
    slopes, offsets, across = np.empty(k), np.empty(k), np.zeros(k)
    limits, seconds, doubtful = np.empty(n), np.empty(n), np.empty(n, np.int64)
    _bound(codes, errors, slopes, offsets)
    count = _assign(codes, samples.lengths, slopes, offsets, labels, limits, seconds, doubtful)
    if count * _DOUBTFUL > n:
        return False, 0.0, 0.0, 0.0, False
    if count > 0:
        settle(samples, codes, origin, totals, slopes, offsets, limits, doubtful[:count], labels)
    distortion, error = _measure(samples, codes, errors, slopes, offsets, labels, masses, across)
    if not distortion > 0 or not np.all(masses):
        return False, 0.0, 0.0, 0.0, False
    squares, no_cells = codes.squares.copy(), len(totals) == 0
    if advance(samples, codes, labels, origin[:0] if no_cells else origin) == 0:
        return True, distortion, error, 0.0, True
    way = 0.0
    for j in range(k):
        way += masses[j] * max(squares[j] - 2 * across[j] / masses[j] + codes.squares[j], 0.0)
    return True, distortion, error, way, False


@unordered
def centroid_columns(points: Any, weights: Any, centre: Any, labels: Any, masses: Any, first: int, last: int, codes: Any) -> None:
    """Some coordinates of the centroids of cells with these masses, rounded to the points' precision."""
    a, sums = centre[first:last], np.zeros((len(masses), last - first))
    for i in range(len(labels)):
        x, w, row = points[i, first:last], weights[i], sums[labels[i]]
        for t in range(len(a)):
            row[t] += w * (np.float64(x[t]) - a[t])
    rounded = np.empty(last - first, points.dtype)
    for k in range(len(masses)):
        row, share, code = sums[k], 1 / masses[k], codes[k, first:last]
        for t in range(len(a)):
            rounded[t] = a[t] + share * row[t]
        for t in range(len(a)):
            code[t] = rounded[t]


@unordered
def measure_columns(
    points: Any, weights: Any, codes: Any, labels: Any, masses: Any, first: int, last: int
) -> tuple[float, float]:
    """What some coordinates add to the sum of w |x − c|², and to that of W |m − c|² over the cells, with masses W and means m."""
    cost, off, shifts = 0.0, 0.0, np.zeros((len(masses), last - first))
    for i in range(len(labels)):
        x, w, code, row = points[i, first:last], weights[i], codes[labels[i], first:last], shifts[labels[i]]
        squared = 0.0
        for t in range(len(row)):
            row[t] += w * (np.float64(x[t]) - code[t])
        for t in range(len(row)):
            difference = np.float64(x[t]) - code[t]
            squared += difference * difference
        cost += w * squared
    for k in range(len(masses)):
        row, share, squared = shifts[k], 1 / masses[k], 0.0
        for t in range(len(row)):
            step = share * row[t]
            squared += step * step
        off += masses[k] * squared
    return cost, off
