"""Kernels for few dimensions: bounds, a float32 scan over codes, and the sums of cells.

Every kernel is compiled for one number of dimensions d: ``dims`` is a tuple of d zeros, whose length the compiler knows, so
that loops over coordinates are unrolled and loops over points or codes are vectorized.
"""

# numba's decorators are untyped, so everything they return is.
from typing import Any

import numpy as np
from numba import njit

from quantization.compiler import compiled, part

BLOCK = 512  # points scanned at a time: their coordinates and results stay in the L1 cache
_GROUP = 4  # codes scanned per load and store of a block's results
MASS, COST, PASSED, COUNT, SHIFT = 0, 1, 2, 3, 4  # columns of the sums of cells; the shifts begin at the last
_UP, _DOWN = np.float32(1 + 2.0**-21), np.float32(1 - 2.0**-21)  # pay for the rounding of a bound in float32
_TINY = np.float32(1e-40)  # pays for bounds that are not normal numbers of float32
_ROUNDED_UP, _ROUNDED_DOWN = 1 + 2.0**-22, 1 - 2.0**-22  # make bounds of distances in float64
_MOST_PASSED, _MOST_COST = 100, 1000  # of a cell's mass and of the distortion: beyond, sums have lost too many digits
_EXTRA = 0.5  # of a block's radius, by which more codes are scanned for better bounds

_contracted: Any = njit(nogil=True, fastmath={"contract"})  # a product and a sum in one instruction


@part
def squared_distance(points: Any, i: int, codes: Any, k: int, dims: Any) -> float:
    """The squared distance of a point to a code: the same bits as ``direct_distance``, which settles ties everywhere."""
    size = len(dims) // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for t in range(size):
        one = np.float64(points[i, t]) - codes[k, t]
        two = np.float64(points[i, size + t]) - codes[k, size + t]
        three = np.float64(points[i, 2 * size + t]) - codes[k, 2 * size + t]
        four = np.float64(points[i, 3 * size + t]) - codes[k, 3 * size + t]
        a, b, c, d = a + one * one, b + two * two, c + three * three, d + four * four
    for t in range(4 * size, len(dims)):
        rest = np.float64(points[i, t]) - codes[k, t]
        d += rest * rest
    return a + b + (c + d)


@_contracted
def _scan(work: Any, count: int, packed: Any, dims: Any) -> None:
    """The least and second least score of ``count`` points over all codes, in float32, vectorized over points.

    work: flat, ``BLOCK`` numbers each of: the d coordinates, the least score, the second least, the code of the least. It is one
    array, so that the compiler sees that stores to it never touch what it loads. packed: (K, 1 + d), ½|c|² and -c.
    """
    k, dim = len(packed), len(dims)
    best, second, label = dim * BLOCK, (dim + 1) * BLOCK, (dim + 2) * BLOCK
    for i in range(count):
        work[best + i], work[second + i], work[label + i] = np.inf, np.inf, 0
    full = k - k % _GROUP
    for q in range(0, full, _GROUP):
        for i in range(count):
            b, s, which = work[best + i], work[second + i], work[label + i]
            for j in range(_GROUP):
                v = packed[q + j, 0]
                for t in range(dim):
                    v += work[t * BLOCK + i] * packed[q + j, 1 + t]
                larger = v if v > b else b
                s = larger if larger < s else s
                which = np.float32(q + j) if v < b else which
                b = v if v < b else b
            work[best + i], work[second + i], work[label + i] = b, s, which
    for q in range(full, k):
        for i in range(count):
            b, s = work[best + i], work[second + i]
            v = packed[q, 0]
            for t in range(dim):
                v += work[t * BLOCK + i] * packed[q, 1 + t]
            larger = v if v > b else b
            work[second + i] = larger if larger < s else s
            work[label + i] = np.float32(q) if v < b else work[label + i]
            work[best + i] = v if v < b else b


