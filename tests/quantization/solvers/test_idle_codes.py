"""Idle codes: found where they are worth nothing, put where they are worth something, left alone where they are rare."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import quantization as qz
from quantization.clvq_state import CLVQState
from quantization.solvers.idle_codes import idle_codes


class GaussianMixture2D:
    """The standard normal law in so many dimensions, known by sampling alone."""

    def __init__(self, dim=2, shift=0.0):
        self.dim, self.shift = dim, shift

    def sample(self, n, rng):
        return rng.standard_normal((n, self.dim)) + self.shift


def state_of(codes, idle, won=None):
    none = np.zeros(len(codes))
    return replace(CLVQState.begin(np.asarray(codes, dtype=np.float64)), idle=np.asarray(idle, dtype=np.float64), won=none)


def test_which_codes_are_idle():
    line = np.arange(4.0)[:, None]  # K = 4, gaps of 1
    assert idle_codes(state_of(line, [0, 63, 64, 640]), 1.0, np.inf).tolist() == [2, 3]  # 16 K points at least
    assert idle_codes(state_of(line, [0, 0, 0, 640]), 0.01, np.inf).tolist() == []  # 4 K δ²/D = 1600: worth waiting for
    assert idle_codes(state_of(line, [0, 0, 0, 1600]), 0.01, np.inf).tolist() == [3]
    assert idle_codes(state_of(line, [0, 0, 0, 16000]), 1e-9, np.inf).tolist() == []
    assert idle_codes(state_of(line, [0, 0, 0, 16384]), 1e-9, np.inf).tolist() == [3]  # 4096 K points at most
    assert idle_codes(state_of(line, [0, 0, 0, 20]), 1e-9, 10.0).tolist() == [3]  # twice all there is
    assert idle_codes(state_of(line, [0, 640, 640, 640]), 0.01, np.inf).tolist() == [1, 2, 3]  # none idle for half as long
    assert idle_codes(state_of(line, [0, 40, 640, 640]), 0.01, np.inf).tolist() == []  # as many as are idle for longer
    assert idle_codes(state_of(line, [0, 640, 640, 640]), 0.0, np.inf).tolist() == []  # nothing to gain
    assert idle_codes(state_of([[0.0], [0.0]], [0, 32]), 1e-9, np.inf).tolist() == [1]  # a duplicate


@pytest.mark.parametrize("kind", ["samples", "law", "stream", "torch"])
def test_codes_that_start_far_off_come_to_work(kind):
    law, k = GaussianMixture2D(), 32
    points = law.sample(60_000, np.random.default_rng(3))
    stream = qz.Stream(np.split(points, 60))
    asked = {"samples": points, "law": law, "stream": stream, "torch": qz.Stream(list(torch.from_numpy(points).split(1000)))}[
        kind
    ]
    start = np.random.default_rng(4).normal([50.0, 0.0], size=(k, 2))
    sol = qz.quantize(asked, k, solver=qz.CLVQ(batch=1000), init=start, max_iter=180, rng=0)
    good = qz.quantize(asked, k, solver=qz.CLVQ(batch=1000), max_iter=180, rng=0)
    assert (np.asarray(sol.measure.weights) > 0.1 / k).all()
    found, best = (qz.distortion(points, np.asarray(s.measure.points), rng=0).value for s in (sol, good))
    assert found < 1.05 * best


def test_codes_that_start_in_one_place_part():
    sol = qz.quantize(GaussianMixture2D(), 16, solver=qz.CLVQ(), init=np.zeros((16, 2)), max_iter=100, rng=0)
    assert (sol.measure.weights > 0.01).all()
    assert sol.distortion < 1.05 * qz.quantize(GaussianMixture2D(), 16, solver=qz.CLVQ(), max_iter=100, rng=0).distortion


def test_codes_part_in_many_dimensions():
    # Four clusters 10 σ apart in R^400, all codes in one place: no code may starve beside a centroid.
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 400)) * 10 / 20 / np.sqrt(2)
    parts = [centres[rng.integers(4, size=256)] + rng.normal(size=(256, 400)) / 20 for _ in range(60)]
    sol = qz.quantize(qz.Stream(parts), 4, solver=qz.CLVQ(), init=np.zeros((4, 400)), max_iter=120, rng=0)
    assert sol.distortion < 1.1  # σ² d = 1; with two clusters to one code 1 + 25 / 2 at least
    assert (sol.measure.weights > 0.2).all()


def test_a_rare_cluster_keeps_its_code():
    # Mass 1/500 at a distance of 1000: 2 points a batch of 1024, and none in 13 % of the batches.
    class Rare:
        def sample(self, n, rng):
            return rng.normal(size=(n, 1)) + 1000.0 * (rng.random((n, 1)) < 1 / 500)

    start = np.array([[-0.8], [0.8], [1000.0]])
    for sol in qz.iterate(Rare(), 3, solver=qz.CLVQ(), init=start, max_iter=150, rng=0):
        assert sol.trace.clvq_state.codes[2, 0] > 900
    assert sol.distortion < 1


def test_a_good_codebook_loses_no_code():
    # K = 300 on N(0, I_2): cells of a thousandth of the mean mass, which win nothing for long, must stay.
    moves, before = 0, None
    for sol in qz.iterate(GaussianMixture2D(), 300, solver=qz.CLVQ(), max_iter=200, rng=0):
        codes = sol.trace.clvq_state.codes
        if before is not None:
            unwon = sol.trace.clvq_state.idle > 0  # steps move codes that win; only a relocation moves one that does not
            moves += int((np.abs(codes - before)[unwon] > 0).any(1).sum())
        before = codes
    assert moves == 0


def test_a_move_does_not_raise_the_distortion():
    points, k = GaussianMixture2D().sample(40_000, np.random.default_rng(5)), 64
    start = np.concatenate([GaussianMixture2D().sample(44, np.random.default_rng(6)), np.full((20, 2), 30.0)])
    stream = qz.Stream(np.split(points, 40))
    best, moved = np.inf, 0
    for sol in qz.iterate(stream, k, solver=qz.CLVQ(epochs=1, averaging=False), init=start, rng=0):
        now = sol.trace.clvq_state.codes
        value = qz.distortion(points, now, rng=0).value
        if (jumps := int((now[44:, 0] < 20).sum())) > moved:
            assert value < best * 1.001
            moved = jumps
        best = value
    assert moved == 20


def test_fewer_points_than_codes_on_a_stream():
    # Two values, four codes: there is no cost to take, so that codes stay idle, of weight zero.
    stream = qz.Stream([np.array([[0.0], [1.0]] * 500)] * 20)
    sol = qz.quantize(stream, 4, solver=qz.CLVQ(epochs=5), init=[[0.0], [1.0], [5.0], [6.0]], rng=0)
    assert sol.distortion == 0
    np.testing.assert_allclose(sol.measure.weights, [0.5, 0.5, 0, 0], atol=1e-12)


def test_relocated_codes_share_what_was_won():
    stream = qz.Stream([np.random.default_rng(0).normal(size=(400, 2))] * 5)
    sol = qz.quantize(stream, 3, solver=qz.CLVQ(epochs=1), init=[[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], rng=0)
    assert sol.trace.clvq_state.won.sum() == pytest.approx(2000)
    assert (sol.trace.clvq_state.won > 0).all()
    assert np.isfinite(sol.measure.points).all()


def test_the_plain_method_moves_winners_alone():
    start = [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]
    sol = qz.quantize(GaussianMixture2D(), 3, solver=qz.CLVQ(relocate=False), init=start, max_iter=20, rng=0)
    np.testing.assert_array_equal(sol.measure.points[1:], start[1:])
    np.testing.assert_array_equal(sol.trace.companion, [1, 0, 0])
