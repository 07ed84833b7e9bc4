from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import quantization as qz
from quantization.empirical.samples import EmpiricalLaw
from quantization.initialization import as_initialization
from quantization.iteration import solve_tasks
from quantization.make_problem import make_problem
from quantization.solvers.base import State, Task
from quantization.solvers.lloyd import Lloyd

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=25, derandomize=True)


def clouds(seed, n=60, d=2):
    return np.random.default_rng(seed).normal(size=(n, d))


@everyday
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([np.float16, np.float32, np.float64]))
def test_distortion_never_rises_and_every_number_belongs_to_the_returned_points(brute, seed, k, dtype):
    points = clouds(seed).astype(dtype)
    sol = qz.quantize(points, k, rng=seed)
    assert (np.diff(sol.trace.distortion) <= 0).all()
    assert len(sol.trace.distortion) == len(sol.trace.stationarity) == sol.n_iter + 1
    mu = qz.DiscreteMeasure(points)
    masses = mu.project(sol.points).weights_float64
    np.testing.assert_allclose(sol.measure.weights_float64, masses, rtol=60 * EPS)  # sums of 60 weights in another order
    truth = brute.voronoi(points, mu.weights_float64, sol.measure.points)
    # Both sum 60 nonnegative terms of 2 squares.
    assert sol.distortion == pytest.approx(truth.distortion, rel=70 * EPS)
    assert sol.distortion == sol.trace.distortion[-1]
    assert qz.distortion(points, sol.points).value == pytest.approx(sol.distortion, rel=70 * EPS)
    assert sol.distortion_se == 0
    residual = np.sqrt(truth.masses @ np.square(truth.means - sol.measure.points.astype(np.float64)).sum(1) / truth.distortion)
    # The brute centroids are good to 60 units of round-off, beside a distortion that is not far below 1/K².
    assert sol.stationarity == pytest.approx(residual, abs=1e4 * EPS)


@everyday
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_distortion_is_the_transport_cost(seed, k):
    points = clouds(seed, n=40, d=3)
    weights = np.random.default_rng(seed + 1).dirichlet(np.ones(40))
    mu = qz.DiscreteMeasure(points, weights)
    sol = qz.quantize(mu, k, rng=0)
    # Exact transport moves masses that are rounded to 2^-53 each, over costs below |spread|² ~ 100.
    assert qz.wasserstein(mu, sol.measure) ** 2 == pytest.approx(sol.distortion, abs=100 * 40 * EPS)


def test_fixed_point_is_stationary():
    sol = qz.quantize(clouds(0, n=400), 12, solver=Lloyd(rtol=1e-9), max_iter=1000, rng=0).require()
    mu = qz.DiscreteMeasure(clouds(0, n=400))
    labels = mu.project(sol.measure.points)
    assert sol.stationarity <= 1e-9
    # At a stationary codebook E|X|² = Σ w_k |x_k|² + D; the gap is 2 Σ w_k <x_k, x_k - E[X|V_k]>, by Cauchy-Schwarz below.
    second = float(mu.expect(lambda x: np.square(x).sum(1)))
    codes = float(labels.expect(lambda x: np.square(x).sum(1)))
    slack = 2 * np.sqrt(codes * sol.distortion) * sol.stationarity + 400 * EPS * second
    assert abs(second - codes - sol.distortion) <= slack


@pytest.mark.parametrize("start", [qz.KMeansPlusPlus(), qz.RandomPoints(), np.arange(5.0)[:, None] - 20])
def test_as_many_codes_as_distinct_points_cost_nothing(start):
    points = np.repeat([[0.0], [1.0], [4.0], [9.0], [16.0]], [1, 2, 3, 4, 5], axis=0)
    sol = qz.quantize(points, 5, init=start, rng=0)
    assert sol.distortion == 0
    assert sol.stationarity == 0
    assert sol.status is qz.Status.CONVERGED
    np.testing.assert_allclose(np.sort(sol.measure.weights), np.arange(1, 6) / 15, rtol=16 * EPS)


