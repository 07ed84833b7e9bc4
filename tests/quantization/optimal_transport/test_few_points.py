"""Exact transport of many points to few, by prices: the simplex's cost, marginals and potentials."""

import warnings

import numpy as np
import pytest
import torch

import quantization as qz
from quantization.optimal_transport import few_points
from quantization.optimal_transport.costs import cost_matrix


def measures(rng, kind):
    """Many points and few: plain ones, weights of which some are zero, an outlier, duplicates, many dimensions in float32."""
    d = 70 if kind == "float32" else 2
    x, y = rng.normal(size=(400, d)), rng.normal(size=(9, d))
    a, b = None, None
    if kind == "weights":
        a, b = rng.pareto(0.5, 400) * (rng.random(400) > 0.3), rng.dirichlet(np.ones(9)) * (np.arange(9) != 4)
    if kind == "outlier":
        x[3, 0] = y[1, 0] = 1e7
    if kind == "duplicates":
        x, y = rng.integers(3, size=x.shape).astype(float), rng.integers(3, size=y.shape).astype(float)
    x = x.astype(np.float32) if kind == "float32" else x
    of = qz.DiscreteMeasure.from_unnormalized
    return of(x, np.ones(400) if a is None else a), of(y, np.ones(9) if b is None else b)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["plain", "weights", "outlier", "duplicates", "float32"])
def test_prices_find_what_the_simplex_finds(rng, kind, turned, monkeypatch):
    monkeypatch.setattr(few_points, "_COSTS", 0)
    mu, nu = measures(rng, kind)[:: -1 if turned else 1]
    found, exact = few_points.couple_few(mu, nu), qz.transport(mu, nu, method=qz.NetworkSimplex())
    assert found is not None
    asked = qz.transport(mu, nu)
    np.testing.assert_array_equal(asked.sparse_plan[2], found.entries()[2])
    assert asked.status is qz.Status.CONVERGED
    a, b = mu.weights_float64, nu.weights_float64
    costs = cost_matrix(np.float64(mu.points), np.float64(nu.points))
    rounding = 8 * 2.0**-53 * float(a @ costs.max(1))
    assert found.cost == pytest.approx(exact.cost, rel=1e-9, abs=rounding)
    rows, columns, masses = found.entries()
    np.testing.assert_allclose(np.bincount(rows, masses, minlength=len(a)), a, rtol=1e-12)
    np.testing.assert_allclose(np.bincount(columns, masses, minlength=len(b)), b, rtol=1e-9)
    slack = costs - found.u[:, None] - found.v
    assert slack.min() >= -8 * 2.0**-53 * (costs.max() + np.abs(found.u).max() + np.abs(found.v).max())
    dual = float(found.u[a > 0] @ a[a > 0] + found.v[b > 0] @ b[b > 0])
    assert found.cost - dual == pytest.approx(found.gap, abs=1e-9 * found.cost + rounding)


def test_a_gap_that_stays_open_is_left_to_the_simplex(rng, monkeypatch):
    monkeypatch.setattr(few_points, "_COSTS", 0)
    monkeypatch.setattr(few_points, "_RTOL", -1.0)
    mu, nu = measures(rng, "plain")
    assert few_points.couple_few(mu, nu) is None
    assert qz.transport(mu, nu).cost == qz.transport(mu, nu, method=qz.NetworkSimplex()).cost


def test_gradients_of_few_points(rng, monkeypatch):
    monkeypatch.setattr(few_points, "_COSTS", 0)
    x, y = torch.from_numpy(rng.normal(size=(90, 2))), torch.from_numpy(rng.normal(size=(5, 2))).requires_grad_()
    qz.transport(x, y).cost.backward()
    mine, y.grad = y.grad.clone(), None
    qz.transport(x, y, method=qz.NetworkSimplex()).cost.backward()
    torch.testing.assert_close(mine, y.grad, rtol=1e-12, atol=1e-12)


def test_points_whose_costs_overflow_are_left_to_others_without_a_warning(rng):
    far = qz.DiscreteMeasure(rng.normal(size=(400, 2)) * 1e160)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert few_points.couple_few(far, qz.DiscreteMeasure(far.points[:3])) is None
