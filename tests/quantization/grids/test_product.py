"""Product grids: the search against all shares there are, distortions and weights against the measure itself."""

import itertools
from functools import cache
from math import prod

import numpy as np
import pytest
from scipy import stats

import quantization as qz


def normal(variance, mean=0.0):
    return qz.Gaussian([mean], [[variance]])


def all_shares(n, d):
    """Every tuple of d shares of product at most n."""
    if d == 0:
        yield ()
        return
    for first in range(1, n + 1):
        for others in all_shares(n // first, d - 1):
            yield (first, *others)


SHARED = stats.expon(scale=0.5)
LISTS = {
    "Gaussians": [normal(9.0, 1.0), normal(4.0), normal(0.01), normal(2.0)],
    "rising scales": [normal(0.1), normal(1.0), normal(10.0)],
    "several laws": [stats.uniform(0, 3), SHARED, normal(1.0), SHARED],
    "finite ones": [[[0.0], [1.0], [5.0]], normal(1.0), np.random.default_rng(0).normal(size=(40, 1))],
}


@cache
def cost(name, i, k):
    """What one coordinate costs with k codes, or as many as it has points."""
    law = LISTS[name][i]
    points = k if hasattr(law, "sample") or hasattr(law, "rvs") else len(np.unique(law))
    return qz.quantize(law, min(k, points), rng=0).distortion


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("n", [1, 2, 7, 24])
def test_no_shares_are_better(name, n):
    laws = LISTS[name]
    table = [[cost(name, i, k) for k in range(1, n + 1)] for i in range(len(laws))]
    best = min(sum(t[k - 1] for t, k in zip(table, shares, strict=True)) for shares in all_shares(n, len(laws)))
    grid = qz.product_grid(laws, n)
    assert prod(grid.shape) == len(grid) <= n
    assert grid.distortion == pytest.approx(best, rel=1e-12, abs=1e-15)


def test_distortion_weights_and_labels_are_those_of_the_measure():
    """Of a product of finite laws, which is a finite law itself."""
    rng = np.random.default_rng(1)
    laws = [qz.DiscreteMeasure(rng.normal(size=(m, 1)), rng.dirichlet(np.ones(m))) for m in (9, 12, 5)]
    points = np.array(list(itertools.product(*[law.points[:, 0] for law in laws])))
    weights = np.array([prod(w) for w in itertools.product(*[law.weights for law in laws])])
    law, grid = qz.DiscreteMeasure.from_unnormalized(points, weights), qz.product_grid(laws, 30)
    assert grid.distortion == pytest.approx(qz.distortion(law, grid.measure.points, rng=0).value, rel=1e-12)
    np.testing.assert_allclose(law.project(grid.measure.points).weights, grid.measure.weights, rtol=1e-12)
    np.testing.assert_array_equal(grid.predict(points), grid.measure.assign(points))
    some = np.array([3, 0, len(grid) - 1])
    np.testing.assert_array_equal(grid.points_at(some), grid.measure.points[some])
    np.testing.assert_allclose(grid.weights_at(some), grid.measure.weights[some], rtol=1e-15)


def test_published_shares_of_brownian_motion():
    """Pagès and Printems' tables: coordinates of variance (π(i − ½))⁻², what is left of ½ for the rest."""
    for n, shape, published in ((10, (5, 2), 0.098446153297), (100, (12, 4, 2), 0.051275751092)):
        variances = (np.pi * (np.arange(6) + 0.5)) ** -2.0
        grid = qz.product_grid([normal(v) for v in variances], n)
        assert grid.shape[: len(shape)] == shape
        assert set(grid.shape[len(shape) :]) == {1}
        assert grid.distortion + 0.5 - variances.sum() == pytest.approx(published, abs=1e-11)


def test_a_large_grid_is_never_stored():
    grid = qz.product_grid([normal(1.0)] * 3, (2000, 1500, 1000))
    assert len(grid) == 3 * 10**9
    assert grid.points_at(len(grid) - 1)[0].tolist() == [float(f.points[-1, 0]) for f in grid.factors]
    assert grid.predict(grid.points_at(123_456_789)).tolist() == [123_456_789]


def test_expectations_go_by_blocks():
    grid = qz.product_grid([stats.uniform(), stats.uniform()], (400, 300))
    value = grid.expect(lambda x: np.stack([x[:, 0], x[:, 0] * x[:, 1]], axis=1))
    np.testing.assert_allclose(value, [0.5, 0.25], rtol=1e-12)
    with pytest.raises(ValueError, match="one value per code"):
        grid.expect(lambda x: np.zeros(3))


def test_constant_coordinates_get_one_code():
    grid = qz.product_grid([normal(0.0, 7.0), normal(1.0)], 9)
    assert grid.shape == (1, 9)
    assert (grid.points_at(np.arange(9))[:, 0] == 7.0).all()


@pytest.mark.parametrize(
    ("marginals", "n", "message"),
    [
        ([], 3, "nonempty list"),
        (np.zeros((4, 2)), 3, "nonempty list"),
        ([qz.Gaussian([0.0, 0.0], np.eye(2))], 3, "dimension 2"),
        ([normal(1.0)], 0, "n must be"),
        ([normal(1.0)] * 2, (3,), "2 shares"),
        ([normal(1.0)] * 2, (3, 0), r"n\[1\]"),
    ],
)
def test_bad_input(marginals, n, message):
    with pytest.raises(ValueError, match=message):
        qz.product_grid(marginals, n)


def test_a_law_known_by_sampling_is_refused():
    class Sampler:
        def sample(self, n, rng):
            return rng.normal(size=(n, 1))

    with pytest.raises(ValueError, match=r"marginals\[1\].*sampling alone"):
        qz.product_grid([normal(1.0), Sampler()], 4)


@pytest.mark.parametrize("index", [6, -1, 0.5, [[0]]])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match="index must hold"):
        qz.product_grid([normal(1.0)] * 2, (2, 3)).points_at(index)
