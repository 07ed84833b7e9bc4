"""Gaussian integrals over polygons: against products of one-dimensional integrals in fifty digits, and against quadrature."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest

from quantization.laws_2d.gaussian_cell_integrals import _along, cell_moments
from quantization.laws_2d.voronoi_polygons import power_diagram, voronoi_diagram

STANDARD = (np.ones(1), np.zeros((1, 2)), np.eye(2)[None], np.eye(2)[None])


def interval_moments(low, high, about):
    """∫ (z − about)^j φ(z) dz over [low, high], j = 0, 1, 2, to fifty digits."""
    with mpmath.workdps(50):
        low, high, about = mpmath.mpf(low), mpmath.mpf(high), mpmath.mpf(about)
        if low > 0:
            mass = (mpmath.erfc(low / mpmath.sqrt(2)) - mpmath.erfc(high / mpmath.sqrt(2))) / 2
        else:
            mass = (mpmath.erf(high / mpmath.sqrt(2)) - mpmath.erf(low / mpmath.sqrt(2))) / 2
        at = [mpmath.npdf(z) if mpmath.isfinite(z) else mpmath.mpf(0) for z in (low, high)]
        z_at = [z * p if mpmath.isfinite(z) else mpmath.mpf(0) for z, p in zip((low, high), at, strict=True)]
        first = at[0] - at[1]
        second = mass + z_at[0] - z_at[1]
        return mass, first - about * mass, second - 2 * about * first + about**2 * mass


def product_truth(xs, ys):
    """The moments (K, 6) of the cells of the grid xs × ys under N(0, I₂), as float64."""
    sides = []
    for axis in (xs, ys):
        cuts = [-np.inf, *((a + b) / 2 for a, b in pairwise(axis)), np.inf]
        sides.append([interval_moments(a, b, z) for (a, b), z in zip(pairwise(cuts), axis, strict=True)])
    truth = [(a[0] * b[0], a[1] * b[0], a[0] * b[1], a[2] * b[0], a[1] * b[1], a[0] * b[2]) for a in sides[0] for b in sides[1]]
    return np.array(truth, dtype=np.float64)


@pytest.mark.parametrize("away", [False, True])
def test_one_edge_in_fifty_digits(away, rng):
    """Lengths from 1e-3 to infinity, distances from the mean from 0 to 12; absolutely, and relatively where the mean is away."""
    for _ in range(12):
        height, a = rng.choice([0.0, 1e-9, 0.3, 1.0, 2.5, 6.0]) * rng.choice([-1, 1]), rng.uniform(-10, 10)
        b, shift = a + rng.choice([1e-3, 0.1, 1.0, 3.0, 10.0, np.inf]), rng.uniform(-1, 1)
        if rng.random() < 0.5:
            a, b = -b, -a
        start, end = a + shift, b + shift
        closest = height**2 + max(start, -end, 0) ** 2
        if away and closest < 6:
            continue
        with mpmath.workdps(60):
            h, k = mpmath.mpf(height), mpmath.mpf(shift)

            def density(s, h=h, k=k):
                return mpmath.exp(-(h**2 + (s + k) ** 2) / 2)

            cuts = [mpmath.mpf(a)] + [mpmath.mpf(c) for c in range(-12, 13, 3) if a < c < b] + [mpmath.mpf(b)]
            factors = [lambda s, j=j: s**j * density(s) for j in range(3)]
            if away:
                factors.append(lambda s, h=h, k=k: -h / (h**2 + (s + k) ** 2) * density(s))
            else:
                factors.append(lambda s, h=h, k=k: h / (h**2 + (s + k) ** 2) * (1 - density(s)) if h else mpmath.mpf(0))
            truth = np.array([mpmath.quad(factor, cuts) / (2 * mpmath.pi) for factor in factors], dtype=np.float64)
        found = np.array(_along.py_func(height, shift, a, b, away))
        # The rounding of an exponent q/2 is one of e^{-q/2} relative to itself; s runs over twenty standard deviations.
        size = (8 + closest) * np.exp(-closest / 2) if away else 8
        assert (np.abs(found - truth) <= 2.3e-16 * size * np.array([1, 20, 400, 1])).all()


def grid(xs, ys):
    return np.array([(x, y) for x in xs for y in ys])


def integrated(codes, components=STANDARD):
    diagram = voronoi_diagram(codes)
    return cell_moments(diagram.first, diagram.lines, codes, *components)[0]


# Dyadic, so that the middles between codes are exact; vertices of degree four all over, cells from 1e-1 to 1e-25.
AXES = [
    ([-0.75, 0.5], [-1.0, 0.25, 1.5]),
    ([-6.0, -2.5, -1.0, 0.0, 0.25, 0.375, 3.0, 7.0], [-8.0, -7.0, -0.5, 0.5, 1.0, 4.0]),
    (list(np.arange(-32, 33) / 8), list(np.arange(-4, 5) / 2)),
]


@pytest.mark.parametrize(("xs", "ys"), AXES, ids=["few", "tails", "fine"])
def test_rectangles_to_the_last_digits(xs, ys):
    found, truth = integrated(grid(xs, ys)), product_truth(xs, ys)
    np.testing.assert_allclose(found, truth, rtol=0, atol=2e-15)
    np.testing.assert_allclose(found[:, 0].sum(), 1, rtol=0, atol=4e-15)
    np.testing.assert_allclose(found[:, [3, 5]].sum(), truth[:, [3, 5]].sum(), rtol=1e-13)  # the distortion, of K = 1105 the last


def test_tail_cells_are_right_relative_to_themselves():
    """Masses from 1e-12 down to 1e-34; the mean's error is measured in the cell's own standard deviation."""
    xs, ys = [-9.0, -7.0, -5.0, 0.0, 5.0, 6.0, 7.0], [-5.0, 0.0, 1.0, 6.0, 8.0]
    found, truth = integrated(grid(xs, ys)), product_truth(xs, ys)
    far = truth[:, 0] < 1e-9
    assert far.sum() > 15
    found, truth = found[far], truth[far]
    mass, size = truth[:, 0], np.sqrt((truth[:, 3] + truth[:, 5]) / truth[:, 0])
    np.testing.assert_allclose(found[:, 0], mass, rtol=1e-11)
    assert (np.abs(found[:, 1:3] - truth[:, 1:3]) <= 1e-10 * (mass * size)[:, None]).all()
    np.testing.assert_allclose(found[:, 3] + found[:, 5], truth[:, 3] + truth[:, 5], rtol=1e-9)


def test_rotated_and_stretched_rectangles(rng):
    """N(m, C) over the image of a grid is N(0, I) over the grid where the map keeps bisectors: rotations and dilations."""
    xs, ys = AXES[0]
    turn, factor = 0.7, 3.0
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    codes = factor * grid(xs, ys) @ rotation.T + [5.0, -2.0]
    root = factor * np.eye(2)
    found = integrated(codes, (np.ones(1), np.array([[5.0, -2.0]]), root[None], np.linalg.inv(root)[None]))
    truth = product_truth(xs, ys)
    np.testing.assert_allclose(found[:, 0], truth[:, 0], rtol=0, atol=4e-15)
    np.testing.assert_allclose(found[:, 1:3], factor * truth[:, 1:3] @ rotation.T, rtol=0, atol=2e-14)
    second = truth[:, [3, 4, 4, 5]].reshape(-1, 2, 2)
    turned = factor**2 * rotation @ second @ rotation.T
    np.testing.assert_allclose(found[:, 3:], turned.reshape(-1, 4)[:, [0, 1, 3]], rtol=0, atol=1e-13)


def fan(codes, k, components, nodes=80):
    """The moments of a bounded cell by tensor Gauss-Legendre quadrature over the triangles from its code to its edges."""
    z, w = np.polynomial.legendre.leggauss(nodes)
    u, w = (z + 1) / 2, w / 2
    diagram = voronoi_diagram(codes)
    total = np.zeros(6)
    for n0, n1, h, a, b in diagram.lines[diagram.first[k] : diagram.first[k + 1]]:
        s, rho = a + (b - a) * u[:, None, None], u[None, :, None]
        xi = rho * (h * np.array([n0, n1]) + s * np.array([-n1, n0]))
        density = 0.0
        for weight, mean, root, inverse in zip(*components, strict=True):
            y = (codes[k] + xi - mean) @ inverse.T
            density = density + weight * np.exp(-np.square(y).sum(-1) / 2) / (2 * np.pi * np.linalg.det(root))
        f = density * rho[..., 0] * h * (b - a) * w[:, None] * w
        x, y = xi[..., 0], xi[..., 1]
        total += [f.sum(), (f * x).sum(), (f * y).sum(), (f * x * x).sum(), (f * x * y).sum(), (f * y * y).sum()]
    return total


def test_oblique_cells_of_a_mixture_against_quadrature(rng):
    roots = np.array([[[1.0, 0.0], [0.5, 0.6]], [[0.4, 0.0], [-0.3, 1.2]], [[1.5, 0.0], [0.0, 0.3]]])
    components = (np.array([0.2, 0.5, 0.3]), np.array([[0.0, 0.0], [1.0, 0.5], [-1.0, 1.0]]), roots, np.linalg.inv(roots))
    codes = 1.5 * rng.standard_normal((40, 2))
    found, diagram, checked = integrated(codes, components), voronoi_diagram(codes), 0
    for k in range(len(codes)):
        lines = diagram.lines[diagram.first[k] : diagram.first[k + 1]]
        if np.isfinite(lines).all() and np.abs(lines[:, 3:]).max() < 4:  # where eighty nodes are exact
            np.testing.assert_allclose(found[k], fan(codes, k, components), rtol=0, atol=1e-14)
            checked += 1
    assert checked > 15


def test_line_integrals_along_an_axis():
    """Of codes at ±h on the first axis the edge is the second axis: moments of a mixture of one-dimensional Gaussians."""
    codes = np.array([[-0.75, 0.5], [0.75, 0.5]])
    roots = np.array([[[2.0, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 3.0]]])
    components = (np.array([0.25, 0.75]), np.array([[1.0, -1.0], [0.5, 2.0]]), roots, np.linalg.inv(roots))
    diagram = voronoi_diagram(codes)
    found = cell_moments(diagram.first, diagram.lines, codes, *components)[1][0]
    truth = np.zeros(3)
    for weight, (m0, m1), root in zip(*components[:3], strict=True):
        s0, s1 = root[0, 0], root[1, 1]
        across, shift = np.exp(-((m0 / s0) ** 2) / 2) / (s0 * np.sqrt(2 * np.pi)), m1 - 0.5
        truth += weight * across * np.array([1, shift, shift**2 + s1**2])
    np.testing.assert_allclose(found, truth, rtol=1e-14)


def test_power_cells_in_fifty_digits():
    """Prices a_i + b_j on a grid move the cuts between its lines, also past the codes: the cells stay products of intervals."""
    xs, ys = [-2.0, -1.0, 0.25, 0.5, 3.0], [-1.5, 0.0, 0.75, 2.0]
    a, b = [0.0, 3.0, 1.0, 0.5, -4.0], [3.05, 0.5, 0.3125, 0.0]
    sides = []
    for codes, prices in ((xs, a), (ys, b)):
        pairs = pairwise(zip(codes, prices, strict=True))
        cuts = [-np.inf, *(((x + y) * (y - x) + p - q) / (2 * (y - x)) for (x, p), (y, q) in pairs), np.inf]
        assert cuts == sorted(cuts)
        sides.append([interval_moments(low, high, z) for (low, high), z in zip(pairwise(cuts), codes, strict=True)])
    truth = [(s[0] * t[0], s[1] * t[0], s[0] * t[1], s[2] * t[0], s[1] * t[1], s[0] * t[2]) for s in sides[0] for t in sides[1]]
    codes, prices = grid(xs, ys), np.add.outer(a, b).ravel()
    diagram = power_diagram(codes, prices)
    found = cell_moments(diagram.first, diagram.lines, codes, *STANDARD)[0]
    assert (diagram.lines[:, 2] < 0).any()
    np.testing.assert_allclose(found, np.array(truth, dtype=np.float64), rtol=0, atol=4e-15)
