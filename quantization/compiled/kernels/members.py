"""The members of cells on their coordinates: in order, their centroids, and what a labelling costs, some cells at a time."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import compiled, inlined, part, unordered

_SPAN = 4096  # coordinates of a centroid that are summed together


@part
def in_order(labels: Any, ends: Any) -> Any:
    """The points, cell after cell; ends (K + 1,), zeros at first: where the cells end, the first of which begins at 0."""
    for k in labels:
        ends[k + 1] += 1
    for k in range(1, len(ends)):
        ends[k] += ends[k - 1]
    places, order = ends.copy(), np.empty(len(labels), np.int64)
    for i in range(len(labels)):
        order[places[labels[i]]] = i
        places[labels[i]] += 1
    return order


@inlined
def _four(members: Any, masses: Any, first: int) -> Any:
    """Four points from the ``first`` on, with their masses: none where there are no more."""
    last = len(members) - 1
    i, j, k, m = members[first], members[min(first + 1, last)], members[min(first + 2, last)], members[min(first + 3, last)]
    w_j = masses[j] if first + 1 <= last else 0.0
    w_k = masses[k] if first + 2 <= last else 0.0
    w_m = masses[m] if first + 3 <= last else 0.0
    return (i, j, k, m), (masses[i], w_j, w_k, w_m)


@part
def centroid(points: Any, masses: Any, centre: Any, members: Any, total: float, code: Any) -> None:
    """The centroid of some points whose masses have this total, in their precision; summed in their order, some at a time."""
    space, share = np.empty(min(_SPAN, len(code))), 1 / total
    for start in range(0, len(code), _SPAN):
        less, target = centre[start : start + _SPAN], code[start : start + _SPAN]
        sums = space[: len(less)]
        sums[:] = 0
        for first in range(0, len(members), 4):
            (i, j, k, m), (w_i, w_j, w_k, w_m) = _four(members, masses, first)
            x_i, x_j, x_k, x_m = points[i, start:], points[j, start:], points[k, start:], points[m, start:]
            for t in range(len(sums)):
                value = sums[t] + w_i * (np.float64(x_i[t]) - less[t])
                value = value + w_j * (np.float64(x_j[t]) - less[t])
                value = value + w_k * (np.float64(x_k[t]) - less[t])
                sums[t] = value + w_m * (np.float64(x_m[t]) - less[t])
        for t in range(len(sums)):
            target[t] = less[t] + share * sums[t]


@compiled
def rows_of(points: Any, chosen: Any, rows: Any) -> None:
    """Some points in another precision."""
    for k in range(len(chosen)):
        x, row = points[chosen[k]], rows[k]
        for t in range(len(row)):
            row[t] = x[t]


@compiled
def centroids(
    points: Any, weights: Any, centre: Any, order: Any, ends: Any, masses: Any, first: int, last: int, codes: Any
) -> None:
    """The centroids of some cells with these masses, rounded to the points' precision. order, ends: see :func:`in_order`."""
    rounded = np.empty(points.shape[1], points.dtype)
    for k in range(first, last):
        centroid(points, weights, centre, order[ends[k] : ends[k + 1]], masses[k], rounded)
        codes[k] = rounded


@unordered
def measure_cells(
    points: Any, weights: Any, codes: Any, order: Any, ends: Any, masses: Any, first: int, last: int
) -> tuple[float, float]:
    """What some cells add to the sum of w |x − c|², and to that of W |m − c|² over the cells, with masses W and means m."""
    cost, off, shifts = 0.0, 0.0, np.empty(points.shape[1])
    for cell in range(first, last):
        code, members = codes[cell], order[ends[cell] : ends[cell + 1]]
        shifts[:] = 0
        for start in range(0, len(members), 4):
            (i, j, k, m), (w_i, w_j, w_k, w_m) = _four(members, weights, start)
            x_i, x_j, x_k, x_m = points[i], points[j], points[k], points[m]
            for t in range(len(code)):
                a, b = np.float64(x_i[t]) - code[t], np.float64(x_j[t]) - code[t]
                c, d = np.float64(x_k[t]) - code[t], np.float64(x_m[t]) - code[t]
                shifts[t] += w_i * a + w_j * b + w_k * c + w_m * d
                cost += w_i * a * a + w_j * b * b + w_k * c * c + w_m * d * d
        squared, share = 0.0, 1 / masses[cell]
        for t in range(len(code)):
            shift = share * shifts[t]
            squared += shift * shift
        off += masses[cell] * squared
    return cost, off
