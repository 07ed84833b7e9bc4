"""Power diagrams: priced distances, empty cells, codes outside of theirs."""

import numpy as np
import pytest

from quantization.laws_2d.voronoi_polygons import power_diagram, voronoi_diagram


@pytest.mark.parametrize("k", [1, 2, 3, 30, 41, 200])
@pytest.mark.parametrize("size", [1e-3, 0.3, 3.0])
def test_a_point_is_in_the_cell_of_the_least_priced_distance(k, size, rng):
    codes, prices, points = rng.standard_normal((k, 2)), size * rng.standard_normal(k), 3 * rng.standard_normal((4000, 2))
    diagram = power_diagram(codes, prices)
    best = (np.square(points[:, None] - codes).sum(2) - prices).argmin(1)
    for j in range(k):
        lines = diagram.lines[diagram.first[j] : diagram.first[j + 1]]
        inside = ((points - codes[j]) @ lines[:, :2].T <= lines[:, 2]).all(1) & diagram.owned[j]
        assert np.array_equal(inside, best == j)
    assert diagram.owned[np.unique(best)].all()
    if size == 3 and k >= 30:
        assert not diagram.owned.all()  # some cells are empty
        assert (diagram.lines[:, 2] < 0).any()  # some codes lie outside of theirs


def test_edges_stand_twice(rng):
    codes, prices = rng.standard_normal((80, 2)), 0.3 * rng.standard_normal(80)
    diagram = power_diagram(codes, prices)
    owners = np.repeat(np.arange(80), np.diff(diagram.first))
    ends = {(int(i), int(j)): line for i, j, line in zip(owners, diagram.neighbors, diagram.lines, strict=True)}
    for (i, j), line in ends.items():
        other = ends[j, i]
        assert line[2] + other[2] == pytest.approx(np.hypot(*(codes[j] - codes[i])), abs=1e-12)
        if np.isfinite(line).all():
            assert line[4] - line[3] == pytest.approx(other[4] - other[3], abs=1e-10)


def test_equal_prices_are_voronoi(rng):
    codes = rng.standard_normal((300, 2))
    power, voronoi = power_diagram(codes, np.full(300, 7.0)), voronoi_diagram(codes)
    np.testing.assert_array_equal(power.lines, voronoi.lines)
    np.testing.assert_array_equal(power.neighbors, voronoi.neighbors)


def test_of_equal_codes_the_highest_price_has_the_cell(rng):
    codes = rng.standard_normal((20, 2))
    twice, prices = np.concatenate([codes, codes]), np.concatenate([np.zeros(20), np.full(20, 0.5)])
    diagram, once = power_diagram(twice, prices), power_diagram(codes, np.zeros(20))
    assert not diagram.owned[:20].any()
    np.testing.assert_allclose(np.sort(diagram.lines, axis=0), np.sort(once.lines, axis=0), rtol=1e-12, atol=1e-12)
