"""A run that stops and goes on is one run."""

import sys

import numpy as np
import pytest

import quantization as qz
from quantization.progress import Progress
from quantization.solver import budget


@pytest.fixture
def parts(rng):
    return [rng.normal(size=(m, 2)) for m in (30, 7, 41, 25, 33, 12, 1, 50)]


def agree(one, other):
    np.testing.assert_array_equal(one.measure.points, other.measure.points)
    np.testing.assert_array_equal(one.measure.weights, other.measure.weights)
    assert (one.distortion, one.distortion_se, one.stationarity) == (other.distortion, other.distortion_se, other.stationarity)


@pytest.mark.parametrize("schedule", [qz.CountPower(), qz.CountPower(1.0, delay=2.0), qz.RobbinsMonro(2.0)])
@pytest.mark.parametrize("averaging", [True, False])
def test_two_streams_in_turn_are_one_after_the_other(parts, schedule, averaging):
    solver = qz.CLVQ(epochs=1, schedule=schedule, averaging=averaging)
    start = np.concatenate(parts)[:5]
    whole = qz.quantize(qz.Stream(parts), 5, solver=solver, start=start)
    first = qz.quantize(qz.Stream(parts[:3]), 5, solver=solver, start=start)
    second = qz.quantize(qz.Stream(parts[3:]), 5, solver=solver, start=first)
    agree(second, whole)
    assert (first.steps, second.steps) == (3, 5)
    assert second.trace.distortion[0] == first.distortion
    np.testing.assert_array_equal(second.trace.distortion[1:], whole.trace.distortion[4:])


def test_batch_after_batch_is_a_stream_of_them(parts, tmp_path):
    solver, start = qz.CLVQ(epochs=1), np.concatenate(parts)[:5]
    whole = qz.quantize(qz.Stream(parts), 5, solver=solver, start=start)
    sol = start
    for part in parts:
        sol = qz.quantize(qz.Stream([part]), 5, solver=solver, start=sol)
        sol.save(tmp_path / "so-far")
        sol = qz.Solution.load(tmp_path / "so-far")
    agree(sol, whole)


def test_a_snapshot_is_a_start_that_later_steps_leave_alone(parts):
    stream, solver = qz.Stream(parts), qz.CLVQ(epochs=1)
    snapshots = list(qz.iterate(stream, 5, solver=solver))
    resumed = qz.quantize(qz.Stream(parts[4:]), 5, solver=solver, start=snapshots[4])
    agree(resumed, snapshots[-1])


def test_samples_go_on_with_their_counts(rng):
    points = rng.normal(size=(2000, 2))
    first = qz.quantize(points, 10, solver=qz.CLVQ(batch=100, epochs=2))
    second = qz.quantize(points, 10, solver=qz.CLVQ(batch=100, epochs=3), start=first, seed=1)
    assert first.trace.progress.won.sum() == pytest.approx(4000)
    assert second.trace.progress.won.sum() == pytest.approx(10_000)
    assert second.trace.progress.steps == 100
    assert second.distortion < first.distortion * 1.01


def test_codes_alone_begin_anew(parts):
    solver = qz.CLVQ(epochs=1)
    first = qz.quantize(qz.Stream(parts), 5, solver=solver)
    for start in (first.measure, qz.Given(first.measure.points)):
        again = qz.quantize(qz.Stream(parts), 5, solver=solver, start=start)
        assert again.trace.progress.steps == len(parts)
    points = np.concatenate(parts)
    lloyd = qz.quantize(points, 5, start=first)  # a solver that has no use for progress takes the codes
    assert lloyd.trace.progress is None
    assert lloyd.trace.distortion[0] == qz.distortion(points, first.measure.points).value
    assert qz.quantize(qz.Stream(parts), 5, solver=solver, start=lloyd).trace.progress.steps == len(parts)


def test_a_start_of_another_shape_is_refused(parts):
    first = qz.quantize(qz.Stream(parts), 5, solver=qz.CLVQ(epochs=1))
    with pytest.raises(ValueError, match=r"shape \(k, d\) = \(6, 2\); received \(5, 2\)"):
        qz.quantize(qz.Stream(parts), 6, start=first)


def test_no_step_is_where_it_stopped(parts):
    first = qz.quantize(qz.Stream(parts), 5, solver=qz.CLVQ(epochs=1))
    agree(qz.quantize(qz.Stream(parts), 5, start=first, max_steps=0), first)


def test_counts_of_long_runs_are_exact():
    # Float64 counts: 2^53 points, and codes that hardly move any more.
    started = Progress.begin(np.zeros((1, 1)))
    long = Progress(started.codes, started.won + 2.0**52, *(getattr(started, n) for n in ("idle", "mean", "share", "pull")))
    steps = qz.CountPower(1.0).steps(0, np.array([1024.0]), long.won, 1024)
    assert steps[0] == pytest.approx(1024 / (2.0**52 + 1024), rel=1e-9)


def test_epochs_are_the_budget_unless_steps_are_given(rng):
    points = rng.normal(size=(800, 1))
    sol = qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2))
    assert sol.steps == 800  # more than the 300 that a solver without epochs may take
    assert sol.trace.progress.won.sum() == pytest.approx(1600)
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2), max_steps=50).steps == 50
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2), max_steps=5000).steps == 800
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2)).steps == 300
    assert budget(qz.Lloyd(), None) == 300
    assert budget(qz.CLVQ(epochs=1), None) == sys.maxsize
    with pytest.raises(ValueError, match="max_steps must be an integer ≥ 0; received -1"):
        budget(qz.Lloyd(), -1)
