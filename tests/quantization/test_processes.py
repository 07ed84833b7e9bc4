"""Gaussian processes: eigenvalues and functions against the operator itself, Galerkin's against closed forms."""

import numpy as np
import pytest

import quantization as qz

CLOSED = {
    "motion": qz.BrownianMotion(2.0),
    "bridge": qz.BrownianBridge(0.5),
    "reverting": qz.OrnsteinUhlenbeck(1.5, 0.7, 2.0, start=3.0),
    "nearly Brownian": qz.OrnsteinUhlenbeck(1e-9),
    "stationary": qz.OrnsteinUhlenbeck(1.5, 0.7, 2.0, start="stationary"),
    "fast": qz.OrnsteinUhlenbeck(40.0, start="stationary"),
}
X, W = np.polynomial.legendre.leggauss(300)


@pytest.mark.parametrize("name", CLOSED)
def test_functions_are_orthonormal_and_their_coordinates_uncorrelated(name):
    """∫∫ e_i K e_j = λ_i δ_ij; Gauss' rule errs by the kernel's kink, whose slope jumps by σ², some σ² T²/n²."""
    process = CLOSED[name]
    times, w = process.horizon * (1 + X) / 2, process.horizon * W / 2
    expansion = process.karhunen_loeve(6)
    weighted = expansion.functions(times) * w[:, None]
    np.testing.assert_allclose(weighted.T @ expansion.functions(times), np.eye(6), atol=1e-12)
    variances = weighted.T @ process.covariance(times[:, None], times) @ weighted
    kink = (getattr(process, "volatility", 1.0) * process.horizon / len(X)) ** 2
    np.testing.assert_allclose(variances, np.diag(expansion.eigenvalues), atol=kink)
    assert expansion.trace == pytest.approx(float(w @ process.covariance(times, times)), rel=1e-10)


@pytest.mark.parametrize("name", CLOSED)
def test_galerkin_finds_the_closed_form(name):
    process = CLOSED[name]
    closed, found = (p.karhunen_loeve(5) for p in (process, qz.GaussianProcess(process.covariance, process.horizon)))
    np.testing.assert_allclose(found.eigenvalues, closed.eigenvalues, atol=found.errors.max() + 1e-11 * closed.trace)
    assert found.trace == pytest.approx(closed.trace, rel=1e-10)
    times = np.linspace(0, process.horizon, 11)
    np.testing.assert_allclose(np.abs(found.functions(times)), np.abs(closed.functions(times)), atol=1e-6)


def test_what_functions_leave_of_the_trace():
    """No p functions hold more of Brownian motion than its first p do, 1/2 less the sum over i > p of 1/π²(i - 1/2)²."""
    process = qz.BrownianMotion()
    found = qz.GaussianProcess(process.covariance).karhunen_loeve(4)
    least = 0.5 - (1 / (np.pi * (np.arange(48) + 0.5)) ** 2).sum()
    assert least <= found.unresolved <= 3 * least
    assert qz.GaussianProcess(lambda s, t: np.exp(-np.square(s - t))).karhunen_loeve(4).unresolved == pytest.approx(0, abs=1e-12)
    assert process.karhunen_loeve(4).unresolved == 0


@pytest.mark.parametrize("hurst", [0.05, 0.1, 0.3, 0.7, 0.95])
def test_fractional_brownian_motion(hurst):
    """Its trace is 1/(2H + 1); more polynomials raise eigenvalues, by no more than is said, and never beyond the trace."""
    process = qz.FractionalBrownianMotion(hurst)
    few, many = process.karhunen_loeve(4), process.karhunen_loeve(32)
    assert few.trace == pytest.approx(1 / (2 * hurst + 1), rel=1e-12)
    gain = many.eigenvalues[:4] - few.eigenvalues
    assert (gain >= -1e-12).all()
    assert (gain <= few.errors + 1e-12).all()
    assert many.eigenvalues.sum() <= many.trace


def test_eigenvalues_scale_with_the_horizon():
    """X_{ct} has the law of c^H X_t, so that those on [0, c] are c^{1 + 2H} times as large."""
    one, three = (qz.FractionalBrownianMotion(0.3, t).karhunen_loeve(3).eigenvalues for t in (1.0, 3.0))
    np.testing.assert_allclose(three, 3**1.6 * one, rtol=1e-10)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (lambda s, t: s - t, "symmetric"),
        (lambda s, t: -np.minimum(s, t), "positive semidefinite"),
        (lambda s, t: np.cos(9 * (s + t)), "positive semidefinite"),
        (lambda s, t: 0 * s, "positive semidefinite"),
        (lambda s, t: 1.0, "that shape"),
        (lambda s, t: np.where(s * t > 0.5, np.nan, s * t), "not all finite"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, message):
    with pytest.raises(ValueError, match=message):
        qz.GaussianProcess(covariance).karhunen_loeve(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: qz.BrownianMotion(0.0),
        lambda: qz.BrownianBridge(-1.0),
        lambda: qz.OrnsteinUhlenbeck(0.0),
        lambda: qz.OrnsteinUhlenbeck(1.0, volatility=np.inf),
        lambda: qz.OrnsteinUhlenbeck(1.0, start="somewhere"),  # pyright: ignore[reportArgumentType]
        lambda: qz.FractionalBrownianMotion(1.0),
        lambda: qz.GaussianProcess(3.0),  # pyright: ignore[reportArgumentType]
        lambda: qz.BrownianMotion().karhunen_loeve(0),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="must"):
        make()
