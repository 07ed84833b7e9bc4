r"""Gaussian integrals over polygons and along their edges, from the edges alone.

In coordinates y in which the component is standard normal, $\varphi(y) = e^{-|y|^2/2}/2\pi$, an edge lies on the line
$\nu \cdot y = H$. For a cell V and $\xi = y - y_k$ about its code, the divergence theorem gives $\int_V y\,\varphi =
-\oint \varphi\,\nu\,ds$ and $\int_V \xi \xi^T \varphi = M_0 I - \oint \varphi\,\nu \xi^T ds - y_k M_1^T$, $M_1$ that of ξ.
The mass is $M_0 = \omega/2\pi + \sum_e \int_e \frac{H}{|y|^2} (1 - e^{-|y|^2/2}) \frac{ds}{2\pi}$, with ω the angle in which the
cell is unbounded. Where the cell stays away from the component's mean, it is also
$-\sum_e \int_e \frac{H}{|y|^2} e^{-|y|^2/2} \frac{ds}{2\pi}$, accurate relative to itself in the tails (Owen's T functions,
owen1956).

All integrands along an edge are entire or have their poles at a distance, so that Gauss-Legendre panels reach round-off, and
vanish at infinity, so that rays need no clipping. Imported where it is used, as it loads numba.
"""

from typing import Any

import numpy as np
from numba import njit

compiled: Any = njit(nogil=True, cache=True)

_PANEL = 3.0  # 16 nodes integrate e^{-s²/2} over a panel of this length to round-off
_AWAY = 6.0  # |y|² of the closest point of a cell from which on the pole 1/|y|² does not matter within a panel
_CLOSED = 1e-14  # the angle that is missing around a code of a bounded cell, by round-off
_DECAY = 84.0  # e^{-|y|²/2} has fallen by e^{-42} where |y|² has grown by this
_NOTHING = 1490.0  # e^{-|y|²/2} is zero in float64 where |y|² exceeds this
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_FEW_NODES, _FEW_WEIGHTS = np.polynomial.legendre.leggauss(8)


@compiled
def _angle(height: float, start: float, end: float) -> float:
    """The signed angle under which the origin sees the piece [start, end] of a line; the foot of the line is not in it."""
    return np.arctan(height / start) - np.arctan(height / end) if start < end else 0.0


@compiled
def _along(height: float, shift: float, a: float, b: float, away: bool) -> tuple[float, float, float, float]:
    r"""Integrals over the segment $y = H \nu + (\kappa + s) u$, a ≤ s ≤ b, with H the height and κ the shift.

    Returns $\int s^j \varphi\,ds$ for j = 0, 1, 2, and the edge's part of the mass, by the second formula if ``away``.
    """
    start, end = shift + a, shift + b
    nearest = start if start > 0 else end if end < 0 else 0.0
    cut = np.sqrt(nearest * nearest + _DECAY)
    first, last = (a if start > -cut else -cut - shift), (b if end < cut else cut - shift)
    width = last - first
    reach = max(abs(shift + first), abs(shift + last))
    nodes, weights = (_FEW_NODES, _FEW_WEIGHTS) if width * (1 + reach) < 2 else (_NODES, _WEIGHTS)
    panels = max(1, int(np.ceil(width / _PANEL)))
    half = width / panels / 2
    m0 = m1 = m2 = flux = 0.0
    for p in range(panels):
        for i in range(len(nodes)):
            s = first + half * (2 * p + 1 + nodes[i])
            square = height * height + (shift + s) ** 2
            if square < 1:
                lost = -np.expm1(-square / 2)
                density = 1 - lost
            else:
                density = np.exp(-square / 2)
                lost = 1 - density
            m0 += weights[i] * density
            m1 += weights[i] * density * s
            m2 += weights[i] * density * s * s
            if away:
                flux -= weights[i] * density / square
            else:
                flux += weights[i] * (lost / square if square > 0 else 0.5)
    flux *= half * height
    if not away:
        flux += _angle(height, start, min(end, -cut)) + _angle(height, max(start, cut), end)
    unit = half / (2 * np.pi)
    return m0 * unit, m1 * unit, m2 * unit, flux / (2 * np.pi)


@compiled
def _whitened(line: Any, inverse: Any, root: Any, y: Any) -> tuple[float, float, float, float, float, float, float]:
    """An edge in whitened coordinates: ν, η = ν·ξ, H = ν·y, κ = u·y_k, u·ξ at its foot, and the stretch of lengths along it."""
    n0, n1, h = line[0], line[1], line[2]
    v0, v1 = root[0, 0] * n0 + root[1, 0] * n1, root[1, 1] * n1  # Lᵀn
    norm = np.hypot(v0, v1)
    v0, v1 = v0 / norm, v1 / norm
    stretch = np.hypot(inverse[0, 0] * n1, inverse[1, 1] * n0 - inverse[1, 0] * n1)  # |L⁻¹t|
    foot = h * (v0 * (inverse[1, 0] * n0 + inverse[1, 1] * n1) - v1 * inverse[0, 0] * n0)  # u·L⁻¹(hn)
    height = h / norm
    return v0, v1, height, v0 * y[0] + v1 * y[1] + height, v0 * y[1] - v1 * y[0], foot, stretch


