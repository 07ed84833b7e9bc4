"""Paths of diffusions along quantized Brownian paths: closed forms of Doss' equation, order of the scheme, refusals."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad

import quantization as qz

TIMES = np.array([0.0, 0.13, 0.5, 0.77, 2.0])
EPS = float(np.finfo(float).eps)


def stock(mu=0.05, sigma=0.4, start=1.0):
    return qz.Diffusion(start, lambda t, x: mu * x, lambda t, x: sigma * x, volatility_slope=lambda t, x: sigma + 0 * x)


def exact(grid, mu=0.05, sigma=0.4, start=1.0):
    return start * np.exp((mu - sigma**2 / 2) * TIMES + sigma * grid.driver.paths(TIMES))


def test_a_geometric_brownian_motion_is_the_exponential_of_its_noise():
    grid = qz.diffusion_grid(stock(), 100, horizon=2.0)
    found, expected = grid.paths(TIMES), exact(grid)
    assert found.shape == (len(grid), 5)
    assert (found[:, 0] == 1.0).all()
    np.testing.assert_allclose(found, expected, atol=3 * grid.step_error(TIMES))
    assert grid.step_error(TIMES) < 1e-7
    np.testing.assert_array_equal(grid.weights, grid.driver.weights)


def test_the_scheme_is_of_fourth_order():
    errors = [
        np.abs(grid.paths(TIMES) - exact(grid)).max()
        for grid in (qz.diffusion_grid(stock(), 30, horizon=2.0, steps=k) for k in (20, 40, 80))
    ]
    assert all(12 < coarse / fine < 20 for coarse, fine in itertools.pairwise(errors))  # 16 in the limit


def test_additive_noise_is_filtered_linearly():
    """dX = −θ X dt + s dW: x(t) = x₀ e^{−θt} + s χ(t) − s θ ∫ e^{−θ(t−u)} χ(u) du, whatever the path."""
    theta, s = 1.5, 0.7
    model = qz.Diffusion(0.3, lambda t, x: -theta * x, lambda t, x: s + 0 * x, volatility_slope=lambda t, x: 0 * x)
    grid = qz.diffusion_grid(model, 10, steps=400)
    for k, found in enumerate(grid.paths(np.array([0.4, 1.0]))):
        for time, x in zip((0.4, 1.0), found, strict=True):
            path = lambda u, k=k: grid.driver.paths(np.array([u]), np.array([k]))[0, 0]  # noqa: E731
            memory, _ = quad(lambda u, time=time, path=path: np.exp(-theta * (time - u)) * path(u), 0, time, epsabs=1e-12)
            assert x == pytest.approx(0.3 * np.exp(-theta * time) + s * path(time) - s * theta * memory, abs=1e-8)


def test_coefficients_may_change_in_time():
    """dX = t dt + cos(t) dW with slope 0: x = x₀ + t²/2 + ∫ cos dχ, by parts cos(t) χ(t) + ∫ sin χ."""
    model = qz.Diffusion(1.0, lambda t, x: t + 0 * x, lambda t, x: np.cos(t) + 0 * x, volatility_slope=lambda t, x: 0 * x)
    grid = qz.diffusion_grid(model, 10, steps=400)
    for k, x in enumerate(grid.paths(np.array([1.0]))[:, 0]):
        path = lambda u, k=k: grid.driver.paths(np.array([u]), np.array([k]))[0, 0]  # noqa: E731
        memory, _ = quad(lambda u, path=path: np.sin(u) * path(u), 0, 1, epsabs=1e-12)
        assert x == pytest.approx(1.5 + np.cos(1.0) * path(1.0) + memory, abs=1e-8)


def test_expectations_of_convex_functions_are_below_and_come_near():
    """The noise's quantizer is stationary, so E exp(σ Ŵ) ≤ E exp(σ W); what is missing is about ½σ² E X (T − Var Ŵ_T)."""
    means = [float(qz.diffusion_grid(stock(), n).expect(lambda x: x[:, 0], np.array([1.0]))) for n in (10, 1000)]
    truth = np.exp(0.05)
    assert means[0] < means[1] < truth
    grid = qz.diffusion_grid(stock(), 1000)
    spread = float(grid.weights @ np.square(grid.driver.paths(np.array([1.0]))[:, 0]))
    assert truth - means[1] < 0.5 * 0.4**2 * truth * (1 - spread) * 1.5


def test_some_paths_and_times_in_any_order():
    grid = qz.diffusion_grid(stock(), 20)
    whole = grid.paths(np.array([0.2, 0.9]))
    turned = grid.paths(np.array([0.9, 0.2]), np.array([3, 1]))
    np.testing.assert_array_equal(turned, whole[[3, 1]][:, ::-1])
    shape = grid.expect(lambda x: np.stack([x[:, 0], x[:, 0] ** 2], 1), np.array([1.0])).shape
    assert shape == (2,)


def test_what_does_not_fit_is_refused():
    plain = qz.Diffusion(1.0, lambda t, x: x, lambda t, x: x)
    with pytest.raises(ValueError, match="needs volatility_slope="):
        qz.diffusion_grid(plain, 10)
    planar = qz.Diffusion([1.0, 2.0], lambda t, x: x, lambda t, x: x, volatility_slope=lambda t, x: x)
    with pytest.raises(ValueError, match="one dimension; received 2"):
        qz.diffusion_grid(planar, 10)
    two = qz.Diffusion(1.0, lambda t, x: x, lambda t, x: np.ones((*x.shape, 2)), volatility_slope=lambda t, x: 0 * x)
    with pytest.raises(ValueError, match="one Brownian motion; its volatility has 2"):
        qz.diffusion_grid(two, 10)
    with pytest.raises(ValueError, match=r"times must be an array \(n,\) in \[0, 1\]"):
        qz.diffusion_grid(stock(), 10).paths(np.array([1.5]))
    with pytest.raises(ValueError, match="one value per path"):
        qz.diffusion_grid(stock(), 10).expect(lambda x: 1.0, np.array([1.0]))
    explosive = qz.Diffusion(1.0, lambda t, x: x**3 * 100, lambda t, x: x, volatility_slope=lambda t, x: 1 + 0 * x)
    with pytest.raises(ValueError, match="drift must be finite"), np.errstate(over="ignore", invalid="ignore"):
        qz.diffusion_grid(explosive, 10).paths(np.array([1.0]))
