r"""The r-means of intervals of sorted samples on the line, and what these cost, compiled; r ≥ 1.

The derivative of $\sum_i w_i |x_i - c|^r$ rises in c, so that its root is found by Newton's method between two bounds that close
in on it. For r = 1 that is the median, the middle of all medians where there are several. Sums are direct; or, for whole r, of
moments $\sum_i w_i (x_i - y)^l$, $l \le r$, from the middle y of a block of the points out to a point, as
:mod:`quantization.interval_dp` keeps them, where an interval takes $O(r)$ for a value of c and a search for its place.

This module loads numba: import it inside the function that needs it.
"""

from typing import Any

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled, part

_EQUAL = 1e-14  # of a mass: halves that differ by this are one
_STEPS = 200


@part
def _median(x: Any, w: Any, start: int, stop: int) -> float:
    """The middle of the medians."""
    total = 0.0
    for i in range(start, stop):
        total += w[i] if len(w) > 0 else 1.0
    below = 0.0
    for i in range(start, stop):
        below += w[i] if len(w) > 0 else 1.0
        if 2 * below >= total * (1 - _EQUAL):
            if 2 * below <= total * (1 + _EQUAL) and i + 1 < stop:
                return x[i] / 2 + x[i + 1] / 2
            return x[i]
    return x[stop - 1]


@part
def _slope(x: Any, w: Any, start: int, stop: int, c: float, r: float, scale: float) -> Any:
    """The derivative over r, and its own, at c."""
    slope, bend = 0.0, 0.0
    for i in range(start, stop):
        offset = (c - x[i]) * scale
        away = abs(offset)
        if away > 0:
            share = (w[i] if len(w) > 0 else 1.0) * away ** (r - 2)
            slope += share * offset
            bend += share
    return slope, (r - 1) * bend


@part
def r_mean(x: Any, w: Any, start: int, stop: int, r: float, scale: float, tolerance: float) -> float:
    """The r-mean of x[start:stop], to ``tolerance`` times their range; 0 for round-off."""
    if r == 1:
        return _median(x, w, start, stop)
    low, high, mass, first = x[start], x[stop - 1], 0.0, 0.0
    for i in range(start, stop):
        weight = w[i] if len(w) > 0 else 1.0
        mass += weight
        first += weight * (x[i] - low)
    c, near, before = low + first / mass, tolerance * (high - low), high - low
    for _ in range(_STEPS):
        slope, bend = _slope(x, w, start, stop, c, r, scale)
        if slope == 0:
            break
        low, high = c if slope < 0 else low, c if slope > 0 else high
        step = slope / bend / scale
        following = c - step
        if abs(step) <= near or following == c:
            c = following if low < following < high else c
            break
        if not low < following < high or 2 * abs(step) > before:
            following = low / 2 + high / 2
            if not low < following < high:
                break
        before, c = abs(following - c), following
    return c


@part
def run_cost(x: Any, w: Any, start: int, stop: int, r: float) -> float:
    """The cost of x[start:stop], by direct sums."""
    c, cost = r_mean(x, w, start, stop, r, 1.0, 1e-8), 0.0
    for i in range(start, stop):
        cost += w[i] * abs(x[i] - c) ** r
    return cost


@compiled
def order_cells(
    x: FloatArray, w: FloatArray, edges: IntArray, codes: FloatArray, r: float, scale: float, costs: FloatArray,
    pulls: FloatArray, atoms: FloatArray, means: FloatArray,
) -> None:  # fmt: skip
    """Of the cells x[edges[t]:edges[t + 1]] of codes in rising order, not empty: the sums of $w |x - c|^r$, of
    $w |x - c|^{r-1}$ with its sign, and of w at the code, offsets times ``scale``; and the r-means."""
    for t in range(len(codes)):
        if edges[t] == edges[t + 1]:
            continue
        cost, pull, atom = 0.0, 0.0, 0.0
        for i in range(edges[t], edges[t + 1]):
            offset, weight = (x[i] - codes[t]) * scale, w[i] if len(w) > 0 else 1.0
            if offset == 0:
                atom += weight
                continue
            share = weight * abs(offset) ** (r - 1)
            cost += share * abs(offset)
            pull += share if offset > 0 else -share
        costs[t], pulls[t], atoms[t] = cost, pull, atom
        means[t] = r_mean(x, w, edges[t], edges[t + 1], r, scale, 0.0)


