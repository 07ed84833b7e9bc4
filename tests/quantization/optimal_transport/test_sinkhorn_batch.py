"""Entropic transport of many pairs in one tensor is that of the pairs one by one."""

import numpy as np
import pytest
import torch

import quantization as qz
from quantization.optimal_transport import many, sinkhorn_batch
from quantization.optimal_transport.sinkhorn_batch import sinkhorn_costs


def pairs(count, d=2):
    rng = np.random.default_rng(0)

    def measure():
        n = int(rng.integers(1, 30))
        counts = rng.dirichlet(np.ones(n)) * (rng.random(n) < 0.8)
        return qz.DiscreteMeasure.from_unnormalized(
            torch.tensor(rng.normal(size=(n, d))), torch.tensor(counts + (counts.sum() == 0))
        )

    return [(measure(), measure()) for _ in range(count)]


@pytest.mark.parametrize("r", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("costs", [2**26, 1000])
def test_together_they_are_those_one_by_one(r, costs, monkeypatch):
    """Plans whose marginals are met to 1e-10 differ by that much, times the largest cost."""
    monkeypatch.setattr(sinkhorn_batch, "_COSTS", costs)
    given, method = pairs(20), qz.Sinkhorn(0.3, rtol=1e-10)
    found, errors = sinkhorn_costs(given, r, method)
    assert errors.max() <= 1e-10
    for (mu, nu), cost in zip(given, found, strict=True):
        largest = float(torch.cdist(mu.points, nu.points).max()) ** r
        assert abs(cost - float(qz.transport(mu, nu, r=r, method=method).cost)) <= 1e-9 * largest


def test_costs_are_upper_bounds_of_feasible_plans():
    given = pairs(20)
    found, _ = sinkhorn_costs(given, 2.0, qz.Sinkhorn(0.05, rtol=1e-2, max_iter=40))
    exact = [float(qz.transport(mu, nu).cost) for mu, nu in given]
    assert np.all(found >= np.array(exact) * (1 - 1e-12))


def test_what_steps_do_not_solve_is_solved_one_by_one(monkeypatch):
    """Costs over regularization of 1e4: Sinkhorn's steps alone would take as many."""
    monkeypatch.setattr(many, "_on_gpu", lambda measure: True)
    x, y = torch.randn(2, 3, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    method = qz.Sinkhorn(1e-3, rtol=1e-6, max_iter=300)
    given = [(qz.DiscreteMeasure(a), qz.DiscreteMeasure(b)) for a, b in zip(x, y, strict=True)]
    assert sinkhorn_costs(given, 2.0, method)[1].max() > 1e-6
    found = qz.wasserstein_many(x, y, method=method) ** 2
    alone = [float(qz.transport(a, b, method=method).cost) for a, b in zip(x, y, strict=True)]
    # A plan and its rounded one differ by twice the marginals' error in total variation, in either solve.
    np.testing.assert_allclose(found, alone, rtol=0, atol=4e-6 * float(torch.cdist(x, y).max()) ** 2)


def test_pairs_on_a_gpu_go_together(monkeypatch):
    monkeypatch.setattr(many, "_on_gpu", lambda measure: True)
    monkeypatch.setattr(many, "wasserstein", lambda *a, **k: pytest.fail("one by one"))
    x, y = torch.randn(2, 5, 20, 2, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    found = qz.wasserstein_many(x, y, method=qz.Sinkhorn(0.5))
    assert found.shape == (5,)
    assert np.all(found > 0)


def test_overflow_is_refused():
    far = qz.DiscreteMeasure(torch.tensor([[1e200]], dtype=torch.float64))
    with pytest.raises(ValueError, match="overflow float64"):
        sinkhorn_costs([(far, qz.DiscreteMeasure(torch.zeros(1, 1, dtype=torch.float64)))], 2.0, qz.Sinkhorn(1.0))
