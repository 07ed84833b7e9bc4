"""The bound on products of numbers split in two, against the arithmetic of tensor cores at its worst, emulated."""

import numpy as np
import pytest

UNIT = 2.0**-24  # of round-off of float32


def cut(x, bits):
    """Towards zero, to so many bits."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits)


def half(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


def split(x):
    """A float32 number as two of float16."""
    upper = half(x)
    return upper, half(x - upper)


def multiplied(x, c, passes):
    """Inner products (n,) of rows of x and c: sixteen terms and the sum aligned to the largest and cut, then cut to 24 bits."""
    total = np.zeros(len(x))
    (x_upper, x_rest), (c_upper, c_rest) = split(x), split(c)
    for left, right in [(x_rest, c_upper), (x_upper, c_rest), (x_upper, c_upper)][-passes:]:
        for i in range(0, x.shape[1], 16):
            terms = np.column_stack([left[:, i : i + 16] * right[:, i : i + 16], total])
            unit = np.ldexp(1.0, np.frexp(np.abs(terms).max(1))[1] - 24)
            total = cut((np.trunc(terms / unit[:, None]) * unit[:, None]).sum(1), 24)
    return total


KINDS = [
    "normal",
    "one sign",
    "one large",
    "just below a power of two",
    "the same, of one sign",
    "swallowed",
    "tiny beside one",
    "long",
]


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_within_their_bound(kind, rng):
    pytest.importorskip("triton")
    from quantization.assignment import triton_blocks as fused

    width = fused.Fused.scores.width
    x, c = rng.normal(size=(2, 2000, width)).astype(np.float32).astype(np.float64)
    if kind == "one sign":
        x, c = np.abs(x), np.abs(c)
    if kind == "one large":
        x[:, 0] *= 1000
    if kind in ("just below a power of two", "the same, of one sign"):  # what is cut off is largest
        x, c = 2 - rng.integers(1, 2**13, size=(2, 2000, width)) * 2.0**-23
        if kind == "just below a power of two":
            x, c = x * rng.choice([-1, 1], size=x.shape), c * rng.choice([-1, 1], size=c.shape)
    if kind == "swallowed":  # each product just below the last bit of the first, and cut off whole
        x, c = np.full((2, 2000, width), 1.99**0.5 * 2.0**-12)
        x[:, 0] = c[:, 0] = 1
    if kind == "tiny beside one":  # coordinates that float16 has no bits for, beside those that make the length
        x, c = x * 1e-9, c * 1e-9
        c[:, 0] = 1
    if kind == "long":  # points a hundred times as long as the codes
        x *= 100 / np.abs(x).max()
    length = np.sqrt((c * c).sum(1, keepdims=True))
    c *= np.ldexp(1.0, -np.frexp(length)[1])  # from 1/2 to 1, by a power of two, as frames are scaled
    x, c = x.astype(np.float32).astype(np.float64), c.astype(np.float32).astype(np.float64)
    exact = (x * c).sum(1)
    size = np.sqrt((x * x).sum(1) * (c * c).sum(1)) + (c * c).sum(1) / 2
    gains = fused._POINT_GAIN, fused._CODE_GAIN

    held = np.abs(x * gains[0]).max(1) < np.finfo(np.float16).max
    assert held.all() == (kind != "one large")
    with np.errstate(invalid="ignore"):
        assert np.isnan(multiplied(x[~held] * gains[0], c[~held] * gains[1], 3)).all()  # out of range, and seen to be

    def off(passes):
        found = multiplied(x[held] * gains[0], c[held] * gains[1], passes) / (gains[0] * gains[1])
        return (np.abs(found - exact[held]) / (UNIT * size[held])).max()

    assert off(3) <= fused._split_terms(width, width)
    if kind == "swallowed":
        assert off(3) > 1.5 * (width - 1)  # so the bound must grow with the number of terms
    elif kind != "tiny beside one":
        assert off(1) > fused._split_terms(width, width)  # one product of float16 is not enough
