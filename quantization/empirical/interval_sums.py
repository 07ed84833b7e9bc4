r"""Sums over intervals of sorted samples, compiled: what the cells of a codebook on the line are made of.

Sorted samples come as x (n,), nondecreasing, and w (n,) > 0 in float64; an empty w means a weight of 1 each. Sums over whole
blocks of ``BLOCK`` points are kept about each block's mean, the points at the ends of an interval are summed directly. So an
interval of m points costs $O(\mathrm{BLOCK} + m / \mathrm{BLOCK})$, and nothing cancels, as it would in differences of cumulative
sums: the second moment of a tight cluster far from the others has all its digits.

Differences are multiplied by ``scale``, a power of two that makes them about 1, so that squares neither overflow nor underflow.

This module loads numba: import it inside the function that needs it.
"""

import math
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled as _compiled
from quantization.compiler import part

BLOCK = 256


@_compiled
def merge(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Writes the numbers of two sorted arrays to one, sorted."""
    i = j = 0
    for t in range(len(out)):
        if j == len(b) or (i < len(a) and a[i] <= b[j]):
            out[t] = a[i]
            i += 1
        else:
            out[t] = b[j]
            j += 1


@_compiled
def sum_blocks(x: FloatArray, w: FloatArray, scale: float, blocks: FloatArray) -> None:
    """Writes of each whole block its mass, its mean c, and the sums of w (x - c) and w (x - c)^2, (n // BLOCK, 4).

    The first of the sums is not zero: it is what the mean lost in rounding.
    """
    for b in range(len(blocks)):
        start = b * BLOCK
        mass, first, _ = _points_sums(x, w, start, start + BLOCK, x[start + BLOCK // 2], scale)
        centre = x[start + BLOCK // 2] + first / mass / scale
        blocks[b, 1] = centre
        blocks[b, 0], blocks[b, 2], blocks[b, 3] = _points_sums(x, w, start, start + BLOCK, centre, scale)


@_compiled
def sum_intervals(
    x: FloatArray, w: FloatArray, blocks: FloatArray, edges: IntArray, centres: FloatArray, scale: float, sums: FloatArray
) -> None:
    """Writes the sums of w, w (x - c) and w (x - c)^2 over the points edges[t]..edges[t + 1] - 1 about centres[t], (K, 3).

    Those of an interval without points are left as they are.
    """
    for t in range(len(centres)):
        start, stop, centre = edges[t], edges[t + 1], centres[t]
        if start == stop:
            continue
        begin, end = -(-start // BLOCK), stop // BLOCK
        if begin >= end:
            sums[t, 0], sums[t, 1], sums[t, 2] = _points_sums(x, w, start, stop, centre, scale)
            continue
        mass, first, second = _points_sums(x, w, start, begin * BLOCK, centre, scale)
        mass_low = first_low = second_low = 0.0
        for b in range(begin, end):
            offset = (blocks[b, 1] - centre) * scale
            linear = blocks[b, 2] + blocks[b, 0] * offset
            mass, low = _added(mass, blocks[b, 0])
            mass_low += low
            first, low = _added(first, linear)
            first_low += low
            second, low = _added(second, blocks[b, 3] + offset * (blocks[b, 2] + linear))
            second_low += low
        last = _points_sums(x, w, end * BLOCK, stop, centre, scale)
        sums[t, 0] = mass + (mass_low + last[0])
        sums[t, 1] = first + (first_low + last[1])
        sums[t, 2] = second + (second_low + last[2])


@part
def _points_sums(x: FloatArray, w: FloatArray, start: int, stop: int, centre: float, scale: float) -> Any:
    mass = first = second = 0.0
    for i in range(start, stop):
        offset, weight = (x[i] - centre) * scale, w[i] if len(w) > 0 else 1.0
        mass += weight
        first += weight * offset
        second += weight * offset * offset
    return mass, first, second


@part
def _added(a: float, b: float) -> Any:
    """a + b rounded, and what the rounding lost."""
    total = a + b
    kept = total - a
    return total, (a - (total - kept)) + (b - kept)


@part
def _split(x: FloatArray, codes: FloatArray, ranks: IntArray, edges: IntArray) -> None:
    """Writes the edges (K + 1,) of the cells of distinct ``codes`` in rising order; of two at one distance the lower rank wins.

    Distances are direct differences in float64. Found by strides from cell to cell that double, then halve.
    """
    n, k = len(x), len(codes)
    edges[0], edges[k] = 0, n
    for t in range(k - 1):
        a, b, prefer = codes[t], codes[t + 1], ranks[t] < ranks[t + 1]
        low, stride = edges[t], 1  # points before ``low`` are known to be of a, those from ``high`` on to be of b
        high = n
        while low < high:
            i = min(low + stride, high) - 1
            left, right = abs(x[i] - a), abs(x[i] - b)
            if left < right or (left == right and prefer):
                low = i + 1
                stride *= 2
            else:
                high = i
                break
        while low < high:
            i = (low + high) // 2
            left, right = abs(x[i] - a), abs(x[i] - b)
            if left < right or (left == right and prefer):
                low = i + 1
            else:
                high = i
        edges[t + 1] = low


@_compiled
def line_cells(
    x: FloatArray, w: FloatArray, blocks: FloatArray, codes: FloatArray, places: IntArray, scale: float, unit: float,
    exponent: int, coarse: float, far: float, masses: FloatArray, means: FloatArray, pulls: FloatArray, edges: IntArray,
    sums: FloatArray,
) -> Any:  # fmt: skip
    """The cost, scaled, of the cells of distinct ``codes`` in rising order, whose places in the codebook decide ties.

    Written: their edges (K + 1,), their sums (K, 3), zeros at first, and to the places masses, centroids, where a cell has one,
    and -2 times the sums of w (x - c), scaled. Last is whether rounded distances part the line: each gap between codes must
    exceed ``coarse`` times how far points of the two reach, and no point be ``far``.
    """
    _split(x, codes, places, edges)
    sum_intervals(x, w, blocks, edges, codes, scale, sums)
    cost = low = before = 0.0
    clear = True
    for t in range(len(codes)):
        start, stop, code, reach, place = edges[t], edges[t + 1], codes[t] * scale, 0.0, places[t]
        if start < stop:
            reach = max(abs(x[start] * scale - code), abs(x[stop - 1] * scale - code))
            masses[place] = sums[t, 0] * unit
            means[place] += math.ldexp(sums[t, 1] / sums[t, 0], exponent)
            pulls[place] = -2.0 * unit * sums[t, 1]
            cost, lost = _added(cost, sums[t, 2])
            low += lost
        if t > 0:
            gap = code - codes[t - 1] * scale
            clear = clear and gap > coarse * (max(reach, before) + gap)
        clear = clear and reach <= far
        before = reach
    return (cost + low) * unit, clear


@_compiled
def costliest(x: FloatArray, w: FloatArray, start: int, stop: int, code: float, scale: float) -> Any:
    """The index of the point among start..stop - 1 with the greatest w (x - code)^2, and that cost; -1 and 0 where none costs."""
    index, most = -1, 0.0
    # Of equal weights one of the two ends costs the most.
    stride = max(1, stop - 1 - start) if len(w) == 0 else 1
    for i in range(start, stop, stride):
        offset = (x[i] - code) * scale
        cost = offset * offset if len(w) == 0 else w[i] * offset * offset
        if cost > most:
            index, most = i, cost
    return index, most


@_compiled
def greedy_bins(x: FloatArray, w: FloatArray, limit: float, scale: float, edges: IntArray) -> int:
    r"""How many consecutive bins there are, each as long as its width times the root of its mass stays within ``limit``.

    Equal points share a bin. Where ``limit`` is 0 the bins are the distinct points. Their edges are written, as far as there is
    room: -1 where there are more bins than that.
    """
    n, most = len(x), len(edges) - 1
    edges[0] = 0
    bins, mass = 0, 0.0
    begin = x[0]
    for i in range(n):
        weight = 1.0 if len(w) == 0 else w[i]
        width = (x[i] - begin) * scale
        if x[i] != begin and (limit == 0.0 or (np.sqrt(mass + weight) * width > limit and x[i] != x[i - 1])):
            bins += 1
            edges[bins] = i
            if bins == most:
                return -1
            begin, mass = x[i], 0.0
        mass += weight
    edges[bins + 1] = n
    return bins + 1
