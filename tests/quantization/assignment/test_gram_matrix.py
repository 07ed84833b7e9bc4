"""Lloyd on the Gram matrix takes the steps that Lloyd on coordinates takes, with labels that direct differences confirm."""

import numpy as np
import pytest

from quantization import threads
from quantization.assignment import gram_kernels, select_strategy
from quantization.assignment.gram_matrix import GramMatrix
from tests.quantization.assignment.steps import lloyds_steps


def latents(rng, n, d, rank=20):
    """Points near a subspace, as images' latents are: far fewer directions than coordinates."""
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d))


def chosen(rng, points, k):
    return points[rng.choice(len(points), k, replace=False)].astype(np.float64)


def nearest(points, codes):
    """The nearest codes, and the least squared distances, by direct differences with as many digits as there are.

    Also how far apart float64 can tell two squared distances: sums of d terms, each rounded three times.
    """
    wide, squared = points.astype(np.longdouble), np.empty((len(codes), len(points)), np.longdouble)
    for k, code in enumerate(codes.astype(np.longdouble)):
        squared[k] = np.square(wide - code).sum(1)
    least = squared.min(0)
    return squared, least, (points.shape[1] + 4) * np.finfo(np.float64).eps * least


def means(points, weights, labels, k):
    """The centroids of cells, in as many digits as there are before they are rounded to float64."""
    wide, weights = points.astype(np.longdouble), weights.astype(np.longdouble)
    return np.array([np.average(wide[labels == j], 0, weights[labels == j]) for j in range(k)]).astype(np.float64)


