import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantization as qz

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=25, derandomize=True)


def pair(seed, d=2, n=9, m=13):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(n)) * (rng.random(n) < 0.7)
    mu = qz.DiscreteMeasure.from_masses(rng.normal(size=(n, d)), weights + (weights.sum() == 0))
    return mu, qz.DiscreteMeasure(rng.normal(size=(m, d)), rng.dirichlet(np.ones(m)))


@everyday
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([1, 2, 3]))
def test_the_coupling_certifies_itself(brute, seed, d, r):
    mu, nu = pair(seed, d)
    coupling = qz.transport(mu, nu, r=r)
    costs = brute.squared(mu.points, nu.points) ** (r / 2)
    slack = 100 * EPS * max(costs.max(), 1)  # sums of some twenty terms below the largest cost
    assert coupling.status is qz.Status.CONVERGED
    assert (coupling.plan >= 0).all()
    np.testing.assert_allclose(coupling.plan.sum(1), mu.weights, atol=100 * EPS)
    np.testing.assert_allclose(coupling.plan.sum(0), nu.weights, atol=100 * EPS)
    assert coupling.cost == pytest.approx((coupling.plan * costs).sum(), abs=slack)
    u, v = coupling.potentials
    assert (u[:, None] + v[None, :] <= costs + slack).all()
    assert u @ mu.weights + v @ nu.weights == pytest.approx(coupling.cost, abs=10 * slack)


@everyday
@given(st.integers(0, 10_000), st.sampled_from([1.0, 2.0, 3.0, 1.5]))
def test_on_the_line_it_is_the_sorted_coupling(seed, r):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    closed = np.mean(np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0])) ** r) ** (1 / r)
    assert qz.wasserstein(qz.DiscreteMeasure(x), y, r=r) == pytest.approx(closed, rel=1e4 * EPS)


@everyday
@given(st.integers(0, 10_000))
def test_a_translation_costs_its_length(seed):
    mu, _ = pair(seed, 3)
    shift = np.random.default_rng(seed).normal(size=3)
    moved = qz.DiscreteMeasure(mu.points + shift, mu.weights)
    assert qz.wasserstein(mu, moved) == pytest.approx(np.linalg.norm(shift), rel=1e4 * EPS)
    assert qz.wasserstein(mu, mu) == 0


def test_a_small_spread_far_from_the_origin():
    x = np.array([[1e6], [1e6 + 2**-10]])
    assert qz.wasserstein(x, x[::-1].copy()) == 0
    assert qz.wasserstein(x[:1], x[1:]) == 2**-10


def test_kinds():
    mu = qz.DiscreteMeasure(torch.tensor([[0.0], [1.0]]))
    coupling = qz.transport(mu, np.array([[0.5]]))
    assert coupling.plan.dtype == coupling.potentials[0].dtype == torch.float32
    assert coupling.cost == 0.25


def test_too_few_pivots_are_a_status_never_silent(rng):
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    few = qz.Exact(max_pivots=1)
    coupling = qz.transport(x, y, method=few)
    assert coupling.status is qz.Status.BUDGET_SPENT
    u, v = coupling.potentials  # still a lower bound on the optimum
    assert (u.sum() + v.sum()) / 60 <= qz.transport(x, y).cost * (1 + 100 * EPS)
    with pytest.raises(RuntimeError, match="max_pivots"):
        qz.wasserstein(x, y, method=few)


def test_refuses_misuse():
    with pytest.raises(ValueError, match="dimensions 1 and 2"):
        qz.transport(np.zeros((1, 1)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="order r"):
        qz.wasserstein(np.zeros((1, 1)), np.zeros((1, 1)), r=0.5)
    with pytest.raises(ValueError, match="overflow"):
        qz.wasserstein(np.full((1, 1), 1e200), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="max_pivots"):
        qz.Exact(max_pivots=0)


@everyday
@given(st.integers(0, 10_000), st.sampled_from([-80, -30, 40]))
def test_the_plan_scales_bitwise_with_the_costs(seed, exponent):
    """The simplex has an absolute tolerance, so it must see costs of one size whatever the units of the points."""
    mu, nu = pair(seed)
    small = qz.transport(
        qz.DiscreteMeasure(np.ldexp(mu.points, exponent), mu.weights),
        qz.DiscreteMeasure(np.ldexp(nu.points, exponent), nu.weights),
    )
    whole = qz.transport(mu, nu)
    np.testing.assert_array_equal(small.plan, whole.plan)
    assert small.cost == np.ldexp(whole.cost, 2 * exponent)
    np.testing.assert_array_equal(small.potentials[0], np.ldexp(whole.potentials[0], 2 * exponent))
