import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantization as qz
from quantization.assignment import blocks as portable
from quantization.assignment import cells, cells_of, nearest, squared_distances

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=40, derandomize=True)
LIBRARIES = [np.asarray, torch.from_numpy]


def uniform(points):
    return np.full(len(points), 1 / len(points))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 30.0, -300.0])
@pytest.mark.parametrize("library", LIBRARIES)
def test_nearest_is_the_brute_one(library, offset, dtype, rng, brute):
    points = (offset + rng.normal(size=(300, 17))).astype(dtype)
    codes = offset + rng.normal(size=(23, 17))
    found = nearest(library(points), codes)
    costs = brute.squared(points, codes)
    np.testing.assert_array_equal(np.asarray(found.labels), costs.argmin(1))
    # Both sum 17 nonnegative squares in float64, in some order: 17 + 2 roundings each at most.
    np.testing.assert_allclose(np.asarray(found.squared), costs.min(1), rtol=40 * EPS)


@everyday
@given(st.integers(0, 10_000), st.sampled_from([np.float16, np.float32, np.float64]), st.integers(-9, 9), st.floats(-1, 4))
def test_nearest_is_the_brute_one_for_close_codes_far_from_the_origin(brute, seed, dtype, exponent, log_offset):
    # Codes that differ by a few units in the last place of the points: only direct differences tell them apart.
    rng = np.random.default_rng(seed)
    points = ((10**log_offset + rng.normal(size=(40, 3))) * 2.0**exponent).astype(dtype)
    codes = np.repeat(points[:6].astype(np.float64), 3, axis=0)
    codes *= 1 + np.finfo(dtype).eps * rng.integers(-3, 4, size=codes.shape)
    costs = brute.squared(points, codes)
    found = nearest(points, codes)
    np.testing.assert_array_equal(found.labels, costs.argmin(1))
    np.testing.assert_array_equal(found.squared, costs.min(1))


@pytest.mark.parametrize("scale", [2.0**-130, 1e-30, 2.0**-70, 2.0**-66, 1e-10, 1e10, 1e25, 2.0**120])
def test_single_precision_neither_overflows_nor_underflows(scale, rng, brute):
    points = (scale * rng.normal(size=(200, 8))).astype(np.float32)
    # Codes a thousandth apart: products of about scale², were they formed, would keep too few digits to tell them apart.
    codes = points[:1].astype(np.float64) * (1 + 1e-3 * rng.normal(size=(40, 8)))
    np.testing.assert_array_equal(nearest(points, codes).labels, brute.squared(points, codes).argmin(1))
    assert torch.equal(nearest(torch.from_numpy(points), codes).labels, torch.from_numpy(nearest(points, codes).labels))


def test_points_far_beyond_the_codes(brute):
    # Scaled to the codes, these points overflow float32; direct differences in float64 still know.
    points = np.array([[3e38, 0], [-3e38, 0], [0, 3e38], [1e-30, 0]], dtype=np.float32)
    codes = np.array([[-1e-30, 0], [2e-30, 0], [0, 1e-30]])
    np.testing.assert_array_equal(nearest(points, codes).labels, brute.squared(points, codes).argmin(1))


