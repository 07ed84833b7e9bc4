r"""The r-means of intervals of sorted samples on the line, compiled; r ≥ 1.

The derivative of $\sum_i w_i |x_i - c|^r$ rises in c, so that its root is found by Newton's method between two bounds that close
in on it. For r = 1 that is the median, the middle of all medians where there are several. Sums are direct.

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