def test_as_many_codes_as_points():
    points = clouds(3, n=25)
    sol = qz.quantize(points, 25, rng=0)
    assert sol.distortion == 0
    assert sorted(map(tuple, sol.measure.points)) == sorted(map(tuple, points))


@pytest.mark.parametrize("start", [qz.KMeansPlusPlus(), qz.RandomPoints(), "far", "near"])
@pytest.mark.parametrize("solver", [Lloyd(), qz.CLVQ()])
@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(
    ("values", "distinct"), [([0.0], 1), ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 1), ([0.0, 1.0, 1.0, 0.0, 5.0, 5.0], 3)]
)
def test_too_many_codes_are_refused_with_the_count(start, solver, library, values, distinct):
    codes = np.linspace(5, 9, 5)[:, None]
    start = codes if isinstance(start, str) and start == "far" else codes / 100 if isinstance(start, str) else start
    with pytest.raises(ValueError, match=f"k = 5 .*received {distinct}\\. Lower k to {distinct}"):
        qz.quantize(library(np.array(values)[:, None]), 5, init=start, solver=solver, rng=0)


def test_points_of_no_weight_do_not_count_as_distinct():
    mu = qz.DiscreteMeasure([[0.0], [1.0], [2.0]], [0.5, 0.5, 0.0])
    for start in (None, qz.RandomPoints(), [[0.0], [1.0], [2.0]]):
        with pytest.raises(ValueError, match="received 2"):
            qz.quantize(mu, 3, init=start, rng=0)
    assert qz.quantize(mu, 2, rng=0).distortion == 0


@everyday
@given(st.integers(0, 10_000))
def test_empty_cells_are_mended(seed):
    points = clouds(seed, n=30)
    start = np.full((6, 2), 100.0)  # duplicates, far away: five of six cells are empty
    sol = qz.quantize(points, 6, init=start, rng=0)
    assert (sol.measure.weights > 0).all()
    assert (np.diff(sol.trace.distortion) <= 0).all()
    assert sol.trace.distortion[0] <= qz.distortion(points, start, rng=0).value


def test_weighted_samples_are_repeated_samples():
    points, times = clouds(5, n=20), np.random.default_rng(1).integers(1, 5, 20)
    start = points[:4]
    weighted = qz.quantize(qz.DiscreteMeasure.from_unnormalized(points, times), 4, init=start, rng=0)
    repeated = qz.quantize(np.repeat(points, times, axis=0), 4, init=start, rng=0)
    np.testing.assert_allclose(weighted.measure.points, repeated.measure.points, atol=400 * EPS)
    np.testing.assert_allclose(weighted.measure.weights, repeated.measure.weights, atol=60 * EPS)
    assert weighted.distortion == pytest.approx(repeated.distortion, rel=100 * EPS)


@pytest.mark.parametrize("exponent", [-40, -3, 5, 60])
@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_powers_of_two_scale_to_the_last_bit(exponent, library):
    points = clouds(7, n=200, d=3)
    plain = qz.quantize(library(points), 9, rng=3)
    scaled = qz.quantize(library(points * 2.0**exponent), 9, rng=3)
    np.testing.assert_array_equal(np.asarray(scaled.measure.points), np.asarray(plain.measure.points) * 2.0**exponent)
    np.testing.assert_array_equal(np.asarray(scaled.measure.weights), np.asarray(plain.measure.weights))
    assert scaled.distortion == plain.distortion * 4.0**exponent
    np.testing.assert_array_equal(scaled.trace.stationarity, plain.trace.stationarity)


