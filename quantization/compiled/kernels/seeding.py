"""k-means++: the costs of trial codes."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import blas, unordered
from quantization.compiled.kernels.near import squared_distance

_sgemm, _dgemm = blas("sgemm", 13), blas("dgemm", 13)


@unordered
def cost_of_trials(points: Any, trials: Any, costs: Any, weights: Any, sums: Any) -> None:
    """For each code of ``trials`` (T, d), the sum of w times the lesser of a point's cost and its squared distance to it."""
    for i in range(len(points)):
        for q in range(len(trials)):
            squared = 0.0
            for t in range(points.shape[1]):
                difference = np.float64(points[i, t]) - trials[q, t]
                squared += difference * difference
            sums[q] += weights[i] * min(costs[i], squared)


@unordered
def cost_of_trials_by_products(
    points: Any, trials: Any, factors: Any, squares: Any, gamma: float, costs: Any, weights: Any, scores: Any, sums: Any
) -> None:
    """The same from products in the points' precision; where a squared distance would be lost in round-off, directly.

    factors: the trials in that precision. squares: (n,) those of the points. scores: space, (n, T).
    """
    dim, count = points.shape[1], len(trials)
    trans = np.array([84, 78], dtype=np.int8)
    sizes = np.array([count, len(points), dim], dtype=np.int32)
    ones = np.array([1.0, 0.0], dtype=scores.dtype)
    if scores.itemsize == 4:
        _sgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes, factors.ctypes,
               sizes[2:].ctypes, points.ctypes, sizes[2:].ctypes, ones[1:].ctypes, scores.ctypes, sizes.ctypes)  # fmt: skip
    else:
        _dgemm(trans.ctypes, trans[1:].ctypes, sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, ones.ctypes, factors.ctypes,
               sizes[2:].ctypes, points.ctypes, sizes[2:].ctypes, ones[1:].ctypes, scores.ctypes, sizes.ctypes)  # fmt: skip
    for q in range(count):
        own = 0.0
        for t in range(dim):
            own += trials[q, t] * trials[q, t]
        for i in range(len(points)):
            squared = squares[i] + own - 2 * np.float64(scores[i, q])
            if squared < gamma * (squares[i] + own):
                squared = squared_distance(points, i, trials, q)
            sums[q] += weights[i] * min(costs[i], squared)


@unordered
def square_rows(points: Any, centre: Any, squares: Any) -> None:
    """$|x - a|^2$ for every point."""
    for i in range(len(points)):
        x, total = points[i], 0.0
        for t in range(len(centre)):
            difference = np.float64(x[t]) - centre[t]
            total += difference * difference
        squares[i] = total


@unordered
def lower_costs(points: Any, code: Any, costs: Any) -> None:
    """The lesser of each point's cost and its squared distance to the code (1, d), by direct differences."""
    own = code[0]
    for i in range(len(points)):
        x, squared = points[i], 0.0
        for t in range(len(own)):
            difference = np.float64(x[t]) - own[t]
            squared += difference * difference
        costs[i] = min(costs[i], squared)
