"""Sums of order r over cells whose labels are known, compiled."""

from typing import Any

import numpy as np

from quantization.compiler import compiled

MASS, COST, TOTAL, ATOMS, PULL = 0, 1, 2, 3, 4  # columns of the sums; the pulls begin at the last
SQUARED, ROW, WEIGHT = 0, 1, 2  # columns of the nearest points off the codes


@compiled
def sum_products(
    points: Any, offset: int, weights: Any, codes: Any, labels: Any, power: float, vectors: Any, sums: Any
) -> None:  # fmt: skip
    r"""Adds $w |x - c|^{r-4} \langle x - c, v \rangle (x - c)$ to the sums of the points' cells, (K, d); v (K, d) a vector each.

    points: (m, d), the rows from ``offset`` on of arrays (n,). power: r - 4.
    """
    dim = points.shape[1]
    for i in range(len(points)):
        k, squared, along = np.int64(labels[offset + i]), 0.0, 0.0
        for t in range(dim):
            difference = np.float64(points[i, t]) - codes[k, t]
            squared += difference * difference
            along += difference * vectors[k, t]
        if squared > 0:
            share = weights[offset + i] * squared ** (power / 2) * along
            for t in range(dim):
                sums[k, t] += share * (np.float64(points[i, t]) - codes[k, t])


@compiled
def sum_pulls(
    points: Any, offset: int, weights: Any, codes: Any, labels: Any, power: float, whole: int, half: bool, sums: Any, near: Any,
    tensors: Any, dims: Any,
) -> None:  # fmt: skip
    r"""Adds the points' shares to the sums of their cells, (K, 4 + d), and finds the nearest point off each code, (K, 3).

    points: (m, d), the rows from ``offset`` on of arrays (n,). power: r - 2; its size is ``whole``, and a half, where ``whole``
    is not negative. near: the squared distance, the row and the weight. tensors: (K, d, d), to whose lower triangles
    $w |x - c|^{r-4} (x - c) (x - c)^T$ is added, or empty. dims: d zeros where d is few, as the compiler then knows it.
    """
    dim = len(dims) if len(dims) > 0 else points.shape[1]
    for i in range(len(points)):
        k, w, squared = np.int64(labels[offset + i]), weights[offset + i], 0.0
        for t in range(dim):
            difference = np.float64(points[i, t]) - codes[k, t]
            squared += difference * difference
        sums[k, MASS] += w
        if squared == 0:
            sums[k, ATOMS] += w
            continue
        root, factor = np.sqrt(squared), 1.0
        if whole < 0:
            factor = root**power
        else:
            for _ in range(whole):
                factor *= root
            if half:
                factor *= np.sqrt(root)
            if power < 0:
                factor = 1 / factor
        reweighted = w * factor
        sums[k, COST] += reweighted * squared
        sums[k, TOTAL] += reweighted
        for t in range(dim):
            sums[k, PULL + t] += reweighted * (np.float64(points[i, t]) - codes[k, t])
        if len(tensors) > 0:
            for s in range(dim):
                share = reweighted / squared * (np.float64(points[i, s]) - codes[k, s])
                for t in range(s + 1):
                    tensors[k, s, t] += share * (np.float64(points[i, t]) - codes[k, t])
        if squared <= near[k, SQUARED] and w > 0:
            same, before = False, np.int64(near[k, ROW]) - offset
            if squared == near[k, SQUARED] and before >= 0:
                same = True
                for t in range(dim):
                    same = same and points[i, t] == points[before, t]
            if same:
                near[k, WEIGHT] += w
            elif squared < near[k, SQUARED]:
                near[k, SQUARED], near[k, ROW], near[k, WEIGHT] = squared, offset + i, w
