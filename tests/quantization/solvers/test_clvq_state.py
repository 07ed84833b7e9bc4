"""A run that stops and goes on is one run."""

import sys

import numpy as np
import pytest

import quantization as qz
from quantization.clvq_state import CLVQState
from quantization.solvers.base import max_iter_of


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
    whole = qz.quantize(qz.Stream(parts), 5, solver=solver, init=start, rng=0)
    first = qz.quantize(qz.Stream(parts[:3]), 5, solver=solver, init=start, rng=0)
    second = qz.quantize(qz.Stream(parts[3:]), 5, solver=solver, init=first, rng=0)
    agree(second, whole)
    assert (first.n_iter, second.n_iter) == (3, 5)
    assert second.trace.distortion[0] == first.distortion
    np.testing.assert_array_equal(second.trace.distortion[1:], whole.trace.distortion[4:])


def test_batch_after_batch_is_a_stream_of_them(parts, tmp_path):
    solver, start = qz.CLVQ(epochs=1), np.concatenate(parts)[:5]
    whole = qz.quantize(qz.Stream(parts), 5, solver=solver, init=start, rng=0)
    sol = start
    for part in parts:
        sol = qz.quantize(qz.Stream([part]), 5, solver=solver, init=sol, rng=0)
        sol.save(tmp_path / "so-far")
        sol = qz.Solution.load(tmp_path / "so-far")
    agree(sol, whole)


def test_a_snapshot_is_a_start_that_later_steps_leave_alone(parts):
    stream, solver = qz.Stream(parts), qz.CLVQ(epochs=1)
    snapshots = list(qz.iterate(stream, 5, solver=solver, rng=0))
    resumed = qz.quantize(qz.Stream(parts[4:]), 5, solver=solver, init=snapshots[4], rng=0)
    agree(resumed, snapshots[-1])


def test_samples_go_on_with_their_counts(rng):
    points = rng.normal(size=(2000, 2))
    first = qz.quantize(points, 10, solver=qz.CLVQ(batch=100, epochs=2), rng=0)
    second = qz.quantize(points, 10, solver=qz.CLVQ(batch=100, epochs=3), init=first, rng=1)
    assert first.trace.clvq_state.won.sum() == pytest.approx(4000)
    assert second.trace.clvq_state.won.sum() == pytest.approx(10_000)
    assert second.trace.clvq_state.steps == 100
    assert second.distortion < first.distortion * 1.01


def test_codes_alone_begin_again(parts):
    solver = qz.CLVQ(epochs=1)
    first = qz.quantize(qz.Stream(parts), 5, solver=solver, rng=0)
    for start in (first.measure, first.measure.points):
        again = qz.quantize(qz.Stream(parts), 5, solver=solver, init=start, rng=0)
        assert again.trace.clvq_state.steps == len(parts)
    points = np.concatenate(parts)
    lloyd = qz.quantize(points, 5, init=first, rng=0)  # a solver that has no use for progress takes the codes
    assert lloyd.trace.clvq_state is None
    assert lloyd.trace.distortion[0] == qz.distortion(points, first.measure.points, rng=0).value
    assert qz.quantize(qz.Stream(parts), 5, solver=solver, init=lloyd, rng=0).trace.clvq_state.steps == len(parts)


def test_codes_of_another_shape_are_refused(parts):
    first = qz.quantize(qz.Stream(parts), 5, solver=qz.CLVQ(epochs=1), rng=0)
    with pytest.raises(ValueError, match=r"shape \(k, d\) = \(6, 2\); received \(5, 2\)"):
        qz.quantize(qz.Stream(parts), 6, init=first, rng=0)


def test_no_step_is_where_it_stopped(parts):
    first = qz.quantize(qz.Stream(parts), 5, solver=qz.CLVQ(epochs=1), rng=0)
    agree(qz.quantize(qz.Stream(parts), 5, init=first, max_iter=0, rng=0), first)


def test_counts_of_long_runs_are_exact():
    # Float64 counts: 2^53 points, and codes that hardly move any more.
    started = CLVQState.begin(np.zeros((1, 1)))
    long = CLVQState(started.codes, started.won + 2.0**52, *(getattr(started, n) for n in ("idle", "mean", "share", "residuals")))
    steps = qz.CountPower(1.0).steps(0, np.array([1024.0]), long.won, 1024)
    assert steps[0] == pytest.approx(1024 / (2.0**52 + 1024), rel=1e-9)


def test_epochs_are_the_budget_unless_steps_are_given(rng):
    points = rng.normal(size=(800, 1))
    sol = qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2), rng=0)
    assert sol.n_iter == 800  # more than the 300 that a solver without epochs may take
    assert sol.trace.clvq_state.won.sum() == pytest.approx(1600)
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2), max_iter=50, rng=0).n_iter == 50
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2, epochs=2), max_iter=5000, rng=0).n_iter == 800
    assert qz.quantize(points, 3, solver=qz.CLVQ(batch=2), rng=0).n_iter == 300
    assert max_iter_of(qz.Lloyd(), None) == 300
    assert max_iter_of(qz.CLVQ(epochs=1), None) == sys.maxsize
    with pytest.raises(ValueError, match="max_iter must be an integer ≥ 0; received -1"):
        max_iter_of(qz.Lloyd(), -1)
