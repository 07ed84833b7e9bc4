import itertools

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import quantization as qz


def measures(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 1)), np.round(rng.gamma(1.0, size=(9, 1)), 1)  # some are repeated
    return [qz.DiscreteMeasure(x), qz.DiscreteMeasure(y), qz.DiscreteMeasure(rng.normal(3, 2, (7, 1)), rng.dirichlet(np.ones(7)))]


def pairs(given):
    return [(mu.points, mu.weights) for mu in given]


def quantile_mean(given, mixing, n=200_000):
    """Q̄ at n levels, in the middle of n equal parts."""
    u = (np.arange(n) + 0.5) / n
    total = np.zeros(n)
    for mu, share in zip(given, mixing, strict=True):
        order = np.argsort(mu.points[:, 0])
        below = np.cumsum(mu.weights[order])
        total += share * mu.points[order[np.searchsorted(below / below[-1], u)], 0]
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_free_weights_reach_the_optimum(truth, seed, k):
    """No partition of the mean of the quantile functions into intervals costs less: by brute force for few atoms, k = 2."""
    given, mixing = measures(seed), np.array([0.2, 0.5, 0.3])
    sol = qz.barycenter(given, k, mixing=mixing, rng=0)
    value = truth.objective(pairs(given), mixing, np.asarray(sol.points), np.asarray(sol.weights))
    assert sol.distortion == pytest.approx(value, rel=1e-10)
    assert sol.converged
    assert sol.masses_gap <= 1e-12 * value
    assert sol.distortion_gap <= 1e-12 * value
    rival = qz.barycenter(given, k, mixing=mixing, solver=qz.InteriorPoint(), rng=0)
    assert sol.distortion <= rival.distortion * (1 + 1e-12)
    if k == 2:
        q = quantile_mean(given, mixing)
        sums = np.append(0.0, np.cumsum(q))
        cuts = np.arange(1, len(q))
        between = (np.square(sums[cuts]) / cuts + np.square(sums[-1] - sums[cuts]) / (len(q) - cuts)).max()
        spread = sum(s * float(mu.weights @ mu.points[:, 0] ** 2) for s, mu in zip(mixing, given, strict=True))
        assert sol.distortion == pytest.approx(spread - between / len(q), abs=1e-3)  # Σ λ_j E X_j² − Σ w_k x_k²


