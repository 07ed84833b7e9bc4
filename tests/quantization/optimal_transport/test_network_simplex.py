"""Our network simplex beside POT's, an LP and the assignment; its certificate, its budget, its memory layouts."""

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment, linprog

import quantization as qz


def certified(a, b, costs, found):
    """The plan has the right marginals, the potentials are feasible, and their dual value is the plan's cost."""
    plan, slack = found.dense(), 1e-13 * np.abs(costs).max()
    assert found.status is qz.Status.CONVERGED
    assert (plan >= 0).all()
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-15)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-15)
    assert (found.u[:, None] + found.v <= costs + slack).all()
    assert found.cost == pytest.approx((plan * costs).sum(), abs=slack)
    assert found.u @ a + found.v @ b == pytest.approx(found.cost, abs=slack)
    assert 0 <= found.gap <= 1e-9 * found.cost


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (2, 2), (30, 30), (41, 23), (12, 90)])
def test_costs_are_pots(n, m, zeros, rng):
    for scale in (1e-9, 1.0, 1e9):
        a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
        if zeros:
            a[: n // 3] = b[: m // 4] = 0
        a, b, costs = a / a.sum(), b / b.sum(), scale * rng.random((n, m))
        found = qz.NetworkSimplex().solve(a, b, costs)
        certified(a, b, costs, found)
        assert found.cost == pytest.approx(float(np.asarray(ot.emd2(a, b, costs / scale))) * scale, rel=1e-12)
        assert len(found.entries()[0]) <= n + m - 1


def test_costs_are_those_of_a_linear_program(rng):
    n, m = 6, 9
    a, b, costs = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m)), rng.normal(size=(n, m))  # of either sign
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    least = linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b])).fun
    assert qz.NetworkSimplex().solve(a, b, costs + 10).cost - 10 == pytest.approx(least, abs=1e-9)


def test_equal_weights_are_an_assignment_in_whole_numbers(rng):
    """Also where ties make every basis degenerate."""
    for n in (1, 2, 37, 150):
        costs = rng.integers(0, 4, (n, n)).astype(float)
        a = np.full(n, 1 / n)
        found = qz.NetworkSimplex().solve(a, a, costs)
        i, k = linear_sum_assignment(costs)
        assert found.cost == pytest.approx(costs[i, k].mean(), rel=1e-15)
        rows, columns, masses = found.entries()
        assert len(rows) == n
        assert sorted(rows) == sorted(columns) == list(range(n))
        np.testing.assert_array_equal(masses, 1 / n)


def test_one_far_point_that_both_share_costs_nothing():
    """0.9686 and CONVERGED it was, where potentials of 1e14 hide costs of 1."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
    for far in (1e6, 3e6, 1e7, 1e12):
        x[3] = y[1] = [far, 0]
        coupling = qz.transport(x, y)
        squared = np.square(x[:, None] - y).sum(2)
        assert coupling.cost == pytest.approx(squared[linear_sum_assignment(squared)].mean(), rel=1e-12)
        assert coupling.status is qz.Status.CONVERGED
        u, v = coupling.potentials
        assert max(np.abs(u).max(), np.abs(v).max()) < 100  # no trace of 1e14
        assert u.mean() + v.mean() == pytest.approx(coupling.cost, rel=1e-12)


@pytest.mark.parametrize("r", [16.0, 20.0])
def test_high_orders(r):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
    costs = np.square(x[:, None] - y).sum(2) ** (r / 2)
    assert qz.transport(x, y, r=r).cost == pytest.approx(costs[linear_sum_assignment(costs)].mean(), rel=1e-9)


def test_a_tiny_translation_is_measured_to_all_digits(rng):
    """Potentials of the plan's tree are 1e18 times its cost."""
    x, w = rng.normal(size=(50, 2)), rng.dirichlet(np.ones(50))
    for mu, nu in ((x, x + 2.0**-30), (qz.DiscreteMeasure(x, w), qz.DiscreteMeasure(x + 2.0**-30, w))):
        coupling = qz.transport(mu, nu)
        assert coupling.cost == pytest.approx(2 * 4.0**-30, rel=1e-6)
        assert 0 <= coupling.gap <= 1e-9 * coupling.cost
        assert coupling.status is qz.Status.CONVERGED


