"""CSR matrices in quantize, against the same samples in a dense array."""

import numpy as np
import pytest
import scipy.sparse

import quantization as qz

EPS = np.finfo(float).eps


@pytest.fixture
def sparse(rng):
    dense = rng.normal(size=(400, 30)) * (rng.random((400, 30)) < 0.2)
    return scipy.sparse.csr_array(dense), dense


@pytest.mark.parametrize("init", ["k-means++", "random", "codes"])
def test_csr_samples_get_the_codes_of_dense_ones(sparse, init):
    csr, dense = sparse
    start = dense[:6] if init == "codes" else init
    ours = qz.quantize(csr, 6, init=start, solver=qz.Lloyd(rtol=0), rng=3)
    theirs = qz.quantize(dense, 6, init=start, solver=qz.Lloyd(rtol=0), rng=3)
    # Means of up to 400 entries below 5, summed in another order.
    np.testing.assert_allclose(ours.points, theirs.points, atol=400 * 5 * EPS)
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=400 * EPS)
    assert ours.distortion == pytest.approx(theirs.distortion, rel=1e-10)
    assert ours.converged
    assert float(qz.distortion(csr, ours)) == pytest.approx(ours.distortion, rel=1e-10)


def test_what_sparse_samples_are_not_for(sparse):
    csr, _ = sparse
    with pytest.raises(ValueError, match="received sparse samples"):
        qz.quantize(csr, 3, init=lambda points, k, rng: points[:k], rng=0)
    with pytest.raises(ValueError, match="r = 2; received r = 3"):
        qz.quantize(csr, 3, r=3, rng=0)
    with pytest.raises(ValueError, match="received 1"):
        qz.quantize(scipy.sparse.csr_array(np.ones((5, 2))), 2, rng=0)


@pytest.mark.parametrize(
    ("matrix", "hint"),
    [
        (scipy.sparse.csr_array(np.array([[np.nan, 1.0], [0.0, 2.0]])), "1 NaN or infinite entries"),
        (scipy.sparse.csr_array(np.eye(2) * 1j), "real numbers; received a sparse matrix of dtype complex128"),
        (scipy.sparse.csc_array(np.eye(3)), "tocsr"),
    ],
)
def test_bad_matrices_are_named(matrix, hint):
    with pytest.raises(ValueError, match=hint):
        qz.quantize(matrix, 1, rng=0)


def test_integers_are_numbers():
    assert qz.quantize(scipy.sparse.csr_array(np.eye(3, dtype=np.int64)), 3, rng=0).distortion == 0


def test_competitive_learning_takes_dense_batches_of_csr_samples(sparse):
    csr, dense = sparse
    ours, theirs = (qz.quantize(x, 6, init=dense[:6], solver=qz.CLVQ(batch=50, epochs=3), rng=3) for x in (csr, dense))
    np.testing.assert_allclose(ours.points, theirs.points, atol=400 * 5 * EPS)
