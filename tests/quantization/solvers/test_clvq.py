from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

import quantization as qz
from quantization import CLVQ, CountPower, RobbinsMonro
from quantization.assignment import cells
from quantization.make_problem import make_problem

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=25, derandomize=True)
counts = hnp.arrays(np.float64, 6, elements=st.integers(0, 10**9))


@everyday
@given(counts, counts, st.floats(0.5, 1, exclude_min=True), st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_schedules_stay_in_the_unit_interval(won, before, exponent, scale, n):
    size = max(int(won.sum()), 1)
    for schedule in (CountPower(exponent), CountPower(exponent, delay=scale), RobbinsMonro(scale, exponent)):
        steps = schedule.steps(n, won, before, size)
        assert ((steps >= 0) & (steps <= 1)).all()
        assert (steps[won == 0] == 0).all()


@pytest.mark.parametrize("bad", [0.5, 0.0, 1.1, np.nan])
def test_refuses_bad_schedules(bad):
    with pytest.raises(ValueError, match="exponent"):
        CountPower(bad)
    with pytest.raises(ValueError, match="exponent"):
        RobbinsMonro(exponent=bad)
    with pytest.raises(ValueError, match="delay"):
        CountPower(delay=np.nan if bad > 0 else -1.0)
    with pytest.raises(ValueError, match="scale > 0"):
        RobbinsMonro(scale=bad - 0.5 if bad == 0.5 else -1.0)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, np.nan, "many"])
def test_refuses_bad_options(bad):
    for options in ({"batch": bad}, {"epochs": bad}):
        with pytest.raises(ValueError, match="must be an integer ≥ 1"):
            CLVQ(**options)
    with pytest.raises(ValueError, match="rtol"):
        CLVQ(rtol=-1)
    for recency in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="recency"):
            CLVQ(recency=recency)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_an_unbiased_estimate_of_half_the_gradient(weighted, rng):
    # All single-sample batches, enumerated: their mean step is exactly -γ ½∇D, ½∇_k D = w_k x_k - Σ_{V_k} w_i x_i.
    points, codes = rng.normal(size=(7, 2)), rng.normal(size=(3, 2))
    weights = rng.dirichlet(np.ones(7)) if weighted else np.full(7, 1 / 7)
    schedule = RobbinsMonro(scale=1 / 8, horizon=1e9)
    measure = qz.DiscreteMeasure(points, weights)

    def step(i):
        stream_of_one = SimpleNamespace(
            r=2.0, batches=lambda *_: iter([SimpleNamespace(points=points[[i]], masses=measure.weights_float64[[i]] * 7)])
        )
        states = list(CLVQ(schedule=schedule, averaging=False).solve(stream_of_one, codes, rng))
        return states[-1].points - codes

    mean = sum(step(i) for i in range(7)) / 7
    c = cells(points, measure.weights_float64, codes)
    half_gradient = c.masses[:, None] * (codes - c.means)
    np.testing.assert_allclose(mean, -half_gradient / 8, atol=50 * EPS)


def test_count_power_one_is_the_running_mean(rng):
    data = rng.normal(size=(1000, 3))
    stream = qz.Stream(lambda: np.split(data, [10, 11, 300]))
    solver = CLVQ(epochs=1, schedule=CountPower(1.0), averaging=False)
    sol = qz.quantize(stream, 1, solver=solver, init=np.full((1, 3), 5.0), rng=0)
    assert sol.n_iter == 4
    np.testing.assert_allclose(sol.measure.points[0], data.mean(0), atol=50 * EPS)


def test_count_power_moves_as_one_by_one():
    # Two batches of m points against 2m in one: 1 - γ multiplies, as the exponentials of the integrals do.
    schedule, won = CountPower(0.7), np.array([5.0])
    apart = (1 - schedule.steps(0, won, np.array([3.0]), 5)) * (1 - schedule.steps(1, won, np.array([8.0]), 5))
    assert apart == pytest.approx(1 - schedule.steps(0, 2 * won, np.array([3.0]), 10), rel=20 * EPS)


