"""Distributions of scipy.stats, each as the law that it is: mixtures, finite measures, and clear words for what is neither."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.discrete_laws import discrete_measure
from quantization.laws import scipys_mixture
from quantization.make_problem import make_problem

EPS = np.finfo(np.float64).eps


def test_a_kernel_density_is_the_mixture_of_its_kernels(rng):
    data, weights, x = rng.normal(size=(2, 6)), rng.dirichlet(np.ones(6)), rng.normal(size=(30, 2))
    kde = stats.gaussian_kde(data, weights=weights)
    law = scipys_mixture(kde)
    np.testing.assert_array_equal(law.means, data.T)
    np.testing.assert_allclose(law.weights, weights, rtol=4 * EPS)
    # Sums of 6 positive terms, whose exponents below 40 are rounded by a few units.
    np.testing.assert_allclose(law.log_density(x), kde.logpdf(x.T), rtol=0, atol=1000 * EPS)
    solution = qz.quantize(kde, 2, rng=0)
    assert solution.converged
    assert solution.distortion == qz.quantize(law, 2, rng=0).distortion


def test_a_kernel_density_on_the_line_has_exact_cells(rng):
    data = rng.normal(size=100)
    kde = stats.gaussian_kde(data)
    solution = qz.quantize(kde, 1, rng=0)
    # The best single code is the mean, its distortion the variance: of the data and of the kernel.
    assert solution.points[0, 0] == pytest.approx(data.mean(), abs=1e-12)
    assert solution.distortion == pytest.approx(data.var() + float(kde.covariance[0, 0]), rel=1e-12)
    law = scipys_mixture(kde)
    apart = qz.GaussianMixture(law.weights, law.means, law.covs + np.linspace(0, 1e-9, 100)[:, None, None])
    assert qz.quantize(apart, 4, rng=0).distortion == pytest.approx(qz.quantize(kde, 4, rng=0).distortion, rel=1e-8)


def test_thousands_of_kernels_stay_usable(rng):
    data = rng.normal(size=(2, 5000))
    kde = stats.gaussian_kde(data)
    problem = make_problem(kde, 10, 2.0)
    assert problem.exact is None  # sampled: exact cells would take minutes
    law = problem.law
    assert law.covs.strides[0] == 0  # one covariance, held once
    x = data.T[:50]
    np.testing.assert_allclose(law.log_density(x), kde.logpdf(x.T), rtol=1e-10)
    h = 1e-5
    slope = np.stack([(kde.logpdf((x + e).T) - kde.logpdf((x - e).T)) / (2 * h) for e in h * np.eye(2)], axis=1)
    np.testing.assert_allclose(law.score(x), slope, atol=1e-5)
    draws = law.sample(100_000, rng)
    error = np.sqrt(np.diag(law.cov) / len(draws))
    assert (np.abs(draws.mean(0) - law.mean) < 6 * error).all()
    solution = qz.quantize(kde, 1, rng=0)
    assert solution.distortion == pytest.approx(np.trace(law.cov), abs=6 * solution.distortion_se)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_frozen_multivariate_normal_is_a_gaussian(d, rng):
    mean, root = rng.normal(size=d), rng.normal(size=(d, d))
    frozen = stats.multivariate_normal(mean, root @ root.T)
    law, x = scipys_mixture(frozen), rng.normal(size=(9, d))
    assert isinstance(law, qz.Gaussian)
    np.testing.assert_allclose(law.log_density(x), np.reshape(frozen.logpdf(x), 9), rtol=1e-9)
    expected, error = np.trace(root @ root.T), 0.0
    solution = qz.quantize(frozen, 1, rng=0)
    error = 6 * solution.distortion_se + 1e-10 * expected
    assert abs(solution.distortion - expected) <= error + (0.01 * expected if d == 3 else 0)


def test_groups_of_equal_covariances_change_no_number(rng):
    covs = np.stack([np.eye(2), 2 * np.eye(2), np.eye(2)])
    means, weights, x = rng.normal(size=(3, 2)), np.array([0.2, 0.5, 0.3]), rng.normal(size=(20, 2))
    grouped = qz.GaussianMixture(weights, means, covs)
    parts = [w * stats.multivariate_normal(m, c).pdf(x) for w, m, c in zip(weights, means, covs, strict=True)]
    np.testing.assert_allclose(np.exp(grouped.log_density(x)), sum(parts), rtol=100 * EPS)
    pulls = [p[:, None] * np.linalg.solve(c, (x - m).T).T for p, m, c in zip(parts, means, covs, strict=True)]
    np.testing.assert_allclose(grouped.score(x), -sum(pulls) / sum(parts)[:, None], rtol=1e-12, atol=1e-12)
    draws = grouped.sample(50_000, rng)
    np.testing.assert_allclose(np.cov(draws.T), grouped.cov, atol=6 * 3 * np.sqrt(2 / 50_000))


@pytest.mark.parametrize(
    "frozen",
    [
        stats.poisson(3.0),
        stats.poisson(mu=10_000.0, loc=-7),
        stats.binom(20, 0.3),
        stats.geom(0.01),
        stats.skellam(3.0, 5.0),
        stats.dlaplace(0.3),
        stats.nbinom(4, 0.2),
        stats.randint(-3, 1000),
        stats.bernoulli(0.25, loc=0.5),
        stats.zipf(24.0),
    ],
    ids=lambda law: law.dist.name,
)
def test_frozen_discrete_laws_are_measures(frozen):
    measure = discrete_measure(frozen, 2.0)
    values, masses = measure.points[:, 0], measure.weights_float64
    # What is cut off, below 1e-15 of both, is less than the round-off of the sums; scipy's masses have some ten digits.
    assert values @ masses == pytest.approx(frozen.mean(), rel=1e-9, abs=1e-9)
    assert np.square(values - frozen.mean()) @ masses == pytest.approx(frozen.var(), rel=1e-9)
    np.testing.assert_allclose(masses, frozen.pmf(values), rtol=1e-9)
    assert qz.quantize(frozen, 1, rng=0).distortion == pytest.approx(frozen.var(), rel=1e-9)
    assert (np.diff(values) > 0).all()


def test_a_table_of_values():
    table = stats.rv_discrete(values=([0.5, 2.0, 7.25], [0.2, 0.3, 0.5]))
    for law, shift in ((table, 0.0), (table(), 0.0), (table(loc=1.0), 1.0), (table(1.0), 1.0)):
        measure = discrete_measure(law, 2.0)
        np.testing.assert_array_equal(measure.points[:, 0], np.array([0.5, 2.0, 7.25]) + shift)
        np.testing.assert_allclose(measure.weights_float64, [0.2, 0.3, 0.5], rtol=4 * EPS)
    assert qz.quantize(table, 3, rng=0).distortion == 0


def test_far_values_are_not_cut_off_at_a_gap():
    class Gap(stats.rv_discrete):
        def _pmf(self, k):
            return 0.5 * (k == 0) + 0.5 * (k == 100_000)

        def _ppf(self, q):
            return np.where(q <= 0.5, 0, 100_000)

    measure = discrete_measure(Gap(a=0, name="gap")(), 2.0)
    np.testing.assert_array_equal(measure.points[:, 0], [0, 100_000])


@pytest.mark.skipif(not hasattr(stats, "Binomial"), reason="scipy below 1.16 has no new discrete distributions")
def test_newer_discrete_laws_are_measures():
    law = stats.Binomial(n=10, p=0.3)
    assert qz.quantize(law, 1, rng=0).distortion == pytest.approx(2.1, rel=1e-12)
    poisson = stats.make_distribution(stats.poisson)(mu=3.0)
    assert qz.quantize(poisson, 1, rng=0).distortion == pytest.approx(3.0, rel=1e-12)
    with pytest.raises(ValueError, match="needs scalar parameters; received Binomial with arrays"):
        qz.quantize(stats.Binomial(n=[10, 20], p=0.3), 2, rng=0)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (stats.zipf(4.0), "zipf takes too many values: more than 4,194,304 of them bear on"),
        (stats.randint(0, 10**9), "randint takes too many values"),
        (stats.poisson([1.0, 2.0]), "needs scalar parameters; received poisson with arrays"),
        (stats.poisson(1e300), "must take whole numbers below 2"),
        (stats.poisson, "Freeze it by a call"),
        (stats.multivariate_normal, "Freeze it by a call"),
        (stats.multivariate_t([0.0, 0.0]), r"Quantize a sample of it, law\.rvs\(n\)"),
    ],
    ids=["zipf", "randint", "arrays", "huge", "not frozen", "not frozen either", "multivariate t"],
)
def test_what_is_no_finite_measure_is_told_why(law, words):
    with pytest.raises(ValueError, match=words):
        qz.quantize(law, 2, rng=0)


def test_recognizing_laws_does_not_load_scipy_stats():
    code = (
        "import sys, numpy as np, quantization as qz\n"
        "qz.quantize(np.arange(9.0)[:, None], 2, rng=0); qz.quantize(qz.Gaussian([0.0], [[1.0]]), 2, rng=0)\n"
        "print('scipy.stats' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False"]
