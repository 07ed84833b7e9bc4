"""Lloyd on inner products knows how far off its numbers may be: labels are right, and errors lie within their bounds."""

import numpy as np
import pytest

from quantization.compiled import gram

pytestmark = pytest.mark.usefixtures("numbers")


def test_sums_are_made_anew_after_a_heavy_point_has_left(rng):
    """What is left of a sum after 10^14 times as much has come and gone has lost as many digits."""
    points = rng.standard_normal((60, 40)).astype(np.float32)
    masses = np.where(np.arange(60) == 0, 1e14, 1.0)
    walk = gram.Gram.of(points, masses / masses.sum())
    stay = np.repeat([0, 1, 2], 20).astype(np.int32)
    gone = stay.copy()
    gone[0] = 2
    codes = walk._at_points(np.arange(3, dtype=np.int32))
    assert gram.kernels.advance(walk.samples, codes, stay, stay[:0]) == 60
    assert gram.kernels.advance(walk.samples, codes, gone, stay) == 1
    rows = walk.samples.matrix[:, :60].astype(np.float64)
    exact = [np.average(rows[gone == k], 0, masses[gone == k]) for k in range(3)]
    found = codes.sums[:, :60] / codes.totals[:, None]
    np.testing.assert_allclose(found, exact, rtol=0, atol=100 * np.finfo(np.float64).eps * np.square(points).sum(1).max())


def test_a_point_repeated_a_thousand_times_keeps_the_error_within_its_bound(rng):
    """Its rounding is the same each time, and adds up."""
    rows = rng.standard_normal((3, 16)).astype(np.float32)
    which = np.where(rng.random(2850) < 0.95, 0, rng.integers(1, 3, 2850))
    which[::179] = np.arange(16) % 3  # what the frame looks at, so that it moves nothing
    points = rows[which]
    walk = gram.Gram.of(points, np.full(2850, 1 / 2850))
    assert not walk.frame.shifted
    for step in walk.steps(rows[:2].astype(np.float64)):
        truth = assignment.cells(points, walk.samples.weights_float64, step.codes()).distortion
        assert abs(step.distortion - truth) <= step.distortion_rtol * step.distortion


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_that_are_rounded_far_from_the_origin_keep_the_error_within_its_bound(dtype, rng):
    """A code is rounded by a unit of how far away it lies, which may be much beside the spread of the points."""
    points = (1 + 1e3 * np.finfo(dtype).eps * rng.standard_normal((300, 64))).astype(dtype)
    walk = gram.Gram.of(points, np.full(300, 1 / 300))
    assert walk.frame.shifted
    for step in walk.steps(points[:9].astype(np.float64)):
        truth = assignment.cells(points, walk.samples.weights_float64, step.codes()).distortion
        assert abs(step.distortion - truth) <= step.distortion_rtol * step.distortion


