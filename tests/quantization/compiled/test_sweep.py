"""The compiled passes against the portable ones, which are tested against brute force, on every kind of shape."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantization as qz
from quantization import threads
from quantization.assignment.blocks import labelled, summed
from quantization.compiled import near, sweep
from quantization.compiled.sweep import Sweep

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=30, derandomize=True)
SHAPES = [  # n, d, K: lists of neighbours, all codes, products with sums by rows, products with sums by columns and pieces
    (3000, 1, 200),
    (3000, 2, 100),
    (2000, 3, 200),
    (4000, 4, 300),
    (500, 3, 10),
    (700, 7, 33),
    (600, 33, 500),
    (300, 4100, 40),
    (803, 700, 9),  # one vector of codes; rows and pieces that do not divide evenly
]


def drawn(rng, n, d, k, dtype=np.float64, offset=0.0):
    points = (rng.standard_normal((n, d)) + offset).astype(dtype)
    return points, rng.dirichlet(np.ones(n)), points[rng.choice(n, k, replace=False)].astype(np.float64)


def agrees(found, codes, truth):
    """Labels are the same, so sums differ by the order of their terms alone: n terms, √n of round-off, with a margin."""
    cells, expected = found.cells(codes, 2.0), truth.cells(codes, 2.0)
    np.testing.assert_allclose(cells.masses, expected.masses, rtol=1000 * EPS, atol=0)
    np.testing.assert_allclose(cells.means, expected.means, rtol=0, atol=1000 * EPS * np.abs(codes).max())
    assert cells.distortion == pytest.approx(expected.distortion, rel=1000 * EPS)
    assert cells.stationarity == pytest.approx(expected.stationarity, rel=1e-9)
    assert cells.variance == pytest.approx(expected.variance, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_passes_agree_with_the_portable_ones(shape, dtype, rng):
    points, weights, codes = drawn(rng, *shape, dtype)
    passes = Sweep(points, weights)
    for _ in range(3):  # the second and third begin at the labels of the one before
        labels, squared = labelled(points, codes)
        found = passes.nearest(codes)
        np.testing.assert_array_equal(found[0], labels)
        np.testing.assert_allclose(found[1], squared, rtol=1000 * EPS)
        agrees(passes.sums(codes), codes, summed(points, weights, codes, 2.0))
        codes = summed(points, weights, codes, 2.0).cells(codes, 2.0).means.astype(dtype).astype(np.float64)


@pytest.mark.parametrize("offset", [1e3, -1e6])
@pytest.mark.parametrize("shape", [(700, 7, 33), (300, 600, 40)])
def test_points_far_from_the_origin(shape, offset, rng):
    points, weights, codes = drawn(rng, *shape, np.float32, offset)
    np.testing.assert_array_equal(Sweep(points, weights).nearest(codes)[0], labelled(points, codes)[0])


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_float32_of_any_size(scale, rng):
    points, weights, codes = drawn(rng, 500, 9, 40)
    points, codes = (points * scale).astype(np.float32), (codes * scale).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(Sweep(points, weights).nearest(codes)[0], labelled(points, codes)[0])


@pytest.mark.parametrize("length", [1e12, 1e21, 1e23, 1e30])
def test_one_row_of_any_length_leaves_the_others_their_codes(length, rng):
    """A fill value, say: scaled for it, the other rows' products are too small for float32."""
    points, weights, codes = drawn(rng, 2000, 64, 32, np.float32)
    points[7] = length
    stray = codes.copy()
    stray[3] = length  # the frame is the first codebook's
    passes, other = Sweep(points, weights), Sweep(points, weights)
    for search, some in ((other, codes), (passes, stray), (passes, codes)):
        labels, squared = search.nearest(some)
        truth = labelled(points, some)
        # To the row itself all codes are equally near as far as float64 can tell.
        np.testing.assert_array_equal(np.delete(labels, 7), np.delete(truth[0], 7))
        np.testing.assert_allclose(squared, truth[1], rtol=1000 * EPS)


