r"""The cost of any run of sorted points on the line, of any order r > 1, from expansions about blocks of them; compiled.

A block of points about y, none farther than $\rho$ from it, costs
$\sum_i w_i |x_i - c|^q = |y - c|^q \sum_m \binom qm \big(\tfrac{\rho}{y - c}\big)^m \sum_i w_i \big(\tfrac{x_i - y}{\rho}\big)^m$
where $\rho < |y - c|$; for whole q the series ends, for others it has 24 terms. Blocks are used where $\rho \le s\, |y - c|$. The
sum is $(1 - s)^r$ of its first term at least, and its terms' absolute values are $(1 + s)^r$ of that together at most: s is such
that both the terms left out and the rounding of the others, $\epsilon (1 + s)^r$, are less than 1e-12 of the sum, near 4 / r for
large whole r and 2.7 / r for others. Blocks of $2^b, 2^{b+1}, \dots$ points are kept, and a run is the union of some that are as
large as c allows, and of single points near c and at the ends: so a value of c takes $O(r \log n)$.

This module loads numba: import it inside the function that needs it.
"""

from typing import Any

import numpy as np
import scipy

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled, part

BITS = 3  # a smallest block has 2^BITS points
_TERMS, _RATIO, _WHOLE_RATIO = 24, 0.4, 0.8  # of a series that doesn't end; how near blocks may be at most
_FINER, _ACCURATE, _REST = 0.9, 1e-12, 64  # the step to farther blocks; of a block's cost, its error; terms that are added up
_CENTRE, _RADIUS, _MOMENTS = 0, 1, 2  # columns of a block; the moments begin at the last
_STEPS, _ABOVE = 200, 1e-12  # of a search for a code; how far above the least a cost may be, relative to it


def expansions(x: FloatArray, w: FloatArray, r: float) -> tuple[FloatArray, IntArray, FloatArray, float]:
    """The blocks of all sizes, where each size begins, the binomials of r, r - 1 and r - 2, and how near blocks may be."""
    sizes: list[int] = [1 << bits for bits in range(BITS, max(BITS + 1, len(x).bit_length()))]
    starts: IntArray = np.cumsum([0] + [-(-len(x) // size) for size in sizes]).astype(np.int64)
    terms = int(r) + 1 if r == int(r) else _TERMS
    binomials = np.array([scipy.special.binom(r - t, np.arange(terms)) for t in range(3)], dtype=np.float64)
    blocks = np.zeros((starts[-1], _MOMENTS + terms))
    _expand(x, w, starts, blocks)
    return blocks, starts, binomials, _nearest(r, terms)


def _nearest(r: float, terms: int) -> float:
    """The largest radius of a block, relative to its way to the code, whose cost's error is small beside it."""
    ratio, roundings = _WHOLE_RATIO if r == int(r) else _RATIO, np.log(_ACCURATE / np.finfo(np.float64).eps)
    orders = np.arange(_REST)
    while True:
        sizes = np.cumprod(np.abs(r - orders) / (orders + 1) * ratio)  # of the terms 1, 2, ...; 0 beyond a whole r
        if r * np.log((1 + ratio) / (1 - ratio)) <= roundings and sizes[terms - 1 :].sum() <= _ACCURATE * (1 - ratio) ** r:
            return ratio
        ratio *= _FINER


@compiled
def _expand(x: FloatArray, w: FloatArray, starts: IntArray, blocks: FloatArray) -> None:
    for level in range(len(starts) - 1):
        size = 1 << (BITS + level)
        for t in range(starts[level + 1] - starts[level]):
            node, begin, end = starts[level] + t, t * size, (t + 1) * size
            end = end if end < len(x) else len(x)
            centre, radius = x[begin] / 2 + x[end - 1] / 2, x[end - 1] / 2 - x[begin] / 2
            blocks[node, _CENTRE], blocks[node, _RADIUS] = centre, radius
            for i in range(begin, end):
                power, share = w[i], (x[i] - centre) / radius if radius > 0 else 0.0
                for m in range(_MOMENTS, blocks.shape[1]):
                    blocks[node, m] += power
                    power *= share


@part
def _sum_powers(
    blocks: Any, starts: Any, binomials: Any, ratio: float, x: Any, w: Any, start: int, stop: int, c: float, r: float
) -> Any:  # fmt: skip
    """The sums over x[start:stop] of $w |x - c|^r$, of $w |x - c|^{r-1}$ with the sign of x - c, and of $w |x - c|^{r-2}$."""
    cost, pull, bend, at = 0.0, 0.0, 0.0, start
    while at < stop:
        leaf, level, taken = at >> BITS, -1, 0
        if at == leaf << BITS and at + (1 << BITS) <= stop:
            level = 0
            while level + 2 < len(starts) and leaf & ((2 << level) - 1) == 0 and at + (2 << (BITS + level)) <= stop:
                level += 1
        while level >= 0:
            node = starts[level] + (leaf >> level)
            away = blocks[node, _CENTRE] - c
            if blocks[node, _RADIUS] < ratio * abs(away):
                t, power, zeroth, first, second = blocks[node, _RADIUS] / away, 1.0, 0.0, 0.0, 0.0
                for m in range(binomials.shape[1]):
                    moment = power * blocks[node, _MOMENTS + m]
                    zeroth += binomials[0, m] * moment
                    first += binomials[1, m] * moment
                    second += binomials[2, m] * moment
                    power *= t
                base = abs(away) ** (r - 2)
                cost += base * away * away * zeroth
                pull += base * away * first
                bend += base * second
                taken = 1 << (BITS + level)
                break
            level -= 1
        end = at + taken
        if taken == 0:
            end = (leaf + 1) << BITS
            end = end if end < stop else stop
            for i in range(at, end):
                away = x[i] - c
                if away != 0:
                    base = w[i] * abs(away) ** (r - 2)
                    cost += base * away * away
                    pull += base * away
                    bend += base
        at = end
    return cost, pull, bend


@part
def run_cost(
    blocks: Any, starts: Any, binomials: Any, ratio: float, x: Any, w: Any, r: float, start: int, stop: int, near: Any
) -> float:  # fmt: skip
    """The cost of x[start:stop]. near: (1,), where the last run had its code, at which the search for this one's begins.

    As the cost is convex in c, its derivative and the way to the bound on the other side tell how far above the least one it is.
    """
    low, high, c, cost = x[start], x[stop - 1], near[0], 0.0
    if low == high:
        return 0.0
    if not low < c < high:
        c = low / 2 + high / 2
    before = high - low
    for _ in range(_STEPS):
        cost, pull, bend = _sum_powers(blocks, starts, binomials, ratio, x, w, start, stop, c, r)
        low, high = c if pull > 0 else low, c if pull < 0 else high
        if r * abs(pull) * (high - low) <= _ABOVE * cost:
            break
        step = pull / ((r - 1) * bend) if bend > 0 else 0.0
        following = c + step
        if not low < following < high or 2 * abs(step) > before:
            following = low / 2 + high / 2
            if not low < following < high:
                break
        before, c = abs(following - c), following
    near[0] = c
    return cost
