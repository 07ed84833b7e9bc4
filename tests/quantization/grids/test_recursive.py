"""Recursive quantization: moments that stationary grids keep, prices against other ways to compute them, and bad coefficients."""

import pickle

import numpy as np
import pytest
from scipy import interpolate, stats

import quantization as qz
from quantization.grids.recursive import _bivariate

TIMES = np.linspace(0, 1, 11)


def stock(start=100.0):
    return qz.Diffusion(start, lambda t, x: 0.05 * x, lambda t, x: 0.2 * x, volatility_slope=lambda t, x: 0.2 + 0 * x)


@pytest.fixture(scope="module")
def tree():
    return qz.recursive_grid(stock(), TIMES, 60)


def call(tree):
    return np.exp(-0.05) * tree.expect(lambda x: np.maximum(x[:, 0] - 100, 0))


def put(time, x):
    return np.exp(-0.05 * time) * np.maximum(100 - x[:, 0], 0)


def test_it_is_a_markov_chain(tree):
    for date, p in enumerate(tree.transitions):
        assert (p >= 0).all()
        np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-13)
        np.testing.assert_allclose(tree.weights[date] @ p, tree.weights[date + 1], rtol=1e-12)
    assert [len(p) for p in tree.points] == [1] + 10 * [60]
    assert all((np.diff(p[:, 0]) > 0).all() for p in tree.points)
    assert tree.measure().size == 60


@pytest.mark.parametrize("scheme", ["euler", "milstein"])
def test_stationary_grids_keep_the_mean_and_split_the_second_moment(scheme):
    tree, h = qz.recursive_grid(stock(), TIMES, 30, scheme=scheme), 0.1
    for date in range(10):
        x, w = tree.points[date][:, 0], tree.weights[date]
        mean = w @ (x * (1 + 0.05 * h))
        bend = 0.5 * (0.04 * h * x) ** 2 if scheme == "milstein" else 0.0
        second = w @ ((x * (1 + 0.05 * h)) ** 2 + 0.04 * h * x**2 + bend)
        assert tree.expect(lambda x: x[:, 0], date + 1) == pytest.approx(mean, rel=1e-11)
        assert tree.expect(lambda x: x[:, 0] ** 2, date + 1) + tree.distortions[date + 1] == pytest.approx(second, rel=1e-9)


@pytest.mark.parametrize("scheme", ["euler", "milstein"])
def test_the_error_of_the_steps_is_told_apart(tree, scheme):
    """Of the mean in closed form, which a grid changes by 1e-9 D^½ at most, D < 1; of a price beside a tree of half steps."""
    grown = [100 * (1 + 0.05 / n) ** n for n in (10, 20)]
    made = qz.recursive_grid(stock(), TIMES, 20, scheme=scheme)
    assert made.step_error(lambda t: t.expect(lambda x: x[:, 0])) == pytest.approx(grown[1] - grown[0], abs=30e-9)
    halves = qz.recursive_grid(stock(), np.linspace(0, 1, 21), 60)
    assert tree.step_error(call) == pytest.approx(call(halves) - call(tree), rel=1e-9)


def test_simulated_paths_have_no_shorter_steps(rng):
    with pytest.raises(ValueError, match="steps of its simulation"):
        qz.quantization_tree(rng.normal(size=(50, 3, 1)), 4, rng=0).step_error(call)


def test_trees_of_functions_that_have_no_name_can_be_pickled(tree):
    kept = pickle.loads(pickle.dumps(tree))
    assert kept.expect(lambda x: x[:, 0]) == tree.expect(lambda x: x[:, 0])
    with pytest.raises(ValueError, match="pickled or copied no diffusion"):
        kept.step_error(call)


def test_the_first_date_is_the_optimal_grid_of_a_normal_law(tree):
    optimal = qz.quantize(qz.Gaussian([100 * 1.005], [[(20 * np.sqrt(0.1)) ** 2]]), 60, rng=0)
    np.testing.assert_allclose(tree.points[1], np.sort(optimal.points, axis=0), rtol=1e-8)
    assert tree.distortions[1] == pytest.approx(optimal.distortion, rel=1e-10)


def euler(dates, bermudan):
    """The value of Euler's scheme by Gauss' rule and splines on a fine grid."""
    h = 1 / dates
    z, w = np.polynomial.hermite_e.hermegauss(64)
    x = np.linspace(5, 400, 4001)
    value = np.maximum(100 - x, 0) * np.exp(-0.05)
    for date in range(dates - 1, -1, -1):
        ahead = interpolate.CubicSpline(x, value)
        following = (x[:, None] * (1 + 0.05 * h + 0.2 * np.sqrt(h) * z)).clip(5, 400)
        value = ahead(following) @ w / w.sum()
        value = np.maximum(value, np.exp(-0.05 * date * h) * np.maximum(100 - x, 0)) if bermudan else value
    return float(interpolate.CubicSpline(x, value)(100.0))