@pytest.mark.parametrize("scale", [1e-38, 1e-40, 1e-43])
def test_numbers_that_float32_hardly_holds(scale, rng):
    points, weights, codes = drawn(rng, 1000, 64, 32, np.float32)
    points, codes = (points * scale).astype(np.float32), (codes * scale).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(Sweep(points, weights).nearest(codes)[0], labelled(points, codes)[0])


@everyday
@given(st.integers(1, 6), st.integers(2, 60), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_ties_go_to_the_lowest_index(dim, k, span, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-span, span + 1, (600, dim)).astype(np.float64)
    codes = rng.integers(-span, span + 1, (k, dim)) / 2  # many duplicates and many ties, all exact in float64
    squared = np.square(points[:, None] - codes).sum(2)
    passes = Sweep(points, np.full(600, 1 / 600))
    for _ in range(2):
        np.testing.assert_array_equal(passes.nearest(codes)[0], squared.argmin(1))


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_lists_of_an_earlier_codebook_are_trusted_no_further_than_they_reach(dim, rng):
    """Codes that creep, jump, come together and part: whatever radii were learnt, labels are those of a search afresh."""
    points, weights, codes = drawn(rng, 4000, dim, 300)
    passes = Sweep(points, weights)
    for size in (0.0, 0.01, 0.1, 1.0, 0.01, 0.01):
        codes = codes + size * rng.standard_normal(codes.shape) * (rng.random((300, 1)) < 0.3)
        np.testing.assert_array_equal(passes.nearest(codes)[0], labelled(points, codes)[0])
    for scale in (0.01, 100.0, 1.2, 0.8):
        codes = codes * scale
        np.testing.assert_array_equal(passes.nearest(codes)[0], labelled(points, codes)[0])
    codes[::2] = codes[1::2]  # pairs
    np.testing.assert_array_equal(passes.nearest(codes)[0], labelled(points, codes)[0])


@pytest.mark.parametrize("share", [0.3, 1.0, 1.9])
def test_a_list_holds_every_code_within_its_last_gap(share, rng):
    codes = rng.standard_normal((300, 2))
    first = near.Near(codes, 10**6)
    first.radii = first.radii * share
    lists = near.Near(codes + 0.001, 10**6, first)
    gaps = np.sqrt(np.square(codes[:, None] - codes).sum(2))
    for k in range(300):
        listed = np.flatnonzero(gaps[k] < lists._gaps[k, -1] * (1 - 1e-9))
        assert set(listed) <= set(lists._neighbours[k])
        np.testing.assert_allclose(np.sort(lists._gaps[k]), lists._gaps[k])
        own = lists._neighbours[k] != k
        np.testing.assert_allclose(lists._gaps[k][own], gaps[k, lists._neighbours[k][own]], rtol=1e-9)


def test_lists_that_are_too_short_are_known_to_be(monkeypatch, rng):
    monkeypatch.setitem(near._LIST, 2, 3)
    points, weights, codes = drawn(rng, 3000, 2, 100)
    np.testing.assert_array_equal(Sweep(points, weights).nearest(codes)[0], labelled(points, codes)[0])


@pytest.mark.parametrize("shape", [(2000, 2, 100), (700, 9, 33), (300, 1030, 130)])
def test_the_number_of_threads_changes_no_bit(shape, monkeypatch, rng):
    points, weights, codes = drawn(rng, *shape, np.float32)
    answers = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        passes, c = Sweep(points, weights), codes
        for _ in range(4):
            cells = passes.cells(c)
            c = cells.means.astype(np.float32).astype(np.float64)
        answers.append(cells)
    np.testing.assert_array_equal(answers[0].means, answers[1].means)
    assert answers[0].distortion == answers[1].distortion


def counted(function, calls):
    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return call


@pytest.mark.parametrize("layout", ["transposed", "every other", "read-only"])
def test_any_layout_in_memory(layout, rng):
    points, weights, codes = drawn(rng, 800, 6, 40)
    given_points = {
        "transposed": np.asfortranarray(points),
        "every other": np.repeat(points, 2, 0)[::2],
        "read-only": points.copy(),
    }[layout]
    given_points.flags.writeable = layout != "read-only"
    agrees(Sweep(given_points, weights).sums(codes), codes, summed(points, weights, codes, 2.0))


def test_weights_of_zero_count_for_nothing(rng):
    points, weights, codes = drawn(rng, 2000, 2, 80)
    weights = np.where(rng.random(2000) < 0.5, 0.0, weights)
    agrees(Sweep(points, weights).sums(codes), codes, summed(points, weights, codes, 2.0))


def test_large_work_goes_to_the_compiled_passes(monkeypatch, rng):
    used = []
    monkeypatch.setattr(sweep.Sweep, "sums", counted(sweep.Sweep.sums, used))
    points = rng.standard_normal((4000, 2))
    for x in (points, torch.from_numpy(points)):
        a = assignment.cells(x, qz.DiscreteMeasure(x).masses, points[:100])
        b = summed(points, np.full(4000, 1 / 4000), points[:100], 2.0).cells(points[:100], 2.0)
        np.testing.assert_allclose(a.means, b.means, atol=100 * EPS)
        assert qz.DiscreteMeasure(x[:100]).assign(x).dtype == (np.int64 if x is points else torch.int64)
    assert len(used) == 2
    assignment.cells(points[:400], qz.DiscreteMeasure(points[:400]).masses, points[:100])
    assert len(used) == 2


@pytest.mark.parametrize("length", [1e2, 1e5, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_long_code_leaves_no_label_in_error(dtype, length, rng):
    """The bound on a score's round-off goes by that code's own length."""
    points, weights, codes = drawn(rng, 600, 65, 30, dtype)
    points[3] *= dtype(length)
    codes[[0, 11]] = points[3], codes[10]
    codes[11, :5] = np.nextafter(codes[11, :5].astype(np.float32), np.float32(9))
    np.testing.assert_array_equal(Sweep(points, weights).nearest(codes)[0], labelled(points, codes)[0])


def test_a_point_beyond_the_range_of_float32_may_have_a_code_at_the_centre(rng):
    points = rng.standard_normal((100, 8))
    points[7] = 1e40
    codes = np.concatenate([np.zeros((1, 8)), rng.standard_normal((3, 8))])
    codes[1:] -= codes[1:].mean(0)  # so that the frame stays where it is
    with np.errstate(all="raise"):
        found = Sweep(points, np.full(100, 0.01)).nearest(codes)[0]
    np.testing.assert_array_equal(found, labelled(points, codes)[0])


@pytest.mark.parametrize(("far", "light"), [(1e6, 1e-30), (1e9, 1e-40)])
@pytest.mark.parametrize("d", [2, 3, 8, 50])
def test_a_light_point_far_away_takes_no_digits_from_the_others(d, far, light, rng):
    """Wherever it stands, the first place included."""
    points = rng.standard_normal((20_000, d))
    points[0] = far
    masses = np.where(np.arange(20_000) == 0, light, 1.0) / 19_999
    codes = points[1:17]
    squared = np.square(points[:, None] - codes).sum(2).min(1)
    found = Sweep(points, masses).sums(codes).cells(codes, 2.0)
    truth = masses @ squared
    assert found.distortion == pytest.approx(truth, rel=1e-12)
    assert found.variance == pytest.approx(masses @ np.square(squared - truth), rel=1e-6)  # the mean begins out there


def test_one_heavy_point_takes_no_digits_from_the_others(rng):
    points = rng.standard_normal((300, 5000))
    law = qz.DiscreteMeasure.from_unnormalized(points, np.where(np.arange(300) == 5, 1e12, 1.0))
    sol = qz.quantize(law, 7, rng=0)
    squared = np.square(points[:, None].astype(np.longdouble) - sol.measure.points).sum(2).min(1)
    assert sol.distortion == pytest.approx(float((law.weights_float64 * squared).sum()), rel=1e-10)
