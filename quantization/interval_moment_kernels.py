r"""The cost of any run of sorted points on the line, of a whole order r, from moments about the middles of blocks; compiled.

Points come in blocks of $2^b$. Moments $\sum_i w_i (x_i - y)^m$, $m \le r$, are kept from the middle y of each power of two of
blocks out to each of its blocks. Two points share one such power from some size on, and lie on the two sides of the middle of
the smallest: so the run between them is the union of two parts that are kept, but for less than a block at either end.

This module loads numba: import it inside the function that needs it.
"""

import math
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiler import compiled, part

LEFT, RIGHT, INNER, BINOMIALS = 0, 1, 2, 3  # rows of what a cost is computed in; three of binomials, of r, r - 1 and r - 2
_STEPS = 200
_EPS, _DOUBTFUL = 2.0**-52, 1e-9  # of a cost, the rounding of its terms at most


def workspace(r: int) -> FloatArray:
    """What a cost of order r is computed in, (6, r + 1)."""
    rows = np.zeros((BINOMIALS + 3, r + 1))
    for t in range(min(r, 2) + 1):
        rows[BINOMIALS + t, : r - t + 1] = [math.comb(r - t, m) for m in range(r - t + 1)]
    return rows


@compiled
def sum_moments_outward(x: FloatArray, w: FloatArray, bits: int, work: FloatArray, table: FloatArray) -> None:
    """Writes the moments about the middle of each 2^(l+1) blocks, from there out to a block, to table[l, block]."""
    blocks, orders = table.shape[1], table.shape[2]
    for level in range(table.shape[0]):
        half = 1 << level
        for middle in range(half, blocks, 2 * half):
            y = x[middle << bits]
            for side in range(2):
                for m in range(orders):
                    work[LEFT, m] = 0.0
                reach = half if side == 0 or half < blocks - middle else blocks - middle
                for step in range(reach):
                    block = middle - 1 - step if side == 0 else middle + step
                    end = (block + 1) << bits
                    for i in range(block << bits, end if end < len(x) else len(x)):
                        power = w[i]
                        for m in range(orders):
                            work[LEFT, m] += power
                            power *= x[i] - y
                    for m in range(orders):
                        table[level, block, m] = work[LEFT, m]


@part
def rest_of_block(bits: int, level: int, middle: int, point: int) -> Any:
    """Of the points from the middle out to a point: the last block that is wholly among them, whether there is one, and the rest.

    level: of the blocks whose middle that is; below 0 where all are the rest, a range of points.
    """
    begin, end, kept, block = middle, point + 1, level >= 0, point >> bits
    if level >= 0:
        first, following = block << bits, (block + 1) << bits
        if point < middle:
            begin, end = (point, following) if point > first else (point, point)
            block = block + 1 if point > first else block
            kept = block << bits < middle
        else:
            begin = first if point + 1 < following else point + 1
            block = block - 1 if point + 1 < following else block
            kept = block << bits >= middle
    return block, kept, begin, end


@part
def _sum_out(
    table: Any, x: Any, w: Any, bits: int, level: int, middle: int, point: int, orders: int, row: int, work: Any
) -> None:  # fmt: skip
    """Writes the first moments of the points from the middle out to a point to a row."""
    block, kept, begin, end = rest_of_block(bits, level, middle, point)
    for m in range(orders):
        work[row, m] = table[level, block, m] if kept else 0.0
    for i in range(begin, end):
        power = w[i]
        for m in range(orders):
            work[row, m] += power
            power *= x[i] - x[middle]


@part
def _shifted(work: Any, place: int, middle: int, y: float, n: int, row: int, sign: float) -> float:
    r"""$\sum_{i \ge p} w_i (u_i - y)^n + s \sum_{i < p} w_i (u_i - y)^n$, u the offsets from the middle, p the place.

    row: of the binomials of n. The moments between the middle and the place are those of the row ``INNER``.
    """
    total, power = 0.0, 1.0
    for m in range(n, -1, -1):
        left, right = work[LEFT, m], work[RIGHT, m]
        if place > middle:
            left, right = left + work[INNER, m], right - work[INNER, m]
        elif place < middle:
            left, right = left - work[INNER, m], right + work[INNER, m]
        total += work[row, m] * power * (right + sign * left)
        power *= -y
    return total


@part
def _largest(work: Any, place: int, middle: int, y: float, n: int) -> float:
    """The sum of the absolute values of the terms of ``_shifted``."""
    total, power = 0.0, 1.0
    for m in range(n, -1, -1):
        inner = abs(work[INNER, m]) if place != middle else 0.0
        total += work[BINOMIALS, m] * power * (abs(work[LEFT, m]) + abs(work[RIGHT, m]) + 2 * inner)
        power *= y
    return total


