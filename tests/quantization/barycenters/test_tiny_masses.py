"""Masses over hundreds of decades, measures that are nearly equal: F by HiGHS, between bounds of its own."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import bmat, csr_array, eye_array, kron

import quantization as qz


def bins(n):
    return np.arange(n, dtype=float)[:, None]


def grid(side):
    return np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2).astype(float)


def shares(w):
    return w / w.sum()


def bump(x, centre, width):
    return np.exp(-np.square(x - centre).sum(1) / (2 * width**2))


def gaussian_histograms(rng, m):
    n = int(rng.integers(30, 80))
    return bins(n), [bump(bins(n), rng.uniform(0.15 * n, 0.85 * n), rng.uniform(0.03 * n, 0.1 * n)) for _ in range(m)]


def mixture_histograms(rng, m):
    n = int(rng.integers(30, 80))
    parts = [[bump(bins(n), rng.uniform(0, n), rng.uniform(1, 4)) for _ in range(2)] for _ in range(m)]
    return bins(n), [a + rng.uniform() * b for a, b in parts]


def softmax_maps(rng, m):
    x = grid(int(rng.integers(5, 9)))
    return x, [np.exp(8 * rng.normal(size=len(x))) for _ in range(m)]


def bumps(rng, m):
    side = int(rng.integers(5, 9))
    return grid(side), [bump(grid(side), rng.uniform(0, side, size=2), rng.uniform(0.4, 1.5)) for _ in range(m)]


def maps_to_1e_300(rng, m):
    x = grid(int(rng.integers(5, 8)))
    return x, [rng.permutation(np.geomspace(1e-300, 1, len(x))) for _ in range(m)]


def histograms_to_1e_300(rng, m):
    x = bins(int(rng.integers(30, 60)))
    return x, [10 ** rng.uniform(rng.choice([-300, -18]), 0, size=len(x)) for _ in range(m)]


def nearly_equal_maps(rng, m):
    x = grid(int(rng.integers(5, 8)))
    a = np.exp(8 * rng.normal(size=len(x)))
    return x, [a * np.exp(1e-3 * rng.normal(size=len(x))) for _ in range(m)]


def equal_maps(rng, m):
    x = grid(int(rng.integers(5, 8)))
    a = np.exp(4 * rng.normal(size=len(x)))
    return x, [a] * (m - 1) + [a if rng.random() < 0.5 else np.eye(len(x))[3]]  # the last a single atom


KINDS = (
    gaussian_histograms, mixture_histograms, softmax_maps, bumps,
    maps_to_1e_300, histograms_to_1e_300, nearly_equal_maps, equal_maps,
)  # fmt: skip


def instance(seed):
    """Bins, measures on them, mixing."""
    rng = np.random.default_rng([19, seed])
    m = int(rng.integers(2, 5))
    x, measures = KINDS[seed % len(KINDS)](rng, m)
    return x, [shares(a) for a in measures], rng.dirichlet(np.full(m, 2.0))


def bounds_by_highs(x, measures, mixing, points):
    """What the least F is at least and at most: the whole program by HiGHS at its least tolerances, its dual made feasible.

    Masses below 1e-13 of the mean cost are left out of the program (else HiGHS finds it infeasible), not of the lower bound.
    """
    costs = [np.square(x[:, None] - points).sum(2) for _ in measures]
    k, m = len(points), len(measures)
    unit = float(np.mean(costs))
    kept = [s * a * c.max(1) > 1e-13 * unit for s, a, c in zip(mixing, measures, costs, strict=True)]
    blocks, right = [], []
    for j in range(m):
        n = int(kept[j].sum())
        rows, columns = kron(eye_array(n), np.ones((1, k))), kron(np.ones((1, n)), eye_array(k))
        before, after = [None] * j, [None] * (m - 1 - j)
        blocks += [[*before, rows, *after, csr_array((n, k))], [*before, columns, *after, -eye_array(k)]]
        right += [1e4 * shares(measures[j][kept[j]]), np.zeros(k)]
    objective = [s * c[rows].ravel() / unit for s, c, rows in zip(mixing, costs, kept, strict=True)]
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        np.concatenate([*objective, np.zeros(k)]), A_eq=bmat(blocks).tocsr(), b_eq=np.concatenate(right), method="highs",
        options=options,
    )  # fmt: skip
    y, at, scaled = found.eqlin.marginals * unit, 0, []
    for rows in kept:
        at += int(rows.sum()) + k
        scaled.append(y[at - k : at])
    scaled = np.array(scaled) - np.mean(scaled, axis=0)
    low = sum(float(a @ (s * c - v).min(1)) for s, a, c, v in zip(mixing, measures, costs, scaled, strict=True))
    return low, found.fun * unit / 1e4, 64 * np.finfo(float).eps * costs[0].max()


def solve(x, measures, mixing, **options):
    return qz.barycenter([qz.DiscreteMeasure(x, a) for a in measures], mixing=mixing, rng=0, **options)


def check(seed):
    x, measures, mixing = instance(seed)
    low, high, rounding = bounds_by_highs(x, measures, mixing, x)
    sol = solve(x, measures, mixing, points=x).require()
    assert low - rounding <= sol.distortion <= min(low, high) + 1e-6 * low + rounding
    assert sol.distortion - sol.masses_gap <= high * (1 + 1e-9) + rounding  # the gap's bound is one


@pytest.mark.parametrize("seed", range(16))
def test_the_best_weights_are_those_of_highs(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 100))
def test_the_best_weights_are_those_of_highs_further(seed):
    check(seed)


@pytest.mark.parametrize("seed", [2, 3, 4, 6, 7, 8])
def test_with_free_points_no_other_weights_are_better(seed):
    x, measures, mixing = instance(seed)
    sol = solve(x, measures, mixing, k=8).require()
    low, _, rounding = bounds_by_highs(x, measures, mixing, sol.measure.points)
    assert sol.distortion <= low * (1 + 2e-6) + rounding


def test_two_gaussian_histograms():
    """100 bins, means 20 and 60, widths 5 and 8: masses down to 1e-56."""
    x = bins(100)
    measures = [shares(bump(x, 20.0, 5.0)), shares(bump(x, 60.0, 8.0))]
    sol = solve(x, measures, [0.3, 0.7], points=x).require()
    assert sol.distortion == pytest.approx(338.006, abs=5e-4)
    assert sol.masses_gap <= 1e-6 * sol.distortion


def test_softmax_maps():
    x = grid(10)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        solve(x, [shares(np.exp(8 * rng.normal(size=100))) for _ in range(3)], None, points=x).require()


def test_equal_measures_are_their_own_barycenter():
    x = grid(5)
    a = shares(np.exp(8 * np.random.default_rng(0).normal(size=25)))
    sol = solve(x, [a, a, a], [0.2, 0.3, 0.5], points=x).require()
    assert sol.distortion <= 1e-15
    np.testing.assert_allclose(sol.measure.weights, a, atol=1e-15)
    one = solve(x, [a, a, a], None, k=1).require()
    np.testing.assert_allclose(one.measure.points[0], a @ x, rtol=1e-12)
    assert one.distortion == pytest.approx(a @ np.square(x - a @ x).sum(1), rel=1e-12)


@pytest.mark.parametrize("options", [{"points": [[0.0, 0.0]]}, {"k": 1}])
def test_a_single_point_and_masses_of_1e_300(options):
    x, measures, mixing = instance(4)
    solve(x, measures, mixing, **options).require()
