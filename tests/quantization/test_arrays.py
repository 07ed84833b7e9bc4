import numpy as np
import pytest
import torch

import quantization as qz
from quantization import arrays


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_and_torch_agree_on_the_limits_of_a_dtype(dtype):
    host = np.zeros(1, dtype)
    other = torch.from_numpy(host)
    assert arrays.epsilon(host) == arrays.epsilon(other) == float(np.finfo(dtype).eps)
    assert arrays.least_positive(host) == arrays.least_positive(other) == float(np.finfo(dtype).smallest_subnormal)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rounded_gives_what_the_dtype_holds(dtype):
    host = np.array([1 / 3, -2 / 3, 0.1])
    expected = torch.tensor(host).to(dtype).double().numpy()
    np.testing.assert_array_equal(arrays.rounded(host, torch.zeros(1, dtype=dtype)), expected)
    assert arrays.rounded(host, torch.zeros(1, dtype=torch.float64)) is host


def test_namespace_and_like():
    assert arrays.namespace(np.zeros(1)) is np
    assert arrays.namespace(torch.zeros(1)) is torch
    assert arrays.asarray_like(np.ones(2), torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert arrays.asarray_like(np.ones(2), np.zeros(1, np.float32), dtype=np.int64).dtype == np.int64


def test_double_keeps_complex_numbers():
    assert arrays.double(np.ones(1, np.complex64)).dtype == np.complex128
    assert arrays.double(torch.ones(1, dtype=torch.complex64)).dtype == torch.complex128
    assert arrays.double(torch.ones(1, dtype=torch.bool)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [">f8", ">f4", "<f8"])
def test_bytes_of_either_order_are_numbers(dtype, rng):
    """As files of astronomers hold them: taken for float32, a spread far below the offset would vanish."""
    points = 1e8 + rng.standard_normal((4000, 3)) if dtype != ">f4" else rng.standard_normal((4000, 3))
    foreign = points.astype(dtype)
    native = qz.quantize(foreign.astype(dtype[1:]), 200, max_iter=3, rng=0)
    found = qz.quantize(foreign, 200, max_iter=3, rng=0)
    np.testing.assert_array_equal(found.measure.points, native.measure.points)
    assert found.measure.points.dtype == np.dtype(dtype[1:])