def test_large_offset_in_high_dimension(rng, brute):
    points = (30 + rng.normal(size=(64, 4096))).astype(np.float32)
    codes = points[:8].astype(np.float64)
    c = cells(points, uniform(points), codes)
    truth = brute.voronoi(points, uniform(points), codes)
    np.testing.assert_array_equal(nearest(points, codes).labels, truth.labels)
    # Sums of 4096 + 64 nonnegative terms in float64, pairwise or straight: far below their count in units of round-off.
    assert c.distortion == pytest.approx(truth.distortion, rel=4200 * EPS)
    np.testing.assert_allclose(c.means, truth.means, rtol=100 * EPS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_spread_far_below_the_magnitude_is_not_lost(library):
    # X = ±1 ± 1e-4: distortion 1e-8 a point, not 0. The float32 points are off by 6e-8, so each |x - c| by 6e-4 of itself.
    points = np.array([[1.0001], [0.9999], [-1.0001], [-0.9999]], dtype=np.float32)
    c = cells(library(points), library(uniform(points)), np.array([[1.0], [-1.0]]))
    assert c.distortion == pytest.approx(1e-8, rel=2 * 6e-4)
    assert c.distortion == pytest.approx(float(np.square(np.abs(points.astype(np.float64)) - 1).mean()), rel=8 * EPS)
    assert qz.quantize(library(points), 2, rng=0).distortion == pytest.approx(1e-8, rel=2 * 6e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("entries", [1, 12, 100, 2**21])
def test_blocks_do_not_matter(library, entries, rng, brute, monkeypatch):
    monkeypatch.setattr(portable, "_BLOCK_ENTRIES", entries)
    points, codes = rng.normal(size=(53, 4)), rng.normal(size=(6, 4))
    codes[4] = codes[2]  # duplicates go through the direct comparison, in chunks
    weights = rng.random(53)
    weights[rng.random(53) < 0.3] = 0
    weights /= weights.sum()
    truth = brute.voronoi(points, weights, codes)
    c = cells(library(points), library(weights), codes)
    np.testing.assert_array_equal(np.asarray(nearest(library(points), codes).labels), truth.labels)
    # Sums of 53 terms of order one, in another order: at most 53 roundings of the sum of magnitudes.
    np.testing.assert_allclose(c.masses, truth.masses, rtol=0, atol=53 * EPS)
    np.testing.assert_allclose(c.means, truth.means, rtol=0, atol=1000 * EPS)
    assert c.distortion == pytest.approx(truth.distortion, rel=60 * EPS)
    assert c.masses[4] == 0
    np.testing.assert_array_equal(c.means[4], codes[4])


def test_parts_add_up_to_the_whole(rng):
    points, codes = rng.normal(size=(40, 2)), rng.normal(size=(5, 2))
    weights = uniform(points)
    whole = cells(points, weights, codes, variance=True)
    parts = cells_of([(points[:7], weights[:7]), (points[7:], weights[7:])], codes, variance=True)
    np.testing.assert_allclose(parts.masses, whole.masses, atol=40 * EPS)
    np.testing.assert_allclose(parts.means, whole.means, atol=400 * EPS)
    assert parts.distortion == pytest.approx(whole.distortion, rel=50 * EPS)
    assert parts.stationarity == pytest.approx(whole.stationarity, rel=1000 * EPS)
    assert parts.variance == pytest.approx(whole.variance, rel=20 * EPS)


def test_a_point_of_no_weight_moves_nothing(rng):
    points, codes = rng.normal(size=(10, 2)), np.array([[0.0, 0.0], [50.0, 50.0]])
    far = np.concatenate([points, [[49.0, 49.0]]])
    weights = np.append(uniform(points), 0.0)
    c = cells(far, weights, codes)
    assert c.masses[1] == 0
    np.testing.assert_array_equal(c.means[1], codes[1])
    assert c.distortion == pytest.approx(cells(points, weights[:-1], codes).distortion, rel=20 * EPS)


@pytest.mark.parametrize("r", [1.0, 2.0, 3.5])
def test_moments_of_the_distance(r, rng, brute):
    points, codes = rng.normal(size=(30, 3)), rng.normal(size=(4, 3))
    c = cells(points, uniform(points), codes, r, variance=True)
    distances = np.sqrt(brute.squared(points, codes).min(1))
    assert c.distortion == pytest.approx((distances**r).mean(), rel=50 * EPS)
    assert c.variance == pytest.approx((distances**r).var(), rel=80 * EPS)


def test_stationarity_is_the_formula(rng, brute):
    points, codes = rng.normal(size=(50, 2)), rng.normal(size=(4, 2))
    truth = brute.voronoi(points, uniform(points), codes)
    expected = np.sqrt(truth.masses @ np.square(codes - truth.means).sum(1) / truth.distortion)
    assert cells(points, uniform(points), codes).stationarity == pytest.approx(expected, rel=1000 * EPS)
    assert cells(points[:2], np.array([0.5, 0.5]), points[:2]).stationarity == 0


def test_overflow_is_infinite_not_a_warning():
    c = cells(np.array([[1e200], [-1e200]]), np.array([0.5, 0.5]), np.array([[1e199], [0.0]]))
    assert c.distortion == np.inf


def test_squared_distances_are_zero_only_at_the_code(rng):
    points = 1e8 + rng.normal(size=(20, 3))
    found = squared_distances(points, points[4])
    assert np.flatnonzero(found == 0).tolist() == [4]


def test_the_callers_precision_is_set_aside_and_restored(rng, brute):
    points = torch.from_numpy(rng.normal(size=(200, 64)).astype(np.float32))
    codes = rng.normal(size=(50, 64))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            labels = nearest(points, codes).labels
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(labels.numpy(), brute.squared(points.numpy(), codes).argmin(1))


def test_the_range_is_that_of_points_and_codes():
    assert float(qz.distortion(np.ones((2, 2)), [[1e-305, 1e-305]])) == pytest.approx(2)
    assert float(qz.distortion(np.ones((2, 2), np.float32), [[1e-100, 1e-100]])) == pytest.approx(2)
    assert float(qz.distortion(np.zeros((2, 1)), [[1e-200]])) == 0  # 1e-400 is no number of float64
    x = np.random.default_rng(0).normal(size=(100, 2))
    assert qz.quantize(x, 1, init=[[1e-200, 0.0]], rng=0).distortion == pytest.approx(float(np.var(x, axis=0).sum()))
