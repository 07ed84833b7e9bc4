"""Voronoi diagrams as lists of edges: against scipy's, against nearest codes, and where incidence is degenerate."""

import numpy as np
import pytest
from scipy.spatial import Voronoi

from quantization.laws_2d.voronoi_polygons import voronoi_diagram


def pairs(diagram):
    owners = np.repeat(np.arange(len(diagram.first) - 1), np.diff(diagram.first))
    return {(int(i), int(j)) for i, j in zip(owners, diagram.neighbors, strict=True)}


def inside(diagram, codes, k, points):
    """Whether points lie in the cell of k, by the half-planes of its edges alone."""
    lines = diagram.lines[diagram.first[k] : diagram.first[k + 1]]
    return ((points - codes[k]) @ lines[:, :2].T <= lines[:, 2]).all(1)


@pytest.mark.parametrize("k", [4, 10, 39, 41, 300, 1500])
@pytest.mark.parametrize("shape", ["normal", "clusters"])
def test_edges_are_those_of_qhull(k, shape, rng):
    codes = rng.standard_normal((k, 2))
    if shape == "clusters":
        codes = codes * 1e-3 + 10 * rng.standard_normal((3, 2))[rng.integers(3, size=k)]
    diagram, reference = voronoi_diagram(codes), Voronoi(codes)
    assert pairs(diagram) == {pair for i, j in reference.ridge_points for pair in ((i, j), (j, i))}
    lengths = np.sort(diagram.lines[:, 4] - diagram.lines[:, 3])
    ends = [reference.vertices[v] if -1 not in v else [[0, 0], [np.inf, 0]] for v in reference.ridge_vertices]
    theirs = np.sort([np.hypot(*np.subtract(b, a)) for a, b in ends])
    np.testing.assert_allclose(lengths[::2], theirs, rtol=1e-6, atol=1e-12)  # Qhull's vertices of thin cells are the less exact


@pytest.mark.parametrize("k", [1, 2, 3, 7, 60, 400])
@pytest.mark.parametrize("shape", ["normal", "line", "circle"])
def test_a_point_is_in_the_cell_of_its_nearest_code(k, shape, rng):
    codes, points = rng.standard_normal((k, 2)), 3 * rng.standard_normal((2000, 2))
    if shape == "line":  # but for round-off, by which bisectors meet 1e16 away or nowhere
        codes = np.array([0.1, -0.3]) + codes[:, :1] * np.array([1.0, rng.choice([0.5, 1.3])])
    elif shape == "circle":
        codes /= np.hypot(*codes.T)[:, None]
    diagram = voronoi_diagram(codes)
    nearest = np.square(points[:, None] - codes).sum(2).argmin(1)
    for j in range(k):
        assert np.array_equal(inside(diagram, codes, j, points), nearest == j)


@pytest.mark.parametrize("k", [2, 3, 50, 200])
def test_codes_on_a_line_have_strips(k, rng):
    codes = (np.arange(k) - k // 2)[rng.permutation(k), None] * np.array([3.0, 4.0])
    diagram = voronoi_diagram(codes)
    order = np.argsort(codes[:, 0])
    assert {(i, j) for i, j in pairs(diagram) if i < j} == {
        (min(i, j), max(i, j)) for i, j in zip(order[1:], order[:-1], strict=True)
    }
    assert np.isinf(diagram.lines[:, 3:]).all()


def test_codes_on_a_grid_have_squares():
    codes = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2)
    diagram = voronoi_diagram(codes)
    k = 40  # the middle
    lines = diagram.lines[diagram.first[k] : diagram.first[k + 1]]
    lengths = lines[:, 4] - lines[:, 3]
    np.testing.assert_allclose(np.sort(lengths)[-4:], 1)  # degree 4 at every vertex: diagonal edges have no length
    np.testing.assert_allclose(lengths.sum(), 4)
    np.testing.assert_allclose((lengths * lines[:, 2]).sum() / 2, 1)  # the area


@pytest.mark.parametrize("k", [20, 100])
def test_equal_codes_are_owned_by_the_first(k, rng):
    codes = rng.standard_normal((k, 2))
    repeated = np.concatenate([codes, codes[::-1]])
    twice, once = voronoi_diagram(repeated), voronoi_diagram(codes)
    assert twice.owned[:k].all()
    assert not twice.owned[k:].any()
    assert pairs(twice) == pairs(once)


def test_codes_an_ulp_apart_share_a_plane_cleanly(rng):
    codes = rng.standard_normal((30, 2))
    codes[20:] = codes[:10]
    codes[20:, 0] = np.nextafter(codes[20:, 0], np.inf)
    diagram = voronoi_diagram(codes)
    assert diagram.owned.all()
    for k in range(30):  # the angles that the edges subtend add up to the cell's: no gap, no overlap
        lines = diagram.lines[diagram.first[k] : diagram.first[k + 1]]
        angles = np.arctan2(lines[:, 4], lines[:, 2]) - np.arctan2(lines[:, 3], lines[:, 2])
        if np.isfinite(lines).all():
            np.testing.assert_allclose(angles.sum(), 2 * np.pi, rtol=1e-12)
        else:
            assert angles.sum() < 2 * np.pi
