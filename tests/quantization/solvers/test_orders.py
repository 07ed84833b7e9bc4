"""Orders other than 2 in any dimension: medians by brute force, laws of scaling and rotation, one answer by every way."""

import numpy as np
import pytest
import scipy
import torch

import quantization as qz
from quantization.assignment import cells, nearest
from quantization.empirical.median_intervals import middles
from quantization.empirical.samples import EmpiricalLaw
from quantization.problem import Problem

ORDERS = [1.0, 1.2, 1.5, 3.0, 4.5]


def clouds(rng, n, d):
    return rng.normal(size=(n, d)) + 4 * rng.integers(0, 3, (n, 1))


def least_cost(points, weights, r, start):
    """The least of the convex function Σ w |x - c|^r, by a method without derivatives, also from every point."""

    def cost(c):
        return float(weights @ np.linalg.norm(points - c, axis=1) ** r)

    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000, "maxfev": 20_000}
    found = [scipy.optimize.minimize(cost, at, method="Nelder-Mead", options=options).fun for at in (start, points.mean(0))]
    return min(found + [cost(x) for x in points])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("r", ORDERS)
def test_codes_are_the_r_means_of_their_cells(r, weighted, rng):
    x = clouds(rng, 300, 2)
    weights = rng.dirichlet(np.ones(300)) if weighted else np.full(300, 1 / 300)
    sol = qz.quantize(qz.DiscreteMeasure(x, weights), 12, r=r, solver=qz.Lloyd(rtol=1e-9), max_iter=3000, rng=0).require()
    labels, total = sol.predict(x), 0.0
    for k in range(12):
        mine = labels == k
        total += least_cost(x[mine], weights[mine], r, sol.points[k])
    assert sol.distortion == pytest.approx(total, rel=1e-9)
    assert sol.distortion == pytest.approx(float(weights @ np.linalg.norm(x - sol.points[labels], axis=1) ** r), rel=1e-12)
    assert sol.stationarity <= 1e-9


@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize(("n", "d", "k"), [(60, 2, 9), (4000, 3, 40), (3000, 20, 30)])
def test_no_step_raises_the_distortion(n, d, k, r, rng):
    x = clouds(rng, n, d)
    sol = qz.quantize(x, k, r=r, solver=qz.Lloyd(rtol=0), max_iter=150, rng=0)
    assert (np.diff(sol.trace.distortion) <= 1e-12 * sol.distortion).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("r", [1.0, 1.3, 3.0])
@pytest.mark.parametrize(("strategy", "d"), [("low_dim", 3), ("gemm", 3), ("gemm", 20)])
def test_every_strategy_takes_the_same_steps(strategy, d, r, weighted, dtype, rng):
    x = clouds(rng, 9000, d).astype(dtype)
    x[10:30], x[7000:7010] = x[0], x[1]
    weights = rng.integers(0, 5, 9000).astype(float) if weighted else np.ones(9000)
    measure, codes = qz.DiscreteMeasure.from_unnormalized(x, weights), x[:25].astype(np.float64)  # some codes coincide
    runs = []
    for name in (strategy, "blocks"):
        problem = Problem(25, r, x, d, measure=measure, exact=EmpiricalLaw(measure, r, name))
        runs.append([state for _, state in zip(range(8), qz.Lloyd(rtol=0).solve(problem, codes, rng), strict=False)])
    found = [
        EmpiricalLaw(measure, r, name).cells(np.unique(x, axis=0)[::900].astype(np.float64)) for name in (strategy, "blocks")
    ]
    np.testing.assert_allclose(found[0].means, found[1].means, rtol=1e-9)
    np.testing.assert_allclose(found[0].gradient, found[1].gradient, rtol=1e-9, atol=1e-12)
    for one, other in zip(*runs, strict=True):
        slack = 1e-4 if dtype is np.float32 else 1e-9  # codes are rounded, and cells near borders change labels by that
        np.testing.assert_allclose(one.codes(), other.codes(), atol=slack)
        assert one.distortion == pytest.approx(other.distortion, rel=slack)
        assert one.stationarity == pytest.approx(other.stationarity, rel=100 * slack)


