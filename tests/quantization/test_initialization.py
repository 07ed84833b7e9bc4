import numpy as np
import pytest
import torch

import quantization as qz
from quantization.make_problem import make_problem


@pytest.mark.parametrize("start", [qz.KMeansPlusPlus(), qz.RandomPoints()])
@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_codes_are_distinct_points_of_positive_weight(start, library, rng):
    points = np.arange(20.0)[:, None]
    weights = np.where(np.arange(20) % 2, 0.1, 0.0)
    problem = make_problem(qz.DiscreteMeasure(library(points), weights), 10, 2)
    codes = start.draw(problem, rng)
    assert sorted(codes[:, 0]) == list(range(1, 20, 2))


def test_kmeans_plus_plus_is_within_its_bound(rng):
    # Ten tight clusters: one code each costs about 10 · 1e-4; Arthur and Vassilvitskii's 8 (log K + 2) in expectation.
    centres = 10 * rng.normal(size=(10, 2))
    points = (centres[:, None, :] + 0.01 * rng.normal(size=(10, 50, 2))).reshape(-1, 2)
    problem = make_problem(points, 10, 2)
    costs = [qz.distortion(points, qz.KMeansPlusPlus().draw(problem, rng), rng=0).value for _ in range(20)]
    assert np.mean(costs) <= 8 * (np.log(10) + 2) * qz.quantize(points, 10, n_init=5, rng=0).distortion


def test_a_small_pool_falls_back_to_all_points(rng):
    points = np.concatenate([np.zeros((100_000, 1)), [[1.0], [2.0]]])
    codes = qz.KMeansPlusPlus(pool=10).draw(make_problem(points, 3, 2), rng)
    assert sorted(codes[:, 0]) == [0, 1, 2]


def test_solutions_measures_and_arrays_are_initializations(rng):
    points = rng.normal(size=(50, 2))
    sol = qz.quantize(points, 3, rng=0)
    for start in (sol, sol.measure, sol.measure.points, sol.measure.points, sol.measure.points.tolist()):
        again = qz.quantize(points, 3, init=start, rng=0)
        assert again.n_iter == 0
        np.testing.assert_array_equal(again.measure.points, sol.measure.points)
    torch_start = torch.from_numpy(sol.measure.points)
    np.testing.assert_array_equal(qz.quantize(points, 3, init=torch_start, rng=0).measure.points, sol.measure.points)


def test_codes_beyond_the_dtype_are_refused(rng):
    with pytest.raises(ValueError, match="finite in the law's dtype float16"):
        qz.quantize(rng.normal(size=(9, 1)).astype(np.float16), 1, init=[[1e6]], rng=0)


@pytest.mark.parametrize("bad", [0, 1.5, "all"])
def test_refuses_a_bad_pool(bad):
    with pytest.raises(ValueError, match="pool"):
        qz.KMeansPlusPlus(pool=bad)


def test_a_long_start_says_how_far_it_is(rng):
    told: list[tuple[int, int]] = []
    init = qz.KMeansPlusPlus(pool=10_000, on_progress=lambda drawn, k: told.append((drawn, k)))
    next(qz.iterate(rng.normal(size=(200_000, 2)), 20, init=init, max_iter=0, rng=0))
    assert told
    assert told == sorted(told)
    assert all(1 <= drawn <= k == 20 for drawn, k in told)
