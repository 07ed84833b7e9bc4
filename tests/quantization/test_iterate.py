import gc
import tracemalloc
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import quantization as qz
from quantization.iteration import _Best


@pytest.fixture
def points(rng):
    return rng.normal(size=(300, 2))


@pytest.mark.parametrize("solver", [qz.Lloyd(), qz.CLVQ(batch=50)])
def test_snapshots_run_and_the_answer_comes_last(points, solver):
    *running, answer = qz.iterate(points, 5, solver=solver, max_iter=20, rng=4)
    assert all(s.status is qz.Status.RUNNING for s in running)
    assert [s.n_iter for s in running] == list(range(len(running)))
    assert answer.status is not qz.Status.RUNNING
    for s in running:  # earlier snapshots are beginnings of the last trace, and stay as they were
        np.testing.assert_array_equal(s.trace.distortion, answer.trace.distortion[: s.n_iter + 1])
        assert len(s.trace.stationarity) == s.n_iter + 1
    same = qz.quantize(points, 5, solver=solver, max_iter=20, rng=4)
    np.testing.assert_array_equal(same.measure.points, answer.measure.points)
    assert same.distortion == answer.distortion


def test_a_solve_can_be_stopped(points):
    snapshots = qz.iterate(points, 5, solver=qz.Lloyd(rtol=0), rng=0)
    assert isinstance(snapshots, types.GeneratorType)
    for snapshot in snapshots:
        if snapshot.n_iter == 3:
            break
    assert snapshot.measure.size == 5
    resumed = qz.quantize(points, 5, init=snapshot, rng=0)
    # The first pass sums over the points, later ones over those that changed cells: 300 terms of float64.
    assert resumed.trace.distortion[0] == pytest.approx(snapshot.distortion, rel=300 * np.finfo(float).eps)


def test_long_traces_grow_whole(points):
    sol = qz.quantize(points, 3, solver=qz.CLVQ(batch=10), max_iter=200, rng=0)
    assert sol.trace.distortion.shape == sol.trace.stationarity.shape == (201,)
    assert np.isfinite(sol.trace.distortion).all()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"k": 0}, "k must be an integer ≥ 1; received 0"),
        ({"k": -3}, "k must be"),
        ({"k": 2.0}, "k must be"),
        ({"k": "2"}, "k must be"),
        ({"k": True}, "k must be"),
        ({"k": None}, "k must be"),
        ({"r": 0.5}, "order r"),
        ({"r": np.inf}, "order r"),
        ({"r": "2"}, "order r"),
        ({"r": True}, "order r"),
        ({"n_init": 0}, "n_init"),
        ({"max_iter": -1}, "max_iter"),
        ({"max_iter": 1.5}, "max_iter"),
        ({"rng": -1}, "rng"),
        ({"rng": 1.5}, "rng"),
        ({"rng": "x"}, "rng"),
        ({"rng": True}, "rng"),
        ({"solver": "lloyd"}, "solver must be"),
        ({"solver": qz.Lloyd}, "solver must be"),
        ({"init": "kmeans"}, "init must be"),
        ({"init": qz.RandomPoints}, "class: write its brackets"),
        ({"init": np.zeros((3, 2))}, "shape \\(k, d\\) = \\(2, 2\\); received \\(3, 2\\)"),
        ({"init": np.zeros(2)}, "shape \\(k, d\\)"),
        ({"init": [[np.nan, 0], [0, 0]]}, "finite"),
        ({"init": np.zeros((2, 3))}, "received \\(2, 3\\)"),
        ({"law": np.zeros(5)}, "write x\\[:, None\\]"),
        ({"law": [[np.nan, 1.0]]}, "finite"),
        ({"law": None}, "law must be"),
        ({"law": "data.csv"}, "law must be"),
        ({"law": lambda n: n}, "law must be"),
        ({"law": {"points": [[0.0]]}}, "law must be"),
    ],
)
def test_misuse_is_refused_at_the_call(arguments, hint, points):
    arguments = {"law": points, "k": 2, **arguments}
    with pytest.raises(ValueError, match=hint):
        qz.iterate(**arguments)


def test_numpy_integers_are_integers(points):
    assert qz.quantize(points, np.int64(3), rng=np.uint8(3), max_iter=np.int32(2), r=np.float32(2)).n_iter == 2


