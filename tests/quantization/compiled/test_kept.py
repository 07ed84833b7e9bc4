"""Lloyd on kept sums takes the very steps that fresh passes over the points take."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantization as qz
from quantization import threads, voronoi
from quantization.assignment.blocks import labelled, summed
from quantization.compiled import gram, kept, sums
from quantization.compiled.kept import Kept
from quantization.compiled.product import Frame, Product
from quantization.compiled.sweep import Sweep

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=30, derandomize=True)


def clouds(rng, n, d, k, dtype=np.float32, offset=0.0):
    """Points about some centres, as many as there are codes, and weights; the codes are points."""
    centres = rng.standard_normal((k, d))
    points = (centres[rng.integers(k, size=n)] + 0.7 * rng.standard_normal((n, d)) + offset).astype(dtype)
    return points, rng.dirichlet(np.ones(n)), points[rng.choice(n, k, replace=False)].astype(np.float64)


def agrees(points, weights, steps, codes, count):
    """So many steps beside as many fresh passes; returns the last of them."""
    unit, exact = float(np.finfo(points.dtype).eps) * np.abs(points).max(), points.astype(np.float64)
    # A hundred units of sums about one reference, beside a distortion that is some share of the variance.
    rounding, taken, step = 100 * EPS * np.square(exact - exact.mean(0)).sum(1).max(), 0, None
    for taken, step in zip(range(1, count + 1), steps, strict=False):  # noqa: B007
        np.testing.assert_array_equal(step.codes(), codes)
        truth = summed(points, weights, codes, 2.0).cells(codes, 2.0)
        np.testing.assert_allclose(step.masses, truth.masses, rtol=1000 * EPS)
        assert step.distortion == pytest.approx(truth.distortion, abs=rounding)
        assert step.stationarity == pytest.approx(truth.stationarity, rel=1e-6, abs=1e-9)
        following = truth.means.astype(points.dtype).astype(np.float64)
        # A centroid between two numbers of the dtype is rounded to either; both ways sum a cell's terms, so many units apart.
        terms = np.bincount(labelled(points, codes)[0]).max() * EPS * np.abs(points).max()
        np.testing.assert_allclose(step.following(), following, rtol=0, atol=unit + 2 * terms)
        assert step.at_rest == np.array_equal(step.following(), codes)
        codes = step.following()
    assert taken == count or step.at_rest
    return step


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(900, 1500, 100), (803, 700, 9), (300, 640, 150)])  # bounded but for the last
def test_the_same_steps(shape, dtype, offset, rng):
    points, weights, codes = clouds(rng, *shape, dtype, offset)
    agrees(points, weights, Kept(points, weights).steps(codes), codes, 10)


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18])
def test_float32_of_any_size(scale, rng):
    points, weights, codes = clouds(rng, 400, 200, 12)
    points, codes = (points * scale).astype(np.float32), (codes * scale).astype(np.float32).astype(np.float64)
    agrees(points, weights, Kept(points, weights).steps(codes), codes, 6)


def test_a_point_whose_square_overflows_is_found(rng):
    """As soon as a code comes to it: scores of float32 would be infinite, and a difference of two such no number."""
    points, _, codes = clouds(rng, 400, 300, 8)
    points[7] = 3e19
    codes[0] = points[7]
    weights = np.full(400, 1 / 400)
    step = next(Kept(points, weights).steps(points[8:16].astype(np.float64)))
    np.testing.assert_allclose(step.masses, np.bincount(labelled(points, points[8:16].astype(float))[0]) / 400)
    for codes_ in (codes, points[8:16].astype(np.float64)):
        passes = Sweep(points, weights)
        passes.nearest(points[8:16].astype(np.float64))
        np.testing.assert_array_equal(passes.nearest(codes_)[0], labelled(points, codes_)[0])


def test_sums_are_made_anew_after_a_heavy_point_has_left(rng):
    """What is left of a sum after ten million times as much has come and gone has lost as many digits."""
    points = rng.standard_normal((60, 40))
    masses = np.where(np.arange(60) == 0, 1e7, 1.0)
    cells = sums.CellSums(points, masses, Frame(points, points.dtype))
    stay, gone = np.repeat([0, 1, 2], 20).astype(np.int32), np.repeat([0, 1, 2], 20).astype(np.int32)
    gone[0] = 2
    codes = points[[0, 20, 40]]
    for labels in (stay, gone):
        found = cells.advance(labels, np.bincount(labels, masses), codes)
    means = np.array([np.average(points[gone == k], axis=0, weights=masses[gone == k]) for k in range(3)])
    np.testing.assert_allclose(found.following, means, rtol=0, atol=100 * EPS * np.abs(points).max())


def test_it_ends_at_rest(rng):
    points, weights, codes = clouds(rng, 300, 200, 6)
    assert agrees(points, weights, Kept(points, weights).steps(codes), codes, 200).at_rest


def test_points_that_stay_are_not_looked_at_again(monkeypatch, rng):
    """From the third codebook on few points are searched, and their sums alone are touched."""
    searched, moved = [], []
    label, advance = Product.label_and_bound, sums.keeping.move_sums
    monkeypatch.setattr(
        Product,
        "label_and_bound",
        lambda self, points, rows, *rest: (searched.append(rows), label(self, points, rows, *rest))[1],
    )
    monkeypatch.setattr(
        sums.keeping, "move_sums", lambda p, a, rows, *rest: (moved.append(len(rows)), advance(p, a, rows, *rest))[1]
    )
    points, weights, codes = clouds(rng, 1200, 1100, 12)
    points += 3 * rng.standard_normal((1200, 1)).astype(np.float32)  # which keeps it on the way
    steps = Kept(points, weights).steps(codes)
    for _ in range(6):
        searched.clear()
        moved.clear()
        next(steps)
    assert sum(len(rows) for rows in searched if not isinstance(rows, slice)) < 120
    assert not [rows for rows in searched if isinstance(rows, slice)]
    assert max(moved) < 120


@everyday
@given(st.integers(1, 4), st.integers(5, 20), st.integers(0, 2**32 - 1))
def test_ties_go_to_the_lowest_index_whatever_came_before(span, k, seed):
    """On integers distances are exact and many are equal: labels after a move must be those of a search that begins afresh."""
    rng = np.random.default_rng(seed)
    points, codes = np.zeros((600, 160), np.float32), np.zeros((k, 160), np.float32)
    points[:, :3], codes[:, :3] = rng.integers(-span, span + 1, (600, 3)), rng.integers(-span, span + 1, (k, 3))
    kind = Kept(points, np.full(600, 1 / 600))
    search = kept._Search(points, kind._framed(codes.astype(np.float64)), kind._lengths)
    drifts = None
    for _ in range(6):
        np.testing.assert_array_equal(search.labels(codes, drifts), labelled(points, codes.astype(np.float64))[0])
        before, codes = codes, codes.copy()
        codes[rng.integers(k), rng.integers(3)] += rng.integers(-1, 2)
        drifts = np.sqrt(np.square(codes.astype(np.float64) - before).sum(1)) * (1 + 1e-6)
    assert search._lower.shape == (600, k)


def test_the_number_of_threads_changes_no_bit(monkeypatch, rng):
    points, weights, codes = clouds(rng, 700, 2100, 70)
    answers = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        *_, last = (step for _, step in zip(range(6), Kept(points, weights).steps(codes), strict=False))
        answers.append(last)
    np.testing.assert_array_equal(answers[0].following(), answers[1].following())
    assert (answers[0].distortion, answers[0].stationarity) == (answers[1].distortion, answers[1].stationarity)


def test_it_never_rises(monkeypatch, rng):
    """As round-off might have it near a fixed point."""
    points, weights = rng.standard_normal((300, 500)), np.full(300, 1 / 300)
    calls, advance = [], sums.CellSums.advance

    def worse(self, *arguments):
        found = advance(self, *arguments)
        calls.append(1)
        return replace(found, between=0.5 * found.between) if len(calls) == 3 else found

    monkeypatch.setattr(sums.CellSums, "advance", worse)
    assert len(list(Kept(points, weights).steps(points[:6]))) == 2


@pytest.fixture
def on_kept_sums(monkeypatch):
    """The steps taken on kept sums by ``quantize``, which leaves the Gram matrix aside."""
    taken, steps = [], Kept.steps
    monkeypatch.setattr(gram, "_PAYS", 0)
    monkeypatch.setattr(Kept, "steps", lambda self, codes: (taken.append(step) or step for step in steps(self, codes)))
    return taken


def test_tight_clusters_are_left_to_passes_over_the_points(on_kept_sums, rng):
    """Total minus between cancels, and the first digits would be lost."""
    centres = rng.standard_normal((130, 1100))
    points = np.repeat(centres, 6, 0) + 1e-7 * rng.standard_normal((780, 1100))
    kind = Kept(points, np.full(780, 1 / 780))
    assert list(kind.steps(points[::6])) == []
    assert list(kind.steps(points[:130])) == []  # it has learnt that
    sol = qz.quantize(points, 130, init=points[::6], max_iter=5, rng=0)
    assert sol.distortion == pytest.approx(qz.distortion(points, sol.measure.points, rng=0).value, rel=1e-12)
    assert sol.status is qz.Status.CONVERGED
    assert not on_kept_sums


def test_an_empty_cell_is_mended_and_the_way_goes_on(on_kept_sums, rng):
    points, _, codes = clouds(rng, 600, 1400, 100)
    codes[1] = codes[0]
    sol = qz.quantize(points, 100, init=codes, solver=qz.Lloyd(rtol=0), max_iter=8, rng=0)
    assert (sol.measure.weights > 0).all()
    assert (np.diff(sol.trace.distortion) <= 0).all()
    assert len(on_kept_sums) >= sol.n_iter - 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantize_gives_what_passes_over_the_points_give(dtype, on_kept_sums, monkeypatch, rng):
    points, weights, codes = clouds(rng, 500, 1400, 100, dtype)
    law, options = qz.DiscreteMeasure(points, weights), {"start": codes, "solver": qz.Lloyd(rtol=0)}
    fast = qz.quantize(law, 100, **options)
    assert len(on_kept_sums) > 2
    monkeypatch.setattr(kept, "_CODEBOOK", 1e9)
    plain = qz.quantize(law, 100, **options)
    if dtype is np.float32:  # in float64 fresh passes may go on between codebooks that differ by round-off
        assert (fast.steps, fast.status) == (plain.steps, plain.status)
    unit = float(np.finfo(dtype).eps) * np.abs(points).max()
    np.testing.assert_allclose(fast.measure.points, plain.measure.points, rtol=0, atol=2 * unit)
    assert fast.distortion == pytest.approx(plain.distortion, rel=1e-10 if dtype == np.float64 else 1e-6)
    assert voronoi.sweep(points, weights, codes).descents(100, 1) == []
