"""A step of Lloyd's algorithm on inner products: labels beyond doubt, what the cells hold, and the codes that follow.

What is wanted of a step in coordinates is made in ``members``.
"""

from typing import Any, NamedTuple

import numpy as np

from quantization.compiled.kernels.compiler import compiled, inlined, part, unordered_part
from quantization.compiled.kernels.members import centroid, in_order
from quantization.compiled.kernels.near import direct_distance

_FAR = 1e300
_REFRESH = 8  # sums are made anew once so many times as many terms went into them as the cell has points
_DOUBTFUL = 8  # at most one of so many points is settled on its coordinates
_MOVED = 3  # and sums are made anew where more than one of so many has changed cells
_SPARE = 1.1  # pays for terms of second order, and for the rounding of the bounds
_FEW = 12  # roundings of a score itself


class Samples(NamedTuple):
    """What all steps share. points (n, d) with masses (n,); in a frame about the centre (d,) the matrix of inner products of
    points near them (n, ≥ n), how far off those may be, their lengths, rounded up, and squared lengths (n,)."""

    points: Any
    masses: Any
    centre: Any
    matrix: Any
    off: Any
    lengths: Any
    squares: Any


class Codes(NamedTuple):
    """K codes that are centroids of cells, each number with K entries, brought up to date by every step.

    sums: (K, ≥ n), of masses times rows of the matrix. totals: of the masses. squares: |c|². lengths, off: the means of those in
    the cell. terms: how many went into a sum since it was made anew. peaks: the most that the sum of w |x| has been since then,
    over the total.
    """

    sums: Any
    totals: Any
    squares: Any
    lengths: Any
    off: Any
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
        rounding = _SPARE * errors.code * (length + errors.centre)
        slopes[k] = products + sums + rounding
        vanished = errors.lost + errors.lost_term * terms * (1 + 1 / totals[k])
        offsets[k] = (products / 2 + sums + rounding) * length + vanished


@unordered_part
def _assign(
    samples: Samples, codes: Codes, errors: Errors, slopes: Any, offsets: Any, labels: Any, limits: Any, seconds: Any,
    doubtful: Any,
) -> int:  # fmt: skip
    r"""For each point the code whose score, from below, is least; returns how many points are in doubt.

    A doubtful point, listed in ``doubtful``, has a second score that from below is no more than the first from above: its limit.
    A distance D is off by as much as its point and its code are, so that other codes are beyond doubt from $D + \epsilon$ on, as
    far as two distances are off: their scores, $D^2 / 2$ less what all codes share, are $\epsilon D + \epsilon^2 / 2$ more.
    """
    n, sums, totals, squares, lengths = len(labels), codes.sums, codes.totals, codes.squares, samples.lengths
    for i in range(n):
        limits[i], seconds[i], labels[i] = _FAR, _FAR, 0
    for k in range(0, len(slopes), 2):  # two at a time, as half of the work is to read and write what is known of the points
        other = min(k + 1, len(slopes) - 1)
        start_a, share_a, slope_a, row_a = squares[k] / 2 - offsets[k], 1 / totals[k], slopes[k], sums[k]
        start_b, share_b, slope_b, row_b = squares[other] / 2 - offsets[other], 1 / totals[other], slopes[other], sums[other]
        if other == k:
            start_b = _FAR
        for i in range(n):
            a, b = start_a - share_a * row_a[i] - slope_a * lengths[i], start_b - share_b * row_b[i] - slope_b * lengths[i]
            least, own = min(a, b), k if a < b else other
            seconds[i] = min(min(seconds[i], max(a, b)), max(least, limits[i]))
            labels[i] = own if least < limits[i] else labels[i]
            limits[i] = min(least, limits[i])
    count, most = 0, codes.off.max()
    for i in range(n):
        limits[i] += 2 * (slopes[labels[i]] * lengths[i] + offsets[labels[i]])
        off = _SPARE * (2 * samples.off[i] + codes.off[labels[i]] + most)
        distance = np.sqrt(max(2 * limits[i] + (1 + errors.product) * samples.squares[i], 0.0))
        limits[i] += (distance + off / 2) * off
        if seconds[i] <= limits[i]:
            doubtful[count] = i
            count += 1
    return count


@unordered_part
def _apart(samples: Samples, codes: Codes, slopes: Any, offsets: Any, j: int, k: int, members: Any, origin: Any) -> float:
    """The distance of two codes at most, as far as the matrix tells. members: of k; where there are none, codes are points."""
    sums, masses = codes.sums, samples.masses
    product = sums[j, origin[k]] / codes.totals[j] if len(members) == 0 else 0.0
    for m in members:
        product += masses[m] / codes.totals[k] * (sums[j, m] / codes.totals[j])  # products of two masses may vanish
    far = codes.lengths[j] + codes.lengths[k]
    error = (slopes[j] + slopes[k]) * far + offsets[j] + offsets[k]
    return np.sqrt(max(codes.squares[j] + codes.squares[k] - 2 * product + 4 * error, 0.0))


