"""Sums of cells about one reference: brought up to date, and the codebook that they lead to."""

from typing import Any

import numpy as np

from quantization.compiled.kernels.compiler import inlined, unordered


@inlined
def _add(x: Any, w: float, reference: Any, target: Any) -> None:
    for t in range(len(reference)):
        target[t] += w * (np.float64(x[t]) - reference[t])


@unordered
def move_sums(
    points: Any, reference: Any, rows: Any, left: Any, joined: Any, weights: Any, fresh: bool, first: int, last: int, sums: Any
) -> None:
    """Some coordinates of the sums of w (x − a) per code: ``rows`` have left one code, unless ``fresh``, and joined another."""
    a = reference[first:last]
    for i in rows:
        x, w = points[i, first:last], weights[i]
        if not fresh:
            _add(x, -w, a, sums[left[i], first:last])
        _add(x, w, a, sums[joined[i], first:last])


@unordered
def advance_codes(
    sums: Any, masses: Any, reference: Any, codes: Any, first: int, last: int, following: Any, squares: Any
) -> None:
    """Some coordinates of the centroids, rounded; per code their share of squared lengths, in ``squares`` (K, 3).

    Of the sums of w (x − a), of the sums of w (x − c), and of the way from the code to the rounded centroid.
    """
    for k in range(len(codes)):
        row, code, target, w = sums[k, first:last], codes[k, first:last], following[k, first:last], masses[k]
        a, share = reference[first:last], 1 / w
        about, own, way = 0.0, 0.0, 0.0
        for t in range(len(code)):
            shift = row[t] + w * (a[t] - code[t])
            target[t] = code[t] + share * shift
            about += row[t] * row[t]
            own += shift * shift
        for t in range(len(code)):
            step = np.float64(target[t]) - code[t]
            way += step * step
        squares[k, 0], squares[k, 1], squares[k, 2] = about, own, way
