"""Lloyd on inner products takes the very steps that Lloyd on coordinates takes."""

import threading
import time
import tracemalloc

import numpy as np
import pytest

import quantization as qz
from quantization import threads, voronoi
from quantization.compiled import gram
from quantization.compiled.kernels import whole


@pytest.fixture(autouse=True, params=["floats", "whole numbers"])
def numbers(request, monkeypatch):
    """What the matrix is made of, for points in float32."""
    if request.param == "whole numbers" and not whole.AVAILABLE:
        pytest.skip("this CPU has no products of 16 bits")
    monkeypatch.setattr(whole, "AVAILABLE", request.param == "whole numbers")
    return request.param


def latents(rng, n, d, rank=20):
    """Points near a subspace, as images' latents are: far fewer directions than coordinates."""
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d))


@pytest.fixture
def both_ways(monkeypatch):
    monkeypatch.setattr(voronoi, "_WORTH_COMPILING", 0)
    used = []
    walk = gram.Gram.walk
    monkeypatch.setattr(gram.Gram, "walk", lambda self, origin: (used.append(1), walk(self, origin))[1])

    def solve(law, k, **options):
        answers = []
        for share in (0, 1e9):
            monkeypatch.setattr(gram, "_PAYS", share)
            answers.append(qz.quantize(law, k, **options))
        assert used
        return answers

    return solve


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_steps(dtype, offset, weighted, both_ways, rng):
    points = (latents(rng, 300, 700) + offset).astype(dtype)
    law = qz.DiscreteMeasure(points, rng.dirichlet(np.ones(300)) if weighted else None)
    plain, fast = both_ways(law, 12, restarts=4, start=qz.RandomPoints(), seed=3)
    assert (fast.steps, fast.status) == (plain.steps, plain.status)
    # Centroids are rounded from sums in another order: a unit of the dtype at most.
    unit = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, rtol=0, atol=2 * unit * np.abs(points).max())
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-12 if dtype is np.float64 else 1e-6)
    np.testing.assert_allclose(fast.trace.distortion, plain.trace.distortion, rtol=500 * unit)
    # Squares of residuals lose digits of |m|², here some ten times the distortion.
    np.testing.assert_allclose(fast.trace.stationarity**2, plain.trace.stationarity**2, atol=5000 * unit)


def test_a_budget_ends_it(both_ways, rng):
    plain, fast = both_ways(latents(rng, 300, 500), 12, restarts=3, start=qz.RandomPoints(), max_steps=2)
    assert fast.status is plain.status is qz.Status.BUDGET_SPENT
    assert fast.steps == plain.steps == 2
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, atol=1e-12)


def test_codes_that_are_no_points_are_left_to_coordinates(both_ways, monkeypatch, rng):
    points = latents(rng, 200, 300)
    monkeypatch.setattr(gram, "_PAYS", 1e9)
    monkeypatch.setattr(voronoi, "_WORTH_COMPILING", 0)
    sol = qz.quantize(points, 5, start=points[:5] + 0.01)
    assert sol.status is qz.Status.CONVERGED


def test_an_empty_cell_is_mended(both_ways, rng):
    # Two of the starting codes are the same point, so a cell is empty at once.
    points = latents(rng, 200, 300)
    plain, fast = both_ways(points, 5, start=points[[0, 0, 1, 2, 3]])
    assert (fast.measure.weights > 0).all()
    assert fast.distortion == plain.distortion


def test_ties_and_duplicates(both_ways, rng):
    # Every point four times, on integers: products are exact and equal, so all of them are in doubt and settled directly.
    points = np.repeat(rng.integers(-2, 3, (60, 40)), 4, 0).astype(np.float32)
    plain, fast = both_ways(points, 6, start=points[[0, 40, 80, 120, 160, 200]])
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-6)
    np.testing.assert_array_equal(fast.measure.weights, plain.measure.weights)


@pytest.mark.parametrize("restarts", [8, 40])  # at once, and in several lots
def test_the_best_restart_is_kept(restarts, both_ways, rng):
    points = latents(rng, 250, 400, rank=3)
    plain, fast = both_ways(points, 10, restarts=restarts, start=qz.RandomPoints())
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-12)


