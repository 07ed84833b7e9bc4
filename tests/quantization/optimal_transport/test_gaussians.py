"""Bures' closed form against spectra, singular covariances, lower bounds that hold, and orders without a closed form."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.optimal_transport.gaussians import as_gaussian, bures, factor, gaussian_cost


def covariance(rng: np.random.Generator, d: int, rank: int | None = None) -> np.ndarray:
    x = rng.normal(size=(d, d if rank is None else rank))
    return x @ x.T


def of_spectra(a: np.ndarray, b: np.ndarray) -> float:
    """tr A + tr B − 2 Σ √(eigenvalues of A B)."""
    return float(np.trace(a) + np.trace(b) - 2 * np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum())


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_bures_is_that_of_the_spectra(d):
    rng = np.random.default_rng(d)
    a, b, shift = covariance(rng, d), covariance(rng, d), rng.normal(size=d)
    cost, gap = gaussian_cost(qz.Gaussian(np.zeros(d), a), qz.Gaussian(shift, b), 2.0)
    expected = of_spectra(a, b) + shift @ shift
    conditioning = np.linalg.cond(a @ b) ** 0.5  # of the roots of the smallest eigenvalues
    assert cost == pytest.approx(expected, abs=64 * d * 2.0**-53 * conditioning * (np.trace(a) + np.trace(b)))
    assert 0 <= gap <= 64 * d * 2.0**-53 * (np.trace(a) + np.trace(b))


def test_singular_covariances():
    rng = np.random.default_rng(0)
    v, w = rng.normal(size=(2, 6))
    cost, gap = bures(factor(np.outer(v, v)), factor(np.outer(w, w)))  # lines: ±v goes to ±w
    assert cost == pytest.approx(v @ v + w @ w - 2 * abs(v @ w), abs=1e-14)
    assert gap <= 1e-14
    assert bures(factor(np.zeros((3, 3))), factor(np.diag([1.0, 4.0, 0.0])))[0] == pytest.approx(5, abs=1e-14)
    flat, full = covariance(rng, 5, 2), covariance(rng, 5)
    basis = np.linalg.qr(factor(flat)[:, :2])[0]  # on whose span alone the flat one lies
    inside = basis.T @ full @ basis
    expected = of_spectra(basis.T @ flat @ basis, inside) + np.trace(full) - np.trace(inside)
    assert bures(factor(flat), factor(full))[0] == pytest.approx(expected, rel=1e-12)


def test_near_covariances_do_not_cancel():
    d, t = 4, 1e-7
    a = covariance(np.random.default_rng(1), d)
    cost, _ = bures(factor(a), factor(a * (1 + t) ** 2))  # x ↦ (1 + t) x
    assert cost == pytest.approx(t * t * np.trace(a), rel=1e-8)


def test_factors_keep_units_and_ranks():
    rng = np.random.default_rng(2)
    units = 10.0 ** np.array([-100.0, 0, 3, 90])
    cov = covariance(rng, 4, 2) * np.outer(units, units)
    f = factor(cov)
    assert (np.abs(f).sum(0) > 0).sum() == 2
    assert np.abs((f @ f.T - cov) / np.outer(units, units)).max() <= 1e-14


def test_other_orders_need_equal_covariances():
    cov = covariance(np.random.default_rng(3), 3)
    mu, nu = qz.Gaussian(np.zeros(3), cov), qz.Gaussian([3.0, 4.0, 0.0], cov)
    assert gaussian_cost(mu, nu, 3.0) == (125.0, 0.0)
    with pytest.raises(ValueError, match="r = 2 only"):
        gaussian_cost(mu, qz.Gaussian(np.zeros(3), np.eye(3)), 1.0)


def test_gaussians_are_known_in_every_form():
    cov = [[2.0, 1.0], [1.0, 1.0]]
    for law in (
        stats.multivariate_normal([1.0, 2.0], cov),
        qz.GaussianMixture([0.0, 1.0], [[5.0, 5.0], [1.0, 2.0]], [np.eye(2), cov]),
        qz.Gaussian([1.0, 2.0], cov),
    ):
        found = as_gaussian(law)
        assert found is not None
        assert found.mean.tolist() == [1, 2]
        np.testing.assert_allclose(found.cov, cov, rtol=1e-15)
    assert as_gaussian(qz.GaussianMixture([0.5, 0.5], [[0.0], [1.0]], np.ones((2, 1, 1)))) is None
    assert as_gaussian(np.zeros((3, 2))) is None


def test_transport_of_gaussians():
    rng = np.random.default_rng(4)
    a, b = covariance(rng, 3), covariance(rng, 3, 1)
    mu, nu = qz.Gaussian(np.zeros(3), a), stats.multivariate_normal([1.0, 0.0, 2.0], b, allow_singular=True)
    coupling = qz.transport(mu, nu)
    assert coupling.status is qz.Status.CONVERGED
    assert coupling.cost == pytest.approx(of_spectra(a, b) + 5, rel=1e-6)  # roots of what rounding leaves of zero eigenvalues
    assert 0 <= coupling.gap <= 1e-12
    assert qz.wasserstein(nu, mu) == pytest.approx(coupling.cost**0.5, rel=1e-13)
    assert qz.wasserstein(mu, mu) == 0
    assert qz.wasserstein(mu, qz.Gaussian([3.0, 4.0, 0.0], a), r=5) == pytest.approx(5, rel=1e-14)
    x, y = mu.sample(1500, rng), nu.rvs(1500, random_state=rng)
    assert qz.wasserstein(x, y) == pytest.approx(coupling.cost**0.5, rel=0.1)
    with pytest.raises(ValueError, match="no plan"):
        _ = coupling.plan
    with pytest.raises(ValueError, match="equal covariances"):
        qz.transport(mu, nu, r=3)
    with pytest.raises(ValueError, match="same dimension"):
        qz.wasserstein(mu, qz.Gaussian([0.0], [[1.0]]))


def test_gaussians_on_the_line_have_every_order():
    mu, nu = qz.Gaussian([0.0], [[1.0]]), qz.Gaussian([3.0], [[25.0]])
    assert qz.transport(mu, nu).cost == 25
    assert qz.wasserstein(mu, nu, r=1) == pytest.approx(  # E|3 + 4 Z|
        stats.foldnorm(0.75, scale=4).mean(), rel=1e-9
    )