@compiled
def cell_moments(first: Any, lines: Any, codes: Any, weights: Any, means: Any, roots: Any, inverses: Any) -> Any:
    r"""$\int_{V_k} f$, $\int_{V_k} (x - x_k) f$ and the entries 11, 12, 22 of $\int_{V_k} (x - x_k)(x - x_k)^T f$, (K, 6).

    first, lines: the edges of a :class:`quantization.laws_2d.voronoi_polygons.Diagram`. weights (m,), means (m, 2), roots and
    inverses (m, 2, 2): the mixture, lower triangular $L L^T = C$ and $L^{-1}$. A cell without edges is taken for the whole plane.
    """
    k = len(first) - 1
    moments = np.zeros((k, 6))
    for i in range(k):
        for c in range(len(weights)):
            _add_component(moments[i], lines[first[i] : first[i + 1]], codes[i], weights[c], means[c], roots[c], inverses[c])
    return moments


@compiled
def _add_component(moments: Any, lines: Any, code: Any, weight: float, mean: Any, root: Any, inverse: Any) -> None:
    d0, d1 = code[0] - mean[0], code[1] - mean[1]
    y = (inverse[0, 0] * d0, inverse[1, 0] * d0 + inverse[1, 1] * d1)
    inside, closest, open_angle = True, np.inf, 2 * np.pi
    for e in range(len(lines)):
        _, _, height, level, shift, foot, stretch = _whitened(lines[e], inverse, root, y)
        a, b = foot + stretch * lines[e, 3], foot + stretch * lines[e, 4]
        along = max(0.0, shift + a, -(shift + b))
        closest = min(closest, level * level + along * along)
        inside = inside and level >= 0
        open_angle -= np.arctan(b / height) - np.arctan(a / height)
    away = not inside and closest >= _AWAY
    if away and closest > _NOTHING:
        return
    mass = open_angle / (2 * np.pi) if open_angle > _CLOSED and not away else 0.0
    f0 = f1 = t00 = t01 = t10 = t11 = 0.0  # ∮ φ ν and ∮ φ ν ξᵀ
    for e in range(len(lines)):
        v0, v1, height, level, shift, foot, stretch = _whitened(lines[e], inverse, root, y)
        m0, m1, _, part = _along(level, shift, foot + stretch * lines[e, 3], foot + stretch * lines[e, 4], away)
        x0, x1 = height * v0 * m0 - v1 * m1, height * v1 * m0 + v0 * m1
        mass += part
        f0 += v0 * m0
        f1 += v1 * m0
        t00 += v0 * x0
        t01 += v0 * x1
        t10 += v1 * x0
        t11 += v1 * x1
    mass = max(mass, 0.0)
    c0, c1 = -f0 - y[0] * mass, -f1 - y[1] * mass
    s00, s11 = mass - t00 - y[0] * c0, mass - t11 - y[1] * c1
    s01 = -(t01 + t10 + y[0] * c1 + y[1] * c0) / 2
    p, q, r = root[0, 0], root[1, 0], root[1, 1]
    moments[0] += weight * mass
    moments[1] += weight * p * c0
    moments[2] += weight * (q * c0 + r * c1)
    moments[3] += weight * p * p * s00
    moments[4] += weight * p * (q * s00 + r * s01)
    moments[5] += weight * (q * q * s00 + 2 * q * r * s01 + r * r * s11)


@compiled
def edge_moments(owners: Any, lines: Any, codes: Any, weights: Any, means: Any, roots: Any, inverses: Any) -> Any:
    r"""$\int_a^b s^j f\,ds$ along edges for j = 0, 1, 2, s counted from the foot of the edge's code, (E, 3)."""
    moments = np.zeros((len(lines), 3))
    for e in range(len(lines)):
        for c in range(len(weights)):
            inverse = inverses[c]
            d0, d1 = codes[owners[e], 0] - means[c, 0], codes[owners[e], 1] - means[c, 1]
            y = (inverse[0, 0] * d0, inverse[1, 0] * d0 + inverse[1, 1] * d1)
            _, _, _, level, shift, foot, stretch = _whitened(lines[e], inverse, roots[c], y)
            m0, m1, m2, _ = _along(level, shift + foot, stretch * lines[e, 3], stretch * lines[e, 4], False)
            density = weights[c] * inverse[0, 0] * inverse[1, 1] / stretch
            moments[e, 0] += density * m0
            moments[e, 1] += density * m1 / stretch
            moments[e, 2] += density * m2 / stretch**2
    return moments