def test_translation():
    points = np.round(clouds(8, n=100) * 2**20) / 2**20  # so that the shifted points are exact
    plain, moved = (qz.quantize(x, 7, init=x[:7], rng=0) for x in (points, points + 1024.0))
    np.testing.assert_array_equal(plain.measure.weights, moved.measure.weights)
    # Codes near 1024 are rounded to 2^-43 a step; the Lloyd map does not magnify that by more than its 1/(1 - rate).
    np.testing.assert_allclose(moved.measure.points - 1024.0, plain.measure.points, atol=2**-43 * 100)


def test_rtol_zero_takes_every_step_unless_nothing_moves():
    points = clouds(9, n=5000)
    sol = qz.quantize(points, 50, solver=Lloyd(rtol=0), max_iter=15, rng=0)
    assert sol.n_iter == 15
    assert sol.status is qz.Status.BUDGET_SPENT
    small = qz.quantize(points[:50], 4, solver=Lloyd(rtol=0), max_iter=10_000, rng=0)
    assert small.n_iter < 10_000
    assert small.status is qz.Status.CONVERGED  # no label changes
    assert small.stationarity < 100 * EPS
    exact = qz.quantize(np.array([[-1.0], [1.0], [7.0], [9.0]]), 2, solver=Lloyd(rtol=0), init=[[0.5], [7.5]], rng=0)
    assert exact.status is qz.Status.CONVERGED
    assert (exact.n_iter, exact.stationarity) == (1, 0)


def test_no_steps_measure_the_start():
    points = clouds(10)
    sol = qz.quantize(points, 3, init=points[:3], max_iter=0, rng=0)
    np.testing.assert_array_equal(sol.measure.points, points[:3])
    assert (sol.n_iter, sol.status) == (0, qz.Status.BUDGET_SPENT)
    assert sol.distortion == qz.distortion(points, points[:3], rng=0).value


@pytest.mark.parametrize("points", [clouds(11, n=500).astype(np.float16), (clouds(11, n=500) + 1000).astype(np.float32)])
def test_the_tolerance_knows_what_the_dtype_can_hold(points):
    sol = qz.quantize(points, 5, rng=0).require()
    # Rounding moves a coordinate by half a unit at most, the residual by as much over the root of the distortion.
    largest = float(np.abs(sol.points.astype(np.float64)).max())
    assert sol.stationarity <= np.finfo(points.dtype).eps * largest * 2**0.5 / sol.distortion**0.5


def test_overflow_is_refused_before_work():
    points = np.array([[1e200], [-1e200], [0.0], [3.0]])
    for start in (None, [[1.0], [2.0]], qz.RandomPoints()):
        with pytest.raises(ValueError, match=r"received a range of 2e\+200 and r = 2. Rescale the points"):
            qz.quantize(points, 2, init=start, rng=0)


