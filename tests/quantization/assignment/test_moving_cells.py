"""Cells whose codes move, by every strategy: Lloyd's loop goes on through empty cells, and nothing is prepared twice."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantization import DiscreteMeasure, Lloyd
from quantization.assignment import gemm, gram_matrix, low_dim
from quantization.assignment.cells import relocated
from quantization.empirical.samples import EmpiricalLaw
from quantization.problem import Problem
from quantization.status import TooFewPoints

CASES = [("blocks", 5), ("low_dim", 2), ("low_dim", 7), ("gemm", 20), ("elkan", 300), ("gram_matrix", 100)]
BEGUN = {  # what prepares samples or a run, by strategy: a class and its method
    "low_dim": [(low_dim.LowDim, "__init__"), (low_dim._Cells, "__init__")],
    "gemm": [(gemm.Gemm, "__init__"), (gemm._Frame, "__init__"), (gemm._Search, "__init__"), (gemm._Search, "_prepare")],
    "gram_matrix": [(gram_matrix.GramMatrix, "__init__"), (gram_matrix._Cells, "__init__")],
}
BEGUN["elkan"] = BEGUN["gemm"]


def blobs(rng, d, dtype):
    """Blobs, and codes of which two are without members from the second codebook on.

    Between two blobs a code has two points, 10 to its left and right; as the codes of the blobs come nearer, they take these.
    """
    centres, codes = np.zeros((9, d)), np.zeros((8, d))
    centres[:5, 0], codes[:3, 0] = [-12, -10, 10, 12, 60], [-21, 0, 21]
    centres[5:, 0], codes[3:6, 0], centres[5:, 1], codes[3:6, 1] = [-212, -210, -190, -188], [-221, -200, -179], 50, 50
    codes[6:, 0] = 55, 65
    sizes = [100, 1, 1, 100, 200, 80, 1, 1, 80]
    points = np.repeat(centres, sizes, 0) + rng.standard_normal((sum(sizes), d)) * (0.5 / d**0.5)
    points[202:402] += 6 * rng.standard_normal((200, d)) / d**0.5
    order = rng.permutation(len(points))
    return points[order].astype(dtype), codes


def plain(points, weights, codes, count):
    """Distortions of Lloyd's algorithm in numpy by the same rule, and which codebooks had empty cells."""
    x, codes, distortions, empty = points.astype(np.float64), codes.copy(), [], []
    for _ in range(count):
        empty.append(0)
        while True:
            squared = np.square(x[:, None] - codes).sum(2)
            labels, costs = squared.argmin(1), weights * squared.min(1)
            masses = np.bincount(labels, weights, len(codes))
            if masses.all():
                break
            empty[-1] += int((masses == 0).sum())
            for k in np.flatnonzero(masses == 0):
                codes[k] = x[costs.argmax()]
                costs = np.minimum(costs, weights * np.square(x - codes[k]).sum(1))
        distortions.append(float(costs.sum()))
        means = np.stack([np.average(x[labels == k], 0, weights[labels == k]) for k in range(len(codes))])
        codes = means.astype(points.dtype).astype(np.float64)
    return np.array(distortions), empty


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("strategy", "d"), CASES)
def test_an_empty_cell_on_the_way_costs_no_second_start(strategy, d, dtype, weighted, monkeypatch, rng):
    points, codes = blobs(rng, d, dtype)
    weights = rng.dirichlet(np.full(len(points), 9.0)) if weighted else np.full(len(points), 1 / len(points))
    measure = DiscreteMeasure(points, weights)
    if strategy == "elkan":
        monkeypatch.setattr(gemm, "_BLOCKS_BYTES", 0)
    begun = []
    for owner, name in BEGUN.get(strategy, []):
        monkeypatch.setattr(owner, name, counted(begun, getattr(owner, name), (owner, name)))
    law = EmpiricalLaw(measure, 2.0, "gemm" if strategy == "elkan" else strategy)
    asked = []
    monkeypatch.setattr(EmpiricalLaw, "cells", counted(asked, EmpiricalLaw.cells, "cells"))
    problem = Problem(len(codes), 2.0, points, d, measure=measure, exact=law)
    states = list(itertools.islice(Lloyd(rtol=0).solve(problem, codes, rng), 12))
    expected, empty = plain(points, measure.weights_float64, codes, len(states))
    assert empty[:2] == [0, 2]
    assert len(states) > 3
    for state, distortion in zip(states, expected, strict=True):
        slack = state.distortion_rtol if state.estimated else 0.0
        # A code is off by a unit of its dtype at most, where another order of a sum is rounded another way.
        assert state.distortion == pytest.approx(distortion, rel=slack + (1e-5 if dtype is np.float32 else 1e-10))
        codes_of_state, exact = np.asarray(state.codes()), points.astype(np.float64)
        found = float(measure.weights_float64 @ np.square(exact[:, None] - codes_of_state).sum(2).min(1))
        assert state.distortion == pytest.approx(found, rel=slack + 1e-10)
    assert sorted(map(str, begun)) == sorted(map(str, BEGUN.get(strategy, [])))  # each of them once
    assert strategy == "blocks" or not asked  # nor was there a pass beside the strategy's own


