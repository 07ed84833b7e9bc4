"""Problems solved together, on CPU tensors and in torch's own operations, against quantize one by one."""

import sys

import numpy as np
import pytest
import torch

import quantization as qz
from quantization.assignment import padding_groups, torch_blocks
from quantization.solvers import lloyd, lloyd_gpu

DTYPES = [torch.float64, torch.float32, torch.float16]


def agree(together, alone, units=64.0):
    """The same choices, so the same numbers up to the rounding of codes to their dtype (``units`` of it) and of float64 sums."""
    for a, b in zip(together, alone, strict=True):
        dtype = b.measure.points.dtype
        slack = units * torch.finfo(dtype).eps
        assert a.measure.points.dtype is dtype
        assert (a.status, a.n_iter, a.solver) == (b.status, b.n_iter, b.solver)
        np.testing.assert_allclose(a.trace.distortion, b.trace.distortion, rtol=slack, atol=1e-300)
        np.testing.assert_allclose(a.trace.stationarity, b.trace.stationarity, rtol=1e3 * slack, atol=slack)
        assert a.distortion == a.trace.distortion[-1]
        assert a.stationarity == a.trace.stationarity[-1]
        assert a.distortion_se == 0
        np.testing.assert_allclose(np.asarray(a.measure.weights_float64), np.asarray(b.measure.weights_float64), rtol=1e-12)
        scale = float(b.measure.points.abs().max())
        assert float((a.measure.points.double() - b.measure.points.double()).abs().max()) <= slack * scale


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [2, 60])
def test_as_each_one_alone(ragged, solved, dtype, dim):
    answers = solved(ragged(dtype, dim), [7, 8, 7, 6, 5, 1])
    agree(answers.together, answers.alone)
    assert any(a.status is qz.Status.CONVERGED for a in answers.together)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_best_of_restarts(ragged, solved, dtype):
    measures, ks = ragged(dtype, 6), [7, 8, 7, 6, 5, 4]
    answers = solved(measures, ks, restarts=4, max_iter=3)
    agree(answers.together, answers.alone)
    single = solved(measures, ks, max_iter=3).together
    assert all(a.distortion <= b.distortion for a, b in zip(answers.together, single, strict=True))
    assert any(a.distortion < b.distortion for a, b in zip(answers.together, single, strict=True))


@pytest.mark.parametrize("block", [2**8, 2**11])
def test_blocks_change_nothing(monkeypatch, ragged, solved, block):
    monkeypatch.setattr(torch_blocks, "_LEAST_BLOCK", block)
    monkeypatch.setattr(torch_blocks, "_WIDTH", 7)
    answers = solved(ragged(torch.float32, 20), [7, 8, 7, 6, 5, 1], max_iter=5)
    agree(answers.together, answers.alone)


def test_which_are_solved_together_changes_nothing(monkeypatch, ragged, solved):
    measures, ks = ragged(torch.float64, 9), [7, 8, 7, 6, 5, 1]
    whole = solved(measures, ks).together
    monkeypatch.setattr(padding_groups, "_MEMBERS", 2)
    agree(solved(measures, ks).together, whole)
    agree(solved(measures[::-1], ks[::-1], seeds=range(6)[::-1]).together[::-1], whole)


@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_the_budget_counts_steps(ragged, solved, max_iter):
    answers = solved(ragged(torch.float32, 8), [7, 8, 7, 6, 5, 3], max_iter=max_iter, solver=qz.Lloyd(rtol=0))
    agree(answers.together, answers.alone)
    assert all(a.n_iter <= max_iter for a in answers.together)


def test_without_a_tolerance_runs_end_at_fixed_points(ragged, solved):
    answers = solved(ragged(torch.float32, 3), [7, 8, 7, 6, 5, 3], max_iter=200, solver=qz.Lloyd(rtol=0))
    agree(answers.together, answers.alone)
    assert {a.status for a in answers.together} <= {qz.Status.STALLED, qz.Status.CONVERGED}