def test_torch_and_numpy_agree():
    points = clouds(12, n=300, d=4)
    for dtype in (np.float32, np.float64):
        x = points.astype(dtype)
        ours, theirs = qz.quantize(x, 8, init=x[:8], rng=0), qz.quantize(torch.from_numpy(x), 8, init=x[:8], rng=0)
        # Sums in another order, and codes rounded to the dtype each step.
        np.testing.assert_allclose(ours.measure.points, theirs.measure.points.numpy(), atol=100 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(ours.measure.weights, theirs.measure.weights.numpy())
        assert ours.distortion == pytest.approx(theirs.distortion, rel=100 * float(np.finfo(dtype).eps))


# Mid-quantiles are the midpoint rule in u on n nodes: for a smooth quantile function it errs by O(n^-2). At a normal law's ends
# the strip u < 1/n carries a second moment of about (2 log n)/n, and the node at 1/(2n) stands for it to within half:
# (log n)/n an end at most, and less for means.
N = 100_000
TAIL = np.log(N) / N


def mid_quantiles(law, n=N):
    return law.ppf((np.arange(n) + 0.5) / n)[:, None]


def test_normal_two_codes():
    sol = qz.quantize(mid_quantiles(stats.norm), 2, solver=Lloyd(rtol=1e-9), rng=0)
    assert sol.distortion == pytest.approx(1 - 2 / np.pi, abs=2 * TAIL)
    np.testing.assert_allclose(np.sort(sol.measure.points[:, 0]), [-np.sqrt(2 / np.pi), np.sqrt(2 / np.pi)], atol=TAIL)


def test_normal_four_codes():
    sol = qz.quantize(mid_quantiles(stats.norm), 4, solver=Lloyd(rtol=1e-5), rng=0)
    assert sol.distortion == pytest.approx(0.117481847829329, abs=2 * TAIL)
    truth = [-1.510417608499095, -0.452780034636492, 0.452780034636492, 1.510417608499095]
    # The fixed point moves by 1/(1 - rate) of what the centroids do, and the rate of Lloyd's map here is below 0.9.
    np.testing.assert_allclose(np.sort(sol.measure.points[:, 0]), truth, atol=10 * TAIL)


def test_exponential_two_codes():
    sol = qz.quantize(mid_quantiles(stats.expon), 2, solver=Lloyd(rtol=1e-9), rng=0)
    assert sol.distortion == pytest.approx(0.352389762108085, abs=TAIL**2 * N / 2)  # a tail of second moment (log n)²/(2n)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_uniform(k):
    n = 10_000
    sol = qz.quantize(mid_quantiles(stats.uniform, n), k, solver=Lloyd(rtol=1e-9), max_iter=3000, rng=0)
    # On a grid of width h = 1/n thresholds rest within h of their place, so codes miss their centroids by h and, with the least
    # eigenvalue of I - Lloyd' about 1/K², the optimum by K² h: an excess of (K² h)² beside 1/(12 K²).
    assert sol.distortion == pytest.approx(1 / (12 * k**2), rel=12 * k**6 / n**2 + 1e-8)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf])
def test_refuses_bad_options(bad):
    with pytest.raises(ValueError, match="rtol"):
        Lloyd(rtol=bad)


def test_refuses_other_problems_by_name():
    with pytest.raises(ValueError, match=r"Lloyd needs cells that can be computed.*known by sampling"):
        qz.quantize(qz.Gaussian([0.0] * 3, np.eye(3)), 2, solver=Lloyd(), rng=0)


@pytest.mark.parametrize(("n", "d", "k"), [(5000, 2, 5), (3000, 30, 5), (400, 600, 5)])
def test_every_strategy_has_converged_where_no_label_changes(n, d, k):
    points = clouds(17, n=n, d=d)
    sol = qz.quantize(points, k, solver=Lloyd(rtol=0), max_iter=2000, n_init=3, rng=0)
    assert sol.status is qz.Status.CONVERGED
    assert sol.n_iter < 2000


def test_no_tolerance_is_below_what_rounding_leaves():
    state = State(np.zeros((1, 1)), np.ones(1), 1.0, 1e-4, resolution=lambda: 1e-3)
    assert state.within(1e-6)
    assert not state.within(0.0)  # which an exact fixed point alone meets
    assert not State(np.zeros((1, 1)), np.ones(1), 1.0, 1e-4, resolution=lambda: 1e-5).within(1e-6)


def test_estimated_steps_stop_at_the_tolerance_too(rng):
    """The Gram matrix estimates residuals; where one is within the tolerance it is measured, and the run ends as any other."""
    points = rng.normal(size=(300, 128)).astype(np.float32)
    measure, codes = qz.DiscreteMeasure(points), points[:20].astype(np.float64)
    ends = []
    for strategy in ("gemm", "gram_matrix"):
        problem = replace(make_problem(measure, 20, 2.0), exact=EmpiricalLaw(measure, 2.0, strategy))
        task = Task(problem, qz.Lloyd(rtol=0.1), as_initialization(codes), [np.random.default_rng(0)], 300)
        ends.append(solve_tasks([task])[0])
    assert ends[0].n_iter == ends[1].n_iter > 0
    assert all(end.converged and end.stationarity <= 0.1 for end in ends)
