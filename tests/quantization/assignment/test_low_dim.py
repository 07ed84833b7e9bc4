"""The strategy for few dimensions: exact labels whatever the numbers, and Lloyd's steps as brute force takes them."""

import itertools
import os

import numpy as np
import pytest

from quantization.assignment import low_dim
from quantization.assignment.low_dim import LowDim
from quantization.assignment.rows import Rows
from tests.quantization.assignment.steps import lloyds_steps

U = np.finfo(np.float64).eps / 2


def exact(points, codes):
    """Squared distances (n, K) by direct differences in float64, summed in the order of ``direct_distance``."""
    squares = np.square(np.asarray(points, np.float64)[:, None, :] - codes[None])
    size = squares.shape[2] // 4
    sums = []
    for s in range(4):
        total = np.zeros(squares.shape[:2])
        for t in range(s * size, (s + 1) * size if s < 3 else squares.shape[2]):
            total = total + squares[:, :, t]
        sums.append(total)
    return sums[0] + sums[1] + (sums[2] + sums[3])


def equal(n):
    return np.full(n, 1 / n)


def check(points, codes, weights=None):
    weights = equal(len(points)) if weights is None else weights
    way, costs = LowDim(points, weights), exact(points, codes)
    labels, squared = way.nearest(codes)
    np.testing.assert_array_equal(labels, costs.argmin(1))
    np.testing.assert_array_equal(squared, costs.min(1))
    sums = way.sums(codes)
    slack = 4 * len(points) * U  # of a sum of n terms, each with a few roundings
    x = np.asarray(points, np.float64)
    for k in range(len(codes)):
        own = labels == k
        away = x[own] - codes[k]
        assert sums.masses[k] == pytest.approx(weights[own].sum(), rel=slack, abs=0)
        size = weights[own] @ np.abs(away)
        assert (np.abs(sums.shifts[k] - weights[own] @ away) <= slack * size).all()
    assert sums.cost == pytest.approx(weights @ costs.min(1), rel=slack, abs=0)
    assert sums.spread is None


# Of each dimension and dtype one is compiled for; those of 1, 2, 3 and 8 are needed below as well.
@pytest.mark.parametrize(
    ("dim", "dtype"), [*itertools.product([1, 2, 3, 8], [np.float32, np.float64]), (4, np.float32), (5, np.float64)]
)
def test_labels_and_sums_are_those_of_brute_force(rng, dim, dtype):
    points = rng.normal(size=(1500, dim)).astype(dtype)
    weights = rng.random(1500) * (rng.random(1500) > 0.2)
    check(points, points[:37].astype(np.float64), weights / weights.sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_on_the_boundaries_go_to_the_lowest_index(dtype):
    grid = np.array(list(itertools.product(range(12), repeat=2)), dtype)
    codes = grid[::3].astype(np.float64)
    check(grid, np.vstack([codes, codes[::-1]]))


@pytest.mark.parametrize("scale", [1e-120, 1e-30, 1e30, 1e120])
def test_any_magnitude(rng, scale):
    points = rng.normal(size=(700, 3)) * scale
    check(points, points[:20].copy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_far_from_the_origin(rng, dtype):
    points = (rng.normal(size=(700, 2)) + 1e6).astype(dtype)
    check(points, points[:20].astype(np.float64))


def test_a_few_points_far_from_all_others(rng):
    points = rng.normal(size=(700, 2))
    points[:5] *= 1e7
    check(points, points[:20].copy())
    check(points, points[5:25].copy())


def test_as_many_codes_as_points_and_one_code(rng):
    points = rng.normal(size=(300, 2))
    check(points, points.copy())
    check(points, points[:1].copy())
    check(np.ones((50, 2)), np.ones((3, 2)))


@pytest.mark.parametrize("case", ["float16", "strided", "fortran", "read-only"])
def test_any_dtype_and_layout(rng, case, monkeypatch):
    monkeypatch.setattr("quantization.assignment.rows._COPY_BYTES", 0)
    monkeypatch.setattr("quantization.assignment.rows._CHUNK_BYTES", 4096)
    wide = rng.normal(size=(2400, 6)).astype(np.float16 if case == "float16" else np.float64)
    layouts = {"float16": wide[:, :3], "strided": wide[::2, ::2], "fortran": np.asfortranarray(wide[:, :3]), "read-only": wide}
    points = layouts[case]
    points.setflags(write=False)
    before = points.copy()
    check(points, points[:20].astype(np.float64))
    np.testing.assert_array_equal(points, before)


def test_rows_are_converted_in_chunks(rng, monkeypatch):
    points = rng.normal(size=(100, 3)).astype(np.float16)
    monkeypatch.setattr("quantization.assignment.rows._COPY_BYTES", 0)
    monkeypatch.setattr("quantization.assignment.rows._CHUNK_BYTES", 12 * 32)
    chunks = list(Rows(points).chunks(7, 90))
    assert [first for first, _ in chunks] == [7, 39, 71]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in chunks]), points[7:90])