@dataclass(frozen=True)
class Counting:
    seen: list

    def steps(self, n, won, counts, size):
        self.seen.append((float(won.sum()), size))
        return CountPower().steps(n, won, counts, size)


@pytest.mark.parametrize("as_stream", [False, True])
def test_remainders_are_used_in_every_epoch(as_stream, rng):
    data, schedule = rng.normal(size=(107, 2)), Counting([])
    law = qz.Stream(lambda: (data[i : i + 25] for i in range(0, 107, 25))) if as_stream else data
    sol = qz.quantize(law, 3, solver=CLVQ(batch=25, epochs=2, schedule=schedule), rng=0)
    assert [size for _, size in schedule.seen] == [25, 25, 25, 25, 7] * 2
    assert sum(won for won, _ in schedule.seen) == pytest.approx(214, rel=300 * EPS)
    assert sol.n_iter == 10
    assert sol.status is qz.Status.BUDGET_SPENT


def test_a_pass_over_samples_sees_each_once(rng):
    # One code and the running mean: the mean of what was seen.
    data = rng.normal(size=(53, 2))
    solver = CLVQ(batch=10, epochs=1, schedule=CountPower(1.0), averaging=False)
    sol = qz.quantize(data, 1, solver=solver, rng=0)
    np.testing.assert_allclose(sol.measure.points[0], data.mean(0), atol=50 * EPS)


@pytest.mark.parametrize("recency", [0.0, 1.0, 2.5])
def test_one_code_is_the_weighted_mean_of_all_points(recency, rng):
    # K = 1: batch n weighs Γ(n + p) / Γ(n) ~ n^p a point; with p = 0 this is the sample mean, which nothing unbiased beats.
    parts = [rng.normal(size=(m, 2)) for m in (5, 1, 8, 3, 7)]
    sol = qz.quantize(qz.Stream(parts), 1, solver=CLVQ(epochs=1, recency=recency), init=np.full((1, 2), 9.0), rng=0)
    weights = np.concatenate([np.full(len(x), special.poch(n, recency)) for n, x in enumerate(parts, 1)])
    mean = np.average(np.concatenate(parts), axis=0, weights=weights)
    np.testing.assert_allclose(sol.measure.points[0], mean, atol=100 * EPS)


def test_averages_are_those_of_the_points_won(rng, brute):
    parts, p = [rng.normal(size=(20, 2)) for _ in range(30)], 3.0
    snapshots = list(qz.iterate(qz.Stream(parts), 4, solver=CLVQ(epochs=1, recency=p), rng=3))
    at = [s.trace.clvq_state.codes for s in snapshots]
    weights = special.poch(np.arange(1, 31), p)
    found = [brute.voronoi(x, np.ones(20), codes) for x, codes in zip(parts, at[:30], strict=True)]
    share = sum(w * f.masses for w, f in zip(weights, found, strict=True))
    sums = sum(w * f.masses[:, None] * f.means for w, f in zip(weights, found, strict=True))
    answer = snapshots[-1]
    np.testing.assert_allclose(answer.measure.points, sums / share[:, None], rtol=1e-12)
    np.testing.assert_allclose(answer.trace.companion, share / share.sum(), rtol=1e-12)
    cost = sum(w * f.distortion for w, f in zip(weights, found, strict=True)) / 20 / weights.sum()
    assert answer.distortion == pytest.approx(cost, rel=1e-12)
    squares = [np.square(brute.squared(x, codes).min(1)).mean() for x, codes in zip(parts, at[:30], strict=True)]
    variance = np.average(squares, weights=weights) - cost**2
    error = np.sqrt(variance * np.square(weights).sum() / 20) / weights.sum()  # independent points, weighted
    assert answer.distortion_se == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("schedule", [RobbinsMonro(scale=8.0, horizon=20.0), CountPower(0.7)])