def counted(calls, function, name):
    def called(*arguments, **options):
        calls.append(name)
        return function(*arguments, **options)

    return called


@pytest.mark.parametrize(("strategy", "d"), CASES)
def test_more_codes_than_distinct_points_are_refused(strategy, d, rng):
    points = np.repeat(rng.standard_normal((3, d)), 70, 0)
    measure = DiscreteMeasure(points)
    law = EmpiricalLaw(measure, 2.0, "gemm" if strategy == "elkan" else strategy)
    problem = Problem(5, 2.0, points, d, measure=measure, exact=law)
    for codes in (points[:5] * 1.0, rng.standard_normal((5, d))):
        with pytest.raises(TooFewPoints, match="received 3"):
            list(Lloyd().solve(problem, codes, rng))


@pytest.mark.parametrize("strategy", ["low_dim", "gemm", "gram_matrix"])
def test_distances_are_those_of_direct_differences(strategy, rng, brute):
    points, codes = rng.standard_normal((300, 70 if strategy != "low_dim" else 5)), rng.standard_normal((6, 70))
    law, codes = EmpiricalLaw(DiscreteMeasure(points), 2.0, strategy), codes[:, : points.shape[1]]
    labels = rng.integers(0, 6, 300).astype(np.int32)
    found = law.prepared(strategy).distances(np.ascontiguousarray(codes), labels)
    # Sums of d squares, in some order: d + 2 roundings at most.
    np.testing.assert_allclose(found, brute.squared(points, codes)[np.arange(300), labels], rtol=75 * 2.0**-52)


def test_codes_go_to_the_costliest_points_one_after_the_other():
    points = np.array([0.0, 1.0, 9.0, 10.0, 30.0, 30.0])
    codes = np.array([[0.0], [77.0], [99.0], [88.0]])
    costs = np.square(points)

    def place(i, among):
        return points[i : i + 1], np.square(points[among] - points[i])

    moved = relocated(codes, np.array([1.0, 0.0, 0.0, 0.0]), costs, place)
    np.testing.assert_array_equal(moved, [[0.0], [30.0], [10.0], [1.0]])
    np.testing.assert_array_equal(codes, [[0.0], [77.0], [99.0], [88.0]])
    stopped = relocated(codes, np.array([1.0, 0.0, 0.0, 0.0]), np.where(points == 30, costs, 0.0), place)
    np.testing.assert_array_equal(stopped, [[0.0], [30.0], [99.0], [88.0]])
    with pytest.raises(TooFewPoints, match="received 1"):
        relocated(codes, np.array([1.0, 0.0, 0.0, 0.0]), 0 * costs, place)


@pytest.mark.parametrize("far", [0, 300, 2500])  # of 3000 points, together and far from all codes
def test_codes_go_where_every_cost_is_known(far, rng):
    points = rng.standard_normal((3000, 20))
    points[:far] += 100
    weights = rng.integers(1, 4, 3000) / 6000
    costs, asked = weights * np.square(points).sum(1), []

    def place(i, among):
        asked.append(len(among))
        return points[i], weights[among] * np.square(points[among] - points[i]).sum(1)

    codes, masses = np.zeros((40, 20)), np.where(np.arange(40) < 10, 0.1, 0.0)
    expected, left = codes.copy(), costs
    for k in range(10, 40):
        expected[k] = points[left.argmax()]
        left = np.minimum(left, weights * np.square(points - expected[k]).sum(1))
    np.testing.assert_array_equal(relocated(codes, masses, costs, place), expected)
    assert sum(asked) < 30 * 3000 / 2


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(5, 3000), st.integers(1, 4), st.integers(2, 60), st.booleans())
def test_empty_cells_move_to_the_costliest_points_one_after_the_other(seed, n, d, k, tied):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)) + 5 * rng.integers(0, 4, size=(n, 1))
    if tied:  # of points that cost as much the first is taken, where they are few
        points = np.round(points[:64])
    n = len(points)
    weights = np.full(n, 1 / n) if tied else rng.random(n)
    codes, masses = points[rng.integers(0, n, k)], (rng.random(k) < 0.3).astype(float)
    costs = weights * np.square(points[:, None] - codes).sum(2).min(1)

    def place(point, among):
        return points[point], weights[among] * np.square(points[among] - points[point]).sum(1)

    expected, left = codes.copy(), costs.copy()  # every cost brought up to date after every move
    for empty in np.flatnonzero(masses == 0):
        costliest = int(left.argmax())
        if left[costliest] > 0:
            expected[empty], reached = place(costliest, np.arange(n))
            left = np.minimum(left, reached)
    if costs.max() > 0:
        np.testing.assert_array_equal(relocated(codes, masses, costs, place), expected)