@pytest.mark.parametrize("start", [qz.RandomPoints(), qz.KMeansPlusPlus(pool=30), np.zeros((5, 8)) + np.arange(5)[:, None]])
def test_other_initializations_are_drawn_one_by_one(ragged, solved, start):
    answers = solved(ragged(torch.float32, 8, sizes=(600, 610)), [5, 5], start=start, restarts=2)
    agree(answers.together, answers.alone)


def test_empty_cells_are_mended(rng, solved):
    # Codes far from every point, and all but one of them alike: four of five cells are empty at first.
    measures = [torch.from_numpy(rng.normal(size=(n, 3))) for n in (40, 44, 50)]
    answers = solved(measures, [5, 5, 5], start=np.full((5, 3), 1e3))
    agree(answers.together, answers.alone)
    assert all((np.asarray(a.measure.weights_float64) > 0).all() for a in answers.together)


def test_few_distinct_points_suffice_to_the_last(solved, rng):
    points = torch.from_numpy(rng.normal(size=(6, 4)).astype(np.float32)).repeat(8, 1)
    answers = solved([points, points * 2], [6, 5])
    agree(answers.together, answers.alone)
    assert answers.together[0].distortion == 0


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-30, torch.float32), (1e17, torch.float32), (1e-145, torch.float64), (1e145, torch.float64)]
)
def test_scales_as_far_as_their_squares_reach(ragged, solved, scale, dtype):
    measures = [m * scale for m in ragged(dtype, 6)[1:]]
    answers = solved(measures, [4] * 5)
    agree(answers.together, answers.alone)
    assert all(a.status is qz.Status.CONVERGED for a in answers.together)
    assert any(a.n_iter > 1 for a in answers.together)


def test_a_spread_far_below_the_magnitude_is_not_lost(solved):
    points = torch.tensor([[1.0001, 1], [0.9999, 1], [-1.0001, 1], [-0.9999, 1]], dtype=torch.float32)
    answer = solved([points], [2], restarts=5).together[0]
    exact = np.square(np.abs(points[:, 0].double().numpy()) - 1).mean()
    # Codes are rounded to float32, a unit of 6e-8 where |x − c| is 1e-4: off by 6e-4 of it at most.
    assert answer.distortion == pytest.approx(exact, rel=2 * 6e-4)


def test_inputs_are_neither_copied_nor_written(monkeypatch, ragged, solved):
    measures = ragged(torch.float32, 8)[1:]
    before, seen = [m.clone() for m in measures], []
    make = padding_groups.Group.of

    def watching(given, ks):
        made = make(given, ks)
        seen.extend(x.data_ptr() for x in made.points)
        return made

    monkeypatch.setattr(lloyd_gpu.Group, "of", watching)
    solved(measures, [4] * 5)
    assert set(seen) == {m.data_ptr() for m in measures}
    assert all(torch.equal(a, b) for a, b in zip(measures, before, strict=True))


