"""Lloyd on inner products takes the very steps that Lloyd on coordinates takes."""

import threading
import time
import tracemalloc

import numpy as np
import pytest

import quantization as qz
from quantization import threads
from quantization.compiled import gram

pytestmark = pytest.mark.usefixtures("numbers")


def latents(rng, n, d, rank=20):
    """Points near a subspace, as images' latents are: far fewer directions than coordinates."""
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d))


@pytest.fixture
def both_ways(monkeypatch):
    monkeypatch.setattr(assignment, "_WORTH_COMPILING", 0)
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
    plain, fast = both_ways(latents(rng, 300, 500), 12, restarts=3, start=qz.RandomPoints(), max_iter=2)
    assert fast.status is plain.status is qz.Status.BUDGET_SPENT
    assert fast.n_iter == plain.n_iter == 2
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, atol=1e-12)


def test_codes_that_are_no_points_are_left_to_coordinates(both_ways, monkeypatch, rng):
    points = latents(rng, 200, 300)
    monkeypatch.setattr(gram, "_PAYS", 1e9)
    monkeypatch.setattr(assignment, "_WORTH_COMPILING", 0)
    sol = qz.quantize(points, 5, init=points[:5] + 0.01, rng=0)
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
    monkeypatch.setattr(assignment, "_WORTH_COMPILING", 0)
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

    best = min(qz.quantize(points, 8, init=points[20 * i : 20 * i + 8], rng=0).distortion for i in range(5))
    assert qz.quantize(points, 8, init=Counting(), n_init=5, rng=0).distortion == best
    assert drawn == list(range(5))


