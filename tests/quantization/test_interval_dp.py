from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from quantization import interval_dp
from quantization.interval_dp import optimal_runs
from quantization.interval_moment_kernels import sum_moments_outward, workspace
from quantization.interval_tree_kernels import expansions

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=150, derandomize=True)


def run_costs(masses, means):
    """The cost of the bins i..j-1 at [i, j], by Welford's updates about the first bin of each run."""
    bins = len(masses)
    costs = np.full((bins + 1, bins + 1), np.inf)
    mass, mean, second = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for j in range(bins):
        begun = slice(0, j + 1)
        mass[begun] += masses[j]
        offset = means[j] - means[begun] - mean[begun]
        share = offset * (masses[j] / mass[begun])
        mean[begun] += share
        second[begun] += masses[j] * offset * (offset - share)
        costs[begun, j + 1] = second[begun]
    return costs


def least_cost(costs, k):
    """The textbook dynamic programme, O(k B^2)."""
    best = np.full(len(costs), np.inf)
    best[0] = 0.0
    for _ in range(k):
        best = (best[:, None] + costs).min(0)
    return best[-1]


def check_optimal(masses, means, k):
    edges = optimal_runs(masses, means, k)
    assert edges.dtype == np.int64
    assert len(edges) == k + 1
    assert edges[0] == 0
    assert edges[-1] == len(masses)
    assert (np.diff(edges) > 0).all()
    costs = run_costs(masses, means)
    # Sums of nonnegative terms, each of some ten roundings, in both programmes: at most 10 B + 20 units of themselves, and the
    # hull is taken to be straight where it is to 1e-13 of cost and price together, the price of k runs being some of the cost.
    bound = 2 * (10 * len(masses) + 20) * EPS + 3 * k * 1e-13
    assert costs[edges[:-1], edges[1:]].sum() <= least_cost(costs, k) * (1 + bound)


@everyday
@given(
    st.integers(0, 10**6), st.integers(2, 70), st.floats(0, 1), st.sampled_from(["normal", "grid", "heavy", "clusters", "far"])
)
def test_no_partition_is_cheaper(seed, bins, share, kind):
    rng = np.random.default_rng(seed)
    masses, means = rng.random(bins) ** rng.integers(0, 4), rng.normal(size=bins)
    means = np.sort(
        {
            "normal": means,
            "grid": np.round(2 * means),
            "heavy": means**5,
            "clusters": np.sign(means) + 1e-9 * rng.normal(size=bins),
            "far": 1e8 + means,
        }[kind]
    )
    check_optimal(masses, means, 1 + round(share * (bins - 1)))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32])
def test_a_hull_with_long_straight_edges(k):
    # 16 pairs of bins, alike: the first runs save much, those from 17 on the same, so no price buys 20 of them.
    means = np.repeat(np.arange(16.0), 2) + np.tile([0.0, 0.01], 16)
    check_optimal(np.ones(32), means, k)


@pytest.mark.parametrize("exponent", [-480, -30, 0, 30, 480])
def test_scale_changes_nothing(exponent, rng):
    masses, means = rng.random(200), np.sort(rng.normal(size=200))
    expected = optimal_runs(masses, means, 13)
    np.testing.assert_array_equal(optimal_runs(masses, np.ldexp(means, exponent), 13), expected)
    np.testing.assert_array_equal(optimal_runs(np.ldexp(masses, exponent), means, 13), expected)


