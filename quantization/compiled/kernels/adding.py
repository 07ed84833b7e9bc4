"""The sums of cells: by rows, and by columns."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import inlined, unordered


@inlined
def _add_difference(x: Any, code: Any, w: float, sums: Any) -> float:
    """Adds w (x − c) to the sums; returns |x − c|². Where rows are long, in two loops, of which each is vectorized."""
    squared = 0.0
    if len(sums) < 8:
        for t in range(len(sums)):
            difference = np.float64(x[t]) - code[t]
            sums[t] += w * difference
            squared += difference * difference
        return squared
    for t in range(len(sums)):
        sums[t] += w * (np.float64(x[t]) - code[t])
    for t in range(len(sums)):
        difference = np.float64(x[t]) - code[t]
        squared += difference * difference
    return squared


@unordered
def add_rows(points: Any, codes: Any, labels: Any, weights: Any, masses: Any, shifts: Any, tally: Any) -> None:
    """Per code the sums of w and w (x − c); in ``tally`` the sums of w and w cost, the mean cost, the sum of w (cost − mean)².

    Brought up to date row by row: sums about a cost that is chosen beforehand lose all digits where it is far from the mean.
    """
    for i in range(len(points)):
        k, w = labels[i], weights[i]
        squared = _add_difference(points[i], codes[k], w, shifts[k])
        masses[k] += w
        tally[0] += w
        tally[1] += w * squared
        if w > 0:
            off = squared - tally[2]
            tally[2] += off * (w / tally[0])
            tally[3] += w * off * (squared - tally[2])


@unordered
def add_columns(points: Any, codes: Any, labels: Any, weights: Any, first: int, last: int, shifts: Any) -> float:
    """Some coordinates of the sums of w (x − c) per code; returns their share of the distortion."""
    total = 0.0
    for i in range(len(points)):
        k, w = labels[i], weights[i]
        total += w * _add_difference(points[i, first:last], codes[k, first:last], w, shifts[k, first:last])
    return total
