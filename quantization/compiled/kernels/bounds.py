"""Bounds on distances, kept from one codebook to the next."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import inlined, unordered
from quantization.compiled.kernels.near import direct_distance
from quantization.compiled.kernels.product import UNITS

_FAR = 3e38


@inlined
def _rough_squared(x: Any, code: Any) -> Any:
    squared = x.dtype.type(0)
    for t in range(len(code)):
        difference = x[t] - code[t]
        squared += difference * difference
    return squared


@inlined
def _fallen(row: Any, falls: Any) -> Any:
    """Lowers the bounds of a row by how far codes have come; the least of them."""
    least, kept = row.dtype.type(_FAR), row.dtype.type(1 - UNITS)
    for k in range(len(falls)):
        row[k] = row[k] * kept - falls[k]
        least = min(least, row[k])
    return least


@inlined
def _within(row: Any, reach: Any) -> int:
    """How many bounds are within the reach."""
    count = 0
    for k in range(len(row)):
        count += 1 if row[k] <= reach else 0
    return count


@unordered
def find_unsure(
    points: Any, codes: Any, drifts: Any, labels: Any, lower: Any, upper: Any, few: int, first: int, stop: int, unsure: Any
) -> int:
    """Brings labels and bounds on distances up to date for some rows, now that codes have moved.

    By the triangle inequality; where that does not tell, by measuring distances, in the points' precision: to the own code, then
    to rivals, where they are ``few`` at most; those that come out equal by differences in float64. Returns how many rows are
    left ``unsure``, which holds them from ``first`` on.
    codes: in the points' precision. drifts: (K,), how far they have come.
    """
    count, single = 0, points.itemsize == 4
    rounding = points.shape[1] * (6e-8 if single else 1.2e-16) + UNITS  # d u, of a squared length
    vanishing = 1e-18 if single else 1e-150  # differences whose squares may be lost
    falls = drifts.astype(lower.dtype)  # as bounds are kept; the units pay for the rounding
    for i in range(first, stop):
        row, own = lower[i], labels[i]
        mine, row[own] = np.float64(row[own]), _FAR
        least = _fallen(row, falls)
        row[own] = mine * (1 - UNITS) - drifts[own]
        reach = (np.float64(upper[i]) + drifts[own]) * (1 + UNITS)
        if reach >= least:
            distance = np.sqrt(np.float64(_rough_squared(points[i], codes[own])))
            off = distance * rounding + vanishing
            row[own], reach = (distance - off) * (1 - UNITS), distance + off
            rivals = _within(row, row.dtype.type(reach * (1 + UNITS))) - 1
            if rivals > few:
                unsure[first + count] = i
                count += 1
            elif rivals > 0:
                best = own
                for k in range(len(drifts)):
                    if k != own and lower[i, k] <= reach:
                        distance = np.sqrt(np.float64(_rough_squared(points[i], codes[k])))
                        off = distance * rounding + vanishing
                        lower[i, k] = (distance - off) * (1 - UNITS)
                        if distance + off < reach:
                            best, reach = np.int32(k), distance + off
                close = 0
                for k in range(len(drifts)):
                    if lower[i, k] <= reach:
                        close += 1
                if close > 1:
                    least = 1e300
                    for k in range(len(drifts)):
                        if lower[i, k] <= reach:
                            squared = direct_distance(points, i, codes, k)
                            if squared < least:
                                best, least = np.int32(k), squared
                labels[i] = best
        upper[i] = reach
    return count