@pytest.mark.parametrize("solver", [qz.Lloyd(), qz.CLVQ(batch=50)])
def test_equal_seeds_give_equal_results(points, solver):
    first, second, other = (qz.quantize(points, 6, solver=solver, rng=s, max_iter=10) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.measure.points, second.measure.points)
    np.testing.assert_array_equal(first.trace.distortion, second.trace.distortion)
    assert not np.array_equal(first.measure.points, other.measure.points)


def test_a_generator_is_a_seed(points):
    first, second = (qz.quantize(points, 6, rng=np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(first.measure.points, second.measure.points)
    shared = np.random.default_rng(8)
    first, second = (qz.quantize(points, 6, rng=shared, max_iter=0) for _ in range(2))
    assert not np.array_equal(first.measure.points, second.measure.points)


def test_the_global_generators_are_left_alone(points):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    qz.quantize(torch.from_numpy(points), 4, solver=qz.CLVQ(), rng=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_restarts_keep_the_best(points):
    one = qz.quantize(points, 10, rng=3, init=qz.RandomPoints())
    *_, answer = snapshots = list(qz.iterate(points, 10, rng=3, n_init=5, init=qz.RandomPoints()))
    ends = [s for s in snapshots if s.status is not qz.Status.RUNNING]
    assert ends[0].distortion == one.distortion
    assert answer.distortion == min(s.distortion for s in ends) <= one.distortion
    assert len(ends) == 5 + (ends[4].distortion > answer.distortion)


def test_a_broken_restart_never_wins():
    class Breaks:
        def check(self, problem): ...

        def draw(self, problem, rng):
            self.draws = getattr(self, "draws", 0) + 1
            return np.full((1, 1), 1e200 if self.draws == 1 else 0.0)

    sol = qz.quantize(np.array([[0.0], [1.0]]), 1, init=Breaks(), n_init=2, rng=0)
    assert sol.distortion == 0.25
    assert sol.status is qz.Status.CONVERGED


def test_require(points):
    sol = qz.quantize(points, 3, rng=0)
    assert sol.require() is sol
    with pytest.raises(qz.NotConverged, match=r"budget.*after 1 steps of Lloyd\(rtol=0\.001\)\. Raise max_iter"):
        qz.quantize(points, 3, max_iter=1, rng=0).require()
    with pytest.raises(qz.NotConverged, match=r"More steps would not lower it; raise the solver's rtol"):
        replace(sol, status=qz.Status.STALLED).require()


def test_statuses_are_sentences():
    assert all(status.value[0].isupper() and status.value.endswith(".") for status in qz.Status)


def test_the_given_codes_are_not_touched(points):
    start = points[:4].copy()
    sol = qz.quantize(points, 4, init=start, max_iter=0, rng=0)
    sol.measure.points[:] = 7
    np.testing.assert_array_equal(start, points[:4])


def test_read_only_input_is_fine(points):
    points.flags.writeable = False
    assert qz.quantize(points, 3, init=points[:3], rng=0).measure.size == 3
    assert qz.quantize(torch.zeros(3, 2) + torch.arange(3)[:, None], 2, init=points[:2], rng=0).measure.size == 2


class Scaled:
    """N(0, s² I) in three dimensions, by samples."""

    def __init__(self, scale):
        self.scale = scale

    def sample(self, n, rng):
        return self.scale * rng.standard_normal((n, 3))


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_scales_beyond_range_are_refused_whatever_the_law(scale, rng):
    x = scale * rng.standard_normal((100, 1))
    for law, k in ((x, 3), (np.tile(x, 2), 3), (Scaled(scale), 3)):
        with pytest.raises(ValueError, match=r"to the power r must lie within 1e±300.*Rescale the points"):
            qz.quantize(law, k, rng=0)
    with pytest.raises(ValueError, match="Rescale the points"):
        qz.distortion(Scaled(scale), np.zeros((1, 3)), rng=0)


@pytest.mark.parametrize(
    ("law", "k", "hint"),
    [
        ([[10**400, 1], [0, 2]], 1, "too large to convert"),
        (np.array([[2**63 - 1], [2**63 - 3], [0]]), 2, r"integers beyond 2\^53 .*received 0 to 9223372036854775807"),
        (np.array([[2**64 - 1], [2**64 - 3]], np.uint64), 2, r"integers beyond 2\^53"),
        (np.array([[-(2**63) + 1], [0]]), 2, r"integers beyond 2\^53"),
        (torch.tensor([[2**62 + 1], [2**62], [0]]), 2, r"integers beyond 2\^53"),
        (np.zeros((3, 2)), 10**30, r"k must be at most 2\^62; received 1000000"),
        ([np.zeros((4, 2)), np.zeros((4, 2))], 1, r"received shape \(2, 4, 2\); for a list of batches write Stream\(batches\)"),
        ([np.zeros((4, 2)), np.zeros((5, 2))], 1, r"For a list of batches write Stream\(batches\)"),
        (stats.norm(loc=[0, 1]), 2, "needs scalar parameters; received norm with arrays"),
    ],
)
def test_what_is_no_law_is_said(law, k, hint):
    with pytest.raises(ValueError, match=hint):
        qz.quantize(law, k, rng=0)


def test_integers_that_are_numbers_of_float64_are_taken():
    for x in (
        np.array([[2**53], [0]]),
        np.array([[-(2**53)], [5]]),
        torch.tensor([[2**53], [0]]),
        np.array([[3], [1]], np.uint8),
    ):
        assert qz.quantize(x, 2, rng=0).distortion == 0


@pytest.mark.parametrize(
    ("dtype", "order", "n"), [(np.float64, "F", 20_000), (np.float32, "F", 40_000), (np.float16, "C", 40_000)]
)
def test_memory_stays_within_a_share_of_the_points_whatever_their_layout(dtype, order, n, rng):
    """The points plus a quarter, 24 bytes a point and 64 MB."""
    points = np.asarray(rng.standard_normal((n, 1024), dtype=np.float32).astype(dtype), order=order)
    qz.quantize(points[:3000], 8, max_iter=1, rng=0)  # what is compiled and kept for good
    tracemalloc.start()
    try:
        qz.quantize(points, 8, max_iter=2, rng=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= points.nbytes / 4 + 24 * n + 64e6


class Measured:
    """A run that knows its distortion to an error: at least ``lowest``, in truth ``distortion``."""

    def __init__(self, number, lowest, distortion, status=qz.Status.CONVERGED):
        self.number, self.lowest, self.asked = number, lowest, False
        self.solution = types.SimpleNamespace(distortion=distortion, status=status)

    def bounds(self):
        return self.lowest, 3 * self.lowest

    def answer(self):
        self.asked = True
        return self.solution


def best_of(runs):
    best = _Best()
    for run in runs:
        best.add(run)
    return best.answer()


def test_restarts_that_may_be_the_best_are_measured_and_no_others():
    runs = [Measured(0, 1.0, 1.1), Measured(1, 0.9, 1.2), Measured(2, 1.15, 1.16), Measured(3, 3.0, 3.1)]
    assert best_of(runs) is runs[0].solution
    assert [run.asked for run in runs] == [True, True, False, False]


def test_of_equal_restarts_the_first_is_the_answer():
    runs = [Measured(0, 1.0, 1.1), Measured(1, 0.9, 1.1), Measured(2, 1.1, 1.1)]
    assert best_of(runs) is runs[0].solution


def test_a_restart_that_broke_down_is_the_answer_only_where_all_did():
    broken = [Measured(i, np.inf, np.nan, qz.Status.NONFINITE) for i in range(2)]
    assert best_of(broken) is broken[0].solution
    sound = Measured(2, 2.0, 2.0)
    assert best_of([*broken, sound]) is sound.solution


@pytest.mark.parametrize("shape", [(20_000, 1), (20_000, 3), (2_000, 64), (300, 300), (50, 2)])
def test_memory_is_given_back_without_the_garbage_collector(shape, rng):
    x = rng.standard_normal(shape)
    qz.quantize(x, 5, rng=0, max_iter=5)
    gc.collect()
    gc.disable()
    try:
        qz.quantize(x, 5, rng=0, max_iter=5)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [type(left) for left in gc.garbage if type(left).__module__.startswith("quantization")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("solve", [qz.quantize, qz.greedy_grid])
def test_an_answer_is_shown_in_a_few_lines(points, solve):
    """Neither its trace nor the samples that it came from."""
    shown = repr(solve(points, 5, rng=0) if solve is qz.quantize else solve(points, 5))
    assert len(shown) < 700
    assert "trace" not in shown
    assert "law" not in shown