def test_prices_are_below_those_of_the_scheme_by_what_grids_cost():
    # Values u of the scheme are convex and grids stationary, so that each date lowers a European price, by at most ½ max u'' D_t;
    # u'' is the density of one step at most, 0.08; at the last date only the cell with the kink counts, at ½ √(w · its cost).
    tree = qz.recursive_grid(stock(), TIMES, 100)
    bound = 0.04 * tree.distortions[:-1].sum() + tree.weights[-1].max() * np.sqrt(tree.distortions[-1])
    assert 0 < euler(10, bermudan=False) - tree.optimal_stopping(put, [10]).value < bound
    assert abs(tree.optimal_stopping(put).value - euler(10, bermudan=True)) < bound


def test_what_grids_cost_is_proportional_to_their_distortion():
    trees = [qz.recursive_grid(stock(), TIMES, k) for k in (50, 100, 200)]
    costs = [float(tree.distortions.sum()) for tree in trees]
    values = [tree.expect(lambda x: np.cos(x[:, 0] / 20)) for tree in trees]
    assert np.diff(values)[0] / np.diff(costs)[0] == pytest.approx(np.diff(values)[1] / np.diff(costs)[1], rel=0.1)
    assert costs[0] / costs[1] == pytest.approx(4, rel=0.1)


def test_a_call_of_fifty_dates_has_the_known_value():
    tree = qz.recursive_grid(stock(), np.linspace(0, 1, 51), 150)
    assert call(tree) == pytest.approx(10.448193, rel=1e-3)


def test_milstein_is_nearer_to_the_diffusion_path_by_path():
    # In law: the third moment of a step, which Euler's scheme has as if it were normal.
    exact = 100**3 * np.exp(3 * 0.05 + 3 * 0.04)
    values = [qz.recursive_grid(stock(), TIMES, 80, scheme=s).expect(lambda x: x[:, 0] ** 3) for s in ("euler", "milstein")]
    assert abs(values[1] - exact) < abs(values[0] - exact)


def test_correlated_motions_in_the_plane():
    angle = np.array([[0.3, 0.0], [-0.2, 0.15]])
    diffusion = qz.Diffusion([1.0, -2.0], lambda t, x: -0.5 * x, lambda t, x: np.broadcast_to(angle, (len(x), 2, 2)))
    tree = qz.recursive_grid(diffusion, TIMES[:5], (12, 9))
    assert [p.shape for p in tree.points] == [(1, 2)] + 4 * [(108, 2)]
    covariance, mean = np.zeros((2, 2)), np.array([1.0, -2.0])
    for _ in range(4):
        covariance = 0.95**2 * covariance + 0.1 * angle @ angle.T
        mean = 0.95 * mean
    moments = [tree.expect(lambda x, i=i: x[:, i]) for i in range(2)]
    np.testing.assert_allclose(moments, mean, rtol=1e-10)
    cross = tree.expect(lambda x: (x[:, 0] - mean[0]) * (x[:, 1] - mean[1]))
    # What quantizing loses of a covariance: at most the root of the product of the coordinates' shares.
    assert cross == pytest.approx(covariance[0, 1], abs=tree.distortions.sum())
    variance = tree.expect(lambda x: (x[:, 0] - mean[0]) ** 2)
    assert variance == pytest.approx(covariance[0, 0], abs=tree.distortions.sum())


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.5, 0.999, 1.0, -1.0])
def test_normal_rectangles(correlation, rng):
    x, y = rng.normal(size=(2, 40))
    x[:3], y[2:5] = 0.0, 0.0
    ours = _bivariate(x, y, np.full(40, correlation))
    law = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], allow_singular=True)
    np.testing.assert_allclose(
        ours, [law.cdf([a, b]) for a, b in zip(x, y, strict=True)], atol=2e-6 if abs(correlation) == 1 else 1e-13
    )