def follow(points, weights, codes, most):
    """Checks each step against brute force; returns the last step and how many there were."""
    x, count, step = np.asarray(points, np.float64), 0, None
    for step in itertools.islice(lloyds_steps(LowDim(points, weights), codes), most):
        codes, count = step.codes, count + 1
        costs = exact(points, codes)
        labels, distortion = costs.argmin(1), weights @ costs.min(1)
        masses = np.bincount(labels, weights, minlength=len(codes))
        np.testing.assert_allclose(step.masses, masses, rtol=1e4 * U)
        assert step.distortion == pytest.approx(distortion, rel=1e4 * U, abs=0)
        means = np.stack([np.bincount(labels, weights * x[:, t], len(codes)) / masses for t in range(x.shape[1])], 1)
        off = masses @ np.square(means - codes).sum(1)
        slack = 1e4 * U * np.abs(x).max() / distortion**0.5
        assert step.stationarity == pytest.approx((off / distortion) ** 0.5, abs=slack)
        unit = np.finfo(np.asarray(points).dtype).eps
        np.testing.assert_allclose(step.following, means, rtol=unit, atol=(1e5 * U + unit) * np.abs(x).max())
    if count < most and not step.at_rest:  # then the next codebook has an empty cell, or gains nothing
        costs = exact(points, step.following)
        masses = np.bincount(costs.argmin(1), weights, minlength=len(codes))
        assert masses.min() == 0 or weights @ costs.min(1) >= step.distortion * (1 - 1e4 * U)
    return step, count


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "dim", "k"), [(3000, 2, 5), (3000, 3, 90), (2000, 8, 40), (1000, 1, 10)])
def test_steps_are_those_of_brute_force(rng, n, dim, k, dtype):
    points = rng.normal(size=(n, dim)).astype(dtype)
    weights = rng.random(n)
    for w in (weights / weights.sum(), equal(n)):
        _, count = follow(points, w, points[:k].astype(np.float64), 25)
        assert count > 5


def test_steps_in_an_order_of_the_points(rng, monkeypatch):
    monkeypatch.setitem(low_dim._ORDERED, 2, 100)
    points = rng.normal(size=(6000, 2))
    _, count = follow(points, equal(6000), points[:300].copy(), 25)
    assert count > 10


def test_an_order_where_some_points_are_far_and_codes_go_far(rng, monkeypatch):
    monkeypatch.setitem(low_dim._ORDERED, 2, 10)
    points = np.vstack([rng.normal(size=(1500, 2)), rng.normal(size=(100, 2)) * 20 + 50, [[1e7, 0], [0, -1e7]]])
    follow(points.astype(np.float32), equal(len(points)), points[:50].astype(np.float32).astype(np.float64), 25)
    follow(points, equal(len(points)), points[:50].copy(), 25)


def test_steps_end_at_rest_when_no_label_changes(rng):
    points = rng.normal(size=(500, 2)) + 8 * rng.integers(0, 2, size=(500, 1))
    step, count = follow(points, equal(500), points[:2].copy(), 100)
    assert step.at_rest
    assert count < 100


def test_steps_end_before_an_empty_cell(rng):
    points = rng.normal(size=(500, 2))
    codes = np.vstack([points[:4], [[99.0, 99.0]]])
    assert list(lloyds_steps(LowDim(points, equal(500)), codes)) == []
    weights = equal(500)
    weights[0], codes[4] = 0.0, points[0] + 50
    points[0] += 50  # its only member has no weight
    assert list(lloyds_steps(LowDim(points, weights / weights.sum()), codes)) == []


def test_the_distortion_has_its_digits_after_a_fall_by_many_orders_of_magnitude(rng):
    points = np.repeat([[0.0, 0.0], [1e6, 0.0]], 200, axis=0) + 1e-4 * rng.normal(size=(400, 2))
    step, count = follow(points, equal(400), np.array([[-3e8, 0.0], [3.01e8, 1.0]]), 20)
    assert count > 1
    assert step.distortion < 1e-6


def test_heavy_points_leave_no_trace_in_light_cells(rng):
    points = rng.normal(size=(600, 2))
    weights = 10.0 ** rng.uniform(-12, 0, size=600)
    follow(points, weights / weights.sum(), points[:12].copy(), 30)


def test_threads_change_no_bit(rng, monkeypatch):
    points, answers = rng.normal(size=(60_000, 2)), []
    for threads in ("1", "2"):
        monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", threads)
        steps = list(itertools.islice(lloyds_steps(LowDim(points, equal(60_000)), points[:60].copy()), 5))
        answers.append((steps[-1].distortion, steps[-1].codes.tobytes()))
    assert answers[0] == answers[1]