@pytest.mark.parametrize("steps", [0, 3, 300])
def test_the_answer_is_measured_on_coordinates(steps, on_the_matrix, rng):
    points = latents(rng, 300, 500).astype(np.float32)
    law = qz.DiscreteMeasure(points, rng.dirichlet(np.ones(300)))
    sol = qz.quantize(law, 7, n_init=2, init=qz.RandomPoints(), max_iter=steps, rng=0)
    assert sol.distortion == pytest.approx(qz.distortion(law, sol.measure.points, rng=0).value, rel=1e-13)
    again = law.project(sol.measure.points)
    np.testing.assert_allclose(sol.measure.weights, again.weights, rtol=1e-6)
    labels = sol.measure.assign(points)
    means = [np.average(points[labels == k].astype(float), axis=0, weights=law.weights_float64[labels == k]) for k in range(7)]
    gaps = np.square(sol.measure.points.astype(float) - means).sum(1)
    assert sol.stationarity == pytest.approx((sol.measure.weights_float64 @ gaps / sol.distortion) ** 0.5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_of_codes_that_are_rounded_are_settled_for_those_that_are_returned(dtype, on_the_matrix, rng):
    """Off the origin the centroids of a grid are rounded, and of equally near codes one is nearer by that alone."""
    points = np.repeat(rng.integers(0, 3, (120, 30)), 2, 0).astype(dtype) + dtype(0.1)
    law = qz.DiscreteMeasure(points)
    for seed in range(6):
        sol = qz.quantize(law, 9, n_init=2, init=qz.RandomPoints(), rng=seed)
        np.testing.assert_allclose(sol.measure.weights, law.project(sol.measure.points).weights, rtol=1e-6)
        assert sol.distortion == pytest.approx(qz.distortion(law, sol.measure.points, rng=0).value, rel=1e-13)


@pytest.mark.parametrize("spread", [2, 7])
def test_weights_of_many_magnitudes(spread, on_the_matrix, rng):
    """A heavy point that has left a cell leaves its round-off behind: labels must be right all the same."""
    points = latents(rng, 300, 200, rank=4).astype(np.float32)
    law = qz.DiscreteMeasure.from_unnormalized(points, 10 ** rng.uniform(-spread, 0, 300))
    walk = gram.Gram.of(points, law.weights_float64)
    for seed in range(5):
        codes = points[np.random.default_rng(seed).choice(300, 10, replace=False)].astype(np.float64)
        for step in walk.steps(codes):
            truth = assignment.cells(points, law.weights_float64, step.codes())
            np.testing.assert_allclose(step.masses, truth.masses, rtol=1e-12)
            assert abs(step.distortion - truth.distortion) <= step.distortion_rtol * truth.distortion


@pytest.mark.parametrize(("light", "steps"), [(1e-60, True), (1e-161, True), (1e-200, True), (1e-280, False)])
def test_faint_weights(light, steps, on_the_matrix, rng):
    """Sums are in float64, squares of weights would leave its range; what does is left to coordinates."""
    points = latents(rng, 300, 200).astype(np.float32)
    points[:60] += 30  # so that there are cells of faint points alone
    law = qz.DiscreteMeasure.from_unnormalized(points, np.where(np.arange(300) < 60, light, 1.0))
    start = points[[0, 20, 70, 80, 90, 100]].astype(float)
    sol = qz.quantize(law, 6, init=start, rng=0)
    np.testing.assert_allclose(sol.measure.weights_float64, law.project(sol.measure.points).masses, rtol=1e-12)
    walk = list(gram.Gram.of(points, law.weights_float64).steps(start))
    assert bool(walk) is steps
    for step in walk:
        np.testing.assert_allclose(step.masses, assignment.cells(points, law.weights_float64, step.codes()).masses, rtol=1e-12)


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

    each = [qz.quantize(points, 8, init=points[20 * i : 20 * i + 8], rng=0).distortion for i in range(1, 7)]
    assert min(each) < each[-1]
    assert qz.quantize(points, 8, init=Reusing(), n_init=6, rng=0).distortion == min(each)


@pytest.mark.parametrize(("size", "light"), [(1e-22, 1.0), (2e-23, 1.0), (1e-9, 1e-29)])
def test_products_too_small_for_float32_are_no_ground_for_a_label(size, light, rng):
    points = (size * latents(rng, 400, 64)).astype(np.float32)
    masses = np.where(np.arange(400) < 200, light, 1.0)
    if size < 1e-12:
        points[3], masses[3] = 1.0, 0.0
    walk = gram.Gram.of(points, masses / masses.sum())
    for step in walk.steps(points[1:400:40].astype(np.float64)):
        truth = assignment.cells(points, walk.samples.weights_float64, step.codes())
        np.testing.assert_allclose(step.masses, truth.masses, rtol=1e-12)


@pytest.mark.parametrize("light", [1e-150, 1e-200, 1e-240])
def test_cells_of_light_points_have_their_doubts_and_their_stationarity(light, on_the_matrix):
    """Products of two of their masses leave the range of float64."""
    for seed in range(6):
        points = np.random.default_rng(seed).standard_normal((890, 64)).astype(np.float32)
        points[:4] *= 3
        law = qz.DiscreteMeasure.from_unnormalized(points, np.where(np.arange(890) < 4, 0.25, light))
        sol = qz.quantize(law, 250, init=points[:250], max_iter=3, rng=0)
        cells = assignment.cells(points, law.weights_float64, sol.measure.points.astype(np.float64))
        np.testing.assert_allclose(sol.measure.weights_float64, cells.masses, rtol=1e-12)
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

    plain, other = (qz.quantize(points, 7, init=Rows(kind), n_init=restarts, rng=2) for kind in (np.float64, dtype))
    np.testing.assert_array_equal(other.measure.points, plain.measure.points)
    assert other.distortion == plain.distortion


def test_restarts_that_are_begun_together_stay_within_memory(rng):
    points = latents(rng, 2000, 64).astype(np.float32)
    options = {"restarts": 16, "start": qz.RandomPoints(), "max_iter": 2}
    qz.quantize(points[:200], 50, **options)
    tracemalloc.start()
    try:
        qz.quantize(points, 500, **options)
        assert tracemalloc.get_traced_memory()[1] < points.nbytes // 4 + 24 * 2000 + 2**26
    finally:
        tracemalloc.stop()


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