def test_averages_are_as_good_as_the_theory_says(schedule):
    # n E|∇D(x̄_n)|² → 4 D* (p+1)²/(2p+1), from the optimum of N(0, 1) at K = 4. The four coordinates of the gradient are
    # independent in the limit with equal variances, but for the unequal cell costs (0.029 and 0.030): in 40 runs the relative
    # standard error is √(2 / 4 / 40) = 0.112.
    optimum, optimal = np.array([-1.510417608499095, -0.452780034636492, 0.452780034636492, 1.510417608499095]), 0.117481847829329
    ratios = {}
    for p in (0.0, 1.0):
        squares, last = [], []
        for seed in range(40):
            parts = np.random.default_rng(seed).standard_normal((60, 100, 1))
            solver = CLVQ(epochs=1, recency=p, schedule=schedule)
            sol = qz.quantize(qz.Stream(list(parts)), 4, solver=solver, init=optimum[:, None], rng=0)
            squares.append(np.square(normal_gradient(sol.measure.points[:, 0])).sum())
            last.append(np.square(normal_gradient(sol.trace.clvq_state.codes[:, 0])).sum())
        ratios[p] = 6000 * np.mean(squares) / (4 * optimal) * (2 * p + 1) / (p + 1) ** 2
    assert abs(ratios[0.0] - 1) < 4 * 0.112
    assert abs(ratios[1.0] - 1) < 4 * 0.112
    assert 6000 * np.mean(last) / (4 * optimal) > 2


def normal_gradient(codes):
    edges = np.concatenate([[-np.inf], (codes[:-1] + codes[1:]) / 2, [np.inf]])
    return 2 * (codes * np.diff(stats.norm.cdf(edges)) + np.diff(stats.norm.pdf(edges)))


def test_companion_weights_become_the_cell_masses():
    quantiles = stats.norm.ppf((np.random.default_rng(0).permutation(60_000) + 0.5) / 60_000)[:, None]
    sol = qz.quantize(qz.Stream(lambda: np.split(quantiles, 60)), 4, rng=0)
    assert sol.trace.companion.sum() == pytest.approx(1, abs=10 * EPS)
    np.testing.assert_array_equal(sol.measure.weights, sol.trace.companion)
    codes = np.sort(sol.measure.points[:, 0])
    edges = np.concatenate([[-np.inf], (codes[:-1] + codes[1:]) / 2, [np.inf]])
    masses = np.diff(stats.norm.cdf(edges))
    order = np.argsort(sol.measure.points[:, 0])
    # At least 140 of 300 batches of 1000: a binomial share of 1/2 at most is off by 6 · ½ / √140000 = 0.008 at six standard
    # deviations; the iterates' own drift over the suffix is allowed as much.
    np.testing.assert_allclose(sol.measure.weights[order], masses, atol=0.016)


@dataclass(frozen=True)
class Sampled:
    """A law known by sampling alone."""

    draw: Callable
    dim: int = 1

    def sample(self, n, rng):
        return self.draw(rng, (n, self.dim))


normal_law = Sampled(np.random.Generator.standard_normal)


def test_normal_law_two_codes_within_confidence():
    sol = qz.quantize(normal_law, 2, max_iter=200, rng=0)
    truth = 1 - 2 / np.pi
    # E D(x̄_n) - D* ≈ tr(H⁻¹S)/n with tr S = D* and λ_min(H) = ½ - φ(0)√(2/π) > 0.18: 2e-5 after 1e5 points.
    variance = stats.norm.expect(lambda x: (abs(x) - np.sqrt(2 / np.pi)) ** 4) - truth**2
    assert sol.distortion_se == pytest.approx(np.sqrt(variance / 2**17), rel=0.05)
    assert -5 * sol.distortion_se < sol.distortion - truth < 5 * sol.distortion_se + 1e-4
    assert float(sol.measure.weights.sum()) == pytest.approx(1, abs=4 * EPS)


def test_planar_normal_law_three_codes_within_confidence():
    sol = qz.quantize(replace(normal_law, dim=2), 3, max_iter=300, rng=0)
    truth = 2 - 27 / (8 * np.pi)
    assert -5 * sol.distortion_se < sol.distortion - truth < 5 * sol.distortion_se + 1e-3
    fresh = qz.distortion(replace(normal_law, dim=2), sol.measure.points, confidence=1 - 1e-6, rng=99)
    assert fresh.low < truth + 1e-3
    assert fresh.high > truth