@part
def _search_all(points: Any, i: int, codes: Any, columns: Any, squared: Any, scale: float, dims: Any) -> Any:
    """The nearest code by direct differences in float64, the distance to it, and to the second nearest."""
    k, size = len(codes), len(dims) // 4
    for j in range(k):  # the order of summation of squared_distance
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for t in range(size):
            one = np.float64(points[i, t]) - columns[t, j]
            two = np.float64(points[i, size + t]) - columns[size + t, j]
            three = np.float64(points[i, 2 * size + t]) - columns[2 * size + t, j]
            four = np.float64(points[i, 3 * size + t]) - columns[3 * size + t, j]
            a, b, c, d = a + one * one, b + two * two, c + three * three, d + four * four
        for t in range(4 * size, len(dims)):
            rest = np.float64(points[i, t]) - columns[t, j]
            d += rest * rest
        squared[j] = a + b + (c + d)
    best, least, second = 0, squared[0], np.inf
    for j in range(1, k):
        if squared[j] < least:
            best, least, second = j, squared[j], least
        elif squared[j] < second:
            second = squared[j]
    return np.int32(best), np.sqrt(squared[best]) * scale * _ROUNDED_UP, np.sqrt(second) * scale * _ROUNDED_DOWN


@part
def _near_block(work: Any, count: int, packed: Any, longest: Any, few: Any, which: Any, dims: Any) -> Any:
    """The codes that may be nearest to some point of a block: how many, and a lower bound on the distances to all others.

    With m the middle of the block, r its radius and s the least distance of a code to m, the code nearest to a point is within
    s + 2 r of m. Codes that are chosen go to ``few`` and their indices to ``which``. All in the frame of the packed codes.
    """
    dim = len(dims)
    middle, square = np.empty(dim, np.float32), np.float32(0)
    for t in range(dim):
        low, high = work[t * BLOCK], work[t * BLOCK]
        for r in range(count):
            y = work[t * BLOCK + r]
            low, high = y if y < low else low, y if y > high else high
        middle[t] = (low + high) / np.float32(2)
        square += middle[t] * middle[t]
    radius = np.float32(0)
    for r in range(count):
        d = np.float32(0)
        for t in range(dim):
            y = work[t * BLOCK + r] - middle[t]
            d += y * y
        radius = d if d > radius else radius
    radius = np.sqrt(radius)
    nearest = np.float32(np.inf)
    for j in range(len(packed)):
        d = np.float32(0)
        for t in range(dim):
            y = packed[j, 1 + t] + middle[t]
            d += y * y
        few[j, 0] = d
        nearest = d if d < nearest else nearest
    off = np.float32((dim + 4) * 2.0**-22) * (longest + np.sqrt(square) + radius)  # rounding of all these distances
    cut = np.sqrt(nearest) + np.float32(2 + _EXTRA) * radius + 4 * off
    chosen, within = 0, cut * cut
    for j in range(len(packed)):
        which[chosen] = j
        chosen += 0 if few[j, 0] > within else 1
    for c in range(chosen):
        for t in range(dim + 1):
            few[c, t] = packed[which[c], t]
    return chosen, cut - radius - 2 * off


@part
def _in_doubt(labels: Any, slack: Any, clock: Any, order: Any, first: int, stop: int, rows: Any) -> int:
    """How many points have no slack left, by the clocks of their cells; their indices go to ``rows``."""
    count = 0
    for place in range(first, stop):
        i = order[place] if len(order) > 0 else place
        rows[count] = i
        count += 0 if clock[labels[i]] < slack[i] else 1
    return count


@part
def _bound(work: Any, count: int, longest: Any, others: Any, ratio: Any, dims: Any) -> None:
    """Replaces the least and second least scores by bounds on the distances, from above and from below.

    others: a lower bound on the distances to codes that were not scanned.
    """
    dim = len(dims)
    best, second, unit = dim * BLOCK, (dim + 1) * BLOCK, np.float32((dim + 4) * 2.0**-24 * 1.02)
    half, one, zero, two = np.float32(0.5), np.float32(1), np.float32(0), np.float32(2)
    for r in range(count):
        norm = zero
        for t in range(dim):
            norm += work[t * BLOCK + r] * work[t * BLOCK + r]
        error = unit * (longest * (longest * half + np.sqrt(norm) * _UP)) + np.float32(1e-36)
        high = norm * (one + unit) + two * (work[best + r] + error)
        low = norm * (one - unit) + two * (work[second + r] - error)
        work[best + r] = np.sqrt(high if high > zero else zero) * _UP * ratio
        low = np.sqrt(low if low > zero else zero)
        work[second + r] = (low if low < others else others) * _DOWN * ratio


