"""Few dimensions: walks over lists of neighbouring codes, every code in turn, and direct distances."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import compiled, inlined

TOO_MANY = 4
_TRIANGLE = 1 + 1e-13  # pays for the rounding of three distances in the triangle inequality, d < 100


@inlined
def squared_distance(points: Any, i: int, codes: Any, k: int) -> float:
    """Of a point to a code, by direct differences."""
    total = 0.0
    for t in range(points.shape[1]):
        difference = np.float64(points[i, t]) - codes[k, t]
        total += difference * difference
    return total


@compiled
def direct_distance(points: Any, i: int, codes: Any, k: int) -> float:
    """The same, its terms in one order whoever asks, four sums at a time: what settles ties must be one number."""
    x, code, size = points[i], codes[k], points.shape[1] // 4
    x_0, x_1, x_2, x_3 = x[:size], x[size : 2 * size], x[2 * size : 3 * size], x[3 * size :]
    c_0, c_1, c_2, c_3 = code[:size], code[size : 2 * size], code[2 * size : 3 * size], code[3 * size :]
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for t in range(size):
        one, two = np.float64(x_0[t]) - np.float64(c_0[t]), np.float64(x_1[t]) - np.float64(c_1[t])
        three, four = np.float64(x_2[t]) - np.float64(c_2[t]), np.float64(x_3[t]) - np.float64(c_3[t])
        a, b, c, d = a + one * one, b + two * two, c + three * three, d + four * four
    for t in range(size, len(x_3)):
        rest = np.float64(x_3[t]) - np.float64(c_3[t])
        d += rest * rest
    return a + b + (c + d)


@compiled
def nearest_pivot(points: Any, codes: Any, pivots: Any, labels: Any) -> None:
    """The nearest of a few codes, as the place where a walk begins."""
    for i in range(len(points)):
        least = np.inf
        for pivot in pivots:
            squared = squared_distance(points, i, codes, pivot)
            if squared < least:
                least, labels[i] = squared, pivot


@compiled
def walk_to_nearest(points: Any, codes: Any, neighbours: Any, gaps: Any, labels: Any) -> None:
    """From the code in ``labels`` to ever nearer neighbours of it.

    A code nearer than the one at hand lies within twice its distance of it, so a list of neighbours in the order of their gaps
    proves the nearest once the gap is wider. Where a list is too short for the proof, all codes are tried.
    """
    count = neighbours.shape[1]
    for i in range(len(points)):
        best = labels[i]
        least = squared_distance(points, i, codes, best)
        walking = True
        while walking:
            walking, proved = False, False
            reach = 2 * np.sqrt(least) * _TRIANGLE
            for q in range(count):
                if gaps[best, q] > reach:
                    proved = True
                    break
                other = neighbours[best, q]
                squared = squared_distance(points, i, codes, other)
                if squared < least or (squared == least and other < best):
                    best, least, walking = other, squared, True
                    break
            if not (walking or proved):
                for other in range(len(codes)):
                    squared = squared_distance(points, i, codes, other)
                    if squared < least or (squared == least and other < best):
                        best, least = np.int32(other), squared
        labels[i] = best


@compiled
def list_within(codes: Any, columns: Any, radii: Any, first: int, last: int, neighbours: Any, gaps: Any, found: Any) -> None:
    """Lists, for some codes, of the codes within a radius each (K,), nearest first; the nearest of them where a list is full.

    What is left of a list repeats the code itself at the radius, within which no code is missing. ``found`` (K,) says how many
    there are; where they would fill the list ``TOO_MANY`` times over, it is left as it was.
    """
    dim, k = columns.shape
    count = neighbours.shape[1]
    squared, order = np.empty(k), np.empty(k, np.int32)
    for c in range(first, last):
        squared[:] = 0.0
        for t in range(dim):
            x, column = codes[c, t], columns[t]
            for j in range(k):
                squared[j] += (x - column[j]) * (x - column[j])
        limit, size = radii[c] * radii[c], 0
        for j in range(k):  # without a branch, of which most would be mispredicted
            order[size] = j
            size += 1 if squared[j] <= limit else 0
        found[c] = size
        if size > TOO_MANY * count:
            continue
        for a in range(1, size):
            code, b = order[a], a
            while b > 0 and squared[order[b - 1]] > squared[code]:
                order[b] = order[b - 1]
                b -= 1
            order[b] = code
        for q in range(count):
            inside = q < size
            neighbours[c, q] = order[q] if inside else c
            gaps[c, q] = np.sqrt(squared[order[q]]) if inside else radii[c]


@compiled
def try_all(points: Any, columns: Any, labels: Any) -> None:
    """Every code, a coordinate at a time; ``columns`` are the codes transposed, (d, K)."""
    dim, k = columns.shape
    squared = np.empty(k)
    bits = squared.view(np.int64)
    never = np.int64(2**62)
    for i in range(len(points)):
        x = np.float64(points[i, 0])
        for j in range(k):
            difference = x - columns[0, j]
            squared[j] = difference * difference
        for t in range(1, dim):
            x = np.float64(points[i, t])
            for j in range(k):
                difference = x - columns[t, j]
                squared[j] += difference * difference
        least = np.int64(2**63 - 1)
        for j in range(k):  # numbers ≥ 0 are in the order of their bits, and a minimum of integers is vectorized
            least = min(least, bits[j])
        first = never
        for j in range(k):
            first = min(first, np.int64(j) if bits[j] == least else never)
        labels[i] = first


@compiled
def measure_from(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to its code."""
    for i in range(len(points)):
        squared[i] = squared_distance(points, i, codes, labels[i])