def star(weight, pull):
    """A point of this weight at (3, 1), and others that pull there with ``pull`` to the right, whatever their distances."""
    angles = np.pi * np.arange(6) / 3
    spokes = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array([1, 2, 5, 1, 3, 7])[:, None]
    points = np.array([(0.0, 0.0), *spokes, (4.0, 0.0)]) + np.array([[3.0, 1.0]])
    return qz.DiscreteMeasure.from_unnormalized(points, [weight, *[1.0] * 6, pull])


@pytest.mark.parametrize("start", [[3.0, 1.0], [9.0, -7.0], [3.0 + 1e-9, 1.0]])
@pytest.mark.parametrize(("weight", "pull"), [(1.0, 0.5), (0.5, 0.49), (2.0, 1.9)])
def test_a_point_is_the_median_where_others_pull_no_more_than_it_weighs(weight, pull, start):
    sol = qz.quantize(star(weight, pull), 1, r=1, solver=qz.Lloyd(rtol=1e-12), init=[start], max_iter=200, rng=0).require()
    np.testing.assert_array_equal(sol.points, [[3.0, 1.0]])
    assert sol.stationarity == 0
    assert sol.n_iter < 100


@pytest.mark.parametrize("start", [[3.0, 1.0], [9.0, -7.0]])
def test_a_code_leaves_a_point_that_weighs_less(start):
    measure = star(0.5, 0.75)
    sol = qz.quantize(measure, 1, r=1, solver=qz.Lloyd(rtol=1e-10), init=[start], max_iter=500, rng=0).require()
    assert 3.001 < sol.points[0, 0] < 4
    at = qz.distortion(measure, [[3.0, 1.0]], r=1).value
    assert sol.distortion < at
    near = least_cost(measure.points, measure.weights_float64, 1, sol.points[0])
    assert sol.distortion == pytest.approx(near, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [[1.0, 2.0, 0.0], [1.3, 2.6, 0.0], [5.0, -3.0, 1.0]])
def test_an_interval_of_medians_gives_its_middle(start, dtype):
    """Points at 1, 2, 4, 9 along a line, of weights 1, 2, 1, 2: all between the second and the third are medians."""
    x = np.array([1.0, 2.0, 4.0, 9.0])[:, None] * np.array([1.0, 2.0, 0.0])
    measure = qz.DiscreteMeasure.from_unnormalized(x.astype(dtype), [1.0, 2.0, 1.0, 2.0])
    sol = qz.quantize(measure, 1, r=1, init=np.array([start]), solver=qz.Lloyd(rtol=1e-6), max_iter=100, rng=0).require()
    np.testing.assert_allclose(sol.points, [[3.0, 6.0, 0.0]], rtol=4 * np.finfo(dtype).eps)


def test_middles_of_many_cells(rng):
    """Pairs far apart, two of them with a third point: the middle of a pair, the point where three lie on no line or on one."""
    centres = np.stack([100.0 * np.arange(3000), np.zeros(3000), np.zeros(3000)], 1)
    away = rng.normal(size=(3000, 3))
    third = np.array([centres[0] + 3 * away[0], centres[1] + [0.0, 0.1, 0.0]])
    x = np.concatenate([centres - away, centres + away, third])
    sol = qz.quantize(x, 3000, r=1, init=centres + 0.1, solver=qz.Lloyd(rtol=1e-9), max_iter=200, rng=0)
    np.testing.assert_allclose(sol.points[2:], centres[2:], atol=1e-9)
    np.testing.assert_array_equal(sol.points[0], x[3000])
    cost = np.linalg.norm(x[[1, 3001, 6001]] - sol.points[1], axis=1).sum() / len(x)
    best = least_cost(x[[1, 3001, 6001]], np.full(3, 1 / len(x)), 1, sol.points[1])
    assert cost == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("r", [2.5, 3.0, 4.0, 8.0])
def test_the_steps_to_one_r_mean_are_newtons(r, rng):
    """Of a long cloud, from far away: a few long steps, then digits double."""
    x = rng.normal(size=(500, 3)) * [10.0, 1.0, 0.1]
    sol = qz.quantize(x, 1, r=r, init=np.full((1, 3), 30.0), solver=qz.Lloyd(rtol=1e-12), max_iter=100, rng=0).require()
    assert sol.n_iter <= 25
    weights = np.full(500, 1 / 500)
    assert sol.distortion == pytest.approx(least_cost(x, weights, r, sol.points[0]), rel=1e-10)


