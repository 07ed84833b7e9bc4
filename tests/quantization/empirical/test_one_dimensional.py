from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

import quantization as qz
from quantization import assignment
from quantization.empirical import interval_sums, optimal_partition_1d, sorted_samples
from quantization.empirical.one_dimensional import EmpiricalLaw1D
from quantization.empirical.samples import EmpiricalLaw
from quantization.exact_law import has_global_search
from quantization.interval_dp import optimal_runs

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=150, derandomize=True)


def ordered(x, weights=None, r=2.0):
    return EmpiricalLaw1D(qz.DiscreteMeasure(np.asarray(x)[:, None], weights), r)


def check_cells(found, truth, x, codes, n):
    """Against brute force: n additions of nonnegative terms, in another order, are off by n units of their sum at most."""
    np.testing.assert_allclose(found.masses, truth.masses, rtol=0, atol=2 * n * EPS)
    # A mean is a code and a mean difference to it: both codes round, and n terms no longer than the cell.
    reach = np.abs(np.asarray(x, dtype=np.float64)[:, None] - codes.T).min(1).max() + np.abs(codes).max()
    np.testing.assert_allclose(found.means, truth.means, rtol=0, atol=4 * n * EPS * reach)
    assert found.distortion == pytest.approx(truth.distortion, rel=4 * n * EPS, abs=0)


@everyday
@given(
    st.integers(0, 10**6),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from(["normal", "integers", "midpoints", "duplicates", "far"]),
    st.booleans(),
)
def test_cells_are_the_brute_ones_ties_included(brute, seed, dtype, kind, weighted):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 900)), int(rng.integers(1, 12))
    x, codes = rng.normal(size=n).astype(dtype), rng.normal(size=(k, 1))
    if kind == "integers":
        x, codes = rng.integers(-9, 9, n).astype(dtype), rng.integers(-9, 9, (k, 1)).astype(float)
    if kind == "midpoints":  # points on the boundaries of cells, and a few units in the last place off them
        x = (codes[rng.integers(0, k, n), 0] + codes[rng.integers(0, k, n), 0]) / 2
        x = (x * (1 + EPS * rng.integers(-2, 3, n))).astype(dtype)
    if kind == "duplicates":
        x, codes = rng.choice(x[:5], n), rng.choice(x[:5].astype(float), (k, 1))
    if kind == "far":
        x, codes = (1000 + x).astype(dtype), 1000 + codes
    weights = np.full(n, 1 / n)
    if weighted:
        weights = rng.random(n) * (rng.random(n) < 0.8)
        weights[rng.integers(n)] += 0.1
        weights /= weights.sum()
    law = ordered(x, weights)
    truth = brute.voronoi(x[:, None], weights, codes)
    found = law.cells(codes)
    check_cells(found, truth, x, codes, n)
    np.testing.assert_array_equal(found.masses > 0, truth.masses > 0)
    np.testing.assert_allclose(law.measure.project(codes.astype(dtype)).weights.sum(), 1, atol=0.01)
    other = assignment.cells(law.measure.points, law.measure.weights_float64, codes)
    np.testing.assert_allclose(found.gradient, other.gradient, rtol=0, atol=8 * n * EPS * (np.abs(x).max() + np.abs(codes).max()))
    np.testing.assert_array_equal(found.means[truth.masses == 0], codes[truth.masses == 0])


