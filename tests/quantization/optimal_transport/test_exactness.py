"""Exact transport where costs span up to 24 decades: plans against assignments and against duals in exact rationals."""

from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import quantization as qz
from quantization.optimal_transport.costs import cost_matrix

UNIT = Fraction(1, 2**53)


def instance(seed):
    """Points, weights (None: equal ones) and an order: outliers that are shared or not, duplicates, weights of zero."""
    rng = np.random.default_rng([seed, 19])
    n, equal = int(rng.integers(2, 24)), seed % 2 == 0
    m = n if equal else int(rng.integers(2, 24))
    d, r = int(rng.integers(1, 4)), float(rng.choice([1.0, 1.5, 2.0, 2.0, 3.0, 7.0, 16.0, 20.0]))
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + rng.integers(0, 2)
    reach = 10.0 ** (rng.uniform(0, 24) / r)
    for _ in range(rng.integers(0, 4)):
        far, kind = reach ** rng.random() * rng.normal(size=d), rng.integers(3)
        if kind != 1:
            x[rng.integers(n)] = far
        if kind != 0:
            y[rng.integers(m)] = far * (1 + 1e-9 * rng.integers(0, 2))
    if rng.random() < 0.3:
        y[rng.integers(0, m, 3)] = x[rng.integers(0, n, 3)]
        x[rng.integers(0, n, 3)] = x[rng.integers(0, n, 3)]
    if equal:
        return x, y, None, None, r
    a, b = (rng.dirichlet(np.full(size, rng.choice([0.05, 1.0]))) * (rng.random(size) > 0.15) for size in (n, m))
    a[0], b[0] = a[0] + 1e-3, b[0] + 1e-3
    return x, y, a, b, r


def exactly(array) -> Any:
    return np.frompyfunc(Fraction, 1, 1)(np.asarray(array, dtype=object))


@pytest.mark.parametrize("seed", range(200))
def test_costs_over_many_decades(seed):
    x, y, a, b, r = instance(seed)
    if a is None:
        mu, nu = qz.DiscreteMeasure(x), qz.DiscreteMeasure(y)
    else:
        mu, nu = qz.DiscreteMeasure.from_unnormalized(x, a), qz.DiscreteMeasure.from_unnormalized(y, b)
    coupling, costs = qz.transport(mu, nu, r=r, method=qz.NetworkSimplex()), cost_matrix(x, y, r)
    assert coupling.status is qz.Status.CONVERGED
    assert 0 <= coupling.gap <= 1e-9 * coupling.cost
    c, v = exactly(costs), exactly(coupling.potentials[1])
    alpha, beta = exactly(mu.weights_float64), exactly(nu.weights_float64)
    beta = beta * (reduce(add, alpha) / reduce(add, beta))
    u = np.array([min(row) for row in c - v])  # feasible: both u and this are no greater than the c-transform
    lower = reduce(add, alpha * u) + reduce(add, beta * v)
    rows, columns, masses = coupling.sparse_plan
    cost = reduce(add, exactly(masses) * c[rows, columns])
    assert abs(cost - Fraction(coupling.cost)) <= 50 * UNIT * cost
    rounding = 0 if a is None else 8 * UNIT * reduce(add, alpha * exactly(costs.max(1)))
    assert abs(cost - lower) <= Fraction(1, 10**9) * cost + rounding
    np.testing.assert_allclose(coupling.plan.sum(1), mu.weights, rtol=0, atol=1e-14)
    np.testing.assert_allclose(coupling.plan.sum(0), nu.weights, rtol=0, atol=1e-14)
    sums = np.add.outer(*coupling.potentials)
    assert (sums <= costs + 1e-15 * (costs + np.abs(coupling.potentials[1]))).all()
    if a is None:
        i, k = linear_sum_assignment(costs)
        assert coupling.cost <= costs[i, k].mean() * (1 + 1e-9)


@pytest.mark.parametrize("turned", [False, True])
def test_a_far_point_of_tiny_weight_takes_no_digits_of_the_others(turned):
    """Its potential, 3e12, has digits down to 5e-4, and those of all others sum to 13."""
    x, y, a, b, r = instance(157)
    mu, nu = qz.DiscreteMeasure.from_unnormalized(x, a), qz.DiscreteMeasure.from_unnormalized(y, b)
    mu, nu = (nu, mu) if turned else (mu, nu)
    coupling = qz.transport(mu, nu, r=r, method=qz.NetworkSimplex())
    u, v = coupling.potentials
    here, there = mu.weights_float64 > 0, nu.weights_float64 > 0
    lower = np.append(u[here] * mu.weights_float64[here], v[there] * nu.weights_float64[there]).sum()
    assert abs(coupling.cost - lower) <= 1e-12 * coupling.cost


@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_potentials_on_the_line_keep_their_digits_beside_an_outlier(end):
    """One point at 1e8 at either end, costs 1e16: the potentials of the others are as if it were not there."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50, 1))
    x[0] = y[0] = end * 1e8
    coupling = qz.transport(x, y, method=qz.Monotone())
    u, v = coupling.potentials
    costs = (x - y.T) ** 2
    assert ((u[:, None] + v) - costs)[1:, 1:].max() <= 1e-12
    rows, columns, _ = coupling.sparse_plan
    inside = rows > 0
    np.testing.assert_allclose((u[rows] + v[columns])[inside], costs[rows, columns][inside], rtol=0, atol=1e-12)


def test_a_mass_of_1e_15_at_distance_1e8_counts():
    """Beside a translation by 1 it costs 10 of 11: what is left out is decided by cost, not by mass."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    far = np.array([[1e8, 0.0]])
    a = np.append(np.full(20, (1 - 1e-15) / 20), 1e-15)
    mu, nu = qz.DiscreteMeasure(np.concatenate([x, far]), a), qz.DiscreteMeasure(x + np.array([1.0, 0.0]))
    coupling = qz.transport(mu, nu)
    assert coupling.status is qz.Status.CONVERGED
    # Where in the cloud the far mass arrives moves its share by 1e-15 · 2e8 · |x|, and the translation's by as much again.
    assert abs(coupling.cost - 11.0) <= 4e-15 * 1e8 * np.abs(x).max()
