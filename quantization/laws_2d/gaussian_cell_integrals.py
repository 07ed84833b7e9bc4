r"""Gaussian integrals over polygons and along their edges, from the edges alone.

In coordinates y in which the component is standard normal, $\varphi(y) = e^{-|y|^2/2}/2\pi$, an edge lies on the line
$\nu \cdot y = H$. For a cell V and $\xi = y - y_k$ about its code, the divergence theorem gives $\int_V y\,\varphi =
-\oint \varphi\,\nu\,ds$ and $\int_V \xi \xi^T \varphi = M_0 I - \oint \varphi\,\nu \xi^T ds - y_k M_1^T$, $M_1$ that of ξ.
The mass is $M_0 = \omega/2\pi + \sum_e \int_e \frac{H}{|y|^2} (1 - e^{-|y|^2/2}) \frac{ds}{2\pi}$, with ω the angle in which the
cell is unbounded. Where the cell stays away from the component's mean, it is also
$-\sum_e \int_e \frac{H}{|y|^2} e^{-|y|^2/2} \frac{ds}{2\pi}$, right relative to itself in the tails (Owen's T functions).

All integrands along an edge are entire or have their poles at a distance, so that Gauss-Legendre panels reach round-off, and
nothing happens at infinity, so that rays need no clipping.
Loaded on use, as it loads numba. Source: owen1956.
"""

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled, part

_PANEL = 3.0  # 16 nodes integrate e^{-s²/2} over a panel of this length to round-off
_AWAY = 6.0  # |y|² of the closest point of a cell from which on the pole 1/|y|² does not matter within a panel
_EDGES = 2**17  # times components, in one compiled call: an interrupt need not wait for more
_CLOSED = 1e-14  # the angle that is missing around a code of a bounded cell, by round-off
_DECAY = 84.0  # e^{-|y|²/2} has fallen by e^{-42} where |y|² has grown by this
_NOTHING = 1490.0  # e^{-|y|²/2} is zero in float64 where |y|² exceeds this
_RULES = np.zeros((2, 2, 16))  # nodes and weights, 8 of them and 16
_RULES[0, :, :8], _RULES[1] = np.polynomial.legendre.leggauss(8), np.polynomial.legendre.leggauss(16)


