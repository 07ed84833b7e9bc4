"""Kernels for few dimensions: bounds, a float32 scan over codes, and the sums of cells.

Every kernel is compiled for one number of dimensions d: ``dims`` is a tuple of d zeros, whose length the compiler knows, so
that loops over coordinates are unrolled and loops over points or codes are vectorized. Kernels allocate nothing, take no slices
and have each loop once, as that is what they take long to compile for.
"""

# numba's decorators are untyped, so everything they return is.
from typing import Any

import numpy as np

from quantization.assignment.bounds import ROUND_OFF
from quantization.compiler import branching, compiled, contracted_part, part

BLOCK = 512  # points scanned at a time: their coordinates and results stay in the L1 cache
GROUP, MANY = 4, 50  # codes scanned per load and store of a block's results, half as many from so many dimensions on
MASS, COST, PASSED, COUNT, SHIFT = 0, 1, 2, 3, 4  # columns of the sums of cells; the shifts begin at the last
_UP, _DOWN = np.float32(1 + 2.0**-21), np.float32(1 - 2.0**-21)  # pay for the rounding of a bound in float32
_TINY = np.float32(1e-40)  # pays for bounds that are not normal numbers of float32
ROUNDED_UP, _ROUNDED_DOWN = 1 + 2.0**-22, 1 - 2.0**-22  # make bounds of distances in float64
_MOST_PASSED, _MOST_COST = 100, 1000  # of a cell's mass and of the distortion: beyond, sums have lost too many digits
_EXTRA = 0.5  # of a block's radius, by which more codes are scanned for better bounds


@part
def _squared_distance(points: Any, i: int, codes: Any, k: int, dims: Any) -> float:
    """The squared distance of a point to a code: the same bits as ``direct_distance``, which decides ties everywhere."""
    size = len(dims) // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for t in range(len(dims)):
        difference = np.float64(points[i, t]) - codes[k, t]
        square = difference * difference
        if t < size:
            a += square
        elif t < 2 * size:
            b += square
        elif t < 3 * size:
            c += square
        else:
            d += square
    return a + b + (c + d)


@part
def _search_all(points: Any, i: int, codes: Any, k: int, scale: float, dims: Any) -> Any:
    """The nearest code by direct differences in float64, the distance to it, and to the second nearest."""
    best, least, second = np.int64(0), np.inf, np.inf
    for j in range(k):
        distance = _squared_distance(points, i, codes, j, dims)
        if distance < least:
            best, least, second = j, distance, least
        elif distance < second:
            second = distance
    return best, np.sqrt(least) * scale * ROUNDED_UP, np.sqrt(second) * scale * _ROUNDED_DOWN


@contracted_part
def _scan(work: Any, count: int, packed: Any, k: int, longest: Any, others: Any, ratio: Any, dims: Any) -> None:
    """The nearest of k codes to ``count`` points in float32, vectorized over points, and bounds on distances.

    work: flat, ``BLOCK`` numbers each of: the d coordinates, an upper bound of the distance to the nearest, a lower bound of that
    to all others, the nearest. It is one array, so that the compiler sees that stores to it never touch what it loads. packed:
    (K, 1 + d), ½|c|² and -c, k a multiple of ``GROUP``. others: a lower bound on the distances to codes that are not in it.
    """
    dim = len(dims)
    best, second, label = dim * BLOCK, (dim + 1) * BLOCK, (dim + 2) * BLOCK
    for i in range(count):
        work[best + i], work[second + i], work[label + i] = np.inf, np.inf, 0
    group = GROUP if dim < MANY else GROUP // 2
    for q in range(0, k, group):
        for i in range(count):
            b, s, which = work[best + i], work[second + i], work[label + i]
            for j in range(group):
                v = packed[q + j, 0]
                for t in range(dim):
                    v += work[t * BLOCK + i] * packed[q + j, 1 + t]
                larger = v if v > b else b
                s = larger if larger < s else s
                which = np.float32(q + j) if v < b else which
                b = v if v < b else b
            work[best + i], work[second + i], work[label + i] = b, s, which
    unit = np.float32((dim + 4) * ROUND_OFF)
    half, one, zero, two = np.float32(0.5), np.float32(1), np.float32(0), np.float32(2)
    for i in range(count):
        norm = zero
        for t in range(dim):
            norm += work[t * BLOCK + i] * work[t * BLOCK + i]
        error = unit * (longest * (longest * half + np.sqrt(norm) * _UP)) + np.float32(1e-36)
        high = norm * (one + unit) + two * (work[best + i] + error)
        low = norm * (one - unit) + two * (work[second + i] - error)
        work[best + i] = np.sqrt(high if high > zero else zero) * _UP * ratio
        low = np.sqrt(low if low > zero else zero)
        work[second + i] = (low if low < others else others) * _DOWN * ratio


