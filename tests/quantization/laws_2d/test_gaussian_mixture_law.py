"""Gaussian mixtures in the plane: cells and Hessian against closed forms, differences, sampling and invariance."""

import numpy as np
import pytest

import quantization as qz
from quantization.exact_law import has_global_search, has_hessian
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D
from quantization.make_problem import exact_law

STANDARD = qz.Gaussian([0, 0], np.eye(2))
MIXTURE = qz.GaussianMixture(
    [0.3, 0.3, 0.4],
    [[0, 0], [3, 1], [-2, 2]],
    [[[1, 0.5], [0.5, 1]], [[0.3, -0.2], [-0.2, 1]], [[2, 0], [0, 0.01]]],
)


def ring(k, radius):
    angles = 2 * np.pi * np.arange(k) / k
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def differences(function, codes, step=1e-5):
    """Central differences of ``function`` in every coordinate, (2K, ...)."""
    rows = []
    for i in range(codes.size):
        up, down = codes.copy(), codes.copy()
        up.flat[i] += step
        down.flat[i] -= step
        rows.append((function(up) - function(down)) / (2 * step))
    return np.array(rows)


def test_the_laws_it_is_for():
    assert isinstance(exact_law(STANDARD, 2), GaussianMixture2D)
    assert has_global_search(exact_law(MIXTURE, 2))
    assert has_hessian(exact_law(MIXTURE, 2))
    assert exact_law(STANDARD, 1) is None
    assert exact_law(qz.Gaussian([0, 0], [[1, 1], [1, 1]]), 2) is None  # no density
    assert exact_law(qz.Gaussian([0, 0, 0], np.eye(3)), 2) is None
    idle = qz.GaussianMixture([1, 0], [[0, 0], [1, 1]], [np.eye(2), np.zeros((2, 2))])
    codes = ring(3, 1.0)
    assert exact_law(idle, 2).cells(codes).distortion == GaussianMixture2D(STANDARD).cells(codes).distortion


@pytest.mark.parametrize(
    ("codes", "distortion"),
    [
        ([[0.0, 0.0]], 2.0),
        ([[3.0, -4.0]], 27.0),
        (ring(2, np.sqrt(2 / np.pi)), 2 - 2 / np.pi),
        (ring(3, np.sqrt(27 / (8 * np.pi))), 2 - 27 / (8 * np.pi)),
        (ring(4, np.sqrt(4 / np.pi)), 2 - 4 / np.pi),
        (ring(7, 1.5), 2 + 1.5**2 - 2 * 1.5 * 7 * np.sin(np.pi / 7) / np.sqrt(2 * np.pi)),
    ],
    ids=["mean", "off", "2", "3", "4", "ring"],
)
def test_closed_forms(codes, distortion):
    """A ring of K codes at radius ρ: the sector's centroid gives D = 2 + ρ² − 2ρ K sin(π/K)/√(2π)."""
    c = GaussianMixture2D(STANDARD).cells(np.array(codes))
    np.testing.assert_allclose(c.distortion, distortion, rtol=4e-15)
    np.testing.assert_allclose(c.masses, 1 / len(codes), rtol=0, atol=4e-16)


@pytest.mark.parametrize("k", [2, 5, 60])
def test_gradient_and_hessian_are_derivatives(k, rng):
    law, codes = GaussianMixture2D(MIXTURE), MIXTURE.sample(k, rng)
    c, hessian = law.cells(codes), law.hessian(codes)
    slopes = differences(lambda x: law.cells(x).distortion, codes)
    np.testing.assert_allclose(slopes, c.gradient.ravel(), rtol=0, atol=1e-8)  # (1e-5)² and 1e-15 / 1e-5
    curvature = differences(lambda x: law.cells(x).gradient.ravel(), codes)
    close = 1e-6 * np.abs(curvature).max()  # edges of close codes bend the more
    np.testing.assert_allclose(hessian.toarray(), curvature, rtol=0, atol=close)
    np.testing.assert_array_equal(hessian.toarray(), hessian.toarray().T)
    np.testing.assert_allclose(c.gradient, 2 * c.masses[:, None] * (codes - c.means), rtol=0, atol=1e-14)


def test_a_sample_agrees(rng):
    codes, draws = MIXTURE.sample(12, rng), MIXTURE.sample(200_000, rng)
    c = GaussianMixture2D(MIXTURE).cells(codes)
    squared = np.square(draws[:, None] - codes).sum(2)
    labels, costs = squared.argmin(1), squared.min(1)
    assert abs(costs.mean() - c.distortion) < 4.5 * costs.std() / np.sqrt(2e5)
    assert (np.abs(np.bincount(labels, minlength=12) / 2e5 - c.masses) < 4.5 * np.sqrt(c.masses / 2e5)).all()
    for k in range(12):
        won = draws[labels == k]
        assert (np.abs(won.mean(0) - c.means[k]) < 4.5 * won.std(0) / np.sqrt(len(won))).all()