def cell_moments(
    first: IntArray, lines: FloatArray, codes: FloatArray, weights: FloatArray, means: FloatArray, roots: FloatArray,
    inverses: FloatArray
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    r"""Moments of cells and along their edges.

    first, lines: the edges of a :class:`quantization.laws_2d.voronoi_polygons.Diagram`; codes may lie outside of their cells.
    weights (m,), means (m, 2), roots and inverses (m, 2, 2): the mixture, lower triangular $L L^T = C$ and $L^{-1}$. A cell
    without edges is taken for the whole plane.

    Returns $\int_{V_k} f$, $\int_{V_k} (x - x_k) f$ and the entries 11, 12, 22 of $\int_{V_k} (x - x_k)(x - x_k)^T f$, (K, 6);
    and $\int_a^b s^j f\,ds$ along edges for j = 0, 1, 2, s counted from the foot of the edge's code, (E, 3).
    """
    k = len(codes)
    moments, along, space = np.zeros((k, 6)), np.zeros((len(lines), 3)), np.empty((len(lines), 5))
    cells = max(1, _EDGES * k // (len(weights) * (len(lines) + 1)))
    for begin in range(0, k, cells):
        _add_cells(first, lines, codes, weights, means, roots, inverses, begin, min(begin + cells, k), moments, along, space)
    return moments, along


@part
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
    few = width * (1 + reach) < 2
    panels = max(1, int(np.ceil(width / _PANEL)))
    half = width / panels / 2
    m0 = m1 = m2 = flux = 0.0
    for p in range(panels):
        for i in range(8 if few else 16):
            node, weight = _RULES[0 if few else 1, 0, i], _RULES[0 if few else 1, 1, i]
            s = first + half * (2 * p + 1 + node)
            square = height * height + (shift + s) ** 2
            if square < 1:
                lost = -np.expm1(-square / 2)
                density = 1 - lost
            else:
                density = np.exp(-square / 2)
                lost = 1 - density
            m0 += weight * density
            m1 += weight * density * s
            m2 += weight * density * s * s
            if away:
                flux -= weight * density / square
            else:
                flux += weight * (lost / square if square > 0 else 0.5)
    flux *= half * height
    if not away:  # the angles under which the origin sees what is left out at the two ends, where no foot of a line is
        below, above = min(end, -cut), max(start, cut)
        if start < below:
            flux += np.arctan(height / start) - np.arctan(height / below)
        if above < end:
            flux += np.arctan(height / above) - np.arctan(height / end)
    unit = half / (2 * np.pi)
    return m0 * unit, m1 * unit, m2 * unit, flux / (2 * np.pi)


@compiled
def _add_cells(
    first: IntArray, lines: FloatArray, codes: FloatArray, weights: FloatArray, means: FloatArray, roots: FloatArray,
    inverses: FloatArray, begin: int, end: int, moments: FloatArray, along: FloatArray, space: FloatArray,
) -> None:  # fmt: skip
    """The moments of the cells from ``begin`` to ``end``. space: (E, 5) for what edges are in whitened coordinates."""
    for cell in range(begin * len(weights), end * len(weights)):
        i, c = cell // len(weights), cell % len(weights)
        p, q, r = roots[c, 0, 0], roots[c, 1, 0], roots[c, 1, 1]  # L
        i00, i10, i11 = inverses[c, 0, 0], inverses[c, 1, 0], inverses[c, 1, 1]
        d0, d1 = codes[i, 0] - means[c, 0], codes[i, 1] - means[c, 1]
        y0, y1 = i00 * d0, i10 * d0 + i11 * d1
        inside, closest, open_angle = True, np.inf, 2 * np.pi
        own, ends, begins, l0, l1, b0, b1 = True, 0, 0, 0.0, 0.0, 0.0, 0.0
        # ν, H = ν·y, κ = u·y_k, u·ξ at the foot, and the stretch of lengths along the edge.
        for e in range(first[i], first[i + 1]):
            n0, n1, h = lines[e, 0], lines[e, 1], lines[e, 2]
            v0, v1 = p * n0 + q * n1, r * n1  # Lᵀn
            norm = np.hypot(v0, v1)
            v0, v1 = v0 / norm, v1 / norm
            stretch = np.hypot(i00 * n1, i11 * n0 - i10 * n1)  # |L⁻¹t|
            foot = h * (v0 * (i10 * n0 + i11 * n1) - v1 * i00 * n0)  # u·L⁻¹(hn)
            height = h / norm
            level, shift = v0 * y0 + v1 * y1 + height, v0 * y1 - v1 * y0
            space[e, 0], space[e, 1], space[e, 2], space[e, 3], space[e, 4] = v0, v1, height, stretch, foot
            a, b = foot + stretch * lines[e, 3], foot + stretch * lines[e, 4]
            beyond = max(0.0, shift + a, -(shift + b))
            closest = min(closest, level * level + beyond * beyond)
            inside = inside and level >= 0
            open_angle -= np.arctan(b / height) - np.arctan(a / height)
            own = own and h > 0
            if b == np.inf:
                ends, l0, l1 = ends + 1, -v1, v0
            if a == -np.inf:
                begins, b0, b1 = begins + 1, v1, -v0
        if not own:  # from the code the angles of edges do not add up to that of the cell: between its two rays
            turn, facing = l0 * b1 - l1 * b0, l0 * b0 + l1 * b1
            open_angle = 0.0 if ends != 1 or begins != 1 else np.pi if facing <= -1 else max(np.arctan2(turn, facing), 0.0)
        away = not inside and closest >= _AWAY
        if away and closest > _NOTHING:
            continue
        mass = open_angle / (2 * np.pi) if open_angle > _CLOSED and not away else 0.0
        f0 = f1 = t00 = t01 = t10 = t11 = 0.0  # ∮ φ ν and ∮ φ ν ξᵀ
        for e in range(first[i], first[i + 1]):
            v0, v1, height, stretch, foot = space[e, 0], space[e, 1], space[e, 2], space[e, 3], space[e, 4]
            level, shift = v0 * y0 + v1 * y1 + height, v0 * y1 - v1 * y0
            m0, m1, m2, flux = _along(level, shift + foot, stretch * lines[e, 3], stretch * lines[e, 4], away)
            x0 = (height * v0 - foot * v1) * m0 - v1 * m1
            x1 = (height * v1 + foot * v0) * m0 + v0 * m1
            mass += flux
            f0 += v0 * m0
            f1 += v1 * m0
            t00 += v0 * x0
            t01 += v0 * x1
            t10 += v1 * x0
            t11 += v1 * x1
            density = weights[c] * i00 * i11 / stretch
            along[e, 0] += density * m0
            along[e, 1] += density * m1 / stretch
            along[e, 2] += density * m2 / (stretch * stretch)
        mass = max(mass, 0.0)
        c0, c1 = -f0 - y0 * mass, -f1 - y1 * mass
        s00, s11 = mass - t00 - y0 * c0, mass - t11 - y1 * c1
        s01 = -(t01 + t10 + y0 * c1 + y1 * c0) / 2
        w = weights[c]
        moments[i, 0] += w * mass
        moments[i, 1] += w * p * c0
        moments[i, 2] += w * (q * c0 + r * c1)
        moments[i, 3] += w * p * p * s00
        moments[i, 4] += w * p * (q * s00 + r * s01)
        moments[i, 5] += w * (q * q * s00 + 2 * q * r * s01 + r * r * s11)