@part
def _add(points: Any, i: int, codes: Any, k: int, w: float, cost: float, sums: Any, dims: Any) -> None:
    sums[k, MASS] += w
    sums[k, COST] += w * cost
    sums[k, COUNT] += (1.0 if w > 0 else 0.0) - (1.0 if w < 0 else 0.0)
    for t in range(len(dims)):
        sums[k, SHIFT + t] += w * (np.float64(points[i, t]) - codes[k, t])


@compiled
def assign_rows(
    points: Any, offset: int, start: int, end: int, weights: Any, equal: float, codes: Any, columns: Any, packed: Any,
    centre: Any, factor: float, longest: float, scale: float, order: Any, clock: Any, fresh: bool, labels: Any, slack: Any,
    squared: Any, sums: Any, dims: Any,
) -> Any:  # fmt: skip
    r"""Labels of some rows, and what they change in the sums of cells; (how many labels have changed, the cost passed).

    points: (m, d), the rows from ``offset`` on of arrays (n,), of which those from ``start`` to ``end`` are meant; with an order
    (n,), the points order[start:end], which lie near one another, so that few codes are scanned for a block of them. weights:
    (n,), or none where all are ``equal``. codes: (K, d), columns their transpose; packed, centre, factor, longest: see
    :func:`pack`. fresh: every point is searched and added; otherwise points leave the cells that ``labels`` names.
    squared: (n,) or empty, the squared distances where fresh.

    *Bounds from step to step* (hamerly2010), on distances times ``scale``. clock (K,): by how much at most the gap between
    the distance to a code and those to all others has shrunk since the first step. slack (n,), float32: what the clock of a
    point's cell may show until its label is in doubt.

    *Scores in float32.* With y = (x - a) f and b = (c - a) f rounded to float32, u = 2^-24 and B = max |b|, the computed score
    differs from ½|b|² - <y, b> of the numbers before rounding by at most (d + 4) u B (B/2 + |y|) and what second order terms
    add, under 1 %: u for each factor of a product, (d + 1) u for a sum of d + 1 terms, u for ½|b|². Twice the score and |y|²,
    which is off by (d + 2) u |y|², make |y - b|². Where bounds so made do not tell the nearest code, float64 does; where they
    do, their rounding by 2^-21 leaves more than the round-off (d + 3) 2^-53 of direct differences.
    """
    dim, k = len(dims), len(codes)
    work, rows, distances = np.empty((dim + 3) * BLOCK, np.float32), np.empty(BLOCK, np.int64), np.empty(k)
    top, ratio = np.float32(longest * (1 + 2.0**-22)), np.float32(scale / factor)
    changed, passed = 0, 0.0
    few, which = np.empty(packed.shape, np.float32), np.empty(k if len(order) > 0 else 0, np.int32)
    for first in range(start, end, BLOCK):
        stop = min(first + BLOCK, end)
        if fresh:
            count = stop - first
            for r in range(count):
                rows[r] = order[first + r] if len(order) > 0 else first + r
        else:
            count = _in_doubt(labels, slack, clock, order, first, stop, rows)
        for r in range(count):
            i = rows[r] - offset
            for t in range(dim):
                work[t * BLOCK + r] = np.float32((np.float64(points[i, t]) - centre[t]) * factor)
        scanned, others = packed, np.float32(np.inf)
        if len(order) > 0 and count > 0:
            chosen, others = _near_block(work, count, packed, top, few, which, dims)
            scanned = few[:chosen]
        _scan(work, count, scanned, dims)
        _bound(work, count, top, others, ratio, dims)
        for r in range(count):
            i = rows[r]
            old, best = labels[i], np.int32(work[(dim + 2) * BLOCK + r])
            best = which[best] if len(order) > 0 else best
            high, low = np.float64(work[dim * BLOCK + r]), np.float64(work[(dim + 1) * BLOCK + r])
            if not high < low:
                best, high, low = _search_all(points, i - offset, codes, columns, distances, scale, dims)
            slack[i] = np.float32(low - high + clock[best]) * _DOWN - _TINY
            if fresh or best != old:
                w = weights[i] if len(weights) > 0 else equal
                labels[i] = best
                cost = squared_distance(points, i - offset, codes, best, dims)
                _add(points, i - offset, codes, best, w, cost, sums, dims)
                if len(squared) > 0:
                    squared[i] = cost
                if not fresh:
                    left = squared_distance(points, i - offset, codes, old, dims)
                    _add(points, i - offset, codes, old, -w, left, sums, dims)
                    sums[old, PASSED] += w
                    passed += w * left
                    changed += 1
    return changed, passed