@compiled
def sum_moments_outward(x: FloatArray, w: FloatArray, table: FloatArray) -> None:
    """Writes the moments about the middle of each block of 2^(l+1) points, from there out to a point, to table[l, point]."""
    n, orders = len(x), table.shape[2]
    for level in range(table.shape[0]):
        half = 2**level
        for middle in range(half, n, 2 * half):
            for side in range(2):
                for step in range(half if side == 0 else min(half, n - middle)):
                    i = middle - 1 - step if side == 0 else middle + step
                    offset, power = x[i] - x[middle], w[i]
                    for m in range(orders):
                        table[level, i, m] = power if step == 0 else power + table[level, i + (1 if side == 0 else -1), m]
                        power *= offset


@part
def _shifted(table: Any, level: int, start: int, last: int, middle: int, place: int, y: float, n: int, sign: float) -> float:
    r"""$\sum_{i \ge p} w_i (u_i - y)^n + s \sum_{i < p} w_i (u_i - y)^n$, u the offsets from the block's middle, p the place."""
    total, power, binomial = 0.0, 1.0, 1.0
    for m in range(n, -1, -1):
        left, right, inner = table[level, start, m], table[level, last, m], 0.0
        if place > middle:
            inner = table[level, place - 1, m]
            left, right = left + inner, right - inner
        elif place < middle:
            inner = table[level, place, m]
            left, right = left - inner, right + inner
        total += binomial * power * (right + sign * left)
        power *= -y
        binomial = binomial * m / (n - m + 1)
    return total


@part
def _place(x: Any, start: int, stop: int, c: float) -> int:
    """The first of x[start:stop] that is at least c."""
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if x[middle] < c:
            low = middle + 1
        else:
            high = middle
    return low


@part
def _median_place(table: Any, level: int, start: int, last: int, middle: int) -> int:
    """The index of the lowest median."""
    left, right = table[level, start, 0], table[level, last, 0]
    half = (left + right) / 2
    low, high = start, last
    if left >= half:  # the most whose points from there on weigh half at least, of the left part
        low, high = start, middle - 1
        while low < high:
            i = (low + high + 1) // 2
            if table[level, i, 0] + right >= half:
                low = i
            else:
                high = i - 1
        return low
    low, high = middle, last
    while low < high:
        i = (low + high) // 2
        if left + table[level, i, 0] >= half:
            high = i
        else:
            low = i + 1
    return low


@part
def table_cost(table: Any, x: Any, whole: int, start: int, last: int, level: int) -> float:
    """The cost of x[start:last + 1], of order ``whole``, whose ends lie on two sides of the middle of a block of that level."""
    half = 2**level
    middle = (last // half) * half
    even = 1.0 if whole % 2 == 0 else -1.0
    if whole == 1:
        place = _median_place(table, level, start, last, middle)
        cost = _shifted(table, level, start, last, middle, place, x[place] - x[middle], whole, even)
        return cost if cost > 0 else 0.0
    low, high = x[start], x[last]
    mass = table[level, start, 0] + table[level, last, 0]
    c = x[middle] + (table[level, start, 1] + table[level, last, 1]) / mass
    near, before = 1e-8 * (high - low), high - low
    for _ in range(_STEPS):
        place, y = _place(x, start, last + 1, c), c - x[middle]
        slope = -_shifted(table, level, start, last, middle, place, y, whole - 1, even)
        bend = (whole - 1) * _shifted(table, level, start, last, middle, place, y, whole - 2, even)
        low, high = c if slope < 0 else low, c if slope > 0 else high
        step = slope / bend if bend > 0 else 0.0
        following = c - step
        if not low < following < high or 2 * abs(step) > before:
            following = low / 2 + high / 2
        before, c = abs(following - c), following
        if before <= near:
            break
    cost = _shifted(table, level, start, last, middle, _place(x, start, last + 1, c), c - x[middle], whole, even)
    return cost if cost > 0 else 0.0
