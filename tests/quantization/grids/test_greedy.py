"""Greedy sequences: every code against all others there are, distortions against those of the codes, rates against the best."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.make_problem import make_problem

NORMAL = qz.Gaussian(np.zeros(1), np.eye(1))
LAWS = {
    "normal": NORMAL,
    "exponential": stats.expon(loc=3.0, scale=0.2),
    "two modes": qz.GaussianMixture(np.array([0.4, 0.6]), np.array([[-4.0], [3.0]]), np.array([[[1.0]], [[0.2]]])),
}


@pytest.mark.parametrize(("name", "r"), [("normal", 2.0), ("exponential", 1.5), ("two modes", 1.0), ("two modes", 3.0)])
def test_no_other_code_would_have_been_better(name, r):
    """Against 40 places by quantile and 40 by distance, at every step."""
    law = LAWS[name]
    grid, exact = qz.greedy_grid(law, 5, r=r), make_problem(law, 1, r).exact
    random = np.random.default_rng(0)
    draws = np.sort(np.ravel(law.sample(4000, random) if hasattr(law, "sample") else law.rvs(4000, random_state=random)))
    places = np.concatenate([draws[:: len(draws) // 40], np.linspace(draws[0], draws[-1], 40)])
    assert exact is not None
    for k in range(5):
        others = [exact.cells(np.append(grid.points[:k], [[x]], axis=0)).distortion for x in places]
        assert grid.distortions[k] <= min(others) * (1 + 1e-12)
        assert grid.distortions[k] == pytest.approx(exact.cells(grid.points[: k + 1]).distortion, rel=1e-12)


def test_the_first_code_is_the_mean_or_the_median():
    assert qz.greedy_grid(stats.expon(), 1).points[0, 0] == pytest.approx(1.0, rel=1e-9)
    assert qz.greedy_grid(stats.expon(), 1, r=1).points[0, 0] == pytest.approx(np.log(2), rel=1e-9)


def test_the_rate_is_that_of_optimal_quantizers():
    """Of N(0, 1) the ratio to the optimum is at most 1.35 from ten codes on, and 1.32 from fifty."""
    grid = qz.greedy_grid(NORMAL, 130)
    ratios = {
        k: grid.distortions[k - 1] / qz.quantize(NORMAL, k, rng=0).distortion
        for k in (10, 11, 14, 20, 29, 41, 50, 57, 80, 110, 130)
    }
    assert max(ratios.values()) <= 1.35
    assert max(ratio for k, ratio in ratios.items() if k >= 50) <= 1.32
    assert min(ratios.values()) >= 1


@pytest.mark.parametrize("r", [1.0, 2.0, 3.0])
def test_samples_against_all_samples(r):
    rng = np.random.default_rng(1)
    law = qz.DiscreteMeasure(rng.normal(size=(90, 2)), rng.dirichlet(np.ones(90)))
    grid = qz.greedy_grid(law, 25, r=r)
    costs = np.sqrt(np.square(law.points[:, None] - law.points).sum(2)) ** r
    least = np.full(90, np.inf)
    for k in range(25):
        best = (np.minimum(least, costs) @ law.weights).min()
        assert grid.distortions[k] == pytest.approx(best, rel=1e-12)
        least = np.minimum(least, np.sqrt(np.square(law.points - grid.points[k]).sum(1)) ** r)


@pytest.mark.parametrize("law", [NORMAL, np.random.default_rng(2).normal(size=(300, 3))])
def test_a_sequence_can_be_continued(law):
    whole, part = qz.greedy_grid(law, 12), qz.greedy_grid(law, 5)
    longer = qz.greedy_grid(law, 12, start=part)
    np.testing.assert_allclose(longer.points, whole.points, atol=1e-9)
    np.testing.assert_allclose(qz.greedy_grid(law, 12, start=part.points).distortions, whole.distortions, rtol=1e-9)


def test_masses_are_those_of_the_first_codes():
    grid = qz.greedy_grid(NORMAL, 8)
    edges = stats.norm.cdf([-np.inf, *((np.sort(grid.points[:3, 0])[1:] + np.sort(grid.points[:3, 0])[:-1]) / 2), np.inf])
    np.testing.assert_allclose(np.sort(grid.measure(3).weights), np.sort(np.diff(edges)), rtol=1e-10)
    assert grid.measure().size == 8


def test_bad_input():
    with pytest.raises(ValueError, match="distinct points, 3"):
        qz.greedy_grid([[0.0], [1.0], [2.0], [2.0]], 4)
    with pytest.raises(ValueError, match="law must"):
        qz.greedy_grid(qz.Gaussian(np.zeros(3), np.eye(3)), 4)
    with pytest.raises(ValueError, match="at most k = 2 codes"):
        qz.greedy_grid(NORMAL, 2, start=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="30,000 samples"):
        qz.greedy_grid(np.zeros((40_000, 1)), 2)
    with pytest.raises(ValueError, match="k must"):
        qz.greedy_grid(NORMAL, 2).measure(3)
