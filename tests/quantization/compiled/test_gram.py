"""Lloyd on inner products takes the very steps that Lloyd on coordinates takes."""

import numpy as np
import pytest

import quantization as qz
from quantization import voronoi
from quantization.compiled import gram


def latents(rng, n, d, rank=20):
    """Points near a subspace, as images' latents are: far fewer directions than coordinates."""
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d))


@pytest.fixture
def both_ways(monkeypatch):
    monkeypatch.setattr(voronoi, "_WORTH_COMPILING", 0)
    used = []
    steps = gram.Gram.steps
    monkeypatch.setattr(gram.Gram, "steps", lambda self, chosen: (used.append(1), steps(self, chosen))[1])

    def solve(law, k, **options):
        answers = []
        for share in (0, 1e9):
            monkeypatch.setattr(gram, "_PAYS", share)
            answers.append(qz.quantize(law, k, **options))
        assert used
        return answers

    return solve


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_steps(dtype, offset, weighted, both_ways, rng):
    points = (latents(rng, 300, 700) + offset).astype(dtype)
    law = qz.DiscreteMeasure(points, rng.dirichlet(np.ones(300)) if weighted else None)
    plain, fast = both_ways(law, 12, restarts=4, start=qz.RandomPoints(), seed=3)
    assert (fast.steps, fast.status) == (plain.steps, plain.status)
    # Centroids are rounded from sums in another order: a unit of the dtype at most.
    unit = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, rtol=0, atol=2 * unit * np.abs(points).max())
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-12 if dtype is np.float64 else 1e-6)
    np.testing.assert_allclose(fast.trace.distortion, plain.trace.distortion, rtol=500 * unit)
    # Squares of residuals lose digits of |m|², here some ten times the distortion.
    np.testing.assert_allclose(fast.trace.stationarity**2, plain.trace.stationarity**2, atol=5000 * unit)


def test_a_budget_ends_it(both_ways, rng):
    plain, fast = both_ways(latents(rng, 300, 500), 12, restarts=3, start=qz.RandomPoints(), max_steps=2)
    assert fast.status is plain.status is qz.Status.BUDGET_SPENT
    assert fast.steps == plain.steps == 2
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, atol=1e-12)


def test_codes_that_are_no_points_are_left_to_coordinates(both_ways, monkeypatch, rng):
    points = latents(rng, 200, 300)
    monkeypatch.setattr(gram, "_PAYS", 1e9)
    monkeypatch.setattr(voronoi, "_WORTH_COMPILING", 0)
    sol = qz.quantize(points, 5, start=points[:5] + 0.01)
    assert sol.status is qz.Status.CONVERGED


def test_an_empty_cell_is_mended(both_ways, rng):
    # Two of the starting codes are the same point, so a cell is empty at once.
    points = latents(rng, 200, 300)
    plain, fast = both_ways(points, 5, start=points[[0, 0, 1, 2, 3]])
    assert (fast.measure.weights > 0).all()
    assert fast.distortion == plain.distortion


def test_ties_and_duplicates(both_ways, rng):
    # Every point four times, on integers: products are exact and equal, so all of them are in doubt and settled directly.
    points = np.repeat(rng.integers(-2, 3, (60, 40)), 4, 0).astype(np.float32)
    plain, fast = both_ways(points, 6, start=points[[0, 40, 80, 120, 160, 200]])
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-6)
    np.testing.assert_array_equal(fast.measure.weights, plain.measure.weights)


def test_the_best_restart_is_kept(both_ways, rng):
    points = latents(rng, 250, 400, rank=3)
    plain, fast = both_ways(points, 10, restarts=8, start=qz.RandomPoints())
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-12)