def test_a_start_that_does_not_move_stays_one_code():
    still = qz.Diffusion(2.0, lambda t, x: 0 * x + 1, lambda t, x: 0 * x)
    tree = qz.recursive_grid(still, [0.0, 0.5, 1.0], 10)
    assert [p.tolist() for p in tree.points] == [[[2.0]], [[2.5]], [[3.0]]]
    assert tree.distortions.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"times": [0.0]}, "times must be a rising sequence"),
        ({"times": [0.0, 1.0, 1.0]}, "times must be a rising sequence"),
        ({"k": (3, 4)}, "k must be one number in one dimension"),
        ({"k": 0}, "k must"),
        ({"scheme": "heun"}, "scheme must be 'euler' or 'milstein'"),
        ({"diffusion": qz.Diffusion(1.0, lambda t, x: x, lambda t, x: np.log(x - 5))}, "volatility must be finite; received"),
        ({"diffusion": qz.Diffusion(1.0, lambda t, x: x[:, 0], lambda t, x: x)}, r"drift must return an array of shape \(1, 1\)"),
        ({"diffusion": qz.Diffusion(1.0, lambda t, x: np.exp(1e3 * x), lambda t, x: x)}, "drift must be finite"),
        ({"diffusion": qz.Diffusion(np.zeros(3), lambda t, x: x, lambda t, x: x)}, "simulate paths"),
        ({"diffusion": qz.Diffusion(1.0, lambda t, x: x, lambda t, x: x), "scheme": "milstein"}, "volatility_slope"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_refused(change, says):
    arguments = {"diffusion": stock(), "times": TIMES, "k": 5, **change}
    with pytest.raises(ValueError, match=says):
        qz.recursive_grid(**arguments)


def test_payoffs_return_one_number_a_state(tree):
    assert tree.expect(lambda x: x) == pytest.approx(tree.expect(lambda x: x[:, 0]))
    with pytest.raises(ValueError, match=r"f must return one number a state, shape \(60,\); received shape \(60, 2\)"):
        tree.expect(lambda x: np.hstack([x, x]))
    with pytest.raises(ValueError, match="payoff must be finite"):
        tree.optimal_stopping(lambda t, x: x[:, 0] * np.nan)
    with pytest.raises(ValueError, match="a date"):
        tree.optimal_stopping(put, [11])


def test_stopping_is_best_below_a_price_that_rises(tree):
    stopping = tree.optimal_stopping(put)
    assert float(stopping) == stopping.value
    highest = [float(p[s, 0].max()) for p, s in zip(tree.points, stopping.stops, strict=True) if s.any()]
    assert (np.diff(highest) > -1.0).all()
    assert highest[-1] < 100
    assert all((v >= put(t, p) - 1e-12).all() for t, p, v in zip(tree.times, tree.points, stopping.values, strict=True))


def test_a_tree_of_simulated_paths_prices_as_the_exact_one(rng):
    steps = rng.normal(size=(40_000, 5)) * 0.2 * np.sqrt(0.2) + (0.05 - 0.02) * 0.2
    paths = 100 * np.exp(np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1))[:, :, None]
    tree = qz.quantization_tree(paths, [1, 40, 40, 40, 40, 40], times=np.linspace(0, 1, 6), rng=0)
    assert [len(p) for p in tree.points] == [1, 40, 40, 40, 40, 40]
    assert tree.optimal_stopping(put).value == pytest.approx(5.95, abs=0.15)
    counts = [w * 40_000 for w in tree.weights]
    assert all(abs(c - np.round(c)).max() < 1e-6 for c in counts)
    with pytest.raises(ValueError, match=r"paths must have shape \(n, T \+ 1, d\)"):
        qz.quantization_tree(paths[:, :, 0], 3)
    with pytest.raises(ValueError, match="times must have one entry a date"):
        qz.quantization_tree(paths, 3, times=TIMES)


def test_where_volatilities_vanish_grids_are_as_good_as_lloyds():
    # From x > 0 a step of width x, from x ≤ 0 none: a mixture of atoms and wide laws, where one start ends in a poor optimum.
    diffusion = qz.Diffusion(0.0, lambda t, x: 0 * x, lambda t, x: np.maximum(x, 0) if t > 0.5 else 1 + 0 * x)
    tree = qz.recursive_grid(diffusion, [0.0, 1.0, 2.0], 10)
    x, w = tree.points[1][:, 0], tree.weights[1]
    z = stats.norm.ppf((np.arange(3000) + 0.5) / 3000)
    law = qz.DiscreteMeasure.from_unnormalized((x[:, None] + np.maximum(x, 0)[:, None] * z).reshape(-1, 1), np.repeat(w, 3000))
    assert tree.distortions[2] < 1.01 * qz.quantize(law, 10, rng=0).distortion


@pytest.mark.parametrize(
    ("diffusion", "times"),
    [
        (qz.Diffusion(1.0, lambda t, x: 0 * x, lambda t, x: 1e200 + 0 * x), [0, 1]),
        (qz.Diffusion(1e200, lambda t, x: 1e100 * x, lambda t, x: 0 * x), [0, 1e9]),
    ],
)
def test_a_scheme_that_explodes_is_refused(diffusion, times):
    with pytest.raises(ValueError, match=r"leaves floating point|must be finite"):
        qz.recursive_grid(diffusion, times, 5)


def test_what_a_tree_is_asked(tree):
    with pytest.raises(ValueError, match="date must be at most 10; received 11"):
        tree.expect(lambda x: x[:, 0], 11)
    with pytest.raises(ValueError, match="date must be an integer"):
        tree.expect(lambda x: x[:, 0], -12)
    with pytest.raises(ValueError, match="start must be a finite number"):
        qz.Diffusion(1 + 2j, lambda t, x: x, lambda t, x: x)
    paths = np.zeros((3, 2, 1))
    with pytest.raises(ValueError, match="masked"):
        qz.quantization_tree(np.ma.masked_less(paths, 1), 2)
    with pytest.raises(ValueError, match="times must be a rising sequence"):
        qz.quantization_tree(paths, 2, times=[1.0, np.nan])