@pytest.mark.parametrize("k", [3, 60, 1000])
def test_whole_moments_are_the_law_s(k, rng):
    r"""Σ masses = 1, Σ w m = EX, and E|X|² = Σ w (2 m·x − |x|²) + D, to round-off of numbers near one."""
    law, codes = GaussianMixture2D(MIXTURE), MIXTURE.sample(k, rng)
    c = law.cells(codes)
    np.testing.assert_allclose(c.masses.sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(c.masses @ c.means, MIXTURE.mean, rtol=0, atol=1e-14)
    second = (c.masses * (2 * (c.means * codes).sum(1) - np.square(codes).sum(1))).sum() + c.distortion
    np.testing.assert_allclose(second, np.trace(MIXTURE.cov) + MIXTURE.mean @ MIXTURE.mean, rtol=1e-13)


def wild(rng):
    """A mixture of up to three components, wide, thin, tiny or far away, and codes on it, on a lattice, on a line or all over."""
    m, k = rng.integers(1, 4), int(rng.choice([1, 2, 3, 5, 20, 60]))
    turns, widths = rng.uniform(0, np.pi, m), 10 ** rng.uniform(-rng.choice([0, 1, 4]), 0, (m, 2))
    bases = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in turns])
    covs = np.einsum("mij,mj,mkj->mik", bases, widths**2, bases)
    law = qz.GaussianMixture(rng.dirichlet(np.ones(m)), rng.choice([0, 1, 30, 1000]) * rng.standard_normal((m, 2)), covs)
    codes = law.sample(k, rng)
    match rng.integers(5):
        case 0:
            codes = np.round(2 * codes) / 2
        case 1:
            codes = codes[:1] + rng.standard_normal((k, 1)) * np.array([1.0, rng.choice([0.0, 0.5, 1.3])])
        case 2:
            codes = codes * rng.choice([1e-3, 10, 1e4])
        case 3:
            codes = codes[rng.integers(k, size=k)] + rng.choice([0, 1e-15, 1e-9]) * rng.standard_normal((k, 2))
    return law, codes, float(widths.min())


@pytest.mark.parametrize("seed", range(4))
def test_wild_laws_and_codes(seed):
    """A code's rounding moves bisectors by eps |x|, and masses by no more than that over the least width."""
    rng = np.random.default_rng([5, seed])
    for _ in range(60):
        law, codes, width = wild(rng)
        plane, size = GaussianMixture2D(law), np.trace(law.cov) + law.mean @ law.mean
        c, (moved, after) = plane.cells(codes), plane.relocate_empty_cells(codes)
        slack = 2.3e-16 * (50 + len(codes) + 8 * (np.abs(codes).max() + np.abs(law.means).max()) / width)
        assert (c.masses >= 0).all()
        assert abs(c.masses.sum() - 1) <= slack
        second = (c.masses * (2 * (c.means * codes).sum(1) - np.square(codes).sum(1))).sum() + c.distortion
        assert abs(second - size) <= slack * (size + (c.masses * np.square(codes).sum(1)).sum())
        assert np.isfinite(plane.hessian(codes).data).all()
        assert after.masses.all()
        assert after.distortion <= c.distortion * (1 + slack) + slack * size
        assert len(np.unique(moved, axis=0)) == len(codes)


@pytest.mark.parametrize("exponent", [-460, 460])
def test_scales_by_powers_of_two_change_no_digit(exponent, rng):
    factor, codes = 2.0**exponent, MIXTURE.sample(9, rng)
    scaled = qz.GaussianMixture(MIXTURE.weights, factor * MIXTURE.means, factor**2 * MIXTURE.covs)
    near, far = GaussianMixture2D(MIXTURE), GaussianMixture2D(scaled)
    a, b = near.cells(codes), far.cells(factor * codes)
    assert np.array_equal(a.masses, b.masses)
    assert a.distortion * factor**2 == b.distortion
    assert a.stationarity == b.stationarity
    assert np.array_equal(a.means * factor, b.means)
    assert np.array_equal(near.hessian(codes).toarray(), far.hessian(factor * codes).toarray())


def test_far_from_the_origin(rng):
    """At a distance of 1e8 standard deviations codes hold 1e-8 of one: distortion moves by its gradient times that."""
    shift, codes = np.array([1e8, -3e7]), ring(5, 1.2)
    far = qz.Gaussian(shift, np.eye(2))
    here, there = GaussianMixture2D(STANDARD).cells(codes), GaussianMixture2D(far).cells(codes + shift)
    np.testing.assert_allclose(there.distortion, here.distortion, rtol=0, atol=1e-8 * np.abs(here.gradient).sum())


class TestOccupied:
    def test_codes_of_nonempty_cells_stay(self, rng):
        codes = MIXTURE.sample(20, rng)
        moved, c = GaussianMixture2D(MIXTURE).relocate_empty_cells(codes)
        assert moved is codes
        assert c.masses.all()

    @pytest.mark.parametrize("k", [2, 7, 60])
    def test_equal_codes_part(self, k):
        law, codes = GaussianMixture2D(MIXTURE), np.full((k, 2), 0.25)
        before = law.cells(codes)
        _, c = law.relocate_empty_cells(codes)
        assert before.masses[0] == pytest.approx(1)
        assert not before.masses[1:].any()
        assert np.array_equal(before.means[1:], codes[1:])
        assert c.masses.all()
        assert c.distortion < 0.7 * before.distortion

    def test_codes_too_far_out_come_back(self, rng):
        """At 100 standard deviations a cell's mass underflows; its code moves, the others do not."""
        law, codes = GaussianMixture2D(STANDARD), np.concatenate([rng.standard_normal((10, 2)), ring(5, 100.0)])
        before = law.cells(codes)
        assert (before.masses[10:] == 0).all()
        moved, c = law.relocate_empty_cells(codes)
        assert np.array_equal(moved[:10], codes[:10])
        assert c.masses.all()
        assert c.distortion < before.distortion

    def test_all_codes_far_away(self):
        codes = np.array([[1e6, 0.0], [1e6, 1.0], [1e6, 0.0]])
        law = GaussianMixture2D(STANDARD)
        _, c = law.relocate_empty_cells(codes)
        assert c.masses.all()
        assert c.distortion <= law.cells(codes).distortion