@unordered_part
def settle(
    samples: Samples, codes: Codes, errors: Errors, origin: Any, masses: Any, slopes: Any, offsets: Any, limits: Any,
    doubtful: Any, labels: Any,
) -> Any:  # fmt: skip
    """The nearest code of points in doubt, among the codes whose scores are within the points' limits, by direct differences.

    origin: the labels of the cells whose centroids the codes are, with their ``masses`` (K,); or, where there are no masses, the
    points that are the codes. Returns what it went by: the codes themselves that were needed, in the points' precision, and for
    every code its place among them, (K,), or -1.

    With a point off by e and codes by e_b and e_j, half the difference of two squared distances is off by $e |c_b - c_j|$ as the
    point moves, and by $e_j (|x - c_j| + e_j / 2)$ as each code moves: what differs by more needs no coordinates. Nor does a code
    whose distance, less what it is off by, exceeds that of another on coordinates.
    """
    points, lengths = samples.points, samples.lengths
    sums, totals, squares = codes.sums, codes.totals, codes.squares
    k, dim = len(slopes), points.shape[1]
    exact, places, made = np.empty((k, dim), points.dtype), np.full(k, -1), 0
    rivals, nearest, ends = np.empty(k, np.int64), np.empty(k), np.zeros(k + 1, np.int64)
    order = in_order(origin, ends) if len(masses) else np.empty(0, np.int64)
    for i in doubtful:
        best, count = labels[i], 1
        own = squares[best] / 2 - sums[best, i] / totals[best] + slopes[best] * lengths[i] + offsets[best]
        highest = np.sqrt(max(2 * own + (1 + errors.product) * samples.squares[i], 0.0))
        rivals[0], nearest[0] = best, 0
        for j in range(k):
            score = squares[j] / 2 - offsets[j] - sums[j, i] / totals[j] - slopes[j] * lengths[i]
            if j == best or score > limits[i]:
                continue
            far = _apart(samples, codes, slopes, offsets, best, j, order[ends[j] : ends[j + 1]], origin)
            above = score + 2 * (slopes[j] * lengths[i] + offsets[j])
            distance = np.sqrt(max(2 * above + (1 + errors.product) * samples.squares[i], 0.0))
            e, e_b, e_j = samples.off[i], codes.off[best], codes.off[j]
            if score - own > _SPARE * (e * far + e_b * (highest + e + e_b / 2) + e_j * (distance + e + e_j / 2)):
                continue
            rivals[count] = j
            nearest[count] = np.sqrt(max(2 * score + (1 - errors.product) * samples.squares[i], 0.0)) - _SPARE * (e + e_j)
            count += 1
        if count == 1:
            continue
        least, reach = _FAR, _FAR
        for r in range(count):
            j = rivals[r]
            if nearest[r] > reach:
                continue
            if places[j] < 0:
                if len(masses) == 0:
                    exact[made] = points[origin[j]]
                else:
                    centroid(points, samples.masses, samples.centre, order[ends[j] : ends[j + 1]], masses[j], exact[made])
                places[j] = made
                made += 1
            squared = direct_distance(points, i, exact, places[j])
            if squared < least or (squared == least and j < labels[i]):
                least, labels[i] = squared, j
                reach = np.sqrt(squared) * (1 + 1e-9)
    return exact[:made], places


@unordered_part
def _measure(
    samples: Samples, codes: Codes, errors: Errors, slopes: Any, offsets: Any, labels: Any, masses: Any, across: Any
) -> tuple[float, float]:
    """The distortion, and how far off it is at most; per code the masses (K,) of the cells, and the sums of w <c, x>, (K,)."""
    weights, lengths, squared = samples.masses, samples.lengths, samples.squares
    sums, totals, squares, product = codes.sums, codes.totals, codes.squares, errors.product
    distortion, error, reach = 0.0, 0.0, 0.0
    for i in range(len(labels)):
        k, w = labels[i], weights[i]
        own = sums[k, i] / totals[k]
        masses[k] += w
        across[k] += w * own
        distortion += w * (squared[i] + squares[k] - 2 * own)
        reach += w * (samples.off[i] + codes.off[k]) ** 2
        error += w * (product * squared[i] + 2 * (slopes[k] * lengths[i] + offsets[k]))
    off = np.sqrt(reach)
    error += (2 * np.sqrt(max(distortion + error, 0.0)) + off) * off
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
    ends = np.zeros(len(sums) + 1, np.int64)
    order, first = in_order(labels, ends), 0
    for k in range(len(sums)):
        target = sums[k]
        target[:] = 0
        while first + 4 <= ends[k + 1]:
            _add_four(matrix, masses, order[first : first + 4], target)
            first += 4
        for i in order[first : ends[k + 1]]:
            for j in range(len(target)):
                target[j] += masses[i] * matrix[i, j]
        first = ends[k + 1]


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
    sums, totals, squares, means, off, terms, peaks = codes
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
        totals[j], means[j], off[j], squares[j] = 0, 0, 0, 0
    for i in range(n):
        totals[labels[i]] += masses[i]
        means[labels[i]] += masses[i] * lengths[i]
        off[labels[i]] += masses[i] * samples.off[i]
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
        off[j] /= totals[j]
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
    count = _assign(samples, codes, errors, slopes, offsets, labels, limits, seconds, doubtful)
    if count * _DOUBTFUL > n:
        return False, 0.0, 0.0, 0.0, False
    if count > 0:
        settle(samples, codes, errors, origin, totals, slopes, offsets, limits, doubtful[:count], labels)
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