@compiled
def pack(codes: Any, centre: Any, columns: Any, packed: Any) -> Any:
    """Codes as :func:`assign_rows` takes them: their transpose (d, K), and ½|b|² and -b (K, 1 + d) in float32.

    With b = (c - centre) factor. Returns the factor, a power of two, and the length of the longest b, which is about one.
    """
    k, dim = codes.shape
    longest = 0.0
    for t in range(dim):
        total = 0.0
        for j in range(k):
            total += codes[j, t] / k
        centre[t] = total
        for j in range(k):
            columns[t, j] = codes[j, t]
            longest = max(longest, abs(codes[j, t] - total))
    factor = 2.0 ** -min(max(np.floor(np.log2(longest)), -1000.0), 1000.0) if longest > 0 else 1.0
    longest = 0.0
    for j in range(k):
        length = 0.0
        for t in range(dim):
            b = (codes[j, t] - centre[t]) * factor
            packed[j, 1 + t] = -b
            length += b * b
        packed[j, 0] = length / 2
        longest = max(longest, length)
    return factor, np.sqrt(longest)


@compiled
def advance(
    parts: Any, equal: float, scale: float, passed: float, totals: Any, codes: Any, following: Any, clock: Any
) -> Any:  # fmt: skip
    r"""Adds the parts (P, K, 4 + d) of the sums to the totals, and makes these the sums about the codes that follow.

    Those are the centroids, rounded and written to ``following``. equal: the weight of every point, 0 where they differ. passed:
    the cost that has passed through the totals. Returns the distortion, the sum of W |mean - code|², the least number of members,
    and whether the totals are good: nothing is moved where they are not, or a cell is empty.

    With $\delta = c' - c$: $S' = S - W \delta$ and $Q' = Q - 2 \langle \delta, S \rangle + W |\delta|^2$, of which the round-off
    is small beside Q. The clocks go on by how far codes, and all others at most, have come.
    """
    k, dim = codes.shape
    distortion, off, fewest, good = 0.0, 0.0, np.inf, True
    for j in range(k):
        row, length = totals[j], 0.0
        for p in range(len(parts)):
            for t in range(SHIFT + dim):
                row[t] += parts[p, j, t]
        if equal > 0:
            row[MASS] = row[COUNT] * equal
        for t in range(SHIFT, SHIFT + dim):
            length += row[t] * row[t]
        distortion += max(row[COST], 0.0)
        fewest = min(fewest, row[COUNT])
        good = good and row[PASSED] <= _MOST_PASSED * row[MASS]
        off += length / row[MASS] if row[MASS] > 0 else 0.0
    good = good and passed <= _MOST_COST * distortion
    if not good or fewest == 0:
        return distortion, off, fewest, good
    first, second, which = 0.0, 0.0, 0
    drifts = np.empty(k)
    for j in range(k):
        row, length, along = totals[j], 0.0, 0.0
        for t in range(dim):
            following[j, t] = codes[j, t] + row[SHIFT + t] / row[MASS]
            step = np.float64(following[j, t]) - codes[j, t]
            length += step * step
            along += step * row[SHIFT + t]
            row[SHIFT + t] -= row[MASS] * step
        row[COST] += row[MASS] * length - 2 * along
        drifts[j] = drift = np.sqrt(length) * _ROUNDED_UP
        if drift > first:
            first, second, which = drift, first, j
        elif drift > second:
            second = drift
    for j in range(k):
        clock[j] += (drifts[j] + (second if j == which else first)) * scale
    return distortion, off, fewest, good