def test_as_many_codes_as_atoms(truth):
    given, mixing = measures(1), np.full(3, 1 / 3)
    few, many = (qz.barycenter(given, k, rng=0) for k in (20, 28))
    assert many.points.shape == (28, 1)
    assert many.converged
    value = truth.objective(pairs(given), mixing, np.asarray(many.points), np.asarray(many.weights))
    assert many.distortion == pytest.approx(value, rel=1e-10)
    assert many.distortion <= few.distortion
    points = np.ones((5, 1))
    sol = qz.barycenter([points, points + 1], 3, rng=0)  # one atom
    np.testing.assert_allclose(sol.points, 1.5)
    assert sol.distortion == pytest.approx(0.25, abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_on_fixed_points_weights_are_cell_masses(truth, seed):
    given, mixing = measures(seed), np.array([0.6, 0.1, 0.3])
    points = np.random.default_rng(seed).normal(1, 2, (6, 1))
    sol = qz.barycenter(given, points=points, mixing=mixing, rng=0)
    np.testing.assert_array_equal(sol.points, points)
    q = quantile_mean(given, mixing)
    counts = np.bincount(np.abs(q[:, None] - points[:, 0]).argmin(1), minlength=6)
    np.testing.assert_allclose(sol.weights, counts / len(q), atol=1e-4)
    program = qz.barycenter(given, points=points, mixing=mixing, solver=qz.InteriorPoint(), rng=0)
    assert sol.distortion == pytest.approx(program.distortion, rel=1e-7)
    assert sol.masses_gap <= 1e-12 * sol.distortion


def test_laws_enter_by_their_quantile_functions():
    laws, mixing = [stats.norm(0, 1), stats.gamma(2.0), qz.Gaussian([4.0], [[4.0]])], np.array([0.5, 0.3, 0.2])
    sol = qz.barycenter(laws, 6, mixing=mixing, rng=0).require()

    def mean(u):
        return sum(s * q(u) for s, q in zip(mixing, (laws[0].ppf, laws[1].ppf, stats.norm(4, 2).ppf), strict=True))

    x, w = np.sort(sol.points[:, 0]), sol.weights[np.argsort(sol.points[:, 0])]
    ends = np.append(0.0, np.cumsum(w))
    ends[-1] = 1.0
    for (a, b), code in zip(itertools.pairwise(ends), x, strict=True):
        first = integrate.quad(mean, a, b, epsabs=1e-12)[0]
        assert first / (b - a) == pytest.approx(code, abs=1e-7)  # centroids
    np.testing.assert_allclose([mean(u) for u in ends[1:-1]], (x[1:] + x[:-1]) / 2, atol=1e-9)  # nearest codes
    costs = [qz.transport(law, sol.measure).cost for law in laws]
    assert sol.distortion == pytest.approx(mixing @ costs, rel=1e-12)
    assert sol.masses_gap + sol.distortion_gap <= 1e-9 * sol.distortion


def test_two_normal_laws_in_closed_form():
    sol = qz.barycenter([qz.Gaussian([0.0], [[1.0]]), stats.norm(3, 2)], 5, rng=0)
    quantizer = qz.quantize(stats.norm(1.5, 1.5), 5, rng=0)
    assert sol.distortion == pytest.approx(1.5**2 + 0.5**2 + quantizer.distortion, rel=1e-12)
    np.testing.assert_allclose(np.sort(sol.points[:, 0]), np.sort(quantizer.points[:, 0]), atol=1e-9)


def test_samples_with_a_law():
    rng = np.random.default_rng(0)
    x = rng.gamma(2.0, size=(60, 1))
    sol = qz.barycenter([x, stats.norm()], 4, rng=0)
    fine = qz.barycenter([x, stats.norm().ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]], 4, rng=0)
    assert sol.distortion == pytest.approx(fine.distortion, rel=1e-3)  # of the discretization
    assert sol.converged


def test_a_law_without_quantile_function_enters_by_draws():
    class Sampler:
        def sample(self, n, rng):
            return rng.normal(size=(n, 1))

    sol = qz.barycenter([Sampler(), stats.norm(2)], 5, draws=400, rng=0)
    assert sol.converged
    assert sol.points.shape == (5, 1)


def test_torch_in_torch_out_on_the_line():
    x = [torch.linspace(0, 1, 30)[:, None], torch.linspace(2, 5, 40)[:, None]]
    sol = qz.barycenter(x, 4, rng=0)
    assert sol.points.dtype == torch.float32
    assert sol.converged
    nu = qz.DiscreteMeasure(sol.points.numpy().astype(float), sol.measure.weights_float64.numpy())
    exact = np.mean([qz.transport(y.numpy().astype(float), nu).cost for y in x])
    assert sol.distortion == pytest.approx(exact, rel=1e-12)


def test_snapshots_and_solvers_on_the_line():
    given = measures(2)
    values = [s.distortion for s in qz.iterate_barycenter(given, 4, init="random", rng=0)]
    assert values[-1] <= values[0]
    assert qz.barycenter(given, 4, rng=0).distortion <= values[-1] * (1 + 1e-12)
    with pytest.raises(ValueError, match="nothing is left to solve"):
        qz.barycenter(given, points=[[0.0], [1.0]], solver=qz.Lloyd(), rng=0)
    with pytest.raises(ValueError, match="finite moment"):
        qz.barycenter([stats.cauchy(), stats.norm()], 3, rng=0)