def check_steps(matrix, points, weights, codes, most=40):
    """Compare every step with what coordinates say of its own codes, and with the step before; return the steps."""
    steps, centroids = [], codes.astype(points.dtype).astype(np.float64)
    unit, largest = float(np.finfo(points.dtype).eps), float(np.abs(points).max())
    digits_of_means = (unit + len(points) * np.finfo(np.float64).eps) * 2 * largest  # their rounding, and sums of at most n terms
    for step in lloyds_steps(matrix, codes):
        found = step.codes
        np.testing.assert_allclose(found, centroids, rtol=0, atol=digits_of_means)
        squared, least, digits = nearest(points, found)
        labels = squared.argmin(0)
        if (np.sort(squared, 0)[1:] - least > 2 * digits).all():  # no ties: one right answer
            np.testing.assert_allclose(step.masses, np.bincount(labels, weights, len(codes)), rtol=1e-12)
            centroids = means(points, weights, labels, len(codes))
            np.testing.assert_allclose(step.following, centroids, rtol=0, atol=digits_of_means)
            off = float(step.masses @ np.square(centroids - found).sum(1))
        else:
            centroids, off = step.following, None
        truth = float(weights @ least)
        assert abs(step.distortion - truth) <= (step.distortion_rtol + 1e-12) * truth
        if step.measure is not None:
            again, distortion, stationarity = step.measure()
            np.testing.assert_array_equal(again, found)
            assert distortion == pytest.approx(truth, rel=1e-12)
            if off is not None:
                assert stationarity == pytest.approx(
                    (off / truth) ** 0.5, rel=1e-6, abs=unit * largest * points.shape[1] ** 0.5 / truth**0.5
                )
        steps.append(step)
        if len(steps) == most:
            break
    return steps


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lloyds_steps(dtype, offset, weighted, rng):
    points = (latents(rng, 300, 700) + offset).astype(dtype)
    weights = rng.dirichlet(np.ones(300)) if weighted else np.full(300, 1 / 300)
    matrix = GramMatrix(points, weights)
    for _ in range(3):
        steps = check_steps(matrix, points, weights, chosen(rng, points, 12))
        assert steps[-1].at_rest
        np.testing.assert_array_equal(steps[-1].following, steps[-1].codes if len(steps) > 1 else steps[-1].following)
        for step in steps[:-1]:
            assert not step.at_rest
            _, distortion, stationarity = step.measure()
            assert step.stationarity == pytest.approx(stationarity, rel=1e-3)
            assert step.distortion == pytest.approx(distortion, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_need_not_be_points(dtype, rng):
    points, weights = latents(rng, 200, 300).astype(dtype), np.full(200, 1 / 200)
    codes = chosen(rng, points, 5) + 0.01
    codes[2] = points[17]
    steps = check_steps(GramMatrix(points, weights), points, weights, codes)
    assert steps[-1].at_rest


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nearest_and_sums(dtype, rng, brute):
    points, weights = latents(rng, 200, 150).astype(dtype), rng.dirichlet(np.ones(200))
    matrix = GramMatrix(points, weights)
    codes = np.concatenate([chosen(rng, points, 4), rng.standard_normal((3, 150))])
    labels, squared = matrix.nearest(codes)
    truth = brute.voronoi(points, weights, codes)
    np.testing.assert_array_equal(labels, truth.labels)
    np.testing.assert_allclose(squared, brute.squared(points, codes).min(1), rtol=1e-12)
    sums = matrix.sums(codes)
    assert sums.cost == pytest.approx(truth.distortion, rel=1e-12)
    np.testing.assert_allclose(sums.masses, truth.masses, rtol=1e-12)
    nonempty = truth.masses > 0
    means = (codes + sums.shifts / np.where(nonempty, sums.masses, 1)[:, None])[nonempty]
    np.testing.assert_allclose(means, truth.means[nonempty], rtol=0, atol=1e-12 * float(np.abs(points).max()))


@pytest.mark.parametrize("layout", ["fortran", "strided", "read-only"])
def test_any_layout_gives_the_same_bits(layout, rng):
    points, weights = latents(rng, 150, 130).astype(np.float32), np.full(150, 1 / 150)
    given = {"fortran": np.asfortranarray(points), "strided": np.repeat(points, 2, 1)[:, ::2], "read-only": points.copy()}[layout]
    given.flags.writeable = layout != "read-only"
    codes = chosen(rng, points, 6)
    for one, other in zip(
        lloyds_steps(GramMatrix(points, weights), codes), lloyds_steps(GramMatrix(given, weights), codes), strict=True
    ):
        np.testing.assert_array_equal(other.codes, one.codes)
        np.testing.assert_array_equal(other.masses, one.masses)


def test_threads_change_no_bit_and_may_share_the_matrix(monkeypatch, rng):
    points, weights = latents(rng, 300, 600).astype(np.float32), np.full(300, 1 / 300)
    starts = [chosen(rng, points, 9) for _ in range(6)]
    answers = []
    for count in (1, 4):
        monkeypatch.setattr(threads, "available", lambda: count)  # noqa: B023
        matrix = GramMatrix(points, weights)
        answers.append(threads.parallel_map(lambda i: [s.distortion for s in lloyds_steps(matrix, starts[i])], len(starts)))  # noqa: B023
    assert answers[0] == answers[1]


def test_it_ends_before_an_empty_cell(rng):
    points, weights = latents(rng, 200, 300), np.full(200, 1 / 200)
    assert list(lloyds_steps(GramMatrix(points, weights), points[[0, 0, 1, 2]])) == []


def test_weights_of_zero_leave_a_cell_empty(rng):
    points = latents(rng, 200, 300)
    weights = np.where(np.arange(200) < 100, 0.01, 0.0)
    points[150] += 1e3
    assert list(lloyds_steps(GramMatrix(points, weights), points[[0, 1, 150]])) == []
    check_steps(GramMatrix(points, weights), points, weights, points[[0, 1, 2]])


@pytest.mark.parametrize("scale", [1e-120, 1e-22, 1e22, 1e120])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_magnitude(dtype, scale, rng):
    if dtype is np.float32 and not 1e-30 < scale < 1e30:
        pytest.skip("beyond float32")
    points, weights = (scale * latents(rng, 200, 150)).astype(dtype), rng.dirichlet(np.ones(200))
    assert check_steps(GramMatrix(points, weights), points, weights, chosen(rng, points, 6))[-1].at_rest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_far_out_beside_the_rest(dtype, rng):
    points, weights = latents(rng, 300, 150).astype(dtype), np.full(300, 1 / 300)
    points[:3] *= dtype(1e7)
    check_steps(GramMatrix(points, weights), points, weights, points[[0, 1, 2, 10, 20, 30, 40]].astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offsets_of_a_million(dtype, rng):
    points, weights = (1e6 + latents(rng, 300, 200)).astype(dtype), np.full(300, 1 / 300)
    assert check_steps(GramMatrix(points, weights), points, weights, chosen(rng, points, 7))


def test_codes_out_of_the_range_of_float32(rng, brute):
    points = latents(rng, 100, 130)
    codes = np.concatenate([chosen(rng, points, 2), np.full((1, 130), 1e60)])
    matrix = GramMatrix(points, np.full(100, 0.01))
    assert list(lloyds_steps(matrix, codes)) == []
    np.testing.assert_array_equal(matrix.nearest(codes)[0], brute.squared(points, codes).argmin(1))


def test_ties_go_to_the_lowest_index(rng, brute):
    """Points on integers: squared distances are exact, and many are equal."""
    points = rng.integers(-2, 3, (60, 40)).astype(np.float32)
    codes = points[rng.integers(0, 60, 30)].astype(np.float64)
    np.testing.assert_array_equal(
        GramMatrix(points, np.full(60, 1 / 60)).nearest(codes)[0], brute.squared(points, codes).argmin(1)
    )


def test_one_code_and_as_many_as_points(rng):
    points, weights = latents(rng, 50, 130).astype(np.float32), np.full(50, 1 / 50)
    one = check_steps(GramMatrix(points, weights), points, weights, chosen(rng, points, 1))
    assert len(one) == 2
    every = list(lloyds_steps(GramMatrix(points, weights), points.astype(np.float64)))
    assert every[-1].distortion == pytest.approx(0, abs=1e-12)
    assert every[-1].at_rest


@pytest.mark.parametrize("spread", [2, 7, 14])
def test_weights_of_many_magnitudes(spread, rng):
    """A heavy point that has left a cell leaves its round-off behind: labels must be right all the same."""
    points = latents(rng, 300, 200, rank=4).astype(np.float32)
    weights = 10 ** rng.uniform(-spread, 0, 300)
    weights /= weights.sum()
    matrix = GramMatrix(points, weights)
    for _ in range(5):
        check_steps(matrix, points, weights, chosen(rng, points, 10))


@pytest.mark.parametrize(("light", "steps"), [(1e-60, True), (1e-200, True), (1e-240, True), (1e-280, False)])
def test_faint_weights(light, steps, rng):
    """Products of two weights would leave the range of float64; sums of what does are left to coordinates."""
    points = latents(rng, 300, 200).astype(np.float32)
    points[:60] += 30  # so that there are cells of faint points alone
    weights = np.where(np.arange(300) < 60, light, 1 / 240)
    taken = check_steps(GramMatrix(points, weights), points, weights, points[[0, 20, 70, 80, 90, 100]].astype(float))
    assert bool(taken) is steps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_that_products_cannot_tell_apart_are_decided(dtype, rng):
    """Flat images of nearly one grey, whose products round the same way at every term: more than all that parts them."""
    points = rng.standard_normal((600, 512)).astype(dtype)
    misled = 0
    for grey in rng.uniform(1, 2, 20):
        levels = dtype(grey) + np.finfo(dtype).eps * rng.integers(-9, 10, 20).astype(dtype)
        points[:20], points[20:40] = levels[:, None], -levels[:, None]  # opposite, so that the centre stays where it is
        own = np.unique(levels, return_index=True)[1][:3]
        codes = points[[*own, 20, *range(100, 112)]].astype(np.float64)
        matrix = GramMatrix(points, np.full(600, 1 / 600))
        near = np.abs(levels[:, None].astype(np.longdouble) - levels[own]).argmin(1)
        np.testing.assert_array_equal(matrix.nearest(codes)[0][:20], near)
        scores = matrix.squares[own] / 2 - matrix._matrix[:20, own]
        misled += (scores.argmin(1) != near).any()
    assert misled > 5  # by products alone


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_that_rounding_would_mislead_are_decided(dtype, rng):
    """Points so close to midway between two centroids that products alone put them on the other side; they move no code."""
    misled, weights = 0, np.where(np.arange(200) < 180, 1 / 180, 0)
    for _ in range(20):
        points = rng.standard_normal((200, 64))
        points[:180:2] += 3
        points[1:180:2] -= 3
        a, b = points[:180:2].mean(0), points[1:180:2].mean(0)
        across = rng.standard_normal((20, 64))
        across -= np.outer(across @ (b - a), b - a) / ((b - a) @ (b - a))
        points[180:] = (a + b) / 2 + across + np.outer(rng.uniform(-1e-8, 1e-8, 20), b - a)
        points = points.astype(dtype)
        matrix = GramMatrix(points, weights)
        walk = lloyds_steps(matrix, points[[0, 1]].astype(np.float64))
        codes = next(walk).following
        step = next(walk)
        exact = np.square(points[:, None].astype(np.float64) - codes).sum(2).argmin(1)
        np.testing.assert_array_equal(step.measure.args[1]._labels if step.measure else exact, exact)
        framed = (points - matrix.centre).astype(np.float32)
        with np.errstate(all="ignore"):
            book = (codes - matrix.centre).astype(np.float32)
            misled += ((np.square(book).sum(1) / 2 - framed @ book.T).argmin(1) != exact).sum()
    assert misled > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [16, 700, 1100])
def test_scores_are_within_their_bounds(dtype, d, rng):
    """Equal terms round the same way each time, which is as bad as it gets."""
    rows = rng.standard_normal((6, d))
    rows[:3] = rows[:3, :1]
    points = (np.repeat(rows, 40, 0) * rng.choice([1, 1 + 1e-6, 7], (240, 1)) + 0.7).astype(dtype)
    weights = rng.dirichlet(np.ones(240))
    matrix = GramMatrix(points, weights)
    wide = points.astype(np.longdouble) - matrix.centre
    exact, bound = wide @ wide.T, matrix.gamma * np.outer(matrix.lengths, matrix.lengths)
    assert (np.abs(matrix._matrix - exact) <= bound).all()
    book, before, labels = (
        matrix.codebook(points[:4].astype(np.float64)),
        np.empty(0, np.int32),
        rng.integers(0, 4, 240).astype(np.int32),
    )
    for _ in range(6):
        cells, rows = np.zeros((6, 4)), np.empty(240, np.int64)
        moved = gram_kernels.tally(
            matrix.squares, weights, matrix.lengths, labels, before, book.sums, book.totals, book.half, book.slopes,
            book.offsets, matrix.gamma, cells, rows,
        )[2]  # fmt: skip
        matrix.advance(book, cells, rows[:moved], before, labels)
        codes = means(points, weights, labels, 4).astype(dtype).astype(np.longdouble) - matrix.centre
        scores = np.square(codes).sum(1)[:, None] / 2 - codes @ wide.T
        found = book.half[:, None] - book.sums / book.totals[:, None]
        assert (np.abs(found - scores) <= book.slopes[:, None] * matrix.lengths + book.offsets[:, None]).all()
        before, labels = labels, labels.copy()
        labels[rng.integers(0, 240, 5)] = rng.integers(0, 4, 5)


def test_sums_are_recomputed_after_a_heavy_point_has_left(rng):
    """What is left of a sum after 10^14 times as much has come and gone has lost as many digits."""
    points, weights = rng.standard_normal((60, 40)).astype(np.float32), np.where(np.arange(60) == 0, 1e14, 1.0) / (1e14 + 59)
    matrix = GramMatrix(points, weights)
    stay = np.repeat([0, 1, 2], 20).astype(np.int32)
    gone = stay.copy()
    gone[0] = 2
    book = matrix.codebook(points[:3].astype(np.float64))
    for before, labels in [(stay[:0], stay), (stay, gone)]:
        cells, rows = np.zeros((6, 3)), np.empty(60, np.int64)
        moved = gram_kernels.tally(
            matrix.squares, weights, matrix.lengths, labels, before, book.sums, book.totals, book.half, book.slopes,
            book.offsets, matrix.gamma, cells, rows,
        )[2]  # fmt: skip
        matrix.advance(book, cells, rows[:moved], before, labels)
    exact = [np.average(matrix._matrix[gone == k].astype(np.float64), 0, weights[gone == k]) for k in range(3)]
    bound = 100 * np.finfo(np.float64).eps * matrix.squares.max()  # some tens of terms
    np.testing.assert_allclose(book.sums / book.totals[:, None], exact, rtol=0, atol=bound)


def test_when_it_pays():
    assert select_strategy(1300, 4096, 50, np.float32, steps=10, restarts=10) == "gram_matrix"
    assert select_strategy(1300, 4096, 50, np.float32, steps=5) == "gemm"  # too few steps
    # The matrix would take 37 GiB.
    assert select_strategy(100_000, 4096, 1000, np.float32, steps=1000, restarts=1000) == "gemm"
    # A product of 4 coordinates is cheaper than a row of the matrix.
    assert select_strategy(1300, 4, 50, np.float64, steps=1000, restarts=1000) == "low_dim"