@part
def _near_block(work: Any, count: int, packed: Any, k: int, longest: Any, few: Any, which: Any, dims: Any) -> Any:
    """The codes that may be nearest to some point of a block: how many, and a lower bound on the distances to all others.

    With m the middle of the block, r its radius and s the least distance of a code to m, the code nearest to a point is within
    s + 2 r of m. Codes that are chosen go to ``few`` and their indices to ``which``. All in the frame of the packed codes.
    """
    dim, middle, square = len(dims), (len(dims) + 3) * BLOCK, np.float32(0)  # the middle is the last of what ``work`` holds
    for t in range(dim):
        low, high = work[t * BLOCK], work[t * BLOCK]
        for r in range(count):
            y = work[t * BLOCK + r]
            low, high = y if y < low else low, y if y > high else high
        work[middle + t] = (low + high) / np.float32(2)
        square += work[middle + t] * work[middle + t]
    radius = np.float32(0)
    for r in range(count):
        d = np.float32(0)
        for t in range(dim):
            y = work[t * BLOCK + r] - work[middle + t]
            d += y * y
        radius = d if d > radius else radius
    radius = np.sqrt(radius)
    nearest = np.float32(np.inf)
    for j in range(k):
        d = np.float32(0)
        for t in range(dim):
            y = packed[j, 1 + t] + work[middle + t]
            d += y * y
        few[j, 0] = d
        nearest = d if d < nearest else nearest
    off = np.float32((dim + 4) * 2.0**-22) * (longest + np.sqrt(square) + radius)  # rounding of all these distances
    cut = np.sqrt(nearest) + np.float32(2 + _EXTRA) * radius + np.float32(4) * off
    chosen, within = np.int64(0), cut * cut
    for j in range(k):
        which[chosen] = j
        chosen += 0 if few[j, 0] > within else 1
    for c in range(chosen):
        for t in range(dim + 1):
            few[c, t] = packed[which[c], t]
    while chosen % GROUP > 0:
        few[chosen, 0] = np.inf
        for t in range(dim):
            few[chosen, 1 + t] = 0
        chosen += 1
    return chosen, cut - radius - np.float32(2) * off


@branching
def assign_rows(
    points: Any, offset: int, start: int, end: int, weights: Any, equal: float, codes: Any, packed: Any, centre: Any,
    factor: float, longest: float, scale: float, order: Any, few: Any, which: Any, work: Any, rows: Any, clock: Any, fresh: bool,
    labels: Any, slack: Any, squared: Any, sums: Any, dims: Any,
) -> Any:  # fmt: skip
    r"""Labels of some rows, and what they change in the sums of cells; (how many labels have changed, the cost passed).

    points: (m, d), the rows from ``offset`` on of arrays (n,), of which those from ``start`` to ``end`` are meant; with an order
    (n,), the points order[start:end], which lie near one another, so that few codes are scanned for a block of them. weights:
    (n,), or none where all are ``equal``. codes: (K, d); packed (K or more, 1 + d), centre
    (d,), factor, longest: with b = (c - centre) factor, ½|b|² and -b in float32, and what b is at most. fresh: every point is
    searched and added, none has slack; otherwise points leave the cells that ``labels`` names.
    squared: (n,) or empty, the squared distances where fresh. order: None where there is none. Space: few (K + GROUP, 1 + d) and
    work ((d + 4) BLOCK,) in float32, which (K + GROUP,) and rows (BLOCK,) in int32.

    *Bounds from step to step* (hamerly2010), on distances times ``scale``. clock (K,): by how much at most the gap between
    the distance to a code and those to all others has shrunk since the first step. slack (n,), float32: what the clock of a
    point's cell may show until its label is in doubt.

    *Scores in float32*, and bounds on distances that are made of them: the first corollary of ``bounds``. Where these do not
    tell the nearest code, float64 does.
    """
    dim, k = len(dims), len(codes)
    top, ratio = np.float32(longest * (1 + 2.0**-22)), np.float32(scale / factor)
    changed, passed = np.int64(0), 0.0
    for first in range(start, end, BLOCK):
        count = np.int64(0)
        for place in range(first, first + BLOCK if first + BLOCK < end else end):
            i = place if order is None else np.int64(order[place])
            rows[count] = i
            count += 0 if clock[labels[i]] < slack[i] else 1
        for r in range(count):
            for t in range(dim):
                work[t * BLOCK + r] = np.float32((np.float64(points[rows[r] - offset, t]) - centre[t]) * factor)
        if order is None:
            _scan(work, count, packed, len(packed), top, np.float32(np.inf), ratio, dims)
        elif count > 0:
            chosen, others = _near_block(work, count, packed, k, top, few, which, dims)
            _scan(work, count, few, chosen, top, others, ratio, dims)
        for r in range(count):
            i = np.int64(rows[r])
            row, old, best = i - offset, np.int64(labels[i]), np.int64(work[(dim + 2) * BLOCK + r])
            if order is not None:
                best = np.int64(which[best])
            high, low = np.float64(work[dim * BLOCK + r]), np.float64(work[(dim + 1) * BLOCK + r])
            if not high < low:  # by direct differences
                best, high, low = _search_all(points, row, codes, k, scale, dims)
            slack[i] = np.float32(low - high + clock[best]) * _DOWN - _TINY
            w = weights[i] if len(weights) > 0 else equal
            one = 1.0 if w > 0 else 0.0
            if best == old and not fresh:
                continue
            for side in range(1 if fresh else 2):  # joins a cell, and leaves another
                j, sign, number = (best, w, one) if side == 0 else (old, -w, -one)
                cost = _squared_distance(points, row, codes, j, dims)
                sums[j, MASS] += sign
                sums[j, COST] += sign * cost
                sums[j, COUNT] += number
                for t in range(dim):
                    sums[j, SHIFT + t] += sign * (np.float64(points[row, t]) - codes[j, t])
                if side == 1:
                    sums[j, PASSED] += w
                    passed += w * cost
                    changed += 1
                elif len(squared) > 0:
                    squared[i] = cost
            labels[i] = best
    return changed, passed