class TestInQuantizeMany:
    """The same through the front door, with CPU tensors sent the way of a GPU's."""

    @pytest.fixture(autouse=True)
    def batched(self, monkeypatch):
        monkeypatch.setattr(lloyd, "BATCHED_DEVICES", {"cpu"})

    def test_answers_and_order(self, ragged):
        measures = [*ragged(torch.float32, 5)[1:], *ragged(torch.float64, 3)[1:], np.arange(20.0).reshape(10, 2)]
        ks = [4, 3, 4, 3, 2, 5, 5, 5, 4, 4, 2]
        seeds = list(range(11))
        answers = qz.quantize_many(measures, ks, rng=seeds, n_init=2, max_iter=20)
        alone = [qz.quantize(m, k, rng=s, n_init=2, max_iter=20) for m, k, s in zip(measures, ks, seeds, strict=True)]
        agree(answers[:10], alone[:10])
        np.testing.assert_array_equal(answers[10].measure.points, alone[10].measure.points)

    def test_errors_name_the_measure(self, ragged):
        measures = ragged(torch.float32, 5)[1:]
        few = measures[0][:2].repeat(50, 1)
        with pytest.raises(ValueError, match=r"^law 3: k = 4 codes need at least 4 distinct points .*; received 2"):
            qz.quantize_many([*measures[:3], few, measures[4]], 4, rng=0)
        with pytest.raises(ValueError, match=r"^law 1: k = 4 codes need at least 4 distinct points .*; received 2"):
            qz.quantize_many([measures[0], few], 4, init=qz.RandomPoints(), rng=0)
        with pytest.raises(ValueError, match=r"^law 1: k = 4 codes need at least 4 distinct points .*; received 2"):
            qz.quantize_many([measures[0], few], 4, init=np.arange(20.0).reshape(4, 5), rng=0)
        with pytest.raises(ValueError, match=r"^law 0: init must have shape"):
            qz.quantize_many(measures, 4, init=np.zeros((3, 5)), rng=0)
        with pytest.raises(ValueError, match=r"^law 0: n_init must be"):
            qz.quantize_many(measures, 4, n_init=0, rng=0)

    def test_what_is_not_taken_goes_the_usual_way(self, ragged):
        measures = [*ragged(torch.float32, 5)[1:3], torch.arange(10.0)[:, None]]
        for i, answer in enumerate(qz.quantize_many(measures, 3, solver=qz.CLVQ(), rng=[0, 1, 2], max_iter=5)):
            alone = qz.quantize(measures[i], 3, solver=qz.CLVQ(), rng=i, max_iter=5)
            assert torch.equal(answer.measure.points, alone.measure.points)
        medians = qz.quantize_many(measures[:2], 3, r=1.0, rng=[0, 1])
        for i, answer in enumerate(medians):
            alone = qz.quantize(measures[i], 3, r=1.0, rng=i)
            assert torch.equal(answer.points, alone.points)

    def test_autocast_and_tf32_are_kept_out(self, ragged):
        torch.set_float32_matmul_precision("medium")
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rough = qz.quantize_many(ragged(torch.float32, 40)[1:], 4, rng=0)
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision("highest")
        assert all(a.status is qz.Status.CONVERGED for a in rough)


def test_groups_hold_alike_problems_only(rng):
    def measure(n, d, dtype):
        return qz.DiscreteMeasure(torch.zeros(n, d, dtype=dtype))

    sizes = [int(n) for n in rng.integers(1, 3000, 60)]
    measures = [measure(n, d, t) for n in sizes for d, t in [(2, torch.float32), (3, torch.float32), (2, torch.float64)]]
    ks = [int(k) for k in rng.integers(1, 40, len(measures))]
    groups = padding_groups.grouped(measures, ks)
    assert sorted(i for g in groups for i in g) == list(range(len(measures)))
    for g in groups:
        some = [measures[i] for i in g]
        assert len({(m.dim, m.points.dtype) for m in some}) == 1
        n = [m.size for m in some]
        assert max(n) <= max(1.25 * min(n), min(n) + 64)
        assert max(ks[i] for i in g) <= 1.25 * min(ks[i] for i in g)


def test_groups_are_bounded(monkeypatch):
    measures, ks = [qz.DiscreteMeasure(torch.zeros(10, 4))] * 9, [5] * 9
    assert [len(g) for g in padding_groups.grouped(measures, ks)] == [9]
    monkeypatch.setattr(padding_groups, "_CODE_ENTRIES", 4 * 5 * 4)
    assert [len(g) for g in padding_groups.grouped(measures, ks)] == [4, 4, 1]
    monkeypatch.setattr(padding_groups, "_CODE_ENTRIES", 1)  # one that is too large alone is still solved
    assert [len(g) for g in padding_groups.grouped(measures, ks)] == [1] * 9


def test_triton_is_not_imported_for_host_tensors(monkeypatch, ragged, solved):
    for name in ("quantization.assignment.triton_blocks", "quantization.assignment.triton_kernels"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    assert len(solved(ragged(torch.float32, 4), [2] * 6, max_iter=1).together) == 6