@part
def _find_place(
    table: Any, x: Any, w: Any, bits: int, level: int, middle: int, start: int, stop: int, c: float, work: Any
) -> int:
    """The first of x[start:stop] that is at least c; the moments between the middle and there are written to ``INNER``."""
    low, high = start, stop
    while low < high:
        i = (low + high) // 2
        if x[i] < c:
            low = i + 1
        else:
            high = i
    if low != middle:
        _sum_out(table, x, w, bits, level, middle, low - 1 if low > middle else low, work.shape[1], INNER, work)
    return low


@part
def _mass_out(table: Any, w: Any, bits: int, level: int, middle: int, point: int) -> float:
    """The mass of the points from the middle out to a point."""
    block, kept, begin, end = rest_of_block(bits, level, middle, point)
    mass = table[level, block, 0] if kept else 0.0
    for i in range(begin, end):
        mass += w[i]
    return mass


@part
def _median_place(
    table: Any, w: Any, bits: int, level: int, middle: int, start: int, last: int, left: float, right: float
) -> int:
    """The index of the lowest median; left, right: the masses before the middle, and from there on."""
    half = (left + right) / 2
    if left >= half and middle > start:  # the most whose points from there on weigh half at least, of the left part
        low, high = start, middle - 1
        while low < high:
            i = (low + high + 1) // 2
            if _mass_out(table, w, bits, level, middle, i) + right >= half:
                low = i
            else:
                high = i - 1
        return low
    low, high = middle, last
    while low < high:
        i = (low + high) // 2
        if left + _mass_out(table, w, bits, level, middle, i) >= half:
            high = i
        else:
            low = i + 1
    return low


@part
def run_cost(
    table: Any, x: Any, w: Any, bits: int, whole: int, start: int, last: int, level: int, work: Any, near: Any
) -> float:  # fmt: skip
    """The cost of x[start:last + 1], of order ``whole``; level: of the blocks whose middle its ends lie on two sides of, or -1.

    Below 0 where terms cancel so far that more than ``_DOUBTFUL`` of the cost may be their rounding.
    near: (1,), where the last run had its code, at which the search for this one's begins.
    """
    middle, even = start, whole % 2 == 0
    for m in range(whole + 1):
        work[LEFT, m] = 0.0
    if level >= 0:
        middle = ((last >> bits >> level) << level) << bits
        _sum_out(table, x, w, bits, level, middle, start, whole + 1, LEFT, work)
    _sum_out(table, x, w, bits, level, middle, last, whole + 1, RIGHT, work)
    sign, place = 1.0 if even else -1.0, middle
    if whole == 1:
        place = _median_place(table, w, bits, level, middle, start, last, work[LEFT, 0], work[RIGHT, 0])
        c = x[place]
        if place != middle:
            _sum_out(table, x, w, bits, level, middle, place - 1 if place > middle else place, 2, INNER, work)
    else:
        low, high, c = x[start], x[last], near[0]
        if not low < c < high:
            c = x[middle] + (work[LEFT, 1] + work[RIGHT, 1]) / (work[LEFT, 0] + work[RIGHT, 0])
        enough, before = 1e-8 * (high - low), high - low
        for _ in range(_STEPS):
            if not even:
                place = _find_place(table, x, w, bits, level, middle, start, last + 1, c, work)
            y = c - x[middle]
            slope = -_shifted(work, place, middle, y, whole - 1, BINOMIALS + 1, sign)
            bend = (whole - 1) * _shifted(work, place, middle, y, whole - 2, BINOMIALS + 2, sign)
            low, high = c if slope < 0 else low, c if slope > 0 else high
            step = slope / bend if bend > 0 else 0.0
            following = c - step
            if not low < following < high or 2 * abs(step) > before:
                following = low / 2 + high / 2
            before, c = abs(following - c), following
            if before <= enough:
                break
        near[0] = c
    if not even and whole > 1:
        place = _find_place(table, x, w, bits, level, middle, start, last + 1, c, work)
    cost = _shifted(work, place, middle, c - x[middle], whole, BINOMIALS, sign)
    if cost * _DOUBTFUL >= _EPS * _largest(work, place, middle, abs(c - x[middle]), whole):
        return cost
    if whole > 1:
        return -1.0
    cost = 0.0
    for i in range(start, last + 1):
        cost += w[i] * abs(x[i] - c)
    return cost
