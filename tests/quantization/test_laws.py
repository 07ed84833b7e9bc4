import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import quantization as qz

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=25, derandomize=True)


def mixture(seed, m=3, d=2):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(m, d, d))
    return qz.GaussianMixture(
        rng.dirichlet(np.ones(m)), rng.normal(size=(m, d)), roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(d)
    )


@everyday
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3))
def test_density_is_scipys(seed, m, d):
    law, x = mixture(seed, m, d), np.random.default_rng(seed).normal(size=(8, d))
    parts = [
        w * stats.multivariate_normal(mean, cov).pdf(x) for w, mean, cov in zip(law.weights, law.means, law.covs, strict=True)
    ]
    # Condition numbers stay below 1e4 here (0.1 on the diagonal), and errors are of that many units of round-off.
    np.testing.assert_allclose(np.exp(law.log_density(x)), sum(np.reshape(p, 8) for p in parts), rtol=1e4 * 50 * EPS)


@everyday
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_score_is_the_gradient_of_the_log_density(seed, d):
    law, x, h = mixture(seed, 3, d), np.random.default_rng(seed).normal(size=(5, d)), 1e-5
    central = np.stack([(law.log_density(x + h * e) - law.log_density(x - h * e)) / (2 * h) for e in np.eye(d)], axis=1)
    # Third derivatives of a mixture are at most about (1 + |x - m|/s)³/s³ with s² ≥ 0.1: h² times 1e5; round-off 1e-13/h.
    np.testing.assert_allclose(law.score(x), central, atol=1e5 * h**2 + 1e-13 / h, rtol=1e-6)


def test_moments():
    law = qz.GaussianMixture([0.25, 0.75], [[0.0, 0.0], [4.0, 0.0]], [np.eye(2), 2 * np.eye(2)])
    np.testing.assert_allclose(law.mean, [3, 0])
    np.testing.assert_allclose(law.cov, [[1.75 + 3, 0], [0, 1.75]])
    gaussian = qz.Gaussian([1.0], [[4.0]])
    assert gaussian.dim == 1
    np.testing.assert_array_equal(gaussian.mean, [1])
    np.testing.assert_array_equal(gaussian.cov, [[4]])
    np.testing.assert_allclose(gaussian.log_density([[0.0], [3.0]]), stats.norm(1, 2).logpdf([0, 3]), rtol=8 * EPS)
    np.testing.assert_allclose(gaussian.score([[0.0], [3.0]]), [[0.25], [-0.5]], rtol=8 * EPS)


def test_samples_have_the_moments(rng):
    law, n = mixture(7), 40_000
    draws = law.sample(n, rng)
    assert draws.shape == (n, 2)
    slack = 6 * np.sqrt(np.diag(law.cov) / n)  # six standard errors
    assert (np.abs(draws.mean(0) - law.mean) < slack).all()
    products = (draws - law.mean)[:, :, None] * (draws - law.mean)[:, None, :]
    assert (np.abs(products.mean(0) - law.cov) < 6 * products.std(0) / np.sqrt(n)).all()


def test_singular_covariances_sample_but_have_no_density(rng):
    v = np.array([[1.0, np.sqrt(2), 0.3]])
    law = qz.Gaussian([1.0, 0.0, 0.0], v.T @ v)
    draws = law.sample(100, rng) - [1, 0, 0]
    np.testing.assert_allclose(draws, draws[:, :1] * v, atol=1e-7)  # roots of a spectrum that is zero to round-off: √ε
    for f in (law.log_density, law.score):
        with pytest.raises(ValueError, match="covs\\[0\\] is singular"):
            f(np.zeros((1, 3)))
    np.testing.assert_array_equal(qz.Gaussian([2.0], [[0.0]]).sample(3, rng), 2 * np.ones((3, 1)))
    assert np.isfinite(qz.Gaussian([0.0, 0.0], np.diag([1.0, 1e-30])).log_density(np.zeros((1, 2)))).all()


def test_components_of_no_weight_are_left_out(rng):
    law = qz.GaussianMixture([1.0, 0.0], [[0.0], [100.0]], np.ones((2, 1, 1)))
    assert law.sample(1000, rng).max() < 50
    np.testing.assert_allclose(law.log_density([[0.5]]), stats.norm.logpdf([0.5]))
    np.testing.assert_allclose(law.score([[0.5]]), [[-0.5]])


@pytest.mark.parametrize(
    ("weights", "means", "covs", "hint"),
    [
        ([1.0], [[0.0]], [[1.0]], "covs \\(m, d, d\\)"),
        ([0.5, 0.5], [[0.0]], [[[1.0]]], "received \\(2,\\)"),
        ([1.0], [0.0], [[[1.0]]], "means \\(m, d\\)"),
        ([0.7, 0.7], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "sum to 1"),
        ([-0.5, 1.5], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "nonnegative"),
        ([1.0], [[np.nan]], [[[1.0]]], "finite"),
        ([1.0], [[0.0]], [[[-1.0]]], "covs\\[0\\] must be symmetric positive semidefinite"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]], "asymmetry 0.5"),
    ],
)
def test_refuses_bad_mixtures(weights, means, covs, hint):
    with pytest.raises(ValueError, match=hint):
        qz.GaussianMixture(weights, means, covs)


def test_refuses_bad_gaussians_and_points():
    with pytest.raises(ValueError, match="Gaussian\\(\\[m\\], \\[\\[v\\]\\]\\)"):
        qz.Gaussian(0.0, 1.0)
    with pytest.raises(ValueError, match="shape \\(n, 2\\)"):
        qz.Gaussian([0.0, 0.0], np.eye(2)).score([0.0, 0.0])


def test_anything_with_sample_is_a_law():
    class Circle:
        def sample(self, n, rng):
            angle = rng.uniform(0, 2 * np.pi, n)
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    assert isinstance(Circle(), qz.Law)
    sol = qz.quantize(Circle(), 1, max_iter=100, rng=0)
    assert abs(sol.distortion - 1) < 5 * sol.distortion_se + 0.01
    for shape in ((5,), (5, 2)):
        bad = type("Bad", (), {"sample": lambda self, n, rng, shape=shape: np.zeros(shape)})
        with pytest.raises(ValueError, match=r"law.sample\(n, rng\) must return"):
            qz.quantize(bad(), 1, rng=0)
    stingy = type("Stingy", (), {"sample": lambda self, n, rng: np.zeros((1, 2))})
    with pytest.raises(ValueError, match="n draws"):
        qz.quantize(stingy(), 1, rng=0)