def closely(points, masses, codes):
    """The distortion, in as many digits as there are."""
    wide = points.astype(np.longdouble)
    squared = np.min([np.square(wide - code).sum(1) for code in codes.astype(np.longdouble)], axis=0)
    return float((masses * squared).sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_far_out_at_light_points_keep_the_error_within_its_bound(dtype, rng):
    """The round-off of a score goes by the code's length too, whatever its weight."""
    masses = np.where((np.arange(200) == 1) | (np.arange(200) == 2), 1e-9, 1.0)
    for _ in range(20):
        points = rng.standard_normal((200, 16))
        points[1] *= 1e3
        points[2] = -1.2 * points[1]
        points = points.astype(dtype)
        step = next(gram.Gram.of(points, masses / masses.sum()).steps(points[1:3].astype(np.float64)))
        truth = closely(points, masses / masses.sum(), step.codes())
        assert abs(step.distortion - truth) <= step.distortion_rtol * step.distortion


@pytest.mark.parametrize("d", [5, 64])
def test_a_sum_of_many_equal_terms_keeps_the_error_within_its_bound(d, rng):
    """Of which each is rounded the same way when it is added."""
    scales = np.ones(2000)
    scales[::32] = (-1.0) ** np.arange(63)  # what the frame looks at, so that it moves nothing
    scales[1] = -3
    for _ in range(20):
        points, masses = scales[:, None] * rng.standard_normal(d), np.full(2000, 1 / 2000)
        step = next(gram.Gram.of(points, masses).steps(points[:2]))
        truth = closely(points, masses, step.codes())
        assert abs(step.distortion - truth) <= step.distortion_rtol * step.distortion


def test_a_centroid_that_many_light_points_round_up_has_the_cell_that_it_has():
    """In float64, where no unit of a shorter format pays for round-off: each adds half a unit, always the same way."""
    few, heavy = 100, np.full(5, 1.03)
    other = heavy + np.array([1, -1, 0.5, -0.5, 0])
    masses = np.full(2000, 0.51 * 2.0**-52 / 1.03)
    masses[:2], masses[2 : 2 + few] = 1, 1e-25

    def second(between):
        """The gaps of some points between the two codes of the second step, and which of these they were given."""
        points = np.concatenate([[heavy, other], between, np.repeat(heavy[None], 2000 - 2 - few, 0)])
        walk = gram.Gram.of(points, masses).steps(points[:2])
        next(walk)
        step = next(walk)
        codes, wide = step.codes().astype(np.longdouble), between.astype(np.longdouble)
        gaps = np.square(wide - codes[0]).sum(1) - np.square(wide - codes[1]).sum(1)
        return gaps.astype(np.float64), step.measure.__self__.labels[2 : 2 + few], codes.astype(np.float64)

    middle, way = np.full(5, 0.975 * 64 / 5), (other - heavy) / np.linalg.norm(other - heavy)
    codes = second(middle + np.linspace(-0.2, 0, few)[:, None] * way)[2]
    axis = codes[1] - codes[0]
    tie = (np.square(codes[1]).sum() - np.square(codes[0]).sum()) / 2 - middle @ axis
    at = middle + (tie / (way @ axis) + np.linspace(-1, 1, few)[:, None] * 3e-11) * way
    gaps, labels, _ = second(at)
    sure = np.abs(gaps) > 1e-12  # beyond the round-off of direct differences
    assert (gaps[sure] > 0).any()
    assert (gaps[sure] < 0).any()
    np.testing.assert_array_equal(labels[sure], gaps[sure] > 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_that_products_cannot_tell_apart_are_settled(dtype, rng):
    """Flat images of nearly one grey, whose products round the same way at every term: more than all that parts them."""
    points = rng.standard_normal((600, 512)).astype(dtype)
    masses, misled = np.full(600, 1 / 600), 0
    for grey in rng.uniform(1, 2, 40):
        levels = dtype(grey) + np.finfo(dtype).eps * rng.integers(-9, 10, 20).astype(dtype)
        points[:20], points[20:40] = levels[:, None], -levels[:, None]  # opposite, so that the frame stays where it is
        own = np.unique(levels, return_index=True)[1][:3]
        walk = gram.Gram.of(points, masses)
        assert not walk.frame.shifted
        step = next(walk.steps(points[[*own, 20, *range(100, 112)]].astype(np.float64)))
        nearest = np.abs(levels[:, None].astype(np.longdouble) - levels[own]).argmin(1)
        np.testing.assert_array_equal(step.measure.__self__.labels[:20], nearest)
        scores = walk.samples.squares[own] / 2 - walk.samples.matrix[:20, own]
        misled += (scores.argmin(1) != nearest).any()
    assert misled > 10  # by products alone


@pytest.mark.parametrize("at_points", [True, False])
def test_points_that_rounding_would_mislead_are_settled(at_points, numbers, rng):
    """Some lie so close to midway between two codes that, rounded to whole numbers, they lie on the other side."""
    misled, halves = 0, np.where(np.arange(200) % 2, 1, 0).astype(np.int32)
    masses = np.where(np.arange(200) < 180, 1 / 180, 0)  # those midway move no code
    origin, totals = (np.array([0, 1], np.int32), np.empty(0)) if at_points else (halves, np.bincount(halves, masses))
    for _ in range(20):
        points = rng.standard_normal((200, 64)).astype(np.float32).astype(np.float64)
        a, b = (points[0], points[1]) if at_points else (points[:180:2].mean(0), points[1:180:2].mean(0))
        across = rng.standard_normal((20, 64))
        across -= np.outer(across @ (b - a), b - a) / ((b - a) @ (b - a))
        points[180:] = (a + b) / 2 + across + np.outer(rng.uniform(-1e-5, 1e-5, 20), b - a)
        points = points.astype(np.float32)
        walk = gram.Gram.of(points, masses)
        book, labels, cells = walk._at_points(np.array([0, 1], np.int32)), halves.copy(), np.zeros(2)
        if not at_points:
            gram.kernels.advance(walk.samples, book, halves, halves[:0])
        scores = book.squares / 2 - (book.sums[:, :200] / book.totals[:, None]).T
        given = (tuple(walk.samples), tuple(book), tuple(walk._errors), origin, totals, labels, cells)
        codes = gram._Labelling(walk, origin, totals, labels, cells).codes()
        exact = np.square(points[:, None].astype(np.float64) - codes).sum(2).argmin(1)
        assert gram.kernels.step(*given)[0]
        np.testing.assert_array_equal(labels, exact)
        misled += (scores.argmin(1) != exact).sum()
    assert misled > 0 or numbers == "floats"
