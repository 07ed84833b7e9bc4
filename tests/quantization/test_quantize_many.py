"""What makes many problems one call: nothing but time depends on the others, and errors say whose they are."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

import quantization as qz
from quantization import api, threads


@pytest.fixture(autouse=True)
def one_blas_thread():
    with threadpool_limits(limits=1):
        yield


def same(a, b):
    """Whether two solutions are the same to the last bit, in every field."""
    for x, y in [(a.measure.points, b.measure.points), (a.measure.weights_float64, b.measure.weights_float64)]:
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
        assert type(x) is type(y)
        assert x.dtype == y.dtype
    for x, y in [(a.trace.distortion, b.trace.distortion), (a.trace.stationarity, b.trace.stationarity)]:
        np.testing.assert_array_equal(x, y)
    for name in ("distortion", "distortion_se", "stationarity", "status", "n_iter", "solver"):
        assert getattr(a, name) == getattr(b, name), name


def ragged(rng, dtype=np.float32):
    """Measures of many sizes, dimensions and kinds of weight."""
    arrays = [rng.normal(size=(n, d)).astype(dtype) for n, d in [(300, 5), (40, 700), (1000, 2), (7, 3), (200, 1), (64, 64)]]
    return [*arrays, qz.DiscreteMeasure(arrays[0][:90], rng.dirichlet(np.ones(90)))]


@pytest.mark.parametrize("cpus", [1, 2, 5])
@pytest.mark.parametrize("restarts", [1, 3])
def test_each_answer_is_that_of_quantize(monkeypatch, rng, cpus, restarts):
    monkeypatch.setattr(threads, "available", lambda: cpus)
    measures = ragged(rng)
    ks, seeds = [5, 4, 30, 7, 6, 3, 2], [11, 7, 7, 0, 3, 10**30, 5]
    answers = qz.quantize_many(measures, ks, rng=seeds, n_init=restarts, max_iter=25)
    for measure, k, seed, answer in zip(measures, ks, seeds, answers, strict=True):
        same(answer, qz.quantize(measure, k, rng=seed, n_init=restarts, max_iter=25))


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.permutations(range(7)), st.integers(1, 7))
def test_grouping_and_order_change_nothing(order, size):
    measures = ragged(np.random.default_rng(3))
    alone = [qz.quantize(m, 3, rng=i, max_iter=5) for i, m in enumerate(measures)]
    for begin in range(0, 7, size):
        group = order[begin : begin + size]
        for i, answer in zip(group, qz.quantize_many([measures[i] for i in group], 3, rng=group, max_iter=5), strict=True):
            same(answer, alone[i])


def test_one_seed_is_spawned_per_position(rng):
    measures = ragged(rng)
    answers = qz.quantize_many(measures, 3, rng=8, max_iter=5)
    children = np.random.default_rng(8).spawn(len(measures))
    for measure, child, answer in zip(measures, children, answers, strict=True):
        same(answer, qz.quantize(measure, 3, rng=child, max_iter=5))
    for again, answer in zip(qz.quantize_many(measures[:2], 3, rng=8, max_iter=5), answers, strict=False):
        same(again, answer)  # measures added at the end leave the earlier ones alone
    # Equal problems get different seeds.
    twins = qz.quantize_many([measures[0]] * 2, 3, rng=8, max_iter=0)
    assert not np.array_equal(twins[0].measure.points, twins[1].measure.points)


def test_a_generator_spawns_and_may_serve_several_problems(rng):
    measures = ragged(rng)[:3]
    same_seed = [qz.quantize_many(measures, 3, rng=np.random.default_rng(1), max_iter=5) for _ in range(2)]
    for a, b in zip(*same_seed, strict=True):
        same(a, b)
    shared = np.random.default_rng(1)
    in_turn = np.random.default_rng(1)
    for measure, answer in zip(measures, qz.quantize_many(measures, 3, rng=[shared] * 3, max_iter=5), strict=True):
        same(answer, qz.quantize(measure, 3, rng=in_turn, max_iter=5))


def test_torch_tensors_stay_what_they_are(rng):
    points = rng.normal(size=(4, 60, 8)).astype(np.float32)
    torch.set_float32_matmul_precision("medium")
    try:
        answers = qz.quantize_many(torch.from_numpy(points), 5, rng=[0, 1, 2, 3], max_iter=10)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    for i, answer in enumerate(answers):
        assert answer.measure.points.dtype == torch.float32
        same(answer, qz.quantize(torch.from_numpy(points[i]), 5, rng=i, max_iter=10))


def test_laws_streams_and_samples_together(rng):
    points = rng.normal(size=(500, 2))
    laws = [points, stats.norm(), qz.Gaussian([0.0, 0.0], np.eye(2)), qz.Stream(lambda: iter(np.split(points, 5)))]
    for i, (law, answer) in enumerate(zip(laws, qz.quantize_many(laws, 4, rng=[0, 1, 2, 3], max_iter=20), strict=True)):
        same(answer, qz.quantize(law, 4, rng=i, max_iter=20))


def test_an_initialization_for_all_or_one_each(rng):
    measures = [rng.normal(size=(50, 3)) for _ in range(3)]
    first = qz.quantize_many(measures, 4, max_iter=2, rng=0)
    for measure, start, answer in zip(measures, first, qz.quantize_many(measures, 4, init=first, max_iter=3, rng=0), strict=True):
        same(answer, qz.quantize(measure, 4, init=start, max_iter=3, rng=0))
    codes = measures[0][:4]
    for start in (codes, codes.tolist(), codes):
        for measure, answer in zip(measures, qz.quantize_many(measures, 4, init=start, max_iter=3, rng=0), strict=True):
            same(answer, qz.quantize(measure, 4, init=codes, max_iter=3, rng=0))
    mixed = qz.quantize_many(measures, 4, init=[None, qz.RandomPoints(), codes], rng=[0, 1, 2], max_iter=3)
    same(mixed[1], qz.quantize(measures[1], 4, init=qz.RandomPoints(), rng=1, max_iter=3))
    same(mixed[2], qz.quantize(measures[2], 4, init=codes, rng=2, max_iter=3))


def test_inputs_are_neither_copied_nor_written(rng):
    points = rng.normal(size=(3, 40, 2))
    points.flags.writeable = False
    seen = []

    class Watching(qz.Lloyd):
        def solve(self, problem, codes, rng):
            seen.append(np.shares_memory(problem.measure.points, points))
            return super().solve(problem, codes, rng)

    qz.quantize_many(points, 3, solver=Watching(), rng=0)
    assert seen == [True] * 3


def test_no_measures_no_answers():
    assert qz.quantize_many([], 3, rng=0) == []


GOOD = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"laws": GOOD}, r"list of laws.*received an array of shape \(6, 2\)"),
        ({"laws": qz.DiscreteMeasure(GOOD)}, "list of laws.*received DiscreteMeasure"),
        ({"laws": stats.norm()}, "list of laws"),
        ({"laws": {"a": GOOD}}, "list of laws.*received dict"),
        ({"k": [2]}, "k must be one for all or one per law, 3 of them; received 1"),
        ({"k": [2, 0, 2]}, "^law 1: k must be an integer ≥ 1; received 0"),
        ({"k": 2.5}, "^law 0: k must be an integer"),
        ({"rng": [1, 2]}, "rng must be one for all or one per law, 3 of them; received 2"),
        ({"rng": [1, 2, -3]}, "^law 2: rng must be an integer ≥ 0, a numpy Generator or None; received -3"),
        ({"rng": -1}, "rng must be an integer ≥ 0, a numpy Generator or None; received -1"),
        ({"init": [qz.RandomPoints()]}, "init must be one for all or one per law, 3 of them; received 1"),
        ({"init": np.zeros((3, 2))}, r"^law 0: init must have shape \(k, d\) = \(2, 2\)"),
        ({"laws": [GOOD, GOOD, GOOD[:, 0]]}, r"^law 2: points must have shape \(n, d\)"),
        ({"laws": [GOOD, GOOD * np.nan, GOOD]}, "^law 1: points must be finite"),
        ({"solver": "lloyd"}, "^law 0: solver must be"),
        ({"r": 3.0, "solver": qz.Balanced(), "masses": "uniform"}, "^law 0: prescribed masses are for r = 2"),
        ({"n_init": 0}, "^law 0: n_init must be an integer ≥ 1"),
    ],
)
def test_misuse_names_the_problem(arguments, message):
    with pytest.raises(ValueError, match=message):
        qz.quantize_many(**({"laws": [GOOD] * 3, "k": 2} | arguments))


def test_too_few_points_are_named_too():
    with pytest.raises(ValueError, match=r"^law 1: k = 5 codes need at least 5 distinct points of positive weight; received 3"):
        qz.quantize_many([GOOD, GOOD[[0, 1, 2, 2, 1, 0]], GOOD], 5, rng=0)


def test_all_is_checked_before_any_problem_is_solved():
    begun = []

    class Watching(qz.Lloyd):
        def solve(self, problem, codes, rng):
            begun.append(threading.current_thread().name)
            return super().solve(problem, codes, rng)

    with pytest.raises(ValueError, match=r"^law 2"):
        qz.quantize_many([GOOD, GOOD, GOOD * np.nan], 2, solver=Watching(), rng=0)
    assert begun == []


def test_other_errors_keep_their_kind_and_say_where():
    class Broken(qz.Lloyd):
        def solve(self, problem, codes, rng):
            raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order") as caught:
        qz.quantize_many([GOOD], 2, solver=Broken(), rng=0)
    assert caught.value.__notes__ == ["in law 0 of quantize_many"]


def test_one_law_of_too_few_points_stops_all_before_any_is_solved(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(3000, 2048, 1))
    rows[-1] = 7.0
    solved = []
    monkeypatch.setattr(api, "solve_tasks", lambda tasks: solved.append(tasks))
    with pytest.raises(
        ValueError, match=r"^law 2999: k = 16 codes need at least 16 distinct points of positive weight; received 1"
    ):
        qz.quantize_many(rows, 16, rng=0)
    assert not solved


def test_fewer_codes_where_there_are_fewer_points(rng):
    laws = [rng.normal(size=(50, 2)), np.repeat([[1.0, 2.0], [3.0, 4.0]], 10, 0), rng.normal(size=(50, 2))]
    with pytest.warns(qz.ConvergenceWarning, match=r"law 1 has 2 distinct points, fewer than k = 5"):
        answers = qz.quantize_many(laws, 5, rng=[0, 1, 2], on_error="fewer")
    assert [len(s.points) for s in answers] == [5, 2, 5]
    np.testing.assert_array_equal(np.sort(answers[1].points, axis=0), [[1.0, 2.0], [3.0, 4.0]])
    assert answers[1].distortion == 0
    assert answers[1].converged
    same(answers[2], qz.quantize(laws[2], 5, rng=2))
    with pytest.raises(ValueError, match='on_error must be "raise" or "fewer"'):
        qz.quantize_many(laws, 5, rng=0, on_error="skip")
