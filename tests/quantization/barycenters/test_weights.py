"""The weights' linear program against bounds that hold for every plan and every potential."""

import numpy as np
import pytest

from quantization.barycenters.weights import best_weights, lower_bound


def problem(seed, m=4, n=60, k=9):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(k, 2))
    costs = [np.square(rng.normal(size=(n + j, 2))[:, None] - points).sum(2) for j in range(m)]
    return costs, [rng.dirichlet(np.ones(len(c))) for c in costs], rng.dirichlet(np.ones(m))


@pytest.mark.parametrize("seed", range(6))
def test_primal_and_dual_meet(seed):
    costs, masses, mixing = problem(seed)
    found = best_weights(costs, masses, mixing, 1e-7)
    value = sum(s * (p * c).sum() for s, p, c in zip(mixing, found.plans, costs, strict=True))
    for plan, a in zip(found.plans, masses, strict=True):  # feasible, so that the value is an upper bound
        np.testing.assert_allclose(plan.sum(1), a, atol=1e-12)
        np.testing.assert_allclose(plan.sum(0), found.weights, atol=1e-7)
        assert (plan >= 0).all()
    np.testing.assert_allclose(sum(s * v for s, v in zip(mixing, found.potentials, strict=True)), 0, atol=1e-9)
    missed = [np.abs(p.sum(0) - found.weights) for p in found.plans]
    slack = sum(s * np.abs(v) @ e for s, v, e in zip(mixing, found.potentials, missed, strict=True)) + 1e-12  # what misses pays v
    assert found.bound <= value + slack
    assert value - found.bound <= 1e-7 * value + slack


def test_any_potentials_bound_from_below():
    costs, masses, mixing = problem(1)
    best = best_weights(costs, masses, mixing, 1e-9).bound
    rng = np.random.default_rng(0)
    for scale in (0.0, 0.1, 10.0):
        v = [scale * rng.normal(size=9) for _ in costs]
        assert lower_bound(costs, masses, mixing, v) <= best * (1 + 1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e-3, 1e150])
def test_units_do_not_matter(unit):
    costs, masses, mixing = problem(2)
    found, scaled = (best_weights([u * c for c in costs], masses, mixing, 1e-8) for u in (1.0, unit))
    np.testing.assert_allclose(scaled.weights, found.weights, atol=1e-7)
    assert scaled.bound == pytest.approx(unit * found.bound, rel=1e-7)


def test_masses_and_mixing_of_very_different_sizes():
    costs, masses, _ = problem(3)
    masses[0] = np.geomspace(1e-14, 1, len(masses[0]))
    masses[0] /= masses[0].sum()
    mixing = np.array([1e-9, 1 - 2e-9, 5e-10, 5e-10])
    found = best_weights(costs, masses, mixing, 1e-7)
    nearest = sum(s * a @ c.min(1) for s, a, c in zip(mixing, masses, costs, strict=True))
    value = sum(s * (p * c).sum() for s, p, c in zip(mixing, found.plans, costs, strict=True))
    assert nearest <= value * (1 + 1e-9)  # each measure to its nearest points costs no more than any common weights
    assert value - found.bound <= 1e-5 * value


def test_atoms_on_one_spot():
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(3, 2)), 2, axis=0)
    costs = [np.square(rng.normal(size=(20, 2))[:, None] - points).sum(2) for _ in range(3)]
    masses, mixing = [np.full(20, 1 / 20)] * 3, np.full(3, 1 / 3)
    twice = best_weights(costs, masses, mixing, 1e-8)
    once = best_weights([c[:, ::2] for c in costs], masses, mixing, 1e-8)
    assert twice.bound == pytest.approx(once.bound, rel=1e-7)
    np.testing.assert_allclose(twice.weights.reshape(3, 2).sum(1), once.weights, atol=1e-6)
