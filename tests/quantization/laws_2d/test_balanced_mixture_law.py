"""Gaussian mixtures in the plane with prescribed masses: cells, derivatives, certificates, and transport to points."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.laws_2d.balanced_mixture_law import BalancedMixture2D
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D

MIXTURE = qz.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [3.0, 1.0]], [0.5 * np.eye(2), [[2.0, 1.0], [1.0, 1.0]]])


def test_derivatives(rng):
    masses = rng.dirichlet(np.full(9, 2.0))
    law, codes = BalancedMixture2D(GaussianMixture2D(MIXTURE), masses), MIXTURE.sample(9, rng)
    move, step, c = rng.standard_normal((9, 2)), 1e-5, law.cells(codes)
    hessian = law.hessian(codes).toarray()
    after, before = law.cells(codes + step * move), law.cells(codes - step * move)
    assert (after.distortion - before.distortion) / (2 * step) == pytest.approx((c.gradient * move).sum(), abs=1e-8)
    np.testing.assert_allclose((after.gradient - before.gradient).ravel() / (2 * step), hessian @ move.ravel(), atol=1e-6)


def test_answers_do_not_depend_on_earlier_codes(rng):
    masses, one, other = np.full(12, 1 / 12), MIXTURE.sample(12, rng), MIXTURE.sample(12, rng)
    fresh, used = (BalancedMixture2D(GaussianMixture2D(MIXTURE), masses) for _ in range(2))
    used.cells(other)
    a, b = fresh.cells(one), used.cells(one)
    np.testing.assert_allclose(a.means, b.means, atol=1e-11)
    assert a.distortion == pytest.approx(b.distortion, rel=1e-12)


def test_transport_to_points_in_the_plane(rng):
    points = MIXTURE.sample(30, rng)
    points[7] = points[3]
    nu = qz.DiscreteMeasure.from_unnormalized(points, rng.random(30) * (rng.random(30) > 0.2))
    coupling = qz.transport(MIXTURE, nu)
    assert coupling.status is qz.Status.CONVERGED
    assert 0 <= coupling.gap <= 1e-12 * coupling.cost
    assert qz.wasserstein(nu, MIXTURE) == pytest.approx(coupling.cost**0.5, rel=1e-13)
    bounds = qz.semidiscrete(MIXTURE, nu, rng=0)
    assert bounds.dual.low <= coupling.cost * (1 + 1e-9)
    assert coupling.cost == pytest.approx(bounds.value, rel=0.05)
    solution = qz.quantize(MIXTURE, 8, rng=0)  # free masses: the distance to the codes with the masses of their cells
    assert qz.transport(MIXTURE, solution.measure).cost == pytest.approx(solution.distortion, rel=1e-12)
    assert qz.transport(stats.multivariate_normal([0.0, 0.0]), qz.DiscreteMeasure([[3.0, 4.0]])).cost == pytest.approx(
        27, rel=1e-13
    )


def test_cells_have_the_masses(rng):
    for k in (1, 2, 25, 150):
        masses, codes = rng.dirichlet(np.full(k, 2.0)), MIXTURE.sample(k, rng)
        law = BalancedMixture2D(GaussianMixture2D(MIXTURE), masses)
        c, (prices, gap), unit = law.cells(codes), law.certificate(codes), law.law.unit
        np.testing.assert_array_equal(c.masses, masses)
        _, moments, _ = law.law.integrals(np.ascontiguousarray(codes / unit), prices / unit**2)
        assert np.abs(moments[:, 0] - masses).max() <= max(1e-9 * masses.min(), 1e-14)
        assert c.distortion == pytest.approx((moments[:, 3] + moments[:, 5]).sum() * unit**2, rel=1e-12)
        np.testing.assert_allclose(masses @ c.means, MIXTURE.mean, atol=1e-12)
        assert gap <= 1e-13 * c.distortion


def test_far_codes_have_cells(rng):
    far, law = 1000 + rng.normal(size=(5, 2)), BalancedMixture2D(GaussianMixture2D(MIXTURE), np.full(5, 0.2))
    assert np.isfinite(law.cells(far).distortion)
