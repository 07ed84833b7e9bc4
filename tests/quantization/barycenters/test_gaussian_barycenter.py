"""Barycenters of Gaussians: closed forms, the dual bound, and what their quantizers say."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.barycenters.gaussians import gaussian_barycenter
from quantization.optimal_transport.gaussians import gaussian_cost


def laws(rng: np.random.Generator, d: int, ranks: list[int]) -> list[qz.Gaussian]:
    roots = [rng.normal(size=(d, rank)) for rank in ranks]
    return [qz.Gaussian(rng.normal(size=d), root @ root.T) for root in roots]


def objective(measures: list[qz.Gaussian], mixing: np.ndarray, nu: qz.Gaussian) -> float:
    return float(sum(s * gaussian_cost(mu, nu, 2.0)[0] for s, mu in zip(mixing, measures, strict=True)))


def test_commuting_covariances_average_their_roots():
    rng = np.random.default_rng(0)
    basis, spectra, mixing = np.linalg.qr(rng.normal(size=(4, 4)))[0], rng.uniform(0.1, 3, (3, 4)), np.array([0.2, 0.3, 0.5])
    measures = [qz.Gaussian(np.zeros(4), (basis * s) @ basis.T) for s in spectra]
    nu, value, gap = gaussian_barycenter(measures, mixing)
    mean = mixing @ np.sqrt(spectra)
    np.testing.assert_allclose(nu.cov, (basis * mean**2) @ basis.T, atol=1e-12)
    assert value == pytest.approx(mixing @ np.square(np.sqrt(spectra) - mean).sum(1), rel=1e-11)
    assert gap <= 1e-12 * value


@pytest.mark.parametrize(("d", "ranks"), [(2, [2, 2, 2]), (5, [5, 1, 3]), (12, [12, 12])])
def test_no_other_gaussian_does_better_than_the_bound(d, ranks):
    rng = np.random.default_rng(d)
    measures, mixing = laws(rng, d, ranks), rng.dirichlet(np.ones(len(ranks)))
    nu, value, gap = gaussian_barycenter(measures, mixing)
    assert value == pytest.approx(objective(measures, mixing, nu), rel=1e-10)
    assert gap <= 1e-11 * value
    for size in (1e-1, 1e-3, 1e-5):
        move = np.eye(d) + size * rng.normal(size=(d, d))
        other = qz.Gaussian(nu.mean, move @ nu.cov @ move.T)
        assert objective(measures, mixing, other) >= value - gap - 1e-13 * value


def test_two_gaussians_meet_halfway():
    mu, nu = laws(np.random.default_rng(1), 3, [3, 3])
    _, value, _ = gaussian_barycenter([mu, nu], np.array([0.5, 0.5]))
    assert value == pytest.approx(gaussian_cost(mu, nu, 2.0)[0] / 4, rel=1e-10)  # λ(1 − λ) W²


def test_the_answer_lies_between_its_bounds():
    measures = [*laws(np.random.default_rng(2), 2, [2, 1]), stats.multivariate_normal([3.0, 0.0], [[2.0, -0.5], [-0.5, 0.4]])]
    mixing = [0.5, 0.2, 0.3]
    sol = qz.barycenter(measures, 12, mixing=mixing, rng=0).require()
    nu, value, gap = gaussian_barycenter([*measures[:2], qz.Gaussian([3.0, 0.0], [[2.0, -0.5], [-0.5, 0.4]])], np.array(mixing))
    d = qz.distortion(nu, sol.points).value
    assert sol.distortion == pytest.approx(value + d, rel=1e-12)
    assert sol.distortion_gap == pytest.approx(d + gap, rel=1e-9)
    rng, truth = np.random.default_rng(3), 0.0
    for mu, share in zip(measures, mixing, strict=True):  # F of the answer, on draws
        law = mu if isinstance(mu, qz.Gaussian) else qz.Gaussian(mu.mean, mu.cov)
        truth += share * qz.transport(law.sample(3000, rng), sol.measure).cost
    assert value * 0.95 < truth < sol.distortion * 1.05
    last = list(qz.iterate_barycenter(measures, 12, mixing=mixing, rng=0))[-1]
    assert last.distortion == sol.distortion


def test_far_gaussians_are_translations():
    cov = np.array([[2.0, 1.0], [1.0, 1.0]])
    measures = [qz.Gaussian([0.0, 0.0], cov), qz.Gaussian([1e6, 0.0], cov)]
    sol = qz.barycenter(measures, 5, rng=0)
    np.testing.assert_allclose(sol.weights @ sol.points, [5e5, 0.0], atol=1e-6)
    assert sol.distortion == pytest.approx(2.5e11, rel=1e-11)


def test_singular_ones_alone_are_drawn_from():
    measures = laws(np.random.default_rng(4), 2, [1, 1])
    assert qz.barycenter(measures, 4, draws=50, rng=0).distortion_gap == 0