@pytest.mark.parametrize("r", [2.5, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("strategy", ["gemm", "blocks"])
def test_the_steps_to_one_r_mean_are_newtons_in_many_dimensions(strategy, r, rng):
    """Ten times nearer with every step or so, as conjugate gradients leave a tenth; other steps of r = 8 leave six sevenths."""
    x = rng.normal(size=(900, 24)) * np.linspace(4.0, 0.1, 24)
    measure = qz.DiscreteMeasure(x)
    problem = Problem(1, r, x, 24, measure=measure, exact=EmpiricalLaw(measure, r, strategy))
    states = list(zip(range(60), qz.Lloyd(rtol=1e-12).solve(problem, np.full((1, 24), 9.0), rng), strict=False))
    residuals = np.array([state.stationarity for _, state in states])
    falls = np.array([state.distortion for _, state in states])
    assert (np.diff(falls) <= 1e-13 * falls[0]).all()
    near = np.flatnonzero(residuals < 1e-3)[0]
    assert near <= 30
    assert residuals[near + 6] < 1e-7


@pytest.mark.parametrize(("r", "low", "high"), [(6.0, -66, 50), (10.0, -40, 30), (20.0, -20, 17), (30.0, -13, 10)])
def test_large_orders_in_many_dimensions_have_no_unit(r, low, high, rng):
    """Powers of two change no digit but of powers, and costs stay in range; squares of |x|^(3r - 4) would not."""
    x = rng.normal(size=(500, 24))
    x[:250] *= 0.1
    one = qz.quantize(x, 8, r=r, rng=0).require()
    for exponent in (low, high):
        image = qz.quantize(np.ldexp(x, exponent), 8, r=r, rng=0).require()
        np.testing.assert_allclose(np.ldexp(image.points, -exponent), one.points, atol=1e-9)


@pytest.mark.parametrize("r", ORDERS)
def test_scaling_rotating_and_moving_the_samples_does_so_with_the_codes(r, rng):
    x, init = clouds(rng, 500, 3), rng.normal(size=(8, 3))
    turn, scale, shift = np.linalg.qr(rng.normal(size=(3, 3)))[0], 7.0, rng.normal(size=3)
    solver = qz.Lloyd(rtol=1e-10)
    one = qz.quantize(x, 8, r=r, solver=solver, init=init, max_iter=3000, rng=0)
    image = qz.quantize(scale * x @ turn + shift, 8, r=r, solver=solver, init=scale * init @ turn + shift, max_iter=3000, rng=0)
    np.testing.assert_allclose(image.points, scale * one.points @ turn + shift, atol=1e-6)
    assert image.distortion == pytest.approx(scale**r * one.distortion, rel=1e-9)


@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize("d", [2, 12])
def test_the_middle_of_a_symmetric_sample(r, d, rng):
    """x and -x: the r-mean is 0, and D near E|X|^r = 2^(r/2) Γ((d + r)/2) / Γ(d/2) of the standard normal law."""
    x = rng.normal(size=(20_000, d))
    sol = qz.quantize(np.concatenate([x, -x]), 1, r=r, solver=qz.Lloyd(rtol=1e-9), max_iter=500, rng=0).require()
    np.testing.assert_allclose(sol.points, 0.0, atol=1e-6)
    costs = np.linalg.norm(x, axis=1) ** r
    assert sol.distortion == pytest.approx(costs.mean(), rel=1e-9)
    expected = 2 ** (r / 2) * np.exp(scipy.special.gammaln((d + r) / 2) - scipy.special.gammaln(d / 2))
    assert abs(sol.distortion - expected) < 5 * costs.std() / len(x) ** 0.5


def test_orders_near_two_are_near_two(rng):
    x = clouds(rng, 2000, 3)
    two = qz.quantize(x, 10, solver=qz.Lloyd(rtol=0), max_iter=2000, rng=0).require()
    for r in (2 - 1e-7, 2 + 1e-7):
        sol = qz.quantize(x, 10, r=r, solver=qz.Lloyd(rtol=1e-10), init=two.points, max_iter=500, rng=0).require()
        np.testing.assert_allclose(sol.points, two.points, atol=1e-5)
        assert sol.distortion == pytest.approx(two.distortion, rel=1e-5)


@pytest.mark.parametrize("r", [1.0, 1.5, 3.0])
def test_torch_shards_and_streams_give_the_same_codes(r, rng):
    x, init = clouds(rng, 4000, 3), rng.normal(size=(6, 3)) * 3
    options = {"r": r, "solver": qz.Lloyd(rtol=1e-9), "init": init, "max_iter": 2000, "rng": 0}
    one = qz.quantize(x, 6, **options).require()
    tensor = qz.quantize(torch.from_numpy(x), 6, **options).require()
    assert isinstance(tensor.points, torch.Tensor)
    for other in (
        tensor,
        qz.quantize(qz.Shards(np.split(x, 4)), 6, **options),
        qz.quantize(qz.Stream(np.split(x, 8)), 6, **options),
    ):
        assert other.converged
        np.testing.assert_allclose(np.asarray(other.points), one.points, atol=1e-6)
        assert other.distortion == pytest.approx(one.distortion, rel=1e-9)


@pytest.mark.parametrize("r", [1.0, 3.0])
def test_converged_without_a_tolerance(r, rng):
    sol = qz.quantize(clouds(rng, 400, 2), 10, r=r, solver=qz.Lloyd(rtol=0), max_iter=5000, rng=0)
    assert sol.status is qz.Status.CONVERGED
    assert sol.n_iter < 5000
    assert sol.stationarity < 1e-12


def test_codes_of_empty_cells_go_where_they_help(rng):
    x = np.concatenate([rng.normal(size=(500, 2)), [[100.0, 100.0]]])
    far = [[1e3, 1e3], [1001.0, 1001.0], [1002.0, 1002.0]]
    sol = qz.quantize(x, 3, r=1, init=far, solver=qz.Lloyd(rtol=1e-8), max_iter=2000, rng=0)
    assert sol.converged
    assert (sol.weights > 0).all()
    assert (sol.points == 100).all(1).any()  # the outlier is its own median


@pytest.mark.parametrize("r", [1.0, 1.4])
def test_the_gradient_at_a_point_is_the_shortest(r):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    c = cells(x, np.array([0.6, 0.2, 0.2]), np.zeros((1, 2)), r)
    pull = np.array([0.2, 0.2 * 2 ** (r - 1)])
    if r == 1:
        assert c.stationarity == 0  # |(.2, .2)| < .6
    else:
        np.testing.assert_allclose(-c.gradient[0] / r, pull, rtol=1e-6)
    heavy = cells(x, np.array([0.1, 0.45, 0.45]), np.zeros((1, 2)), 1.0)
    size = 0.45 * 2**0.5
    np.testing.assert_allclose(-heavy.gradient[0], np.array([0.45, 0.45]) * (1 - 0.1 / size), rtol=1e-12)


class Normal:
    def __init__(self, d):
        self.d = d

    def sample(self, n, rng):
        return rng.normal(size=(n, self.d))


@pytest.mark.parametrize("r", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("d", [1, 2, 6])
def test_competitive_learning_finds_what_lloyd_finds(r, d, rng):
    """On a law of which there are only draws: it costs no more on 10^5 others than Lloyd's codes from there, but for 2 %."""
    sol = qz.quantize(Normal(d), 8, r=r, solver=qz.CLVQ(), max_iter=400, rng=0)
    y = rng.normal(size=(100_000, d))
    found = qz.distortion(y, sol.points, r=r).value
    lloyd = qz.quantize(y, 8, r=r, init=sol.points, solver=qz.Lloyd(rtol=1e-3), max_iter=200, rng=0)
    assert found <= 1.02 * lloyd.distortion
    assert abs(sol.distortion - found) < 5 * (sol.distortion_se + 2**0.5 * found / 300)
    assert sol.stationarity < (0.05 if r < 2 else 0.2)  # with the noise of draws, whose pulls are |x - c|^3


@pytest.mark.parametrize("r", [1.0, 3.0])
def test_a_mean_step_of_competitive_learning_is_along_the_gradient(r, rng):
    """Of the whole sample in one batch: the first step leads down the gradient, in units of the cells' curvature."""
    x, codes = clouds(rng, 500, 2), rng.normal(size=(4, 2)) + 2
    c = cells(x, np.full(500, 1 / 500), codes, r)
    solver = qz.CLVQ(batch=500, averaging=False, schedule=qz.RobbinsMonro(scale=0.1), relocate=False)
    sol = qz.quantize(x, 4, r=r, solver=solver, init=codes, max_iter=1, rng=0)
    labels = nearest(x, codes).labels
    costs = np.bincount(labels, np.linalg.norm(x - codes[labels], axis=1) ** r) / 500
    units = max(1, r - 1) * (costs / c.masses) ** ((r - 2) / r)
    np.testing.assert_allclose(sol.points - codes, -0.1 * c.gradient / r / units[:, None], rtol=1e-9)


@pytest.mark.parametrize("r", [1.0, 3.0])
def test_two_streams_in_turn_are_one_after_the_other(r, rng, tmp_path):
    parts = [rng.normal(size=(m, 2)) for m in (30, 7, 41, 25, 33)]
    start, solver = np.concatenate(parts)[:5], qz.CLVQ(epochs=1)
    whole = qz.quantize(qz.Stream(parts), 5, r=r, solver=solver, init=start, rng=0)
    first = qz.quantize(qz.Stream(parts[:3]), 5, r=r, solver=solver, init=start, rng=0)
    first.save(tmp_path / "first")
    second = qz.quantize(qz.Stream(parts[3:]), 5, r=r, solver=solver, init=qz.Solution.load(tmp_path / "first"), rng=0)
    np.testing.assert_array_equal(second.points, whole.points)
    assert (second.distortion, second.stationarity) == (whole.distortion, whole.stationarity)
    again = qz.quantize(qz.Stream(parts), 5, r=2, solver=solver, init=first, rng=0)
    np.testing.assert_array_equal(
        again.points, qz.quantize(qz.Stream(parts), 5, r=2, solver=solver, init=first.trace.clvq_state.codes, rng=0).points
    )


@pytest.mark.parametrize("r", [1.0, 1.5, 3.0])
def test_the_estimator(r, rng):
    x, weights = clouds(rng, 3000, 3), rng.random(3000)
    fitted = qz.OptimalQuantizer(6, r=r, random_state=0, tol=1e-12).fit(x, sample_weight=weights)
    costs = np.linalg.norm(x - fitted.cluster_centers_[fitted.labels_], axis=1) ** r
    assert fitted.inertia_ == pytest.approx(float(weights @ costs), rel=1e-9)
    assert fitted.solution_.stationarity < 1e-4
    part = qz.OptimalQuantizer(6, r=r, random_state=0)
    for some in np.array_split(np.arange(3000), 10):
        part.partial_fit(x[some], sample_weight=weights[some])
    assert -part.score(x, sample_weight=weights) < 1.1 * fitted.inertia_


def test_what_has_no_such_steps_is_told(rng):
    with pytest.raises(ValueError, match=r"Lloyd's steps of order r = 3 are for samples.*Use Newton"):
        qz.quantize(scipy.stats.norm(), 3, r=3, solver=qz.Lloyd(), rng=0)
    with pytest.raises(ValueError, match="prescribed masses are for r = 2"):
        qz.quantize(clouds(rng, 50, 2), 3, r=1, masses="uniform", rng=0)
    assert nearest(np.zeros((1, 2)), np.ones((1, 2))).squared[0] == 2


def test_no_middle_of_a_cell_without_mass():
    x = np.array([[0.0], [1.0], [5.0], [6.0], [9.0]])
    weights = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    which, middle = middles(x, weights, np.array([0, 0, 1, 1, 2]), np.array([0, 1, 2, 3]))
    assert which.tolist() == [0]
    assert middle.tolist() == [[0.5]]
    assert middles(x, weights, np.array([0, 0, 1, 1, 2]), np.array([1]))[1].shape == (0, 1)
    which, middle = middles(x, 1 - weights, np.array([0, 0, 1, 1, 2]), np.array([0, 1]))  # the cell without mass first
    assert which.tolist() == [1]
    assert middle.tolist() == [[5.5]]
