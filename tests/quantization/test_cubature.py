"""What a quantizer is for: Σ w_k f(x_k) near E f(X), within bounds that the answer itself carries."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz

# f on R^d, its expectation under N(0, I_d), and the Lipschitz constant of its gradient.
SMOOTH = {
    "cosine": (lambda a: lambda x: np.cos(x @ a), lambda a: np.exp(-a @ a / 2), lambda a: a @ a),
    "soft maximum": (
        lambda a: lambda x: np.logaddexp(0, x @ a),
        lambda a: stats.norm(0, np.sqrt(a @ a)).expect(lambda t: np.logaddexp(0, t)),
        lambda a: a @ a / 4,
    ),
    "bump": (lambda a: lambda x: np.exp(-np.square(x).sum(1) / 2), lambda a: 2 ** (-len(a) / 2), lambda a: 1.0),
}


def second_order(solution, gradient, lipschitz):
    r"""A bound on |E f − Σ w_k f(x_k)|: ½ L D, and for what is missing to stationarity √(Σ w_k |∇f(x_k)|²) · residual · √D.

    By Taylor's formula in each cell, E f − Σ w f = Σ w_k ∇f(x_k)·(m_k − x_k) + R with |R| ≤ ½ L D.
    """
    slope = np.sqrt(solution.measure.expect(lambda x: np.square(gradient(x)).sum(1)))
    return lipschitz * solution.distortion / 2 + slope * solution.stationarity * np.sqrt(solution.distortion)


def central_differences(f, x, h=1e-6):
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.shape[1])], axis=1)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("k", [2, 10, 50])
def test_smooth_functions_to_second_order_on_the_line(name, k):
    a = np.array([1.3])
    f, truth, lipschitz = (make(a) for make in SMOOTH[name])
    solution = qz.quantize(qz.Gaussian([0.0], [[1.0]]), k, rng=0).require()
    error = abs(solution.measure.expect(f) - truth)
    assert error <= lipschitz * solution.distortion / 2 + 1e-9  # stationary to 1e-10, slopes below 1.3, √D < 1
    assert error > 1e-4 * lipschitz * solution.distortion  # the order is right: a wrong weight would show


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("d", [2, 4])
def test_smooth_functions_to_second_order_on_samples(name, d, rng):
    x, a = rng.standard_normal((3000, d)), rng.normal(size=d)
    f, _, lipschitz = (make(a) for make in SMOOTH[name])
    for steps in (2, 300):  # far from stationary, and there
        solution = qz.quantize(x, 20, max_iter=steps, rng=0)
        error = abs(solution.measure.expect(f) - f(x).mean())
        assert error <= second_order(solution, lambda y: central_differences(f, y), lipschitz) + 1e-9


def test_lipschitz_functions_to_first_order(rng):
    x = rng.standard_normal((600, 3))
    mu, nu = qz.DiscreteMeasure(x), qz.quantize(x, 15, rng=0).measure
    first = qz.wasserstein(mu, nu, r=1)
    for _ in range(20):
        a = rng.normal(size=3)
        a /= np.linalg.norm(a)
        means = [measure.expect(lambda y, a=a: np.abs(y @ a - 0.3)) for measure in (mu, nu)]  # of Lipschitz constant 1
        assert abs(means[0] - means[1]) <= first + 1e-12
    assert first == pytest.approx(qz.distortion(x, nu.points, r=1, rng=0).value, rel=1e-9)  # W_1 to one's own projection is D_1
    assert first <= np.sqrt(qz.distortion(x, nu.points, rng=0).value) + 1e-12


def test_convex_functions_are_never_overestimated(rng):
    """A stationary quantizer is E[X | its cell], so Jensen's inequality holds in every cell."""
    x = rng.standard_normal((2000, 2))
    solution = qz.quantize(x, 12, solver=qz.Lloyd(rtol=0), max_iter=1000, rng=0)
    assert solution.stationarity < 1e-12
    for f in (lambda y: np.exp(y[:, 0]), lambda y: np.abs(y).max(1), lambda y: np.square(y).sum(1)):
        assert solution.measure.expect(f) <= f(x).mean() + 1e-12
    gap = np.square(x).sum(1).mean() - solution.measure.expect(lambda y: np.square(y).sum(1))
    assert gap == pytest.approx(solution.distortion, rel=1e-10)  # E|X|² = Σ w_k |x_k|² + D


def test_values_of_any_shape(rng):
    mu = qz.DiscreteMeasure.from_unnormalized(rng.normal(size=(9, 2)), rng.random(9))
    moments = mu.expect(lambda x: x[:, :, None] * x[:, None, :])
    np.testing.assert_allclose(moments, np.einsum("i,ij,ik->jk", mu.weights, mu.points, mu.points), rtol=1e-12)
