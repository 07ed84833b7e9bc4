"""All inner products of some points, and how far off they and the points that they are of may be, against float64."""

import tracemalloc

import numpy as np
import pytest

from quantization import threads
from quantization.compiled import inner
from quantization.compiled.kernels import whole
from quantization.compiled.product import Frame

needs_whole_numbers = pytest.mark.skipif(not whole.AVAILABLE, reason="this CPU has no products of 16 bits")
SHAPES = [(1, 1), (5, 3), (32, 32), (33, 65), (100, 131), (97, 513), (131, 4128)]


class Kept:
    """What is rounded to whole numbers: all that is written down of it."""

    def __init__(self, points, centre):
        n, dim = points.shape
        groups = -(-n // whole.WIDTH)
        self.panels = np.full((groups, whole.pairs(dim), whole.WIDTH), 2**31 - 1, np.int32)
        self.units, self.off, self.lengths = np.zeros(groups * whole.WIDTH, np.float32), np.empty(n), np.empty(n)
        whole.to_whole(points, centre, 0, groups, self.panels, self.units, self.off, self.lengths)
        pairs = np.ascontiguousarray(self.panels.transpose(0, 2, 1)).view(np.int16)
        numbers = pairs.reshape(groups * whole.WIDTH, -1).astype(np.int64)
        assert (numbers[n:] == 0).all()
        assert (numbers[:, dim:] == 0).all()
        self.numbers = numbers[:n, :dim]
        self.points = self.numbers * self.units[:n, None].astype(np.float64)


def cloud(rng, n, dim):
    """Points of many lengths, far from the origin."""
    points = rng.standard_normal((n, dim)) * 10 ** rng.uniform(-3, 3, (n, 1)) + 7
    return points.astype(np.float32), np.full(dim, 7, np.float32)


@needs_whole_numbers
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_points_are_no_further_from_their_whole_numbers_than_is_said(n, dim, rng):
    points, centre = cloud(rng, n, dim)
    kept, exact = Kept(points, centre), points.astype(np.float64) - centre
    far = np.linalg.norm(exact - kept.points, axis=1)
    assert (far <= kept.off).all()
    assert (kept.off <= 1.02 * far + 1e-6 * kept.lengths).all()
    np.testing.assert_allclose(kept.lengths, np.linalg.norm(exact, axis=1), rtol=1e-5)
    if dim >= 32:
        assert (kept.off < 1e-4 * kept.lengths).all()


@needs_whole_numbers
@pytest.mark.parametrize(
    "row",
    [
        np.full(96, 3.0),  # every sum is as large as it can be
        np.where(np.arange(96) % 2, 1.0, -1.0),
        np.where(np.arange(96) == 40, 1e3, 1e-3),  # one number decides
        np.where(np.arange(96) < 32, 5.0, 0.0),  # one sum decides
        np.concatenate([np.full(31, 1.0), [np.sqrt(2)], np.zeros(64)]),
    ],
)
def test_sums_of_the_largest_whole_numbers_fit_into_their_bits(row, rng):
    points = np.stack([row, -row, 0.5 * row, rng.permutation(row)]).astype(np.float32)
    kept = Kept(points, np.zeros(96, np.float32))
    assert np.abs(kept.numbers).max() < 2**15
    for first in range(0, 96, 32):
        some = kept.numbers[:, first : first + 32]
        assert np.abs(some @ some.T).max() < 2**31
    found = inner.inner_products(points, Frame(np.zeros((1, 96)), np.float32))
    np.testing.assert_allclose(found.matrix[:4, :4], kept.points @ kept.points.T, rtol=1e-5, atol=1e-5 * row.max() ** 2)


@pytest.mark.parametrize("numbers", ["floats", "whole numbers"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_products_and_distances_are_within_their_bounds(n, dim, dtype, numbers, monkeypatch, rng):
    monkeypatch.setattr(whole, "AVAILABLE", whole.AVAILABLE and numbers == "whole numbers")
    points = (rng.standard_normal((n, dim)) + 3).astype(dtype)
    frame = Frame(points[:8].astype(np.float64), dtype)
    found = inner.inner_products(points, frame)
    matrix, exact = found.matrix[:, :n].astype(np.float64), points.astype(np.float64) - frame.centre
    np.testing.assert_array_equal(matrix, matrix.T)
    lengths = np.linalg.norm(exact, axis=1) + found.off
    noise = 1.01 * found.product * np.outer(lengths, lengths)
    spread = np.add.outer(found.off * lengths, found.off * lengths) + np.multiply.outer(found.off, lengths) * 2
    assert (np.abs(matrix - exact @ exact.T) <= noise + spread).all()
    squared = np.add.outer(np.diag(matrix), np.diag(matrix)) - 2 * matrix
    true = np.sqrt(np.square(exact[:, None] - exact[None]).sum(2))
    slack = np.add.outer(found.off, found.off)
    noise = 1.01 * found.product * np.add.outer(lengths, lengths) ** 2
    assert (np.sqrt(np.maximum(squared - noise, 0)) <= true + slack).all()
    assert (true - slack <= np.sqrt(np.maximum(squared + noise, 0))).all()
    if dtype is np.float64 or not whole.AVAILABLE:
        assert (found.off == 0).all()


@needs_whole_numbers
def test_whole_numbers_are_taken_for_float32_alone_and_where_they_are_near_enough(rng):
    points = rng.standard_normal((64, 2048))
    frame = Frame(np.zeros((1, 2048)), np.float32)
    assert (inner.inner_products(points.astype(np.float32), frame).off > 0).all()
    assert (inner.inner_products(points, Frame(np.zeros((1, 2048)), np.float64)).off == 0).all()
    points[:, 7] = 3e3 * np.sign(points[:, 7])  # beside which the others take few whole numbers
    assert (inner.inner_products(points.astype(np.float32), frame).off == 0).all()


@pytest.mark.parametrize(("n", "dim"), [(3, 400_000), (33, 60_000), (64, 30_000), (500, 2000)])
def test_all_that_is_made_stays_within_its_space(n, dim, monkeypatch, rng):
    points = rng.standard_normal((n, dim), dtype=np.float32)
    frame, allowed = Frame(np.zeros((1, dim)), np.float32), 4 * n * n + 2 * points.nbytes // 3
    monkeypatch.setattr(inner, "space", lambda points: allowed)
    inner.inner_products(points, frame)
    tracemalloc.start()
    try:
        inner.inner_products(points, frame)
        assert tracemalloc.get_traced_memory()[1] < allowed + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("numbers", ["floats", "whole numbers"])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e15, 1e30, 3e38])
def test_numbers_beyond_the_range_of_products_are_refused(size, numbers, monkeypatch, rng):
    monkeypatch.setattr(whole, "AVAILABLE", whole.AVAILABLE and numbers == "whole numbers")
    points = (size * rng.uniform(-1, 1, (40, 50))).astype(np.float32)
    assert inner.inner_products(points, Frame(np.zeros((1, 50)), np.float32)) is None


@needs_whole_numbers
@pytest.mark.parametrize("faint", [0.0, 1e-45, 1e-24, 3e-23, 1e-19, 1e-16])
def test_a_point_too_faint_for_squares_is_off_by_its_length_at_most(faint, rng):
    points = rng.standard_normal((40, 96)).astype(np.float32)
    points[3] = faint
    kept = Kept(points, np.zeros(96, np.float32))
    far = np.linalg.norm(points.astype(np.float64) - kept.points, axis=1)
    assert (far <= kept.off).all()
    assert kept.off[3] <= 1.01 * np.linalg.norm(points[3].astype(np.float64)) + 1e-20
    assert (np.abs(kept.numbers) < 2**15).all()


@pytest.mark.parametrize("numbers", ["floats", "whole numbers"])
def test_the_number_of_threads_changes_no_bit(numbers, monkeypatch, rng):
    monkeypatch.setattr(whole, "AVAILABLE", whole.AVAILABLE and numbers == "whole numbers")
    points = rng.standard_normal((300, 200)).astype(np.float32)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        found.append(inner.inner_products(points, Frame(points[:8].astype(np.float64), np.float32)))
    np.testing.assert_array_equal(found[0].matrix, found[1].matrix)
    np.testing.assert_array_equal(found[0].off, found[1].off)