def test_averaging_beats_the_last_iterate():
    points = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    excess = {}
    for averaging in (True, False):
        runs = [qz.quantize(points, 8, solver=CLVQ(batch=100, epochs=1, averaging=averaging), rng=s) for s in range(4)]
        excess[averaging] = np.mean([run.distortion for run in runs]) - 0.034547760788504
    assert 0 < excess[True] < excess[False]


def test_scipy_laws_are_accepted():
    sol = qz.quantize(stats.uniform(2, 4), 2, solver=CLVQ(), max_iter=100, rng=0)
    assert sol.measure.points.shape == (2, 1)
    assert abs(sol.distortion - 16 / 48) < 1e-3  # the law is exact: measured, not estimated
    np.testing.assert_allclose(np.sort(sol.measure.points[:, 0]), [3, 5], atol=0.05)


def test_samples_are_measured_exactly_in_the_end(brute, rng):
    points = torch.from_numpy(rng.normal(size=(500, 3)).astype(np.float32))
    mu = qz.DiscreteMeasure(points)
    sol = qz.quantize(points, 6, solver=CLVQ(batch=64), max_iter=40, rng=0)
    assert sol.measure.points.dtype == torch.float32
    assert torch.equal(sol.measure.weights, mu.project(sol.measure.points).weights)
    truth = brute.voronoi(points.numpy(), mu.weights_float64.numpy(), sol.measure.points.numpy())
    assert sol.distortion == pytest.approx(truth.distortion, rel=600 * EPS)
    assert sol.distortion_se == 0


def test_weighted_samples_in_tiny_batches():
    # One point holds nearly all mass: ignoring weights would put the code at 5.
    mu = qz.DiscreteMeasure([[0.0], [10.0]], [0.999, 0.001])
    for schedule in (CountPower(1.0), RobbinsMonro()):
        sol = qz.quantize(mu, 1, solver=CLVQ(batch=1, epochs=500, schedule=schedule), max_iter=1000, rng=0)
        assert abs(sol.measure.points[0, 0] - 0.01) < 0.1


def test_streams_that_can_be_read_once_are_refused():
    generator = (np.ones((4, 1)) * i for i in range(1, 6))
    with pytest.raises(ValueError, match="fresh iterable"):
        qz.quantize(qz.Stream(lambda: generator), 2, rng=0)
    exhausted = [np.ones((4, 1)) * i for i in range(1, 6)]
    with pytest.raises(ValueError, match="fresh iterable"):
        qz.quantize(qz.Stream(lambda: (exhausted.pop() for _ in list(exhausted))), 2, rng=0)
    with pytest.raises(ValueError, match="can be read only once"):
        qz.Stream(iter([np.ones((4, 1))]))
    with pytest.raises(ValueError, match="received a list_iterator, which can be read only once"):
        qz.quantize(iter([np.ones((4, 1))]), 2, rng=0)
    for bad in (3, np.ones((4, 1))):
        with pytest.raises(ValueError, match=f"a loader or list of them; received {type(bad).__name__}"):
            qz.Stream(bad)
    with pytest.raises(ValueError, match="no batches"):
        qz.quantize(qz.Stream(list), 2, rng=0)
    with pytest.raises(ValueError, match="iterable of batches"):
        qz.quantize(qz.Stream(lambda: 3), 2, rng=0)


def test_bad_batches_are_named():
    with pytest.raises(ValueError, match=r"batch 2 of the stream.*NaN"):
        qz.quantize(qz.Stream(lambda: [np.array([[1.0], [2.0]]), np.array([[np.nan]])]), 2, rng=0)
    with pytest.raises(ValueError, match="dimension 3"):
        qz.quantize(qz.Stream(lambda: [np.ones((2, 2))], dim=3), 1, rng=0)
    with pytest.raises(ValueError, match="dimension 1"):
        qz.quantize(qz.Stream(lambda: [np.array([[1.0], [2.0]]), np.ones((2, 2))]), 2, rng=0)


