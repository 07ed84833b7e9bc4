"""The strategy by matrix products against brute force and against fresh passes over the points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantization import threads
from quantization.assignment import gemm
from quantization.assignment.blocks import labels_by_blocks as labelled
from quantization.assignment.blocks import sums_by_blocks as summed
from quantization.assignment.gemm import Gemm
from tests.quantization.assignment.steps import lloyds_steps

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=30, derandomize=True)
SHAPES = [  # n, d, K
    (3000, 8, 5),
    (700, 9, 33),
    (600, 33, 500),  # sums of parts, several blocks of rows
    (300, 4100, 40),  # pieces of coordinates, sums by columns
    (803, 700, 9),
    (6000, 64, 70),  # several parts of the rows
    (40, 20, 40),
    (100, 12, 1),
]


def drawn(rng, n, d, k, dtype=np.float64, offset=0.0):
    """Points about some centres, weights and codes that are points."""
    centres = rng.standard_normal((max(2, k // 2), d))
    points = (centres[rng.integers(len(centres), size=n)] + 0.7 * rng.standard_normal((n, d)) + offset).astype(dtype)
    return points, rng.dirichlet(np.ones(n)), points[rng.choice(n, k, replace=False)].astype(np.float64)


def is_cell_sums(found, points, weights, codes):
    """Labels are the same, so sums differ by the order of their terms alone: n terms, with a margin."""
    cells, expected = found.cells(codes, 2.0), summed(points, weights, codes, 2.0).cells(codes, 2.0)
    np.testing.assert_allclose(cells.masses, expected.masses, rtol=1000 * EPS, atol=0)
    np.testing.assert_allclose(cells.means, expected.means, rtol=0, atol=1000 * EPS * np.abs(points).max().astype(float))
    assert cells.distortion == pytest.approx(expected.distortion, rel=1000 * EPS)


def are_lloyds_steps(points, weights, codes, count):
    """So many steps from ``codes`` beside as many fresh passes, unless a cell is empty; returns the last of them."""
    unit, exact = float(np.finfo(points.dtype).eps) * np.abs(points).max().astype(float), points.astype(np.float64)
    terms, taken, step = 1000 * EPS * np.abs(exact).max(), 0, None
    for taken, step in zip(range(1, count + 1), lloyds_steps(Gemm(points, weights), codes), strict=False):  # noqa: B007
        np.testing.assert_array_equal(step.codes, codes)
        truth = summed(points, weights, codes, 2.0).cells(codes, 2.0)
        np.testing.assert_allclose(step.masses, truth.masses, rtol=1000 * EPS)
        # The square about the reference is at most 1/_CANCELLING of the distortion: so many digits are lost.
        assert step.distortion == pytest.approx(truth.distortion, rel=100 * EPS / gemm._CANCELLING, abs=1000 * EPS * unit)
        assert step.stationarity == pytest.approx(truth.stationarity, rel=1e-6, abs=1e-9)
        following = truth.means.astype(points.dtype).astype(np.float64)
        np.testing.assert_allclose(step.following, following, rtol=0, atol=unit + terms)
        if np.array_equal(step.following, codes):
            assert step.at_rest
        codes = step.following
    assert taken == count or step.at_rest or not np.bincount(labelled(points, codes)[0], minlength=len(codes)).all()
    return step


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_labels_and_sums(shape, dtype, rng):
    points, weights, codes = drawn(rng, *shape, dtype)
    strategy = Gemm(points, weights)
    for some in (codes, codes + 0.1):
        labels, squared = labelled(points, some)
        found = strategy.nearest(some)
        np.testing.assert_array_equal(found[0], labels)
        np.testing.assert_allclose(found[1], squared, rtol=1000 * EPS, atol=1000 * EPS)
        is_cell_sums(strategy.sums(some), points, weights, some)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps(shape, dtype, offset, rng):
    points, weights, codes = drawn(rng, *shape, dtype, offset)
    are_lloyds_steps(points, weights, codes, 8)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300, 4100, 40), (803, 700, 9), (900, 260, 50)])
def test_steps_with_bounds_on_all_distances(shape, dtype, offset, monkeypatch, rng):
    points, weights, codes = drawn(rng, *shape, dtype, offset)
    measured, measure = [], gemm.kernels.measure_rivals
    monkeypatch.setattr(gemm.kernels, "measure_rivals", lambda *a: (measured.append(measure(*a)), measured[-1])[1])
    monkeypatch.setattr(gemm, "_BLOCKS_BYTES", 0)
    are_lloyds_steps(points, weights, codes, 8)
    assert len(measured) > 1


def test_bounds_on_all_distances_keep_ties_and_stray_points(monkeypatch, rng):
    """Integers, of which many are equally near to two codes, and a point whose squares overflow float32."""
    monkeypatch.setattr(gemm, "_BLOCKS_BYTES", 0)
    points = np.zeros((500, 300), np.float32)
    points[:, :3] = rng.integers(-2, 3, (500, 3))
    codes = np.unique(points, axis=0)[::4][:12].astype(np.float64)
    weights = np.full(500, 1 / 512)  # sums of which are exact
    for some, count in ((points, 8), (np.where(np.arange(500)[:, None] == 7, np.float32(1e25), points), 2)):
        for _, step in zip(range(count), lloyds_steps(Gemm(some, weights), codes), strict=False):
            labels = np.square(some[:, None].astype(np.float64) - step.codes).sum(2).argmin(1)
            np.testing.assert_array_equal(step.masses, np.bincount(labels, weights, minlength=len(codes)))


@pytest.mark.parametrize("layout", ["fortran", "strided", "readonly"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_layout_also_where_rows_are_converted_in_chunks(layout, dtype, monkeypatch, rng):
    points, weights, codes = drawn(rng, 900, 40, 13, dtype)
    given = {"fortran": np.asfortranarray(points), "strided": np.repeat(points, 2, 1)[:, ::2], "readonly": points.copy()}[layout]
    given.flags.writeable = False
    for copy in (2**25, 0):
        monkeypatch.setattr(gemm, "_COPY_BYTES", copy)
        monkeypatch.setattr(gemm, "_CHUNK_BYTES", 2**14)
        np.testing.assert_array_equal(Gemm(given, weights).nearest(codes)[0], labelled(points, codes)[0])
        is_cell_sums(Gemm(given, weights).sums(codes), points, weights, codes)
        are_lloyds_steps(given, weights, codes, 6)
    np.testing.assert_array_equal(given, points)


@pytest.mark.parametrize("scale", [1e-120, 1e-30, 1.0, 1e30, 1e120])
def test_float64_of_any_size(scale, rng):
    points, weights, codes = drawn(rng, 500, 9, 40)
    np.testing.assert_array_equal(Gemm(points * scale, weights).nearest(codes * scale)[0], labelled(points, codes)[0])
    small, large = (next(lloyds_steps(Gemm(points * s, weights), codes * s)) for s in (1.0, scale))
    assert large.distortion == pytest.approx(small.distortion * scale**2, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-43, 1e-38, 1e-18, 1e18, 1e37])
def test_float32_of_any_size(scale, rng):
    points, weights, codes = drawn(rng, 500, 9, 40, np.float32)
    points = (points * np.float64(scale)).astype(np.float32)
    codes = points[:40].astype(np.float64)
    # Differences of denormal numbers vanish when squared in float32, not here.
    truth = labelled(points.astype(np.float64) / scale, codes / scale)[0]
    labels = Gemm(points, weights).nearest(codes)[0]
    exact = points.astype(np.float64) / scale
    own, best = (np.square(exact - (codes / scale)[some]).sum(1) for some in (labels, truth))
    np.testing.assert_allclose(own, best, rtol=100 * EPS, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [1e7, 1e15, 1e30])
def test_one_row_of_any_length_leaves_the_others_their_codes(length, dtype, brute, rng):
    points, weights, codes = drawn(rng, 800, 64, 32, dtype)
    points[7] = length
    stray = codes.copy()
    stray[3] = length
    for some in (codes, stray):
        labels = Gemm(points, weights).nearest(some)[0]
        squared = brute.squared(points, some)
        np.testing.assert_array_equal(np.delete(labels, 7), np.delete(squared.argmin(1), 7))
        # To the row itself many codes are as good as equally near, and the order of a sum decides.
        assert squared[7, labels[7]] <= squared[7].min() * (1 + 100 * EPS)


def test_many_points_in_doubt_are_left_to_products_in_float64(rng):
    """Clusters so tight that float32 cannot see into them."""
    centres = rng.standard_normal((4, 30))
    points = np.repeat(centres, 300, 0) + 1e-7 * rng.standard_normal((1200, 30))
    weights, codes = np.full(1200, 1 / 1200), points[::100].copy()
    strategy = Gemm(points, weights)
    for _ in range(2):
        np.testing.assert_array_equal(strategy.nearest(codes)[0], labelled(points, codes)[0])
        assert strategy.precision == np.float64
    assert Gemm(rng.standard_normal((1200, 30)), weights).precision == np.float32


def test_tight_clusters_keep_the_digits_of_their_distortion(rng):
    """Total less between cancels there."""
    centres = rng.standard_normal((130, 100))
    points = np.repeat(centres, 6, 0) + 1e-7 * rng.standard_normal((780, 100))
    weights, codes = rng.dirichlet(np.ones(780)), points[::6]
    steps = list(lloyds_steps(Gemm(points, weights), codes))
    for step in steps:
        truth = summed(points, weights, step.codes, 2.0)
        assert step.distortion == pytest.approx(truth.cost, rel=1e-12)
    assert len(steps) >= 2
    assert steps[-1].at_rest


@everyday
@given(st.integers(1, 4), st.integers(5, 20), st.integers(0, 2**32 - 1))
def test_ties_go_to_the_lowest_index(span, k, seed):
    """On integers distances are exact and many are equal; some codes are the same."""
    rng = np.random.default_rng(seed)
    points, codes = np.zeros((600, 12)), np.zeros((k, 12))
    points[:, :3], codes[:, :3] = rng.integers(-span, span + 1, (600, 3)), rng.integers(-span, span + 1, (k, 3))
    expected = np.square(points[:, None] - codes).sum(2).argmin(1)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(Gemm(points.astype(dtype), np.full(600, 1 / 600)).nearest(codes)[0], expected)


@everyday
@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_bounds_from_step_to_step_keep_ties_too(span, seed):
    """Masses of every step are those of labels from brute force, lowest index first."""
    rng = np.random.default_rng(seed)
    points = np.zeros((500, 10))
    points[:, :3] = rng.integers(-span, span + 1, (500, 3))
    codes = np.unique(points, axis=0)[:: 2 * span][:12]
    weights = np.full(500, 1 / 512)  # sums of which are exact
    for _, step in zip(range(8), lloyds_steps(Gemm(points, weights), codes), strict=False):
        labels = np.square(points[:, None] - step.codes).sum(2).argmin(1)
        np.testing.assert_array_equal(step.masses, np.bincount(labels, weights, minlength=len(codes)))


def test_weightless_points_are_labelled_and_an_empty_cell_ends_the_steps(rng):
    points, weights, codes = drawn(rng, 300, 15, 6)
    weights[labelled(points, codes)[0] == 2] = 0
    np.testing.assert_array_equal(Gemm(points, weights).nearest(codes)[0], labelled(points, codes)[0])
    assert list(lloyds_steps(Gemm(points, weights), codes)) == []
    codes[1] = codes[0]
    assert list(lloyds_steps(Gemm(points, np.full(300, 1 / 300)), codes)) == []


def test_a_heavy_point_that_left_takes_no_digits_with_it(monkeypatch, rng):
    points = rng.standard_normal((60, 40))
    points[20:40] += 4
    points[0] = 1.9  # nearer to the second cell once that has moved
    weights = np.where(np.arange(60) == 0, 1e7, 1.0)
    weights /= weights.sum()
    are_lloyds_steps(points, weights, points[[1, 20, 41]], 6)


def test_it_ends_at_rest_as_soon_as_no_label_changes(rng):
    points, weights, codes = drawn(rng, 500, 30, 6)
    steps = list(lloyds_steps(Gemm(points, weights), codes))
    assert steps[-1].at_rest
    assert not any(step.at_rest for step in steps[:-1])
    labels = [labelled(points, step.codes)[0] for step in steps[-2:]]
    np.testing.assert_array_equal(*labels)


def test_most_points_are_not_searched_again(monkeypatch, rng):
    """Well-separated clusters: after the first step bounds certify almost every label."""
    centres = 20 * rng.standard_normal((8, 40))
    points = centres[rng.integers(8, size=4000)] + rng.standard_normal((4000, 40))
    searched, step = [], gemm.kernels.step_rows
    monkeypatch.setattr(gemm.kernels, "step_rows", lambda *a: (found := step(*a), searched.append(found[0]))[0])
    steps = list(lloyds_steps(Gemm(points, np.full(4000, 1 / 4000)), centres))
    assert len(steps) > 1
    assert sum(searched) < 1.05 * 4000


@pytest.mark.parametrize("shape", [(6000, 64, 70), (700, 2100, 70)])
def test_the_number_of_threads_changes_no_bit(shape, monkeypatch, rng):
    points, weights, codes = drawn(rng, *shape, np.float32)
    answers = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        *_, last = (step for _, step in zip(range(6), lloyds_steps(Gemm(points, weights), codes), strict=False))
        answers.append((last.following, last.distortion, last.stationarity, Gemm(points, weights).sums(codes)))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    assert answers[0][1:3] == answers[1][1:3]
    np.testing.assert_array_equal(answers[0][3].shifts, answers[1][3].shifts)


def test_earlier_calls_change_no_bit(rng):
    points, weights, codes = drawn(rng, 900, 30, 12)
    used = Gemm(points, weights)
    used.nearest(codes * 3)
    list(lloyds_steps(used, codes + 0.2))
    for a, b in zip(lloyds_steps(used, codes), lloyds_steps(Gemm(points, weights), codes), strict=True):
        assert (a.distortion, a.stationarity) == (b.distortion, b.stationarity)
        np.testing.assert_array_equal(a.following, b.following)


def test_threads_that_share_samples_change_no_bit(monkeypatch, rng):
    points, weights = rng.normal(size=(900, 24)).astype(np.float32), np.full(900, 1 / 900)
    starts = [points[rng.choice(900, 12, replace=False)].astype(np.float64) for _ in range(8)]
    answers = []
    for count in (1, 4, 4, 4):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        samples = Gemm(points, weights)
        answers.append(threads.parallel_map(lambda i: [s.distortion for s in lloyds_steps(samples, starts[i])], len(starts)))  # noqa: B023
    assert answers[1:] == answers[:1] * 3


def test_blocks_count_as_filled_only_once_they_are(monkeypatch, rng):
    """Products change to float64 after a step; where few points are searched in the next one, their new blocks stay empty."""
    centres, blob = rng.standard_normal((30, 32)), rng.standard_normal(32)
    points = np.concatenate([blob + 1e-7 * rng.standard_normal((1200, 32)), np.repeat(centres, 93, 0)])
    points[1200:] += 0.01 * rng.standard_normal((2790, 32))
    empty = np.empty
    monkeypatch.setattr(gemm.np, "empty", lambda *a, **k: np.zeros(*a, **k) if a[0] else empty(*a, **k))
    samples, codes = Gemm(points, np.full(3990, 1 / 3990)), np.concatenate([points[:10], centres])
    cells = samples.moving_cells(codes)
    cells.step()
    assert samples.precision == np.float64
    cells.advance()
    cells.step()
    np.testing.assert_array_equal(samples.nearest(codes)[0], labelled(points, codes)[0])


@pytest.mark.parametrize("weightless", [False, True])
def test_labels_are_exact_after_codes_of_empty_cells_were_moved(weightless, rng):
    """A code of no members may have weightless ones: those bounds are of the code as it was."""
    points = rng.normal(size=(3000, 20)).astype(np.float32)
    weights = np.full(3000, 1 / 2900)
    weights[2900:] = 0
    points[2900:] += 40 if weightless else 0
    codes = np.concatenate([points[:30], np.full((2, 20), 40.0 if weightless else 90.0) + rng.normal(size=(2, 20))]).astype(
        np.float64
    )
    codes = codes.astype(np.float32).astype(np.float64)
    cells = Gemm(points, weights).moving_cells(codes)
    for step in range(4):
        assert (cells.step().masses[30:] == 0).all() or step
        np.testing.assert_array_equal(cells.labels, labelled(points, cells.codes())[0])
        if step < 2:
            moved = cells.codes().copy()
            moved[30 + step] = points[100 + step]
            cells.move_to(moved)
        else:
            cells.advance()
