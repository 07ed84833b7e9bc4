"""The bound on the round-off of scores holds, and is not a bound on anything else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantization.assignment.bounds import ROUNDING, direct_margin, largest_product, rounded_terms, score_error

everyday = settings(deadline=None, max_examples=50, derandomize=True)


def errors(points, codes, dtype):
    """How far scores in ``dtype`` are off those in extended precision, and the bound, both (n, K)."""
    dim = points.shape[1]
    x, c = points.astype(np.longdouble), codes.astype(np.longdouble)
    exact = np.square(c).sum(1) / 2 - x @ c.T
    half = (np.square(codes).sum(1) / 2).astype(dtype)
    computed = half - points.astype(dtype) @ codes.astype(dtype).T
    reaches, (gamma, vanishing) = np.sqrt(np.square(codes).sum(1)), score_error(dim, dtype)
    slopes, offsets = gamma * reaches + vanishing, gamma * np.square(reaches) / 2 + vanishing * (1 + reaches)
    lengths = np.sqrt(np.square(points).sum(1))
    return np.abs(computed - exact).astype(np.float64), (lengths[:, None] * slopes + offsets) * (1 + ROUNDING)


@everyday
@given(st.integers(1, 300), st.integers(-12, 12), st.sampled_from([0.0, 1.0, 30.0]), st.integers(0, 2**32 - 1))
def test_no_score_is_off_by_more(dim, exponent, offset, seed):
    rng = np.random.default_rng(seed)
    points, codes = (rng.standard_normal((m, dim)) + offset for m in (40, 7))
    codes = codes * 10.0 ** rng.integers(-3, 4, (7, 1))
    for dtype in (np.float32, np.float64):
        off, bound = errors(points * 10.0**exponent, codes * 10.0**exponent, dtype)
        assert (off <= bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_is_within_reach(dtype):
    """All roundings of an inner product of equal terms, summed one by one, go the same way: a tenth of the bound is met."""
    dim = 200
    value = dtype(1) + 3 * np.finfo(dtype).eps  # whose square is rounded
    total = dtype(0)
    for _ in range(dim):
        total = dtype(total + value * value)
    exact = dim * np.longdouble(value) ** 2
    gamma, _ = score_error(dim, dtype)
    assert gamma * float(exact) / 30 < abs(float(total - exact)) < gamma * float(exact)


@everyday
@given(st.integers(1, 60), st.sampled_from([1e-40, 1e-43, 1e-44]), st.integers(0, 2**32 - 1))
def test_what_vanishes_in_float32_is_paid_for(dim, scale, seed):
    rng = np.random.default_rng(seed)
    off, bound = errors(rng.standard_normal((20, dim)) * scale, rng.standard_normal((5, dim)), np.float32)
    assert (off <= bound).all()


@everyday
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_direct_differences_see_the_margin(dim, seed):
    """Two codes whose distances differ by the margin are told apart by float64."""
    rng = np.random.default_rng(seed)
    x, direction = rng.standard_normal(dim), rng.standard_normal(dim)
    near = x + direction
    far = x + direction * (1 + direct_margin(dim))  # whose squared distance is larger by twice that share
    assert np.square(x - near).sum() < np.square(x - far).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_fits_does_not_overflow(dtype):
    length, dim = largest_product(dtype) ** 0.5, 4096
    x = np.full(dim, length / dim**0.5, dtype)
    assert np.isfinite(x @ x)
    assert np.isfinite(x @ x + (x @ x) / 2)


def test_terms_of_pieces():
    """A term is rounded within its piece, and once more for every piece that is added."""
    assert rounded_terms(100, 512) == 101
    assert rounded_terms(4096, 512) == 512 + 8
    assert rounded_terms(4096, 512) < rounded_terms(4096, 4096)