def test_masses_are_those_of_the_projection(rng):
    x = rng.normal(size=50_000).astype(np.float32)
    mu = qz.DiscreteMeasure(x[:, None])
    codes = rng.normal(size=(30, 1)).astype(np.float32)
    np.testing.assert_allclose(
        EmpiricalLaw1D(mu, 2.0).cells(codes.astype(float)).masses, mu.project(codes).weights_float64, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("codes", [[0.0, 1.0], [1.0, 0.0], [1.0, 1 + EPS, 5.0], [1 + EPS, 1.0], [1e150, 0.0, -1e150]])
def test_codes_that_rounding_makes_equally_far(codes, brute):
    # From -1e17 the codes 0 and 1 are equally far in float64, so that cells by direct differences are no intervals.
    x, codes = np.array([-1e17, -1.0, 0.2, 0.7, 3.0, 1e16]), np.array(codes)[:, None]
    law = ordered(x)
    found, expected = law.cells(codes), assignment.cells(law.measure.points, law.measure.weights_float64, codes)
    np.testing.assert_allclose(found.masses, expected.masses, rtol=4 * EPS)
    np.testing.assert_allclose(found.means, expected.means, rtol=20 * EPS)
    assert found.distortion == pytest.approx(brute.voronoi(x[:, None], np.full(6, 1 / 6), codes).distortion, rel=20 * EPS)


def exact_distortion(x, weights, codes):
    """In rational arithmetic, with no rounding at all; codes far enough apart that the nearest is not in doubt."""
    labels = np.abs(np.asarray(x)[:, None] - codes.T).argmin(1)
    terms = (
        Fraction(w) * (Fraction(float(y)) - Fraction(float(codes[j, 0]))) ** 2 for y, w, j in zip(x, weights, labels, strict=True)
    )
    return sum(terms)


@pytest.mark.parametrize("spread", [1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("weighted", [False, True])
def test_tight_clusters_keep_their_digits(spread, weighted, rng):
    # Two clusters of 2000 points: the distortion is spread^2 of the variance, and has all its digits.
    x = np.repeat([1.0, -1.0], 2000) * (1 + spread * rng.normal(size=4000))
    weights = rng.random(4000) if weighted else np.ones(4000)
    weights /= weights.sum()
    law = ordered(x, weights)
    codes = law.search(2, rng)
    found = law.cells(codes)
    masses = law.measure.weights_float64
    truth = exact_distortion(x, masses, codes)
    # Differences to a code are exact to half a unit each, squares to three halves; sums of 256 and of blocks add some 300 more.
    assert abs(Fraction(found.distortion) / truth - 1) < 400 * EPS
    assert np.sort(codes[:, 0]) == pytest.approx([-1, 1], rel=1e-3)
    assert found.stationarity < 4 * EPS / spread  # a centroid is rounded to a float64
    assert qz.quantize(x[:, None], 2, rng=0).distortion == pytest.approx(
        float(exact_distortion(x, np.full(4000, 1 / 4000), codes)), rel=1e-2
    )


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_one_and_a_ten_thousandth_in_single_precision(library):
    x = np.array([1.0001, 0.9999, -1.0001, -0.9999], dtype=np.float32)[:, None]
    sol = qz.quantize(library(x), 2, rng=0)
    codes = np.asarray(sol.measure.points, dtype=float)
    assert sol.distortion == pytest.approx(float(exact_distortion(x[:, 0], np.full(4, 0.25), codes)), rel=8 * EPS)
    assert sol.distortion == pytest.approx(1e-8, rel=1e-3)
    assert type(sol.measure.points) is type(library(x))


def test_blocks_add_up(rng):
    # Cells of a few points, of part of a block, of whole blocks; 100,000 points in all, summed in extended precision.
    x, w = rng.normal(size=100_000), rng.random(100_000)
    codes = np.array([-4.0, -3.9, -2.0, 0.0, 0.001, 0.002, 1.0, 9.0])[:, None]
    w /= w.sum()
    for weights in (None, w):
        found = ordered(x, weights).cells(codes)
        masses = np.full(len(x), 1 / len(x)) if weights is None else w
        labels = np.abs(x[:, None] - codes.T).argmin(1)
        wide = (x - codes[labels, 0]).astype(np.longdouble)
        # Compensated over blocks: 256 terms in plain sums, in either precision 1e5 long-double units at most.
        assert found.distortion == pytest.approx(float((masses * wide**2).sum()), rel=600 * EPS)
        firsts = np.array([float((masses * wide)[labels == k].sum()) for k in range(8)])
        absolute = np.array([float((masses * np.abs(wide))[labels == k].sum()) for k in range(8)])
        assert (np.abs(found.gradient[:, 0] + 2 * firsts) <= 2 * 600 * EPS * absolute).all()
        np.testing.assert_allclose(found.masses, np.bincount(labels, masses, minlength=8), rtol=1e-12)


def test_many_small_costs_beside_a_few_large_ones():
    # A million squares of 1e-18 beside 256 of 1: added one block after another to 256 they would vanish, 18 units in all.
    n = 2**20
    x = np.concatenate([np.full(128, -1.0), np.full(n, 1e-9), np.full(128, 1.0)])
    exact = (256 + n * Fraction(1e-9) ** 2) / (n + 256)
    assert abs(Fraction(ordered(x).cells(np.zeros((1, 1))).distortion) / exact - 1) < 4 * EPS


@pytest.mark.parametrize("limit", [0.0, 1e-3, 0.3, 1.0, 5.0])
def test_equal_points_share_a_bin(limit, rng):
    x = np.sort(rng.integers(0, 30, 500)).astype(float)
    edges = np.empty(501, np.int64)
    edges = edges[: interval_sums.greedy_bins(x, np.empty(0), limit, 1 / 32, edges) + 1]
    assert edges[0] == 0
    assert edges[-1] == 500
    assert (x[edges[1:-1]] > x[edges[1:-1] - 1]).all()
    widths, counts = (x[edges[1:] - 1] - x[edges[:-1]]) / 32, np.diff(edges)
    assert ((np.sqrt(counts) * widths <= limit) | (x[edges[1:] - 1] == x[np.maximum(edges[1:] - 2, 0)])).all()
    if limit == 0:
        assert len(edges) == len(np.unique(x)) + 1


@pytest.mark.parametrize("r", [1.0, 1.5, 3.0])
def test_other_orders(r, rng):
    x, codes = rng.normal(size=(300, 1)), rng.normal(size=(7, 1))
    mu = qz.DiscreteMeasure(x)
    found, expected = EmpiricalLaw1D(mu, r).cells(codes), assignment.cells(mu.points, mu.weights_float64, codes, r)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-12)
    assert found.distortion == pytest.approx(expected.distortion, rel=1e-12)
    assert qz.distortion(x, codes, r=r, rng=0).value == pytest.approx(expected.distortion, rel=1e-12)


def least_distortion(x, k):
    """The textbook dynamic programme over all points, O(k n^2), in extended precision."""
    x = np.sort(np.asarray(x)).astype(np.longdouble)
    first, second = (np.concatenate([[0], np.cumsum((x - x.mean()) ** power)]) for power in (1, 2))
    best = np.full(len(x) + 1, np.inf)
    best[0] = 0
    for _ in range(k):
        last, best = best, np.full(len(x) + 1, np.inf)
        for j in range(1, len(x) + 1):
            costs = second[j] - second[:j] - (first[j] - first[:j]) ** 2 / np.arange(j, 0, -1)
            best[j] = (last[:j] + costs).min()
    return float(best[-1]) / len(x)


@pytest.mark.parametrize("kind", ["normal", "bimodal", "heavy", "integers"])
@pytest.mark.parametrize("k", [2, 7, 20])
def test_the_global_optimum_of_some_hundred_points(kind, k, rng):
    x = rng.normal(size=500)
    x = {"normal": x, "bimodal": x * 0.3 + np.sign(x), "heavy": x**5, "integers": np.round(10 * x)}[kind]
    sol = qz.quantize(x[:, None], k, rng=0)
    # The reference cancels in its cumulative sums: 500 units of the variance.
    assert sol.distortion == pytest.approx(least_distortion(x, k), rel=1e-11, abs=500 * 1e-19 * x.var())
    assert sol.status is qz.Status.CONVERGED
    assert sol.n_iter <= 1


@pytest.mark.parametrize("kind", ["normal", "bimodal", "exponential", "cauchy"])
def test_within_1e_5_of_the_global_optimum_of_many_points(kind, rng):
    n, k = 10**5, 100
    x = {
        "normal": rng.normal(size=n),
        "bimodal": np.where(rng.random(n) < 0.3, rng.normal(-3, 0.5, n), rng.normal(2, 1, n)),
        "exponential": rng.exponential(size=n),
        "cauchy": rng.standard_cauchy(n),
    }[kind]
    law = ordered(x)
    everywhere = np.sort(x)
    edges = optimal_runs(np.full(n, 1 / n), everywhere, k)
    best = sum(float(np.square(part - part.mean()).sum()) for part in np.split(everywhere, edges[1:-1])) / n
    assert law.cells(law.search(k, rng)).distortion <= best * (1 + 1e-5)


def check_no_point_gains_alone(x, codes):
    """Hartigan's condition: no point lowers the cost by changing cells, with both centroids following."""
    x, codes = np.sort(x), np.sort(codes[:, 0])
    edges = np.concatenate([[0], np.searchsorted(x, (codes[1:] + codes[:-1]) / 2), [len(x)]])
    sizes = np.diff(edges)
    assert (sizes > 0).all()
    means = np.array([part.mean() for part in np.split(x, edges[1:-1])])
    for t, edge in enumerate(edges[1:-1]):
        for point, mine, other in ((x[edge - 1], t, t + 1), (x[edge], t + 1, t)):
            if sizes[mine] > 1 and (x == point).sum() == 1:
                saved = sizes[mine] / (sizes[mine] - 1) * (point - means[mine]) ** 2
                paid = sizes[other] / (sizes[other] + 1) * (point - means[other]) ** 2
                assert paid >= saved * (1 - 1e-9)


@pytest.mark.parametrize(("most", "stride", "k"), [(512, 512, 9), (256, 8, 30), (64, 8, 30), (64, 16, 1000)])
@pytest.mark.parametrize("heavy", [False, True])
def test_few_bins_are_refined(most, stride, k, heavy, rng, monkeypatch):
    # The ways that large n and K take, in small: bins for the points, and neighbours together.
    monkeypatch.setattr(optimal_partition_1d, "_BINS", most)
    monkeypatch.setattr(optimal_partition_1d, "_MOST_BINS", most)
    monkeypatch.setattr(optimal_partition_1d, "_STRIDE", stride)
    x = rng.normal(size=5000) ** (3 if heavy else 1)
    law = ordered(x)
    codes = law.search(k, rng)
    assert codes.shape == (k, 1)
    assert (np.diff(codes[:, 0]) > 0).all()
    assert law.cells(codes).stationarity < 1e-12
    check_no_point_gains_alone(x, codes)
    edges = optimal_runs(np.ones(5000), np.sort(x), k)
    best = sum(float(np.square(part - part.mean()).sum()) for part in np.split(np.sort(x), edges[1:-1])) / 5000
    assert best * (1 - 1e-12) <= law.cells(codes).distortion <= best * 1.05


def test_weights_are_repetitions(rng):
    x, counts = rng.normal(size=400), rng.integers(0, 5, 400)
    weighted = qz.quantize(qz.DiscreteMeasure.from_unnormalized(x[:, None], counts), 9, rng=0)
    repeated = qz.quantize(np.repeat(x, counts)[:, None], 9, rng=0)
    np.testing.assert_allclose(weighted.measure.points, repeated.measure.points, rtol=1e-11)
    np.testing.assert_allclose(weighted.measure.weights, repeated.measure.weights, atol=1e-12)
    assert weighted.distortion == pytest.approx(repeated.distortion, rel=1e-11)


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_threads_sort_alike(threads, dtype, rng, monkeypatch):
    monkeypatch.setattr(sorted_samples, "_WORTH_A_THREAD", 100)
    monkeypatch.setattr(sorted_samples, "available", lambda: threads)
    x = rng.normal(size=1234).astype(dtype)
    np.testing.assert_array_equal(sorted_samples.SortedSamples(qz.DiscreteMeasure(x[:, None])).x, np.sort(x).astype(np.float64))


def test_weighted_bins_are_refined(rng, monkeypatch):
    monkeypatch.setattr(optimal_partition_1d, "_BINS", 256)
    monkeypatch.setattr(optimal_partition_1d, "_MOST_BINS", 256)
    x = np.linspace(-6, 6, 4001)
    mu = qz.DiscreteMeasure.from_unnormalized(x[:, None], np.exp(-x * x / 2))
    codes = EmpiricalLaw1D(mu, 2.0).search(8, rng)
    # N(0, 1), K = 8; a grid of step h adds h^2 / 12 to a variance, and as much error elsewhere: 7.5e-7.
    assert EmpiricalLaw1D(mu, 2.0).cells(codes).distortion == pytest.approx(0.034547760788504, abs=2e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_as_many_codes_as_points(k):
    x = np.array([3.0, 1.0, 1.0, 7.0, 3.0, 1e-3, -8.0, 2.5, 3.0])
    distinct = np.unique(x)
    sol = qz.quantize(x[:, None], 6, rng=0)
    np.testing.assert_array_equal(np.sort(sol.measure.points[:, 0]), distinct)
    assert sol.distortion == 0
    assert sol.stationarity == 0
    assert sol.status is qz.Status.CONVERGED
    with pytest.raises(ValueError, match=f"k = {6 + k} codes need at least {6 + k} distinct points .* received 6"):
        qz.quantize(x[:, None], 6 + k, rng=0)


def test_points_of_no_weight_are_none():
    mu = qz.DiscreteMeasure(np.array([[1.0], [2.0], [1e9]]), [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(np.sort(qz.quantize(mu, 2, rng=0).measure.points[:, 0]), [1, 2])
    with pytest.raises(ValueError, match="received 2"):
        qz.quantize(mu, 3, rng=0)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e300, 1e-310])
def test_points_all_alike(value):
    x = np.full((700, 1), value)
    sol = qz.quantize(x, 1, rng=0)
    assert sol.measure.points[0, 0] == value
    assert sol.distortion == 0
    with pytest.raises(ValueError, match="received 1"):
        qz.quantize(x, 2, rng=0)


def test_one_code_is_the_mean(rng):
    x = 50 + rng.normal(size=10_000)
    sol = qz.quantize(x[:, None], 1, rng=0)
    assert sol.measure.points[0, 0] == pytest.approx(x.mean(), rel=4 * EPS)
    assert sol.distortion == pytest.approx(x.var(), rel=600 * EPS)


@pytest.mark.parametrize("exponent", [-498, -100, 100, 498])  # 1e±150
def test_scale_changes_nothing(exponent, rng):
    x = rng.normal(size=3000)
    sol, scaled = qz.quantize(x[:, None], 10, rng=0), qz.quantize(np.ldexp(x, exponent)[:, None], 10, rng=0)
    np.testing.assert_array_equal(scaled.measure.points, np.ldexp(sol.measure.points, exponent))
    assert scaled.distortion == np.ldexp(sol.distortion, 2 * exponent)
    assert scaled.stationarity == sol.stationarity
    assert scaled.status is sol.status


def test_squares_beyond_range_are_refused():
    with pytest.raises(ValueError, match=r"must lie within 1e±300.*received a range of 1.5e\+308 and r = 2. Rescale the points"):
        qz.quantize(np.array([[-7e307], [8e307], [1e307], [0.9e307]]), 2, rng=0)


@pytest.mark.parametrize("scale", [1e-155, 1e-300, 1e-310])
def test_squares_that_vanish_are_refused(scale):
    """Any codes would look stationary, with a distortion of 0."""
    with pytest.raises(ValueError, match=r"must lie within 1e±300.*received a range of .*Rescale the points"):
        qz.quantize(scale * np.array([[-1.0], [1.0], [1.1], [0.9]]), 2, rng=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_dtypes(dtype, rng):
    x = torch.from_numpy(rng.normal(size=(2000, 1))).to(dtype)
    sol = qz.quantize(x, 8, rng=0)
    assert sol.measure.points.dtype == dtype
    reference = qz.quantize(x.double().numpy(), 8, rng=0)
    # Codes are rounded to the dtype, by half a unit of numbers up to 4; the distortion is flat at the optimum.
    error = 4 * torch.finfo(dtype).eps
    assert sol.distortion == pytest.approx(reference.distortion, rel=1e-12 + (error / reference.distortion**0.5) ** 2)
    np.testing.assert_allclose(
        np.sort(sol.measure.points.double().numpy()[:, 0]), np.sort(reference.measure.points[:, 0]), atol=error + 1e-12
    )


@everyday
@given(st.integers(0, 10**6), st.booleans())
def test_empty_cells_are_filled_and_nothing_gets_worse(seed, weighted):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 40, 60).astype(float) if seed % 2 else rng.normal(size=60)
    mu = (
        qz.DiscreteMeasure.from_unnormalized(x[:, None], rng.integers(0, 3, 60) + (x == x.max()))
        if weighted
        else qz.DiscreteMeasure(x[:, None])
    )
    distinct = len(np.unique(x[mu.weights_float64 > 0]))
    k = int(rng.integers(1, distinct + 1))
    law = EmpiricalLaw1D(mu, 2.0)
    codes = rng.choice([-99.0, 0.0, 1.0, 5.0, 5.0, 1e9], (k, 1))
    _, c = law.relocate_empty_cells(codes)
    assert (c.masses > 0).all()
    assert c.distortion <= law.cells(codes).distortion * (1 + 100 * EPS)
    with pytest.raises(ValueError, match=f"received {distinct}"):
        law.relocate_empty_cells(rng.normal(size=(distinct + 1, 1)))


def test_lloyd_from_any_start_descends(rng):
    x = np.concatenate([rng.normal(size=3000), 8 + 0.1 * rng.normal(size=3000)])
    best = qz.quantize(x[:, None], 12, rng=0)
    for start in (qz.KMeansPlusPlus(), qz.RandomPoints(), np.linspace(100, 200, 12)[:, None]):
        sol = qz.quantize(x[:, None], 12, init=start, max_iter=500, rng=0)
        assert (np.diff(sol.trace.distortion) <= 0).all()
        assert sol.distortion >= best.distortion * (1 - 1e-12)
        # The answer's numbers are those of the answer, whatever way they are computed.
        assert sol.distortion == pytest.approx(qz.distortion(x[:, None], sol.measure.points, rng=0).value, rel=1e-13)
        np.testing.assert_allclose(
            sol.measure.weights, qz.DiscreteMeasure(x[:, None]).project(sol.measure.points).weights, atol=1e-12
        )


def test_samples_on_the_line_get_a_global_start(rng):
    assert has_global_search(ordered(rng.normal(size=5)))
    x = rng.normal(size=(200, 1))
    a, b = qz.quantize(x, 5, rng=0), qz.quantize(x, 5, rng=1)
    np.testing.assert_array_equal(a.measure.points, b.measure.points)


def least_of_order(x, k, r):
    """The textbook programme over all points, with the r-means by a bounded search; (n,) → its least mean cost."""
    x, n = np.sort(x), len(x)
    costs = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        for j in range(i + 1, n + 1):
            part = x[i:j]
            costs[i, j] = np.abs(part - np.median(part)).sum() if r == 1 else np.inf
            if r > 1:
                found = optimize.minimize_scalar(
                    lambda c, part=part: (np.abs(part - c) ** r).sum(), bounds=(part[0], part[-1]), method="bounded",
                    options={"xatol": 1e-12},
                )  # fmt: skip
                costs[i, j] = found.fun
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    for _ in range(k):
        best = (best[:, None] + costs).min(0)
    return best[-1] / n


@pytest.mark.parametrize("r", [1.0, 1.5, 3.0, 4.0])
def test_samples_of_any_order_get_the_best_codes(r, rng):
    x = np.concatenate([rng.normal(size=40), 7 + 0.2 * rng.normal(size=20)])
    for k in (2, 5):
        sol = qz.quantize(x[:, None], k, r=r, rng=0).require()
        assert sol.distortion == pytest.approx(least_of_order(x, k, r), rel=1e-9)
        assert sol.n_iter <= 1
        assert sol.stationarity < 1e-12


@pytest.mark.parametrize(
    ("r", "n", "k"),
    [(2, 40_000, 7), (1, 140_000, 9), (3, 140_000, 9), pytest.param(2.5, 12_000, 5, marks=pytest.mark.slow)],
)
def test_an_exhaustive_search_beyond_bins(r, n, k):
    # Of equal steps the best partition has runs of equal length, or one more.
    sol = qz.quantize(np.arange(float(n))[:, None], k, r=r, init="global", max_iter=0, rng=0)
    lengths = np.diff(np.linspace(0, n, k + 1).astype(int))
    expected = sum((np.abs(np.arange(m) - (m - 1) / 2) ** r).sum() for m in lengths) / n
    assert sol.distortion == pytest.approx(expected, rel=1e-12)


def test_few_codes_of_another_order_for_ten_thousand_samples():
    # Two groups, so far apart that a code goes to each: 9000 samples were bins for that before, of which some held both ends.
    x = np.concatenate([np.linspace(0, 1, 4999), np.linspace(7, 9, 4999)])[:, None]
    sol = qz.quantize(x, 2, r=1.5, max_iter=0, rng=0)
    assert np.sort(sol.points[:, 0]) == pytest.approx([0.5, 8.0], rel=1e-12)


def test_medians_are_the_middle_of_those_there_are():
    sol = qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, r=1, rng=0).require()
    assert sorted(sol.points[:, 0].tolist()) == [0.5, 10.5]
    weighted = qz.DiscreteMeasure.from_unnormalized([[0.0], [1.0], [5.0], [6.0]], [3.0, 1.0, 1.0, 1.0])
    assert qz.quantize(weighted, 1, r=1, init=[[9.0]], rng=0).require().points.tolist() == [[0.5]]
    assert qz.quantize([[0.0], [2.0], [9.0]], 1, r=1, rng=0).require().points.tolist() == [[2.0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("r", [1.0, 1.5, 3.0])
def test_cells_of_any_order_are_those_of_the_assignment(r, dtype, rng):
    x = np.concatenate([rng.normal(size=3000), np.round(rng.normal(size=500))]).astype(dtype)[:, None]
    mu = qz.DiscreteMeasure.from_unnormalized(x, rng.integers(0, 4, len(x)).astype(float))
    codes = np.concatenate([x[3000:3004], rng.normal(size=(9, 1)), [[77.0], [77.0]]]).astype(float)  # some on points, two empty
    found, expected = EmpiricalLaw1D(mu, r).cells(codes), EmpiricalLaw(mu, r).cells(codes)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-9, atol=1e-12)
    assert found.distortion == pytest.approx(expected.distortion, rel=1e-12)
    assert found.stationarity == pytest.approx(expected.stationarity, rel=1e-9)
    moved = np.where(found.masses[:, None] > 0, found.moved, codes)
    for k in np.flatnonzero(found.masses > 0):  # no code of the cell costs less than its r-mean
        mine = np.abs(x - codes[:, 0]).argmin(1) == k
        points, weights = x[mine, 0].astype(float), mu.weights_float64[mine]
        tried = np.concatenate([points, moved[k, 0] + np.array([-1e-4, 1e-4])])
        assert weights @ np.abs(points - moved[k, 0]) ** r <= min(weights @ np.abs(points - c) ** r for c in tried) * (1 + 1e-12)


@pytest.mark.parametrize("r", [1.0, 3.0])
def test_scaling_the_line(r, rng):
    x = rng.normal(size=(300, 1))
    one = qz.quantize(x, 6, r=r, rng=0).require()
    for power in (-300, 150):
        factor = 2.0 ** (power / r // 1)
        other = qz.quantize(x * factor, 6, r=r, rng=0).require()
        np.testing.assert_allclose(other.points, one.points * factor, rtol=1e-12)
        assert other.distortion == pytest.approx(one.distortion * factor**r, rel=1e-12)
        assert other.stationarity < 1e-12