def test_what_the_certificate_does_not_prove_is_not_converged(rng, monkeypatch):
    from quantization.optimal_transport import network_simplex

    x = rng.normal(size=(50, 2))
    y = x[::-1] + 2.0**-30
    monkeypatch.setattr(network_simplex, "_ROUNDS", 1)  # what a plain simplex in floating point does
    coupling = qz.transport(x, y)
    assert coupling.status is qz.Status.STALLED
    assert coupling.gap > 1e-9 * coupling.cost
    with pytest.raises(RuntimeError, match=f"exceeds the least one by up to {coupling.gap:.3g}"):
        qz.wasserstein(x, y)


def test_costs_in_any_memory_layout(rng):
    a, b, costs = np.full(7, 1 / 7), np.full(9, 1 / 9), rng.random((7, 9))
    straight = qz.NetworkSimplex().plan(a, b, costs)[0]
    np.testing.assert_array_equal(qz.NetworkSimplex().plan(a, b, np.asfortranarray(costs))[0], straight)
    strided = np.repeat(a, 2)[::2]
    np.testing.assert_array_equal(qz.NetworkSimplex().plan(strided, b, costs)[0], straight)


def test_work_in_small_pieces_is_the_same(rng, monkeypatch):
    """Between which Ctrl-C is heard: a pass over all rows may take many."""
    from quantization.optimal_transport import network_simplex

    a, costs = rng.dirichlet(np.ones(40)), rng.random((40, 40))
    whole = qz.NetworkSimplex().solve(a, a, costs)
    monkeypatch.setattr(network_simplex, "_WORK", 100)
    np.testing.assert_array_equal(qz.NetworkSimplex().solve(a, a, costs).dense(), whole.dense())


def test_running_out_of_pivots_is_a_status(rng):
    a, costs = np.full(40, 1 / 40), rng.random((40, 40))
    found = qz.NetworkSimplex(max_pivots=3).solve(a, a, costs)
    assert found.status is qz.Status.BUDGET_SPENT
    least = qz.NetworkSimplex().solve(a, a, costs).cost
    assert found.cost - (found.gap or 0.0) <= least <= found.cost
    assert (found.u[:, None] + found.v <= costs + 1e-15).all()


@pytest.mark.parametrize("d", [3, 8, 60, 1000])
def test_costs_are_differences(d, rng):
    from quantization.optimal_transport.costs import cost_matrix

    n, m = 2**23 // (37 * d) + 1, 37
    x, y = rng.normal(size=(n, d)) + 1e6, rng.normal(size=(m, d)) + 1e6
    x[n // 2] = y[5]
    for r in (1.0, 2.0, 5.0):
        some = rng.integers(0, n, 50)
        some[0] = n - 1
        truth = np.linalg.norm(x[some, None] - y, axis=2) ** r
        np.testing.assert_allclose(cost_matrix(x, y, r)[some], truth, rtol=1e-13)
    assert cost_matrix(x, y)[n // 2, 5] == 0


@pytest.mark.parametrize("shape", [(30, 70), (70, 30), (40, 40)])
@pytest.mark.parametrize("even", [True, False])
def test_a_tree_to_begin_from_changes_no_cost(shape, even, rng):
    """Of moving points, of weights that change on the way, and with the budget of each solution for itself."""
    n, m = shape
    a, b = (np.full(z, 1 / z) if even else rng.dirichlet(np.ones(z)) for z in shape)
    x, y, trees = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), []
    for step in range(6):
        if step == 4:
            b = rng.dirichlet(np.ones(m))
        costs = np.square(x[:, None] - y).sum(2)
        warm, cold = qz.NetworkSimplex(2000).solve(a, b, costs, trees), qz.NetworkSimplex().solve(a, b, costs)
        assert warm.status is qz.Status.CONVERGED
        assert warm.cost == pytest.approx(cold.cost, rel=1e-9)
        assert (warm.gap or 0.0) <= 1e-9 * warm.cost
        np.testing.assert_allclose(warm.dense().sum(1), a, atol=1e-15)
        np.testing.assert_allclose(warm.dense().sum(0), b, atol=1e-15)
        assert len(trees) == 1
        y = y + 0.1 * rng.normal(size=(m, 2))
