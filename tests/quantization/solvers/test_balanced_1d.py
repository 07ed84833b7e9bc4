import itertools

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.optimize import linear_sum_assignment

import quantization as qz


def sample(seed, n=23):
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(n, 1)) ** 3, 1)  # skewed, and some are repeated


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7])
def test_uniform_masses_split_samples_where_they_must(k):
    x = sample(0)
    sol = qz.quantize(x, k, masses="uniform", rng=0).require()
    copies = np.repeat(np.sort(x[:, 0]), k)  # of mass 1/(n k) each
    np.testing.assert_allclose(sol.points[:, 0], copies.reshape(k, -1).mean(1), atol=1e-14)
    np.testing.assert_array_equal(sol.weights, np.full(k, 1 / k))
    costs = np.square(copies[:, None] - np.repeat(sol.points[:, 0], len(x)))
    rows, columns = linear_sum_assignment(costs)
    assert sol.distortion == pytest.approx(costs[rows, columns].mean(), rel=1e-12)
    assert sol.masses_gap <= 1e-14 * (1 + sol.distortion)
    i, j, mass = sol.sparse_plan
    np.testing.assert_allclose(np.bincount(i, mass, len(x)), 1 / len(x), atol=1e-15)
    np.testing.assert_allclose(np.bincount(j, mass, k), 1 / k, atol=1e-15)
    assert mass @ np.square(x[i, 0] - sol.points[j, 0]) == pytest.approx(sol.distortion, rel=1e-12)
    assert len(np.unique(i)) + k - 1 >= len(i)  # k − 1 splits at most


@pytest.mark.parametrize("seed", range(3))
def test_the_best_order_of_an_array_of_masses(seed):
    rng = np.random.default_rng(seed)
    w, mu = rng.dirichlet(np.ones(5)), qz.DiscreteMeasure(sample(seed), rng.dirichlet(np.ones(23)))
    sol = qz.quantize(mu, 5, masses=w, rng=0).require()
    np.testing.assert_array_equal(sol.weights, w)
    assert sol.distortion == pytest.approx(qz.transport(mu, sol.measure).cost, rel=1e-12)
    fixed = qz.Balanced1D(fixed_order=True)
    orders = itertools.permutations(range(5))
    values = [qz.quantize(mu, 5, masses=w[list(order)], solver=fixed, rng=0).distortion for order in orders]
    assert sol.distortion == pytest.approx(min(values), rel=1e-12)
    ordered = qz.quantize(mu, 5, masses=w, solver=fixed, rng=0).require()
    assert (np.diff(ordered.points[:, 0]) >= 0).all()
    assert ordered.distortion >= sol.distortion


def test_many_masses_say_that_their_order_is_not_proved():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(300, 1)), rng.dirichlet(np.ones(12))
    sol, fixed = qz.quantize(x, 12, masses=w, rng=0), qz.Balanced1D(fixed_order=True)
    assert sol.status is qz.Status.UNPROVED_ORDER
    with pytest.raises(qz.NotConverged, match="not proved"):
        sol.require()
    assert sol.distortion < qz.quantize(x, 12, masses=w, solver=fixed, rng=0).distortion
    for i, j in itertools.combinations(range(12), 2):  # a local optimum of exchanges
        order = np.argsort(sol.points[:, 0])
        order[[i, j]] = order[[j, i]]
        assert qz.quantize(x, 12, masses=w[order], solver=fixed, rng=0).distortion >= sol.distortion * (1 - 1e-9)
    equal = qz.quantize(x, 12, masses=np.full(12, 1 / 12), rng=0).require()
    assert equal.distortion == qz.quantize(x, 12, masses="uniform", rng=0).distortion


LAWS = [stats.norm(1, 2), stats.gamma(0.3), stats.t(3.5), stats.Normal(mu=-1.0, sigma=0.5)]


