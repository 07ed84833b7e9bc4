"""Distances and distortions as functions of tensors: against finite differences, in float64, by gradcheck."""

import numpy as np
import pytest
import torch

import quantization as qz


def tensors(seed, n=7, m=5, d=2):
    rng = np.random.default_rng(seed)
    x, y, a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=n), rng.normal(size=m)
    return [torch.tensor(z, requires_grad=True) for z in (x, y, a, b)]


def measures(x, y, s, t):
    """Random weights as softmax of logits: among weights of sum 1 only differences of potentials count."""
    return qz.DiscreteMeasure(x, s.softmax(0)), qz.DiscreteMeasure(y, t.softmax(0))


@pytest.mark.parametrize("r", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("d", [1, 2])
def test_transport_in_points_and_weights(r, d):
    inputs = tensors(0, d=d)
    assert torch.autograd.gradcheck(lambda *z: qz.transport(*measures(*z), r=r).cost, inputs, eps=1e-7, atol=1e-6)
    assert torch.autograd.gradcheck(lambda *z: qz.wasserstein(*measures(*z), r=r), inputs, eps=1e-7, atol=1e-6)


def test_counts_and_the_nearest_code():
    x, y, s, _ = tensors(1)
    counts = s.detach().exp().requires_grad_()

    def distortion(x, counts, y):
        return qz.transport(qz.DiscreteMeasure.from_unnormalized(x, counts), y, method=qz.NearestCode(), r=3).cost

    assert torch.autograd.gradcheck(distortion, (x, counts, y), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("r", [1.0, 2.0])
def test_sinkhorn_divergence(r):
    def divergence(*z):
        return qz.sinkhorn_divergence(*measures(*z), 0.5, r=r, rtol=1e-11)

    assert torch.autograd.gradcheck(divergence, tensors(2), eps=1e-5, atol=1e-6)


@pytest.mark.parametrize("r", [1.0, 2.0])
def test_the_weight_zero_has_a_one_sided_derivative(r):
    """Potentials of points without weight say what a little weight there would cost."""
    x, y, s, t = tensors(3)
    a = s.detach().softmax(0)
    a[2] = 0
    a = (a / a.sum()).requires_grad_()
    mu, nu = qz.DiscreteMeasure(x.detach(), a), qz.DiscreteMeasure(y.detach(), t.detach().softmax(0))
    for f in (lambda m: qz.transport(m, nu, r=r).cost, lambda m: qz.sinkhorn_divergence(m, nu, 0.5, r=r, rtol=1e-11)):
        cost = f(mu)
        (gradient,) = torch.autograd.grad(cost, a)
        little = 1e-6 * (torch.eye(len(a), dtype=torch.float64)[2] - a.detach())
        more = f(qz.DiscreteMeasure(x.detach(), a.detach() + little))
        assert more - cost.item() == pytest.approx(float(little @ gradient), abs=1e-9)


def test_equal_weights_have_a_subgradient():
    """cost(a') ≥ cost(a) + ⟨g, a' − a⟩ for every a': the cost is convex in the weights."""
    x, y, *_ = tensors(4, n=6, m=6)
    x, y = x.detach(), y.detach()
    a = torch.full((6,), 1 / 6, dtype=torch.float64, requires_grad=True)
    cost = qz.transport(qz.DiscreteMeasure(x, a), y).cost
    (gradient,) = torch.autograd.grad(cost, a)
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = torch.tensor(rng.dirichlet(np.ones(6)))
        there = qz.transport(qz.DiscreteMeasure(x, other), y).cost
        assert there >= cost.item() + float((other - a.detach()) @ gradient) - 1e-12


def test_points_that_meet():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    for r in (1.0, 1.5, 2.0):
        distance = qz.wasserstein(x, x.detach(), r=r)
        (gradient,) = torch.autograd.grad(distance, x)
        assert distance.item() == 0
        assert not gradient.any()


def test_kinds():
    x = torch.randn(5, 2, requires_grad=True)
    w = qz.wasserstein(x, np.zeros((3, 2)))
    assert w.dtype == torch.float32
    assert w.shape == ()
    w.backward()
    assert x.grad.shape == x.shape
    y = torch.randn(3, 2, requires_grad=True)
    qz.wasserstein(np.zeros((3, 2)), y).backward()
    assert y.grad.abs().sum() > 0
    assert isinstance(qz.wasserstein(x.detach(), y.detach()), float)
    (once,) = torch.autograd.grad(qz.transport(x, y).cost, x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(once.sum(), x)  # plans are constants to torch


def test_a_solutions_distortion_in_the_samples(tmp_path):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(60, 2)), requires_grad=True)
    with pytest.warns(UserWarning, match="neither codes nor weights depend on them"):
        solution = qz.quantize(x, 4, rng=0)
    codes = solution.points
    (gradient,) = torch.autograd.grad(solution.distortion, x)
    free = x.detach().clone().requires_grad_()
    loss = torch.cdist(free, codes).min(1).values.square().mean()
    torch.testing.assert_close(solution.distortion.item(), loss.item(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, free)[0])
    solution.save(tmp_path / "solution.npz")
    assert qz.Solution.load(tmp_path / "solution.npz").distortion == solution.distortion.item()
    with pytest.warns(UserWarning, match="the cost does not depend on them"):
        qz.wasserstein(qz.Gaussian([0.0], [[1.0]]), torch.ones(3, 1, requires_grad=True))
