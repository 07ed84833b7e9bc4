"""Squared distances by direct differences in float64: what decides wherever scores leave a label in doubt."""

from typing import Any

import numpy as np

from quantization.compiler import compiled, part


@part
def direct_distance(points: Any, i: int, codes: Any, k: int) -> float:
    """Of a point to a code. Terms are in one order whoever asks, four sums at a time: what decides ties must be one number."""
    x, y, size = points[i], codes[k], points.shape[1] // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for t in range(size):
        u, v, w = t + size, t + 2 * size, t + 3 * size
        one, two, three, four = np.float64(x[t]) - y[t], np.float64(x[u]) - y[u], np.float64(x[v]) - y[v], np.float64(x[w]) - y[w]
        a, b, c, d = a + one * one, b + two * two, c + three * three, d + four * four
    for t in range(4 * size, len(x)):
        rest = np.float64(x[t]) - y[t]
        d += rest * rest
    return a + b + (c + d)


@compiled
def nearest_of(points: Any, i: int, codes: Any) -> int:
    """The index of the code nearest to a point by direct differences, the lowest of equals."""
    best, least = 0, np.inf
    for k in range(len(codes)):
        distance = direct_distance(points, i, codes, k)
        if distance < least:
            best, least = k, distance
    return best


@compiled
def measure_from(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to its code."""
    for i in range(len(points)):
        squared[i] = direct_distance(points, i, codes, labels[i])
