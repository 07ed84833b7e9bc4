"""Grids of paths: published tables, distortions against simulated paths, and what is better than what."""

import numpy as np
import pytest

import quantization as qz
from benchmarks.functional_tables import PUBLISHED, best_grids, shannon


@pytest.mark.parametrize(("n", "shape"), [(10, (5, 2)), (100, (12, 4, 2)), (1000, (23, 7, 3, 2)), (10_000, (26, 8, 4, 3, 2, 2))])
def test_published_products_of_brownian_motion(n, shape):
    grid = qz.functional_grid(qz.BrownianMotion(), n)
    assert grid.shape == shape
    if ("brownian-motion", len(grid)) in PUBLISHED:
        assert grid.distortion == pytest.approx(PUBLISHED["brownian-motion", len(grid)], abs=1e-12)
    assert grid.distortion_error == 0
    assert sum(grid.weights) == pytest.approx(1, abs=1e-12)


def test_two_coordinates_together_do_better_than_their_product():
    product, joint = (qz.functional_grid(qz.BrownianMotion(), 10, leading=d) for d in (None, 2))
    assert joint.distortion <= 0.09215 < product.distortion
    assert joint.shape == (10,)
    assert isinstance(joint.coordinates, qz.Solution)
    assert joint.coordinates.converged


def test_one_leading_coordinate_is_the_product_of_one_share():
    one, product = qz.functional_grid(qz.BrownianBridge(), 4, leading=1), qz.functional_grid(qz.BrownianBridge(), (4,))
    assert one.distortion == pytest.approx(product.distortion, rel=1e-12)
    times = np.linspace(0, 1, 7)
    np.testing.assert_allclose(np.sort(one.paths(times), 0), np.sort(product.paths(times), 0), atol=1e-9)


PROCESSES = {
    "motion": qz.BrownianMotion(2.0),
    "reverting": qz.OrnsteinUhlenbeck(2.0, start=1.5),
    "rough": qz.FractionalBrownianMotion(0.35),
    "smooth, with a mean": qz.GaussianProcess(lambda s, t: np.exp(-np.square(s - t)), 1.5, lambda t: np.sin(3 * t)),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_distortion_against_simulated_paths(name):
    """Midpoints of 400 steps, exact draws of the process there: the norm's bias is below 2 % of the distortion."""
    process, m, draws = PROCESSES[name], 400, 3000
    grid = qz.functional_grid(process, 20)
    times = process.horizon * (np.arange(m) + 0.5) / m
    values, vectors = np.linalg.eigh(process.covariance(times[:, None], times[None]))
    noise = np.random.default_rng(0).standard_normal((draws, m))
    x = process.mean(times) + noise @ (vectors * np.sqrt(np.maximum(values, 0))).T
    paths = grid.paths(times)
    squares = np.square(x[:, None] - paths).sum(2) * process.horizon / m
    measured = squares.min(1)
    assert grid.distortion == pytest.approx(measured.mean(), abs=4 * measured.std() / draws**0.5 + 0.02 * grid.distortion)
    masses = np.bincount(squares.argmin(1), minlength=len(grid)) / draws
    np.testing.assert_allclose(masses, grid.weights, atol=5 * np.sqrt(grid.weights.max() / draws))


def test_expectations_are_those_of_the_paths():
    grid, times = qz.functional_grid(qz.BrownianMotion(), 100), np.linspace(0, 1, 30)
    value = grid.expect(lambda x: np.stack([x[:, -1], np.square(x).mean(1)], axis=1), times)
    np.testing.assert_allclose(
        value, grid.weights @ np.stack([p := grid.paths(times)[:, -1], np.square(grid.paths(times)).mean(1)], 1)
    )
    assert value[0] == pytest.approx(0, abs=1e-12)
    assert len(p) == 96


def test_a_grid_of_one_path_is_the_mean():
    grid = qz.functional_grid(qz.OrnsteinUhlenbeck(1.0, start=2.0), 1)
    np.testing.assert_allclose(grid.paths([0.0, 1.0]), [[2.0, 2.0 / np.e]], atol=1e-12)
    assert grid.distortion == pytest.approx(grid.expansion.trace, rel=1e-12)


def test_the_table_has_every_best_product_once():
    """Against a search for every N; no row is below Shannon's bound, and rows fall."""
    rows = {len(grid): grid.distortion for grid in best_grids(qz.BrownianMotion(), 60)}
    for n in range(1, 61):
        assert qz.functional_grid(qz.BrownianMotion(), n).distortion == rows[max(size for size in rows if size <= n)]
    ordered = [rows[n] for n in sorted(rows)]
    assert (np.diff(ordered) < 0).all()
    assert all(shannon(qz.BrownianMotion(), n) < value for n, value in rows.items() if n > 1)


def test_bad_input():
    grid = qz.functional_grid(qz.BrownianMotion(), 4)
    for wrong in ([1.5], [-0.1], [], [[0.5]], [np.nan]):
        with pytest.raises(ValueError, match="times must"):
            grid.paths(wrong)
    with pytest.raises(ValueError, match="one value per path"):
        grid.expect(lambda x: x[0], [0.5, 1.0])
    with pytest.raises(ValueError, match="process must"):
        qz.functional_grid("brownian", 4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="n must"):
        qz.functional_grid(qz.BrownianMotion(), 0)
    with pytest.raises(ValueError, match="leading must"):
        qz.functional_grid(qz.BrownianMotion(), 4, leading=0)
