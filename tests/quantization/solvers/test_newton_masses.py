"""Newton's method for prescribed masses in the plane: closed forms, certificates, far starts, and what is refused."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D

MIXTURE = qz.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [3.0, 1.0]], [0.5 * np.eye(2), [[2.0, 1.0], [1.0, 1.0]]])


def received(solution, law):
    """The masses and the cost of the cells of a solution, again from its codes and prices."""
    plane = GaussianMixture2D(law)
    _, moments, _ = plane.integrals(np.ascontiguousarray(solution.points / plane.unit), solution.prices / plane.unit**2)
    return moments[:, 0], (moments[:, 3] + moments[:, 5]).sum() * plane.unit**2


@pytest.mark.parametrize("w", [0.5, 0.3, 1e-3])
def test_two_codes_of_a_normal_law_are_cut_by_a_line(w):
    """Half-planes of masses w and 1 − w at c = Φ⁻¹(w): means φ(c)/w and φ(c)/(1 − w) away, D = 2 − φ(c)² (1/w + 1/(1 − w))."""
    solution = qz.quantize(qz.Gaussian([0.0, 0.0], np.eye(2)), 2, masses=[w, 1 - w], rng=0).require()
    height = stats.norm.pdf(stats.norm.ppf(w))
    assert solution.distortion == pytest.approx(2 - height**2 * (1 / w + 1 / (1 - w)), abs=1e-12)
    np.testing.assert_allclose(np.hypot(*solution.points.T), [height / w, height / (1 - w)], rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 12, 60])
def test_masses_cost_and_certificate(k, rng):
    masses = rng.dirichlet(np.full(k, 3.0))
    solution = qz.quantize(MIXTURE, k, masses=masses, rng=1).require()
    np.testing.assert_array_equal(solution.weights, masses)
    found, cost = received(solution, MIXTURE)
    assert np.abs(found - masses).max() <= 1e-9 * masses.min()
    assert solution.distortion == pytest.approx(cost, rel=1e-12)
    assert solution.masses_gap <= 1e-13 * cost
    assert solution.stationarity <= 1e-10
    assert solution.distortion >= qz.distortion(MIXTURE, solution.points).value * (1 - 1e-12)  # D_2(x) ≤ W_2²(μ, ν)
    x = MIXTURE.sample(4000, rng)
    shares = np.bincount(solution.predict(x), minlength=k) / 4000
    assert np.abs(shares - masses).max() <= 6 * (masses.max() / 4000) ** 0.5
    costs = np.square(x[:, None] - solution.points).sum(2)
    dual = (costs - solution.prices).min(1) + masses @ solution.prices  # its mean is W_2²
    assert dual.mean() == pytest.approx(solution.distortion, abs=6 * dual.std() / 4000**0.5)


def test_uniform_masses_cost_more_than_free_ones():
    free, even = (qz.quantize(MIXTURE, 10, masses=masses, rng=0) for masses in ("free", "uniform"))
    assert even.weights.tolist() == [0.1] * 10
    assert even.distortion > 1.02 * free.distortion


def test_starts_from_anywhere():
    normal = qz.Gaussian([0.0, 0.0], np.eye(2))
    far = 1000 + np.random.default_rng(0).normal(size=(5, 2))
    for init in (far, np.full((5, 2), 7.0), 1e-9 * far):
        assert qz.quantize(normal, 5, masses="uniform", init=init, rng=0).converged


def test_units_do_not_matter():
    small = qz.Gaussian([1e3, 0.0], 1e-6 * np.eye(2))
    assert qz.quantize(small, 4, masses="uniform", rng=0).distortion == pytest.approx(
        1e-6 * qz.quantize(qz.Gaussian([0.0, 0.0], np.eye(2)), 4, masses="uniform", rng=0).distortion, rel=1e-6
    )


def test_refuses_what_it_cannot():
    normal = qz.Gaussian([0.0, 0.0], np.eye(2))
    with pytest.raises(ValueError, match="r = 2"):
        qz.quantize(normal, 3, r=3, masses="uniform", solver=qz.Newton(), rng=0)
    with pytest.raises(ValueError, match=r"takes masses for Gaussians and their mixtures in the plane; .* dimension 3"):
        qz.quantize(qz.Gaussian(np.zeros(3), np.eye(3)), 3, masses="uniform", solver=qz.Newton(), rng=0)
    with pytest.raises(ValueError, match="leaves masses free"):
        qz.quantize(normal, 3, masses="uniform", solver=qz.Lloyd(), rng=0)