@pytest.fixture
def on_the_matrix(monkeypatch):
    monkeypatch.setattr(voronoi, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(gram, "_PAYS", 1e9)


def test_restarts_spread_over_threads_change_no_bit(on_the_matrix, monkeypatch, rng):
    """The matrix is shared, what searches remember is not; nor does watching, one run after the other, change anything."""
    points = latents(rng, 300, 500).astype(np.float32)
    options = {"restarts": 6, "start": qz.RandomPoints(), "seed": 5}
    answers = []
    for count in (1, 4):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        answers.append(qz.quantize(points, 9, **options))
    *_, watched = qz.iterate(points, 9, **options)
    for other in (answers[1], watched):
        np.testing.assert_array_equal(other.measure.points, answers[0].measure.points)
        np.testing.assert_array_equal(other.trace.distortion, answers[0].trace.distortion)
        assert (other.distortion, other.stationarity) == (answers[0].distortion, answers[0].stationarity)


def test_starts_are_drawn_one_after_the_other(on_the_matrix, rng):
    """As a start of somebody's may count its calls."""
    points, drawing, drawn = latents(rng, 300, 500), threading.Lock(), []

    class Counting:
        def check(self, problem):
            pass

        def draw(self, problem, generator):
            assert drawing.acquire(blocking=False)
            drawn.append(len(drawn))
            time.sleep(0.01)
            drawing.release()
            return points[20 * drawn[-1] : 20 * drawn[-1] + 8]

    best = min(qz.quantize(points, 8, start=points[20 * i : 20 * i + 8]).distortion for i in range(5))
    assert qz.quantize(points, 8, start=Counting(), restarts=5).distortion == best
    assert drawn == list(range(5))


@pytest.mark.parametrize("steps", [0, 3, 300])
def test_the_answer_is_measured_on_coordinates(steps, on_the_matrix, rng):
    points = latents(rng, 300, 500).astype(np.float32)
    law = qz.DiscreteMeasure(points, rng.dirichlet(np.ones(300)))
    sol = qz.quantize(law, 7, restarts=2, start=qz.RandomPoints(), max_steps=steps)
    assert sol.distortion == pytest.approx(qz.distortion(law, sol.measure.points).value, rel=1e-13)
    again = law.project(sol.measure.points)
    np.testing.assert_allclose(sol.measure.weights, again.weights, rtol=1e-6)
    labels = sol.measure.assign(points)
    means = [np.average(points[labels == k].astype(float), axis=0, weights=law.masses[labels == k]) for k in range(7)]
    gaps = np.square(sol.measure.points.astype(float) - means).sum(1)
    assert sol.stationarity == pytest.approx((sol.measure.masses @ gaps / sol.distortion) ** 0.5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_of_codes_that_are_rounded_are_settled_for_those_that_are_returned(dtype, on_the_matrix, rng):
    """Off the origin the centroids of a grid are rounded, and of equally near codes one is nearer by that alone."""
    points = np.repeat(rng.integers(0, 3, (120, 30)), 2, 0).astype(dtype) + dtype(0.1)
    law = qz.DiscreteMeasure(points)
    for seed in range(6):
        sol = qz.quantize(law, 9, restarts=2, start=qz.RandomPoints(), seed=seed)
        np.testing.assert_allclose(sol.measure.weights, law.project(sol.measure.points).weights, rtol=1e-6)
        assert sol.distortion == pytest.approx(qz.distortion(law, sol.measure.points).value, rel=1e-13)


@pytest.mark.parametrize("spread", [2, 7])
def test_weights_of_many_magnitudes(spread, on_the_matrix, rng):
    """A heavy point that has left a cell leaves its round-off behind: labels must be right all the same."""
    points = latents(rng, 300, 200, rank=4).astype(np.float32)
    law = qz.DiscreteMeasure.from_masses(points, 10 ** rng.uniform(-spread, 0, 300))
    walk = gram.Gram.of(points, law.masses)
    for seed in range(5):
        codes = points[np.random.default_rng(seed).choice(300, 10, replace=False)].astype(np.float64)
        for step in walk.steps(codes):
            truth = voronoi.cells(points, law.masses, step.codes())
            np.testing.assert_allclose(step.masses, truth.masses, rtol=1e-12)
            assert abs(step.distortion - truth.distortion) <= step.distortion_rtol * truth.distortion


@pytest.mark.parametrize(("light", "steps"), [(1e-60, True), (1e-161, True), (1e-200, True), (1e-280, False)])
def test_faint_weights(light, steps, on_the_matrix, rng):
    """Sums are in float64, squares of weights would leave its range; what does is left to coordinates."""
    points = latents(rng, 300, 200).astype(np.float32)
    points[:60] += 30  # so that there are cells of faint points alone
    law = qz.DiscreteMeasure.from_masses(points, np.where(np.arange(300) < 60, light, 1.0))
    start = points[[0, 20, 70, 80, 90, 100]].astype(float)
    sol = qz.quantize(law, 6, start=start)
    np.testing.assert_allclose(sol.measure.masses, law.project(sol.measure.points).masses, rtol=1e-12)
    walk = list(gram.Gram.of(points, law.masses).steps(start))
    assert bool(walk) is steps
    for step in walk:
        np.testing.assert_allclose(step.masses, voronoi.cells(points, law.masses, step.codes()).masses, rtol=1e-12)


def test_a_start_may_hand_out_one_array_again_and_again(on_the_matrix, rng):
    points = latents(rng, 300, 500)
    shared, drawn = np.empty((8, 500)), []

    class Reusing:
        def check(self, problem):
            pass

        def draw(self, problem, generator):
            drawn.append(1)
            shared[:] = points[20 * len(drawn) : 20 * len(drawn) + 8]
            return shared

    each = [qz.quantize(points, 8, start=points[20 * i : 20 * i + 8]).distortion for i in range(1, 7)]
    assert min(each) < each[-1]
    assert qz.quantize(points, 8, start=Reusing(), restarts=6).distortion == min(each)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_that_settle_doubts_are_those_that_are_returned(dtype, rng):
    points = latents(rng, 200, 333).astype(dtype) + dtype(3.3)
    masses, labels = rng.dirichlet(np.ones(200)), rng.integers(0, 7, 200).astype(np.int32)
    walk, totals, none = gram.Gram.of(points, masses), np.bincount(labels, masses), np.zeros(7)
    codes = gram.kernels.Codes(np.zeros((7, 200)), np.ones(7), none, none, none, none, none)
    everything = np.full(200, 1e30)
    given = (walk.samples, codes, walk._errors, labels, totals, none, none, everything, np.arange(200), labels.copy())
    made, places = gram.kernels.settle(*given)
    returned = gram._Labelling(walk, labels, totals, labels, totals).codes()
    np.testing.assert_array_equal(made[places], returned.astype(dtype))


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


@pytest.mark.parametrize(("size", "light"), [(1e-22, 1.0), (2e-23, 1.0), (1e-9, 1e-29)])
def test_products_too_small_for_float32_are_no_ground_for_a_label(size, light, rng):
    points = (size * latents(rng, 400, 64)).astype(np.float32)
    masses = np.where(np.arange(400) < 200, light, 1.0)
    if size < 1e-12:
        points[3], masses[3] = 1.0, 0.0
    walk = gram.Gram.of(points, masses / masses.sum())
    for step in walk.steps(points[1:400:40].astype(np.float64)):
        truth = voronoi.cells(points, walk.samples.masses, step.codes())
        np.testing.assert_allclose(step.masses, truth.masses, rtol=1e-12)


def test_a_point_repeated_a_thousand_times_keeps_the_error_within_its_bound(rng):
    """Its rounding is the same each time, and adds up."""
    rows = rng.standard_normal((3, 16)).astype(np.float32)
    which = np.where(rng.random(2850) < 0.95, 0, rng.integers(1, 3, 2850))
    which[::179] = np.arange(16) % 3  # what the frame looks at, so that it moves nothing
    points = rows[which]
    walk = gram.Gram.of(points, np.full(2850, 1 / 2850))
    assert not walk.frame.shifted
    for step in walk.steps(rows[:2].astype(np.float64)):
        truth = voronoi.cells(points, walk.samples.masses, step.codes()).distortion
        assert abs(step.distortion - truth) <= step.distortion_rtol * step.distortion


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_that_are_rounded_far_from_the_origin_keep_the_error_within_its_bound(dtype, rng):
    """A code is rounded by a unit of how far away it lies, which may be much beside the spread of the points."""
    points = (1 + 1e3 * np.finfo(dtype).eps * rng.standard_normal((300, 64))).astype(dtype)
    walk = gram.Gram.of(points, np.full(300, 1 / 300))
    assert walk.frame.shifted
    for step in walk.steps(points[:9].astype(np.float64)):
        truth = voronoi.cells(points, walk.samples.masses, step.codes()).distortion
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


@pytest.mark.parametrize("light", [1e-150, 1e-200, 1e-240])
def test_cells_of_light_points_have_their_doubts_and_their_stationarity(light, on_the_matrix):
    """Products of two of their masses leave the range of float64."""
    for seed in range(6):
        points = np.random.default_rng(seed).standard_normal((890, 64)).astype(np.float32)
        points[:4] *= 3
        law = qz.DiscreteMeasure.from_masses(points, np.where(np.arange(890) < 4, 0.25, light))
        sol = qz.quantize(law, 250, start=points[:250], max_steps=3)
        cells = voronoi.cells(points, law.masses, sol.measure.points.astype(np.float64))
        np.testing.assert_allclose(sol.measure.masses, cells.masses, rtol=1e-12)
        moved = np.square(sol.measure.points.astype(np.float64) - cells.means).sum(1)
        assert sol.stationarity == pytest.approx(float((cells.masses @ moved / sol.distortion) ** 0.5), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4", np.int64])
@pytest.mark.parametrize("restarts", [1, 3])
def test_starts_may_be_of_any_dtype(dtype, restarts, on_the_matrix, rng):
    points = rng.integers(-50, 51, (300, 64)).astype(np.float32)

    class Rows:
        def __init__(self, dtype):
            self.dtype = dtype

        def check(self, problem):
            pass

        def draw(self, problem, generator):
            return points[generator.choice(300, 7, replace=False)].astype(self.dtype)

    plain, other = (qz.quantize(points, 7, start=Rows(kind), restarts=restarts, seed=2) for kind in (np.float64, dtype))
    np.testing.assert_array_equal(other.measure.points, plain.measure.points)
    assert other.distortion == plain.distortion


def test_restarts_that_are_begun_together_stay_within_memory(rng):
    points = latents(rng, 2000, 64).astype(np.float32)
    options = {"restarts": 16, "start": qz.RandomPoints(), "max_steps": 2}
    qz.quantize(points[:200], 50, **options)
    tracemalloc.start()
    try:
        qz.quantize(points, 500, **options)
        assert tracemalloc.get_traced_memory()[1] < points.nbytes // 4 + 24 * 2000 + 2**26
    finally:
        tracemalloc.stop()
