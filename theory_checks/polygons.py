"""Voronoi cells of a convex polygon, cut out one half-plane at a time: areas, and second moments about a point."""

import numpy as np

from theory_checks.cells import FloatArray


def cell(corners: FloatArray, codes: FloatArray, k: int) -> FloatArray:
    """The corners of the part of a convex polygon (m, 2) that is nearest to code k of (K, 2); maybe none."""
    for j in range(len(codes)):
        if j != k and len(corners):
            normal = codes[j] - codes[k]
            corners = _half(corners, normal, float(normal @ (codes[j] + codes[k]) / 2))
    return corners


def _half(corners: FloatArray, normal: FloatArray, level: float) -> FloatArray:
    """The part where ⟨normal, x⟩ ≤ level."""
    heights = corners @ normal - level
    kept: list[FloatArray] = []
    for i in range(len(corners)):
        here, there = heights[i - 1], heights[i]
        if (here <= 0) != (there <= 0):
            kept.append(corners[i - 1] + here / (here - there) * (corners[i] - corners[i - 1]))
        if there <= 0:
            kept.append(corners[i])
    return np.array(kept).reshape(-1, 2)


def area(corners: FloatArray) -> float:
    """The area of a polygon, positive anticlockwise."""
    a, b = corners, np.roll(corners, -1, axis=0)
    return float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2)


def second_moment(corners: FloatArray, about: FloatArray) -> float:
    r"""$\int |x - p|^2 dx$ over a polygon: triangles (p, a, b) have $\tfrac1{12} |a \times b| (|a|^2 + a \cdot b + |b|^2)$."""
    a = corners - about
    b = np.roll(a, -1, axis=0)
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return float((cross * (np.square(a) + a * b + np.square(b)).sum(1)).sum() / 12)


def distortion(corners: FloatArray, codes: FloatArray) -> float:
    r"""$D_2$ of codes (K, 2) for the uniform law on a convex polygon."""
    cells = [cell(corners, codes, k) for k in range(len(codes))]
    return sum(second_moment(c, x) for c, x in zip(cells, codes, strict=True) if len(c)) / area(corners)