@pytest.mark.parametrize("k", [1, 2, 10, 100, 999, 1000])
def test_equal_bins_get_equal_runs(k):
    edges = optimal_runs(np.full(1000, 1e-3), np.arange(1000.0), k)
    assert set(np.diff(edges)) <= {1000 // k, -(-1000 // k)}


def test_bins_all_alike():
    edges = optimal_runs(np.ones(9), np.full(9, 3.7), 4)
    assert len(edges) == 5
    assert (np.diff(edges) > 0).all()


def test_bins_without_mass(rng):
    masses, means = rng.random(300), np.linspace(-3, 3, 300)
    masses[[0, 1, 50, 51, 52, 120, 299]] = 0.0
    edges = optimal_runs(masses, means, 12)
    heavy = masses > 0
    starts = np.flatnonzero(heavy)[optimal_runs(masses[heavy], means[heavy], 12)[1:-1]]
    np.testing.assert_array_equal(edges, [0, *starts, 300])
    assert all(masses[a:b].any() for a, b in pairwise(edges))


@pytest.mark.parametrize("price", [1e-300, 1e-9, 1e-3, 1.0, 1e300])
def test_the_guess_of_a_price_decides_nothing(price, rng):
    masses, means = rng.random(200), np.sort(rng.normal(size=200))
    np.testing.assert_array_equal(optimal_runs(masses, means, 13, price=price), optimal_runs(masses, means, 13))


@pytest.mark.parametrize("k", [0, 3, 10])
def test_runs_need_mass(k):
    with pytest.raises(ValueError, match="number of bins with mass, 2; received"):
        optimal_runs(np.array([0.0, 1.0, 0.0, 2.0]), np.arange(4.0), k)


def test_uniform_density_at_many_bins():
    # g(k) = 1 / (12 k^2) less what is spent within the bins, 1 / (12 B^2); k divides B.
    bins, k = 2**14, 2**9
    means = (np.arange(bins) + 0.5) / bins
    edges = optimal_runs(np.full(bins, 1 / bins), means, k)
    np.testing.assert_array_equal(edges, np.arange(0, bins + 1, bins // k))


def test_bins_over_many_orders_of_magnitude():
    """The search for a price multiplies guesses by ever larger factors; it used to overflow here."""
    u = np.linspace(0, 150 ** (1 / 3), 300) ** 3
    masses, means = np.exp(-2 * u) / (1 + u) ** 2 * np.gradient(u), np.exp(u)
    for k in (2, 3, 40):
        edges = optimal_runs(masses, means, k)
        assert len(edges) == k + 1
        assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("kind", ["even", "tiny masses", "ties", "far"])
def test_where_the_guess_comes_from_decides_nothing(kind, rng):
    # Of so many bins the price is sought on wider ones first; a given price keeps that out.
    means = np.sort(rng.normal(size=5000))
    masses = np.where(rng.random(5000) < 0.5, 1e-320, rng.random(5000)) if kind == "tiny masses" else rng.random(5000)
    means = {"ties": np.round(20 * means), "far": np.append(means[:-2], [1e7, 1e9])}.get(kind, means)
    found, expected = optimal_runs(masses, means, 7), optimal_runs(masses, means, 7, price=1e-3)
    costs = [
        sum(masses[a:b] @ (means[a:b] - np.average(means[a:b], weights=masses[a:b])) ** 2 for a, b in pairwise(edges))
        for edges in (found, expected)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-11)


def run_costs_of_order(masses, places, r):
    """The cost of the bins i..j-1 at [i, j]: at the best bin, and at the least of a bounded search."""
    bins = len(masses)
    costs = np.full((bins + 1, bins + 1), np.inf)
    for i in range(bins):
        for j in range(i + 1, bins + 1):
            m, y = masses[i:j], places[i:j]

            def cost(c, m=m, y=y):
                return float(m @ np.abs(y - c) ** r)

            costs[i, j] = min(cost(c) for c in y)
            if r > 1 and j - i > 1:
                found = optimize.minimize_scalar(cost, bounds=(y[0], y[-1]), method="bounded", options={"xatol": 1e-13})
                costs[i, j] = min(costs[i, j], found.fun)
    return costs


@pytest.mark.parametrize("kind", ["normal", "grid", "heavy"])
@pytest.mark.parametrize("r", [1.0, 1.5, 2.7, 3.0, 4.0, 5.0, 9.0])
def test_no_partition_of_another_order_is_cheaper(r, kind, rng):
    places = rng.normal(size=32)
    places = np.sort({"normal": places, "grid": np.round(4 * places), "heavy": places**5}[kind])
    masses = np.ones(32) if kind == "grid" else rng.random(32)
    costs = run_costs_of_order(masses, places, r)
    for k in (1, 2, 5, 12):
        edges = optimal_runs(masses, places, k, r=r)
        assert costs[edges[:-1], edges[1:]].sum() <= least_cost(costs, k) * (1 + 1e-9) + 1e-13 * costs[0, -1]


def least_cost_of(x, w, r):
    """The cost of a run of order r, by another search for its code: bisection of a sum that rises."""
    if r == 1:
        return min(w @ np.abs(x - c) for c in x)
    low, high = x[0], x[-1]
    for _ in range(200):
        c = (low + high) / 2
        low, high = (c, high) if w @ (np.sign(x - c) * np.abs(x - c) ** (r - 1)) > 0 else (low, c)
    return w @ np.abs(x - c) ** r


def line_of(kind, n, rng):
    x = {
        "normal": rng.normal(size=n),
        "heavy": rng.normal(size=n) ** 5,
        "clusters": np.sign(rng.normal(size=n)) + 1e-6 * rng.normal(size=n),
        "ties": np.round(4 * rng.normal(size=n)),
    }[kind]
    return np.ldexp(np.sort(x), -int(np.frexp(np.ptp(x))[1])), rng.random(n) ** 4 + 1e-9


@pytest.mark.parametrize("kind", ["normal", "heavy", "clusters", "ties"])
@pytest.mark.parametrize("r", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("bits", [0, 2, 5])
def test_costs_of_runs_by_blocks_of_moments(kind, r, bits, rng):
    x, w = line_of(kind, 300, rng)
    table, work = np.zeros(interval_dp._table_shape(300, bits, r + 1)), workspace(r)
    sum_moments_outward(x, w, bits, work, table)
    near = np.full(1, np.nan)
    tree = (float(r), *expansions(x, w, r), near) if r > 1 else None
    check_costs(lambda edges: interval_dp._total_cost(table, (w, x, bits), (r, work, near), tree, edges), x, w, r, rng)


@pytest.mark.parametrize("r", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("weight", [1e-6, 1e-10, 1e-15])
def test_costs_of_runs_whose_moments_cancel(weight, r):
    """A narrow cluster with nearly all the mass, and a light one far away, about whose first bins moments are kept."""
    x = np.concatenate([np.arange(63) * 1e-8 / 63, 1 + np.arange(65) * 1e-3])
    w = np.concatenate([np.full(63, 1 / 63), np.full(65, weight)])
    bins = interval_dp._WeightedBins(w, x, r)
    edges: np.ndarray = np.array([0, 128])
    found = bins._cost(edges) * bins._mass * 2.0 ** (r * bins._exponent)
    assert found == pytest.approx(least_cost_of(x, w, float(r)), rel=1e-8)


@pytest.mark.parametrize("kind", ["normal", "heavy", "clusters", "ties"])
@pytest.mark.parametrize("r", [1.05, 1.5, 2.5, 7.3, 9.0, 12.0])
def test_costs_of_runs_by_expansions(kind, r, rng):
    x, w = line_of(kind, 300, rng)
    tree = r, *expansions(x, w, r), np.full(1, np.nan)
    check_costs(lambda edges: interval_dp._total_cost(np.zeros((1, 1, 1)), (w, x, 0), None, tree, edges), x, w, r, rng)


@pytest.mark.parametrize("r", [7.3, 9.0, 12.0, 20.5, 30.5, 45.5])
@pytest.mark.parametrize("share", [0.79, 0.39, 0.3, 0.2, 0.1, 0.05])
def test_costs_by_expansions_where_terms_cancel(share, r):
    """Two blocks whose mass lies at the ends near the code, half a share of each block's way: of terms of up to
    ((1 + s) / (1 - s))^r times their sum."""
    radius = share / (1 - share)
    right, weights = 1 + np.linspace(0.0, 2 * radius, 8), np.full(8, 1e-3)
    weights[0] = 1.0
    weights *= right**-r
    x, w = np.concatenate([-right[::-1], right]), np.concatenate([weights[::-1], weights])
    tree = r, *expansions(x, w, r), np.full(1, np.nan)
    found = interval_dp._total_cost(np.zeros((1, 1, 1)), (w, x, 0), None, tree, np.array([0, 16]))
    assert found == pytest.approx(least_cost_of(x, w, r), rel=4e-12)  # truncation, rounding and the search, 1e-12 each


def check_costs(cost, x, w, r, rng):
    """4^r roundings of the largest terms, as powers are expanded about points up to twice as far away; and one of the code."""
    for start, stop in np.sort(rng.integers(0, len(x) + 1, size=(40, 2)), axis=1):
        if stop - start > 1:
            part, mass = x[start:stop], w[start:stop]
            expected = least_cost_of(part, mass, r)
            slack = 1e-10 * expected + 4.0**r * EPS * mass.sum() * np.ptp(part) ** r
            slack += r * EPS * mass.sum() * np.ptp(part) ** (r - 1)
            assert cost(np.array([start, stop])) == pytest.approx(expected, rel=0, abs=slack)