@compiled
def advance(
    parts: Any, equal: float, scale: float, passed: float, totals: Any, codes: Any, following: Any, clock: Any, centre: Any,
    factor: float, packed: Any
) -> Any:  # fmt: skip
    r"""Adds the parts (P, K, 4 + d) of the sums to the totals, and makes these the sums about the codes that follow.

    Those are the centroids, rounded and written to ``following``. equal: the weight of every point, 0 where they differ.
    passed: the cost that has passed through the totals. Returns the distortion, the sum of W |mean - code|², the least number of
    members, whether the totals are good (nothing is moved where they are not, or a cell is empty), and the length of the longest
    code that follows; its centre, factor and packed, which :func:`assign_rows` takes, are made those of the codes that follow.

    With $\delta = c' - c$: $S' = S - W \delta$ and $Q' = Q - 2 \langle \delta, S \rangle + W |\delta|^2$, of which the round-off
    is small beside Q. The clocks go on by how far codes, and all others at most, have come.
    """
    k, dim = codes.shape
    distortion, off, fewest, good = 0.0, 0.0, np.inf, np.bool_(True)
    for j in range(k):
        for p in range(len(parts)):
            for t in range(SHIFT + dim):
                totals[j, t] += parts[p, j, t]
        if equal > 0:
            totals[j, MASS] = totals[j, COUNT] * equal
        mass, cost, count, length = totals[j, MASS], totals[j, COST], totals[j, COUNT], 0.0
        for t in range(dim):
            length += totals[j, SHIFT + t] * totals[j, SHIFT + t]
        distortion += cost if cost > 0 else 0.0
        fewest = count if count < fewest else fewest
        good = good and totals[j, PASSED] <= _MOST_PASSED * mass
        off += length / mass if mass > 0 else 0.0
    good = good and passed <= _MOST_COST * distortion
    if not good or fewest == 0:
        return distortion, off, fewest, good, 0.0
    first, second, longest, which = 0.0, 0.0, 0.0, np.int64(0)
    for j in range(k):
        mass, length, along, norm = totals[j, MASS], 0.0, 0.0, 0.0
        for t in range(dim):
            shift = totals[j, SHIFT + t]
            following[j, t] = codes[j, t] + shift / mass
            code = np.float64(following[j, t])
            step, b = code - codes[j, t], (code - centre[t]) * factor
            packed[j, 1 + t] = -b
            norm += b * b
            length += step * step
            along += step * shift
            totals[j, SHIFT + t] = shift - mass * step
        totals[j, COST] += mass * length - 2 * along
        packed[j, 0] = norm / 2
        longest = norm if norm > longest else longest
        drift = np.sqrt(length) * ROUNDED_UP
        clock[j] += drift * scale
        if drift > first:
            first, second, which = drift, first, j
        elif drift > second:
            second = drift
    for j in range(k):
        clock[j] += (second if j == which else first) * scale
    return distortion, off, fewest, good, np.sqrt(longest)
