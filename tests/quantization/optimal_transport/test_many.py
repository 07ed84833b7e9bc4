"""Many pairs at once are the pairs one by one."""

import numpy as np
import pytest
import torch

import quantization as qz


def measures(count, d=2):
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        n = int(rng.integers(1, 40))
        x = rng.normal(size=(n, d))
        a = rng.dirichlet(np.ones(n)) * (rng.random(n) < 0.8)
        made.append(x if i % 3 == 0 else qz.DiscreteMeasure.from_unnormalized(x, a + (a.sum() == 0)))
    return made


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("method", [None, qz.NetworkSimplex(), qz.Sinkhorn(0.5)])
def test_pairs_at_once_are_pairs_one_by_one(d, method):
    mus, nus = measures(30, d), measures(30, d)[::-1]
    for r in (1.0, 2.0, 3.5):
        found = qz.wasserstein_many(mus, nus, r=r, method=method)
        alone = [qz.wasserstein(mu, nu, r=r, method=method) for mu, nu in zip(mus, nus, strict=True)]
        np.testing.assert_allclose(found, alone, rtol=1e-9)
        assert found.dtype == np.float64


def test_one_compiled_call_is_enough_as_a_rule(rng):
    from quantization.optimal_transport.network_simplex import small_cost

    for n, m in ((20, 20), (30, 17), (17, 30)):
        a, b, costs = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m)), rng.random((n, m))
        found = qz.NetworkSimplex().solve(a, b, costs).cost
        assert small_cost(a, b, costs, 10**7) == pytest.approx(found, rel=1e-12)
    assert small_cost(a, b, costs, 1) is None


def test_what_one_tree_does_not_prove_is_solved_again():
    """A translation by 2^-30, whose cost is lost beside the tree's potentials."""
    x = np.random.default_rng(0).normal(size=(4, 50, 2))
    np.testing.assert_allclose(qz.wasserstein_many(x, x[:, ::-1] + 2.0**-30), 2**0.5 * 2.0**-30, rtol=1e-6)


def test_laws_and_gradients():
    laws = [qz.Gaussian([0.0], [[1.0]]), qz.Gaussian(np.zeros(2), np.eye(2))]
    found = qz.wasserstein_many(laws, [qz.Gaussian([3.0], [[1.0]]), qz.Gaussian(np.ones(2), np.eye(2))])
    np.testing.assert_allclose(found, [3, 2**0.5], rtol=1e-9)
    x = torch.randn(3, 6, 2, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 6, 2, dtype=torch.float64)
    together = torch.autograd.grad(qz.wasserstein_many(x, y).sum(), x)[0]
    alone = torch.autograd.grad(sum(qz.wasserstein(a, b) for a, b in zip(x, y, strict=True)), x)[0]
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_refuses_misuse_before_any_work():
    x = np.zeros((2, 5, 2))
    for call, hint in (
        (lambda: qz.wasserstein_many(x, x[:1]), "as many; received 2 and 1"),
        (lambda: qz.wasserstein_many(x[0], x[0]), "mus must be a list"),
        (lambda: qz.wasserstein_many(x, np.zeros((2, 5, 3))), "dimensions 2 and 3"),
        (lambda: qz.wasserstein_many(x, x, r=0.5), "order r"),
        (lambda: qz.wasserstein_many(x, x, method=qz.NetworkSimplex), "method must be"),
    ):
        with pytest.raises(ValueError, match=hint):
            call()
    rng = np.random.default_rng(0)
    with pytest.raises(RuntimeError, match="max_pivots"):
        qz.wasserstein_many(rng.normal(size=(2, 30, 2)), rng.normal(size=(2, 30, 2)), method=qz.NetworkSimplex(max_pivots=1))
