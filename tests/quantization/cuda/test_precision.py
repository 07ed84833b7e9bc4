"""The bound on products in three passes of TF32, against the arithmetic of tensor cores at its worst, emulated."""

import numpy as np
import pytest
import torch

from quantization.cuda.group import Group

UNIT = 2.0**-24  # of round-off of float32


def cut(x, bits):
    """Towards zero, to so many bits."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits)


def nearest(x, bits):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


def split(x, big):
    """A float32 number as a TF32 number and the rest, of which the hardware reads what TF32 holds."""
    upper = big(x, 11)
    return upper, cut(x - upper, 11)


def multiplied(x, c, passes, big):
    """Inner products (n,) of rows of x and c: eight terms and the sum aligned to the largest and cut, then cut to 24 bits."""
    total = np.zeros(len(x))
    (x_big, x_small), (c_big, c_small) = split(x, big), split(c, big)
    for left, right in [(x_small, c_big), (x_big, c_small), (x_big, c_big)][-passes:]:
        for i in range(0, x.shape[1], 8):
            terms = np.column_stack([left[:, i : i + 8] * right[:, i : i + 8], total])
            unit = np.ldexp(1.0, np.frexp(np.abs(terms).max(1))[1] - 24)
            total = cut((np.trunc(terms / unit[:, None]) * unit[:, None]).sum(1), 24)
    return total


@pytest.fixture(scope="module")
def bound():
    pytest.importorskip("triton")
    from quantization.cuda import fused

    class OnGpu:
        device = torch.device("cuda")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        name, terms = fused._precision(OnGpu(), fused.Fused.scores.width)
    assert name == "tf32x3"
    return fused.Fused.scores.width, terms


@pytest.mark.parametrize("big", [nearest, cut])
@pytest.mark.parametrize("kind", ["normal", "one sign", "one large", "just below a power of two"])
def test_products_are_within_their_bound(bound, big, kind, rng):
    width, terms = bound
    x, c = rng.normal(size=(2, 2000, width)).astype(np.float32).astype(np.float64)
    if kind == "one sign":
        x, c = np.abs(x), np.abs(c)
    if kind == "one large":
        x[:, 0] *= 1000
    if kind == "just below a power of two":  # what is cut off is largest
        x, c = (2 - rng.integers(1, 2**13, size=(2, 2000, width)) * 2.0**-23) * rng.choice([-1, 1], size=(2, 2000, width))
    exact = (x * c).sum(1)
    length = np.sqrt((x * x).sum(1) * (c * c).sum(1))
    off = np.abs(multiplied(x, c, 3, big) - exact) / (UNIT * length)
    assert off.max() <= terms
    single = np.abs(multiplied(x, c, 1, big) - exact) / (UNIT * length)
    assert single.max() > terms  # one pass of TF32 is not enough


def test_without_tensor_cores_float32_is_float32():
    pytest.importorskip("triton")
    from quantization.cuda.fused import _precision

    group = Group([torch.zeros(1, 2)], torch.ones(1, 1), torch.tensor([1]), torch.tensor([1]), 1, 1)
    assert _precision(group, 32) == ("ieee", 32)
