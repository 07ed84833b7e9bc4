"""Squared distances by direct differences in float64: what decides wherever scores leave a label in doubt."""

from typing import Any

import numpy as np

from quantization.compiler import compiled


@compiled
def direct_distance(points: Any, i: int, codes: Any, k: int) -> float:
    """Of a point to a code. Terms are in one order whoever asks, four sums at a time: what settles ties must be one number."""
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
def measure_from(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to its code."""
    for i in range(len(points)):
        squared[i] = direct_distance(points, i, codes, labels[i])