def test_torch_streams_give_torch():
    shuffled = torch.linspace(0, 1, 300)[torch.from_numpy(np.random.default_rng(0).permutation(300))][:, None]
    sol = qz.quantize(qz.Stream(lambda: shuffled.split(64)), 2, max_iter=50, rng=0)
    assert sol.measure.points.dtype == sol.measure.weights.dtype == torch.float32
    assert type(sol.distortion) is type(sol.distortion_se) is type(sol.stationarity) is float
    # About 25 batches of 60: six standard errors of a mean whose terms are at most 1/16, and the iterates' own excess, D/25.
    assert abs(sol.distortion - 1 / 48) < 6 / 16 / np.sqrt(1500) + 1 / 48 / 25


@pytest.mark.parametrize("averaging", [True, False])
def test_what_overflows_ends_nonfinite(averaging):
    # A sampled law without a second moment cannot be told from its draws, until their squares overflow.
    heavy = Sampled(lambda rng, shape: rng.standard_cauchy(shape) * 1e152, dim=2)
    sol = qz.quantize(heavy, 3, solver=CLVQ(averaging=averaging), rng=0)
    assert sol.status is qz.Status.NONFINITE
    assert np.isinf(sol.distortion)
    assert np.isfinite(sol.measure.points).all()
    late = qz.Stream([np.array([[0.0], [1.0]])] * 5 + [np.array([[1e200]])])
    sol = qz.quantize(late, 2, solver=CLVQ(averaging=averaging, epochs=1), init=[[0.0], [1.0]], rng=0)
    assert sol.status is qz.Status.NONFINITE
    assert sol.n_iter == 6


def test_integers_are_points():
    images = np.random.default_rng(0).integers(0, 256, size=(300, 4), dtype=np.uint8)
    small = qz.quantize(qz.Stream(np.split(images, 6)), 5, solver=CLVQ(epochs=2), rng=0)
    wide = qz.quantize(qz.Stream(np.split(images.astype(np.float64), 6)), 5, solver=CLVQ(epochs=2), rng=0)
    np.testing.assert_array_equal(small.measure.points, wide.measure.points)
    huge = np.array([[2**62], [2**62 + 2**20], [-(2**62)]])  # whose sums and squares overflow integers
    assert qz.quantize(huge, 2, solver=CLVQ(epochs=20), rng=0).distortion == pytest.approx(2**40 / 6, rel=1e-9)


@pytest.mark.parametrize(
    ("size", "k", "kind"),
    [
        (20_000, 100, "mixture"),
        pytest.param(20_000, 100, "normal", marks=pytest.mark.slow),
        pytest.param(200_000, 1000, "mixture", marks=pytest.mark.slow),
        pytest.param(200_000, 1000, "normal", marks=pytest.mark.slow),
    ],
)
def test_two_epochs_are_worth_twenty_lloyd_steps(size, k, kind):
    # The goals, from one start: no worse than 20 Lloyd steps after 2 epochs, within 0.5 % of 100 after 5.
    rng = np.random.default_rng(7)
    points = rng.standard_normal((size, 2))
    if kind == "mixture":
        points = 5 * rng.normal(size=(20, 2))[rng.integers(20, size=size)] + rng.uniform(0.2, 1.5, size=(size, 1)) * points
    points = points.astype(np.float32)
    batch = 1024 * k // 1000
    ratios = []
    # Runs that differ in their starts alone spread by 0.1 % at K = 1000, by 1 % at K = 100: there the mean of eight is looked at.
    for _ in range(1 if k == 1000 else 8):
        start = qz.KMeansPlusPlus().draw(make_problem(points, k, 2), rng)
        lloyd = [qz.quantize(points, k, init=start, max_iter=n, solver=qz.Lloyd(rtol=0), rng=0).distortion for n in (20, 100)]
        clvq = [qz.quantize(points, k, init=start, solver=CLVQ(batch=batch, epochs=n), rng=0).distortion for n in (2, 5)]
        ratios.append(np.divide(clvq, lloyd))
    two, five = np.mean(ratios, axis=0)
    assert two < (1.0025 if k == 1000 else 1.005)
    assert five < 1.005