@pytest.mark.parametrize("law", LAWS, ids=["norm", "gamma", "t", "newer"])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_laws_with_a_density(law, k):
    sol = qz.quantize(law, k, masses="uniform", rng=0).require()
    quantile = law.ppf if hasattr(law, "ppf") else law.icdf
    t, dt = np.polynomial.legendre.leggauss(60)
    t, dt = (1 + t) / 2, dt / 2
    for i, code in enumerate(np.sort(sol.points[:, 0])):
        if 0 < i < k - 1:  # at the ends quantiles are not smooth
            assert dt @ quantile((i + t) / k) == pytest.approx(code, abs=1e-9)
    assert sol.points.mean() == pytest.approx(float(law.mean()), abs=1e-9)  # so the two at the ends are right together
    assert sol.distortion == pytest.approx(qz.wasserstein(law, sol.measure) ** 2, rel=1e-9)
    assert sol.masses_gap <= 1e-10 * sol.distortion
    if k == 1:
        assert sol.distortion == pytest.approx(float(law.var() if hasattr(law, "var") else law.variance()), rel=1e-9)
    else:
        first = integrate.quad(quantile, 0, 1 / k, limit=500, epsabs=1e-10)[0]
        assert k * first == pytest.approx(sol.points.min(), abs=1e-6)


def test_an_array_of_masses_for_a_law():
    law, w = stats.gamma(0.5), np.array([0.4, 0.1, 0.3, 0.2])
    sol = qz.quantize(law, 4, masses=w, rng=0).require()
    np.testing.assert_array_equal(sol.weights, w)
    fixed = qz.Balanced1D(fixed_order=True)
    values = [qz.quantize(law, 4, masses=w[list(p)], solver=fixed, rng=0).distortion for p in itertools.permutations(range(4))]
    assert sol.distortion == pytest.approx(min(values), rel=1e-12)


def test_labels_by_prices_give_the_masses():
    law = qz.GaussianMixture([0.3, 0.7], [[-2.0], [1.0]], [[[0.1]], [[1.0]]])
    sol = qz.quantize(law, 5, masses="uniform", rng=0)
    draws = law.sample(40_000, np.random.default_rng(0))
    counts = np.bincount(sol.predict(draws), minlength=5)
    np.testing.assert_allclose(counts / len(draws), 0.2, atol=0.01)  # five deviations


def test_float32_far_from_the_origin_and_equal_points():
    x = torch.linspace(1000, 1001, 40)[:, None]
    sol = qz.quantize(x, 4, masses="uniform", rng=0).require()
    assert sol.points.dtype == torch.float32
    heavy = qz.DiscreteMeasure([[0.0], [1.0], [2.0]], [0.05, 0.9, 0.05])
    sol = qz.quantize(heavy, 3, masses="uniform", rng=0).require()
    np.testing.assert_allclose(sol.points[:, 0], [0.85, 1.0, 1.15], atol=1e-14)


def test_barycenters_of_prescribed_masses_on_the_line():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1)), rng.gamma(1.0, size=(30, 1))
    sol = qz.barycenter([x, y], 6, atom_weights="uniform", rng=0).require()
    loop = qz.barycenter([x, y], 6, atom_weights="uniform", solver=qz.FixedPoint(rtol=1e-9), rng=0)
    assert sol.distortion == pytest.approx(loop.distortion, rel=1e-9)
    w = rng.dirichlet(np.ones(4))
    given = qz.barycenter([x, stats.norm(), y], 4, atom_weights=w, rng=0).require()
    np.testing.assert_allclose(given.weights, w, rtol=1e-15)
    assert given.masses_gap + given.distortion_gap <= 1e-9 * given.distortion


def test_refusals():
    with pytest.raises(ValueError, match='masses="free"'):
        qz.quantize(sample(0), 3, solver=qz.Balanced1D(), rng=0)
    with pytest.raises(ValueError, match="on the line"):
        qz.quantize(np.zeros((5, 2)) + np.arange(5)[:, None], 3, masses="uniform", solver=qz.Balanced1D(), rng=0)
