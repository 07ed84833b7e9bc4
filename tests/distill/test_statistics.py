"""Intervals against SciPy's own, simulated coverage and all resamples there are."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from distill.statistics import bootstrap_interval, comparison, effective_size, predictions, rank_correlation, t_interval

EPS = float(np.finfo(float).eps)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_paired_interval_is_scipys(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.6, 0.02, n), rng.normal(0.55, 0.03, n)
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert t_interval(first - second) == pytest.approx((expected.low, expected.high), rel=1e3 * EPS)
    whole = stats.ttest_1samp(first, 0).confidence_interval(0.9)
    assert t_interval(first, 0.9) == pytest.approx((whole.low, whole.high), rel=1e3 * EPS)


def test_one_seed_has_no_interval():
    assert t_interval([0.5]) == (None, None)


def test_the_t_interval_covers_the_mean_as_often_as_it_says():
    """Of 4000 samples of five normal numbers; a binomial share's deviation is (0.95 · 0.05 / 4000)^½, and four are allowed."""
    rng, runs = np.random.default_rng(1), 4000
    intervals = [t_interval(rng.normal(2, 3, 5)) for _ in range(runs)]
    covered = np.mean([low <= 2 <= high for low, high in intervals])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / runs) ** 0.5
    without_t = np.mean([abs(np.mean(x) - 2) <= 1.96 * np.std(x, ddof=1) / 5**0.5 for x in rng.normal(2, 3, (runs, 5))])
    assert abs(without_t - 0.95) > 4 * (0.95 * 0.05 / runs) ** 0.5, "normal quantiles cover less: the check can fail"


def test_the_bootstrap_is_that_of_all_resamples():
    """All 6^6 resamples of six differences. A quantile of R draws lies within four deviations of its level, in probability."""
    values, resamples = np.array([-0.5, 0.0, 0.0, 0.5, 1.0, 0.5]), 20_000
    means = np.sort([np.mean(each) for each in product(values, repeat=6)])
    slack = 4 * (0.025 * 0.975 / resamples) ** 0.5
    for level, found in zip(
        (0.025, 0.975), bootstrap_interval(values, np.random.default_rng(0), resamples=resamples), strict=True
    ):
        below, upto = ((means < found - 1e-12).mean(), (means <= found + 1e-12).mean())
        assert below - slack <= level <= upto + slack
    low, high = bootstrap_interval(values, np.random.default_rng(0), 0.5)
    assert -0.5 < low < values.mean() < high < 1


def test_a_bootstrap_of_images_drawn_one_by_one_gives_the_same_interval():
    """Two independent estimates of a quantile, each with a deviation of (p(1-p)/R)^½ in probability, which is a distance of that
    over the density; the density of the mean is a normal one.
    """
    rng, resamples, n = np.random.default_rng(3), 4000, 400
    values = rng.choice([-1, -0.5, 0, 0.5, 1], n, p=[0.05, 0.1, 0.6, 0.15, 0.1])
    drawn = np.quantile(values[rng.integers(n, size=(resamples, n))].mean(1), [0.025, 0.975])
    found = bootstrap_interval(values, np.random.default_rng(4), resamples=resamples)
    deviation = values.std() / n**0.5
    slack = 4 * 2**0.5 * (0.025 * 0.975 / resamples) ** 0.5 * deviation / stats.norm.pdf(stats.norm.ppf(0.025))
    grid = 0.5 / n  # means are multiples of it
    np.testing.assert_allclose(found, drawn, rtol=0, atol=slack + grid)


def test_the_bootstrap_covers_the_mean_of_new_images():
    """500 test sets of 300 images. The percentile interval of so many is a normal one up to O(1/n): four deviations, and 1 %."""
    rng, runs, levels, p = np.random.default_rng(5), 500, [-1, 0, 1], [0.1, 0.75, 0.15]
    intervals = [bootstrap_interval(rng.choice(levels, 300, p=p), rng, resamples=2000) for _ in range(runs)]
    covered = np.mean([low <= 0.05 <= high for low, high in intervals])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / runs) ** 0.5 + 0.01


def test_a_comparison_pairs_seeds_and_images():
    rng = np.random.default_rng(6)
    easy = rng.random(200)
    first = [easy + 0.1 * rng.normal(size=200) < 0.7 for _ in range(4)]
    second = [easy + 0.1 * rng.normal(size=200) < 0.6 for _ in range(4)]
    found = comparison(first, second)
    scores = np.mean(first, axis=1), np.mean(second, axis=1)
    expected = stats.ttest_rel(*scores).confidence_interval(0.95)
    assert found["difference"] == pytest.approx(np.mean(scores[0] - scores[1]), rel=1e3 * EPS)
    assert (found["seeds_low"], found["seeds_high"]) == pytest.approx((expected.low, expected.high), rel=1e3 * EPS)
    assert found["images_low"] < found["difference"] < found["images_high"]
    unpaired = 1.96 * np.sqrt(sum(np.mean(each, axis=0).var() for each in (first, second)) / 200)
    assert found["images_high"] - found["images_low"] < 1.6 * unpaired, "images that are hard for both do not widen it"
    turned = comparison(second, first)
    assert turned["difference"] == -found["difference"]
    assert comparison(first, second) == found, "resamples are seeded"
    one = comparison(first[:1], second[:1])
    assert (one["seeds_low"], one["seeds_high"], one["seeds"]) == (None, None, 1)
    same = comparison(first, first)
    assert [same[key] for key in ("difference", "seeds_low", "seeds_high", "images_low", "images_high")] == [0.0] * 5


def test_effective_sizes():
    assert effective_size([1, 1, 1, 1]) == 4
    assert effective_size([0.9, 0.05, 0.05]) == pytest.approx(1 / (0.81 + 2 * 0.0025))
    assert effective_size([3, 0, 0]) == 1


def test_rank_correlations():
    assert rank_correlation([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_predictions_rank_sets_within_a_budget_and_over_all():
    """Distances that order the sets of each budget as accuracy does, turned round between the budgets."""
    row = {"labels": "hard", "top1_mean": 0.0, "distances": {"latent": None, "pixels": 0.0}}
    values = [(3, 0.1, 5.0), (3, 0.2, 4.0), (3, 0.3, 3.0), (10, 0.6, 9.0), (10, 0.7, 8.0), (10, 0.8, 7.0), (None, 0.9, 0.0)]
    rows = [{**row, "ipc": k, "top1_mean": top1, "distances": {"latent": None, "pixels": far}} for k, top1, far in values]
    found = predictions(rows)
    assert [(each["space"], each["ipc"], each["sets"]) for each in found] == [
        ("pixels", None, 6),
        ("pixels", 3, 3),
        ("pixels", 10, 3),
    ]
    expected = stats.spearmanr([v[1] for v in values[:6]], [v[2] for v in values[:6]]).statistic
    assert [each["rank_correlation"] for each in found] == pytest.approx([expected, -1, -1])
    assert expected > 0
    assert predictions([{**rows[-1]}]) == []
