import numpy as np
import pytest
from scipy import sparse

from quantization.empirical import sparse_samples
from quantization.empirical.samples import EmpiricalLaw
from quantization.empirical.sparse_samples import SparseSamples, canonical_csr, sparse_distance_matrix
from quantization.measure import DiscreteMeasure
from quantization.status import TooFewPoints


def rows_of(rng, n=500, d=30, density=0.2, dtype=np.float64):
    return ((rng.random((n, d)) < density) * rng.normal(size=(n, d))).astype(dtype)


def law_of(x, weights=None):
    weights = np.ones(len(x)) if weights is None else weights
    return SparseSamples(canonical_csr(sparse.csr_array(x)), weights / weights.sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [2**21, 64])
def test_cells_are_those_of_dense_samples(dtype, block, rng, brute, monkeypatch):
    monkeypatch.setattr(sparse_samples, "_BLOCK_NUMBERS", block)
    x, weights = rows_of(rng, dtype=dtype), rng.random(500)
    law, codes = law_of(x, weights), rng.normal(size=(7, 30)) / 3
    truth, c = brute.voronoi(x, weights / weights.sum(), codes), law.cells(codes)
    np.testing.assert_array_equal(law.nearest(codes)[0], truth.labels)
    np.testing.assert_allclose(c.masses, truth.masses, rtol=1e-13)
    np.testing.assert_allclose(c.means, truth.means, rtol=0, atol=500 * np.finfo(float).eps)  # sums of at most 500 terms
    assert c.distortion == pytest.approx(truth.distortion, rel=1e-10)
    assert c.stationarity == pytest.approx(
        EmpiricalLaw(DiscreteMeasure(x, weights / weights.sum()), 2.0).cells(codes).stationarity
    )


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("scale", [2.0**-400, 1.0, 2.0**400])
def test_labels_are_exact_where_scores_cancel_or_tie(offset, scale, rng, brute):
    x = rng.integers(-2, 3, size=(300, 3)) + offset
    codes = np.concatenate([x[:4], x[:4] + np.eye(3)[:1], x[1:2]])  # ties everywhere, and a code twice
    labels, squared = law_of(x * scale).nearest(codes * scale)
    truth = brute.squared(x, codes)  # of small integers: exact
    np.testing.assert_array_equal(labels, truth.argmin(1))
    np.testing.assert_allclose(squared / scale / scale, truth.min(1), rtol=1e-9)
    assert (squared[truth.min(1) == 0] == 0).all()


def test_squared_distances_and_zero_rows(rng, brute):
    x = rows_of(rng, n=80)
    x[::7] = 0
    law, codes = law_of(x), np.concatenate([x[:5], np.zeros((1, 30))])
    squared = law.squared_distances(codes)
    truth = brute.squared(x, codes)
    np.testing.assert_allclose(squared, truth, rtol=1e-10)
    np.testing.assert_array_equal(squared == 0, truth == 0)
    np.testing.assert_array_equal(sparse_distance_matrix(law.points, codes), np.sqrt(squared))
    single = sparse_distance_matrix(law.points.astype(np.float32), codes)
    assert single.dtype == np.float32


def test_empty_cells_are_relocated_and_never_cost_more(rng):
    law = law_of(rows_of(rng))
    codes = np.concatenate([np.zeros((2, 30)), np.full((3, 30), 50.0)])
    before = law.cells(codes)
    moved, c = law.relocate_empty_cells(codes)
    assert c.masses.all()
    assert c.distortion < before.distortion
    np.testing.assert_array_equal(moved[0], codes[0])
    with pytest.raises(TooFewPoints) as caught:
        law_of(np.eye(3)[[0, 1, 1, 0]]).relocate_empty_cells(np.zeros((3, 3)))
    assert caught.value.distinct == 2


def test_k_means_plus_plus_draws_by_cost(rng):
    """A heavy point, and two at distances 1 and 3 of it: the second code is drawn 1 : 9, and the better of two draws stays."""
    law = law_of(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), np.array([1e12, 1.0, 1.0]))
    n = 2000
    second = [law.d2_sampling(2, rng)[1] for _ in range(n)]
    assert set(second) == {1, 2}
    expected = 0.1**2  # both draws are the near one; five standard deviations of a binomial
    assert abs(second.count(1) / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    with pytest.raises(TooFewPoints, match="received 3"):
        law.d2_sampling(4, rng)
    zero = law_of(np.eye(4), np.array([0.0, 1.0, 0.0, 1.0]))
    assert set(zero.d2_sampling(2, rng)) == set(zero.random_points(2, rng)) == {1, 3}
    with pytest.raises(TooFewPoints, match="received 2"):
        zero.random_points(3, rng)


def test_distinct_rows_look_at_values_and_not_at_what_is_stored():
    stored_zero = sparse.csr_array(
        (np.array([1.0, 0.0, 1.0, -0.0]), np.array([0, 1, 0, 2]), np.array([0, 2, 4, 4])), shape=(3, 3)
    )
    law = SparseSamples(stored_zero, np.full(3, 1 / 3))
    np.testing.assert_array_equal(law.distinct(3), [0, 2])
    np.testing.assert_array_equal(law.distinct(1), [0])


def test_a_matrix_with_duplicates_is_copied_before_they_are_summed():
    given = sparse.csr_array((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 2))
    np.testing.assert_array_equal(canonical_csr(given).toarray(), [[0.0, 3.0]])
    np.testing.assert_array_equal(given.data, [1.0, 2.0])
