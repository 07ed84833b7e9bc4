import numpy as np

from quantization.reservoir import PrioritySample


def added(sample, points, weights, rng):
    chosen, priorities = sample.candidates(weights, rng)
    sample.add(points[chosen], weights[chosen], priorities[chosen])


def test_is_all_that_was_added_while_it_fits(rng):
    sample, x, w = PrioritySample(50), rng.normal(size=(50, 2)), rng.random(50)
    for rows in np.array_split(np.arange(50), 7):
        added(sample, x[rows], w[rows], rng)
    np.testing.assert_array_equal(sample.points, x)
    np.testing.assert_array_equal(sample.weights, w)


def test_sums_over_it_are_unbiased_and_heavy_points_are_kept(rng):
    x = np.arange(400.0)[:, None]
    w = rng.random(400)
    w[7] = 500.0  # of a total of about 700
    sums, runs = np.empty((600, 2)), 600
    for run in range(runs):
        sample = PrioritySample(40)
        for rows in np.array_split(np.arange(400), 9):
            added(sample, x[rows], w[rows], rng)
        assert len(sample.points) == 40
        assert sample.weights[sample.points[:, 0] == 7] == 500.0
        sums[run] = sample.weights.sum(), sample.weights[sample.points[:, 0] >= 300].sum()
    errors = sums.mean(0) - [w.sum(), w[300:].sum()]
    assert (np.abs(errors) < 5 * sums.std(0) / np.sqrt(runs)).all()  # five standard errors


def test_points_of_weight_zero_never_enter(rng):
    sample = PrioritySample(3)
    added(sample, np.zeros((5, 1)), np.zeros(5), rng)
    assert len(sample.points) == 0
