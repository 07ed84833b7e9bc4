import tracemalloc

import numpy as np
import pytest

from quantization.distance_matrix import distance_matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (500, 2, 7), (700, 300, 40), (40_000, 3, 20)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_distances_are_right_to_ten_digits(dtype, shape, offset, rng, brute):
    n, d, k = shape
    x = (rng.normal(size=(n, d)) + offset).astype(dtype)
    codes = np.concatenate([x[: k // 2], rng.normal(size=(k - k // 2, d)) + offset])
    found = distance_matrix(x, codes)
    assert found.dtype == dtype
    some = slice(0, 500)
    truth = brute.squared(x[some], codes)
    np.testing.assert_allclose(found[some] ** 2.0, truth, rtol=1e-10 + 4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(found[some] == 0, truth == 0)


@pytest.mark.parametrize("scale", [1e-140, 1.0, 1e140])
def test_near_pairs_and_the_ends_of_the_range(scale, rng):
    x = rng.normal(size=(300, 5))
    codes = np.concatenate([x[:3] * (1 + 1e-9), x[3:6], 1e3 + rng.normal(size=(2, 5))])
    truth = np.array([[np.sqrt(np.square(a - b).sum()) for b in codes] for a in x])
    found = distance_matrix(x * scale, codes * scale)
    # Where a point lies 1e-9 from a code, the rounding of both by the scale is 1e-7 of the difference.
    np.testing.assert_allclose(found / scale, truth, rtol=1e-6)
    far = truth > 1e-3
    np.testing.assert_allclose((found / scale)[far], truth[far], rtol=1e-10)


def test_takes_no_memory_beside_the_answer(rng):
    """cdist would convert all points, and give float64."""
    x, codes = rng.normal(size=(60_000, 32)).astype(np.float32), rng.normal(size=(64, 32))
    distance_matrix(x, codes)
    tracemalloc.start()
    try:
        found = distance_matrix(x, codes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * found.nbytes
