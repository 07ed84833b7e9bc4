"""Samples that no memory holds: shards, memmaps and streams that are read at every step of Lloyd's algorithm."""

import os
import pickle
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2

import quantization as qz
from quantization.empirical.out_of_core import OutOfCoreSamples
from quantization.empirical.pooled_start import _DrawByCost, pooled_codes
from quantization.empirical.readers import ShardReader
from quantization.shards import in_parts

EPS = np.finfo(float).eps
SIZES = (4000, 1, 2500, 700, 3000)


@pytest.fixture
def x(rng):
    return rng.normal(size=(sum(SIZES), 3)) + 3 * rng.integers(4, size=(sum(SIZES), 1))


@pytest.fixture
def w(rng, x):
    return rng.random(len(x)) * (rng.random(len(x)) < 0.9)


@pytest.fixture
def files(tmp_path, x, w):
    """The samples in five files each, with the weights."""
    names = []
    for i, (points, weights) in enumerate(zip(cut(x), cut(w), strict=True)):
        names.append((tmp_path / f"x{i}.npy", tmp_path / f"w{i}.npy"))
        np.save(names[-1][0], points)
        np.save(names[-1][1], weights)
    return [n for n, _ in names], [str(n) for _, n in names]


def cut(array):
    return np.split(array, np.cumsum(SIZES)[:-1])


def same_to_round_off(one, other, x):
    """Of equal labels: masses, centroids and costs are sums of n terms, in another order."""
    slack = len(x) * EPS
    np.testing.assert_allclose(one.points, other.points, atol=2 * slack * np.abs(x).max())
    np.testing.assert_allclose(one.weights, other.weights, rtol=slack)
    np.testing.assert_allclose(one.trace.distortion, other.trace.distortion, rtol=2 * slack)
    assert (one.status, one.n_iter) == (other.status, other.n_iter)


def same_bits(one, other):
    for name in ("points", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.trace.distortion, other.trace.distortion)
    np.testing.assert_array_equal(one.trace.stationarity, other.trace.stationarity)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_lloyd_on_files_is_lloyd_in_memory(x, w, tmp_path, dtype, weighted):
    x = x.astype(dtype)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    weights, measure = (tmp_path / "w.npy", qz.DiscreteMeasure.from_unnormalized(x, w)) if weighted else (None, x)
    given = {"init": x[:9], "solver": qz.Lloyd(rtol=0), "rng": 0}
    ours, theirs = qz.quantize(qz.Shards(tmp_path / "x.npy", weights), 9, **given), qz.quantize(measure, 9, **given)
    assert ours.converged
    if dtype == "float64":
        same_to_round_off(ours, theirs, x)
    else:  # a centroid may be rounded to its neighbour in float32, and points between two codes then follow
        assert ours.distortion == pytest.approx(theirs.distortion, rel=1e-6)
        assert ours.points.dtype == np.float32
    assert float(qz.distortion(qz.Shards(tmp_path / "x.npy", weights), ours)) == ours.distortion


def test_all_forms_of_shards_are_one(x, w, files):
    points, weights = files
    maps = [np.load(name, mmap_mode="r") for name in points]
    forms = [
        qz.Shards(points, weights),
        qz.Shards(cut(x), cut(w)),
        qz.Shards(maps, [np.load(name, mmap_mode="r") for name in weights]),
        qz.Shards([points[0], maps[1][:0], *cut(x)[1:3], *maps[3:]], [cut(w)[0], [], *weights[1:]]),
        qz.Shards([Sliced(part) for part in cut(x)], cut(w)),
        qz.Shards([np.asfortranarray(part) for part in cut(x)], cut(w)),
    ]
    answers = [qz.quantize(form, 7, solver=qz.Lloyd(rtol=0), rng=1) for form in forms]
    for answer in answers[1:]:
        same_bits(answer, answers[0])
    assert answers[0].converged
    assert repr(forms[0]) == f"Shards({len(x)} points in R^3, float64)"


class Sliced:
    """What gives arrays by slices, such as a dataset of h5py."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, rows):
        return Sliced(self.array[rows]) if isinstance(rows, slice) else self.array[rows]

    def __array__(self, dtype=None, copy=None):
        return self.array


class Dataset:
    """As a dataset of h5py: slices are copies, and rows by number must ascend without repeating; it can't be sent."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.asked = array, array.shape, array.dtype, []

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            if (np.diff(rows) <= 0).any():
                raise TypeError("Indexing elements must be in increasing order")
            return self.array[rows]
        self.asked.append(range(len(self.array))[rows])
        return self.array[rows].copy()

    def __reduce__(self):
        raise TypeError("h5py objects cannot be pickled")


def test_datasets_are_read_when_their_rows_are_asked_for(rng):
    wide, weights = rng.normal(size=(48, 2**16)).astype("f4"), rng.random(48)  # 12 MB, of which 2 MB are read at a time
    dataset = Dataset(wide)
    shards = qz.Shards(dataset, weights)
    assert dataset.asked == []
    given = {"init": wide[:2], "max_iter": 1, "rng": 0}
    same_bits(qz.quantize(shards, 2, **given), qz.quantize(qz.Shards(wide, weights), 2, **given))
    assert {len(asked) for asked in dataset.asked} == {8}
    (part,) = shards.parts
    sent = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(np.concatenate([points for _, points, _ in sent.blocks()]), wide)


def test_points_are_drawn_from_datasets_and_columns(x, tmp_path):
    weights = np.where(np.arange(len(x)) % 1000, 1e-9, 1.0)  # so that rows are drawn several times
    np.save(tmp_path / "columns.npy", np.asfortranarray(x))
    np.save(tmp_path / "wide.npy", np.asfortranarray(np.tile(x, 40)))
    whole = np.load(tmp_path / "wide.npy", mmap_mode="r")[17:-3, 1:7:2]
    for form, same in (
        (qz.Shards(Dataset(x), Dataset(weights)), qz.Shards(x, weights)),
        (qz.Shards(tmp_path / "columns.npy", weights), qz.Shards(x, weights)),
        (qz.Shards(tmp_path / "wide.npy"), qz.Shards(np.tile(x, 40))),
        (qz.Shards(whole), qz.Shards(np.array(whole))),
    ):
        draws = [ShardReader(shards).pilot(100, np.random.default_rng(1))[0].points for shards in (form, same)]
        np.testing.assert_array_equal(*draws)
        assert len(draws[0]) == 100


@pytest.mark.parametrize("closed", [ValueError("Not a dataset"), OSError("Can't read data"), RuntimeError("no file")])
def test_datasets_that_fail_are_named(x, closed):
    class Closed(Dataset):
        def __getitem__(self, rows):
            raise closed

    class Shrunk(Dataset):
        def __getitem__(self, rows):
            return self.array[rows][:10]

    class Masked(Dataset):
        def __getitem__(self, rows):
            return np.ma.array(self.array[rows], mask=self.array[rows] > 2)

    for kind, words in ((Closed, str(closed)), (Shrunk, "it gives an array of shape"), (Masked, "it gives masked entries")):
        with pytest.raises(ValueError, match=rf"^shard 2 can't be read any longer: .*{words}"):
            qz.quantize(qz.Shards([x, kind(x)]), 3, rng=0)
        with pytest.raises(ValueError, match=rf"^the weights of shard 2 can't be read any longer: .*{words}"):
            qz.Shards([x, x], [1.0, kind(np.arange(float(len(x))))])


def test_masked_arrays_are_refused(x):
    masked, weights = np.ma.array(x, mask=x > 3), np.ma.array(np.ones(len(x)), mask=x[:, 0] > 3)
    with pytest.raises(ValueError, match=r"^points must have no masked entries; received a masked array\. Drop or fill"):
        qz.quantize(masked, 3, rng=0)
    with pytest.raises(ValueError, match=r"^shard 2 must have no masked entries; received a masked array\. Drop or fill"):
        qz.Shards([x, masked])
    with pytest.raises(ValueError, match=r"^the weights of shard 1 must have no masked entries; received a masked array"):
        qz.Shards(x, weights)
    same_bits(qz.quantize(qz.Shards(np.ma.array(x)), 3, rng=0), qz.quantize(qz.Shards(x), 3, rng=0))


@pytest.mark.parametrize("weights", ["each", "number"])
def test_the_least_weights_are_weights(x, weights):
    """Their reciprocals are infinite."""
    given = {"init": x[:3], "solver": qz.Lloyd(rtol=0), "rng": 0}
    tiny = np.full(len(x), 1e-320) if weights == "each" else 1e-320
    same_bits(qz.quantize(qz.Shards([x], [tiny]), 3, **given), qz.quantize(qz.Shards(x), 3, **given))
    assert qz.quantize(qz.Shards([x], [tiny]), 3, rng=0).converged


def test_a_number_per_shard_weighs_each_of_its_points(x):
    numbers = [1.0, 7, 0.0, 3.0, 1e200]
    each = np.repeat(np.array(numbers, float), SIZES)
    given = {"init": x[:5], "solver": qz.Lloyd(rtol=0), "rng": 0}
    ours = qz.quantize(qz.Shards(cut(x), numbers), 5, **given)
    same_to_round_off(ours, qz.quantize(qz.DiscreteMeasure.from_unnormalized(x, each), 5, **given), x)


def test_pieces_of_a_memmap_are_read_where_they_lie(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    whole = np.load(tmp_path / "x.npy", mmap_mode="r")
    for piece in (whole[17:4000], whole[5:], whole[::2], whole[:, :2], whole[100:200][3:50]):
        ours = qz.Shards(piece)
        assert float(qz.distortion(ours, piece[:3])) == pytest.approx(float(qz.distortion(np.array(piece), piece[:3])), rel=1e-12)
        written = np.concatenate([points for part in ours.parts for _, points, _ in part.blocks()])
        np.testing.assert_array_equal(written, piece)
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[:] = 1.0  # in this process alone
    assert float(qz.distortion(qz.Shards(private), [[1.0, 1.0, 1.0]])) == 0


def test_large_memmaps_are_read_in_parts(x, tmp_path):
    small = np.memmap(tmp_path / "small", np.float32, "w+", shape=(1000, 2))
    large = np.memmap(tmp_path / "large", np.float32, "w+", shape=(2**22 + 1, 2))
    assert in_parts(small) is small
    assert isinstance(in_parts(large), qz.Shards)
    line = np.memmap(tmp_path / "large", np.float32, "r", shape=(2**23 + 1, 1))
    assert in_parts(line) is line  # for which there is an exact way
    large[: len(x)] = x[:, :2]
    codes = x[:4, :2]
    one = qz.quantize(large, 4, init=codes, max_iter=2, rng=0)
    (many,) = qz.quantize_many([large], 4, init=[codes], max_iter=2, rng=[0])
    same_bits(many, one)
    assert one.distortion == pytest.approx(qz.quantize(np.asarray(large), 4, init=codes, max_iter=2, rng=0).distortion, rel=1e-6)


def test_codes_of_empty_cells_go_where_they_go_in_memory(x, w):
    far = np.vstack([x[:2], np.full((6, 3), 1e3)])  # six codes that win nothing, more than the points are clusters
    given = {"init": far, "solver": qz.Lloyd(rtol=0), "rng": 0}
    ours = qz.quantize(qz.Shards(cut(x), cut(w)), 8, **given)
    same_to_round_off(ours, qz.quantize(qz.DiscreteMeasure.from_unnormalized(x, w), 8, **given), x)
    assert (ours.weights > 0).all()


def test_relocation_sees_where_others_cost_more():
    # 400 points in one far place outnumber the candidates: the second code must go to the other place.
    x = np.concatenate([np.zeros((500, 2)), np.full((400, 2), 100.0), np.full((5, 2), -50.0)]) + 1e-3 * np.arange(905)[:, None]
    given = {"init": np.array([[0.0, 0.0], [1e4, 0.0], [2e4, 0.0]]), "max_iter": 0, "rng": 0}
    ours, theirs = qz.quantize(qz.Shards(np.split(x, [100, 600])), 3, **given), qz.quantize(x, 3, **given)
    np.testing.assert_array_equal(ours.points, theirs.points)
    assert ours.points[2, 0] < -40


def test_points_far_and_few_get_codes(rng):
    """Twenty points of 200,000, in three places: a sample by weight misses most of them; they bear nearly all of the cost."""
    x = rng.normal(size=(200_000, 2)).astype(np.float32)
    places = np.array([[1e3, 0], [0, -2e3], [-500, 500]], np.float32)
    x[::10_000] += places[np.arange(20) % 3]
    samples = OutOfCoreSamples(ShardReader(qz.Shards(np.split(x, 8))))
    for seed in range(10):
        codes = pooled_codes(samples, 8, 2**14, np.random.default_rng(seed), None)
        gaps = np.sqrt(np.square(codes[:, None] - places).sum(2)).min(0)
        assert (gaps < 10).all()  # each is missed by the draws of a pass with probability below 0.9^1024


def test_the_start_is_as_good_as_in_memory(rng):
    """Of long tails, where points that were drawn by cost would be too many of the pool but for their weights."""
    x = rng.standard_t(3, size=(100_000, 3))
    ours = [qz.quantize(qz.Shards(np.split(x, 10)), 30, max_iter=0, rng=s).distortion for s in range(16)]
    theirs = [qz.quantize(x, 30, max_iter=0, rng=s).distortion for s in range(16)]
    # The means of sixteen, in standard errors of their difference.
    error = np.hypot(np.std(ours, ddof=1), np.std(theirs, ddof=1)) / 16**0.5
    assert np.mean(ours) < np.mean(theirs) + 4 * error


def test_points_are_drawn_by_cost(rng):
    x, w = rng.normal(size=(60, 1)), rng.random(60)
    samples, many = OutOfCoreSamples(ShardReader(qz.Shards(np.split(x, [7, 40]), np.split(w, [7, 40])))), 40_000
    drawn = reduce(lambda one, other: one.merged(other, rng), samples.reader.map(_DrawByCost(np.zeros((1, 1)), many, 5), 1))
    shares = w * x[:, 0] ** 2 / (w @ x[:, 0] ** 2)
    assert drawn.cost / drawn.mass == pytest.approx(w @ x[:, 0] ** 2 / w.sum(), rel=1e-12)
    counts = (drawn.points[:, 0] == x).sum(1)
    assert counts.sum() == many
    # Pearson's statistic of 59 degrees of freedom; where few events are expected its tail is a little longer.
    assert (np.square(counts - many * shares) / (many * shares)).sum() < 2 * chi2.isf(1e-6, 59)


def test_rare_distinct_points_are_found():
    x = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]), [60_000, 39_999, 1], axis=0)
    shards = qz.Shards(np.array_split(x, 3))
    assert qz.quantize(shards, 3, rng=0).distortion == 0
    with pytest.raises(ValueError, match=r"received 3\. Lower k to 3"):
        qz.quantize(shards, 4, rng=0)
    with pytest.raises(ValueError, match=r"received 3\. Lower k to 3"):
        qz.quantize(shards, 4, init=np.arange(8.0).reshape(4, 2), rng=0)


@pytest.mark.parametrize("init", ["k-means++", "random", lambda points, k, rng: points[:k]])
def test_starts_and_solvers(x, w, init):
    shards = qz.Shards(cut(x), cut(w))
    found = qz.quantize(shards, 5, init=init, n_init=2, rng=0)
    assert found.converged
    learned = qz.quantize(shards, 5, init=init, solver=qz.CLVQ(epochs=3), rng=0)
    assert learned.distortion_se == 0
    assert learned.distortion < 1.2 * found.distortion
    assert [s.status.name for s in qz.iterate(shards, 5, init=init, max_iter=3, rng=0)][:-1] == ["RUNNING"] * 3


def test_integers_are_numbers(rng):
    whole = rng.integers(-50, 50, size=(3000, 2))
    given = {"init": whole[:4].astype(float), "solver": qz.Lloyd(rtol=0), "rng": 0}
    same_to_round_off(qz.quantize(qz.Shards(np.split(whole, 3)), 4, **given), qz.quantize(whole, 4, **given), whole)


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_streams_are_read_at_every_step(x, library):
    given = {"init": x[:6], "solver": qz.Lloyd(rtol=0), "rng": 0}
    ours = qz.quantize(qz.Stream([library(part) for part in np.array_split(x, 40)]), 6, **given)
    assert isinstance(ours.points, type(library(x)))
    for name in ("points", "weights"):
        np.testing.assert_allclose(getattr(ours, name), getattr(qz.quantize(x, 6, **given), name), atol=1e-10)
    assert ours.distortion_se == 0
    assert ours.converged
    assert qz.quantize(qz.Stream(np.array_split(x, 40)), 6, solver=qz.Lloyd(), rng=0).converged


def test_a_stream_in_another_order_is_the_same(x):
    turns = iter(range(100))

    def shuffled():
        return np.array_split(np.random.default_rng(next(turns)).permutation(x), 7)

    ours = qz.quantize(qz.Stream(shuffled), 6, init=x[:6], solver=qz.Lloyd(), rng=0)
    theirs = qz.quantize(x, 6, init=x[:6], rng=0)
    np.testing.assert_allclose(ours.points, theirs.points, atol=2 * len(x) * EPS * np.abs(x).max())


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (lambda x: x[:-1], "gave 10200 points on this pass, and 10201 on the first"),
        (lambda x: x + np.eye(len(x), 3), "gave 10201 points on this pass, and 10201 on the first, with other values"),
        (lambda x: x[:0], "gave no batches on this pass"),
    ],
)
def test_a_stream_that_changes_is_refused(x, later, words):
    passes = iter([x, x, x])

    def batches():
        return [part for part in np.array_split(next(passes, later(x)), 5) if len(part)]

    with pytest.raises(ValueError, match=words):
        qz.quantize(qz.Stream(batches), 5, init=x[:5], solver=qz.Lloyd(rtol=0), rng=0)


class Meddling:
    """Works as it should, and from the third call on only after somebody has written to a file."""

    def __init__(self, meddle):
        self.meddle, self.calls = meddle, 0

    def map(self, fn, items):
        self.calls += 1
        if self.calls == 3:
            self.meddle()
        return map(fn, items)


def test_a_file_that_changes_is_named(x, files):
    def write():
        np.load(files[0][3], mmap_mode="r+")[5, 1] += 1.0

    def shorten():
        np.save(files[0][3], x[:10])

    for meddle, words in ((write, "x3.npy.* has changed since it was read before, in the 700 rows from 0"),
                          (shorten, "x3.npy.* can't be read any longer: it has fewer rows"),
                          (files[0][3].unlink, "x3.npy.* can't be read any longer: .*No such file")):  # fmt: skip
        shards = qz.Shards(files[0], executor=Meddling(meddle))
        with pytest.raises(ValueError, match=rf"shard 4 \(.*{words}"):
            qz.quantize(shards, 5, init=x[:5], solver=qz.Lloyd(rtol=0), rng=0)
        np.save(files[0][3], cut(x)[3])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [5000, 80_000])  # those that are all read for a start, and those of which some are drawn
@pytest.mark.parametrize("solver", [qz.Lloyd(), qz.CLVQ(epochs=1)])
def test_files_that_are_gone_or_cut_are_named(rng, tmp_path, order, n, solver):
    """Who reads a mapped file that was cut ends by a bus error: here nothing is."""
    points, weights, x = tmp_path / "x.npy", tmp_path / "w.npy", rng.random((n, 2))
    for changed, name in ((points, ""), (weights, "the weights of ")):
        for change, words in ((lambda path: os.truncate(path, 4096), "it has fewer rows"), (Path.unlink, "No such file")):
            np.save(points, np.asarray(x, order=order))
            np.save(weights, x[:, 0])
            shards = qz.Shards([x[:9], points], [1.0, weights])
            change(changed)
            for init in (x[:3], None):
                with pytest.raises(
                    ValueError, match=rf"^{name}shard 2 \(.*x\.npy\) can't be read any longer: .*{words}.*{changed.name}"
                ):
                    qz.quantize(shards, 3, solver=solver, init=init, rng=0)


def test_what_is_not_a_number_is_named(x, files):
    np.load(files[0][2], mmap_mode="r+")[1234, 1] = np.nan
    for init in (x[:5], "k-means++"):
        with pytest.raises(
            ValueError, match=r"shard 3 \(.*x2.npy\), in the 2500 rows from 0: .*received 1 of 2500 rows with NaN"
        ):
            qz.quantize(qz.Shards(files[0]), 5, init=init, rng=0)


class Futures:
    def map(self, fn, items):
        return [object() for _ in items]


@pytest.mark.parametrize(
    ("shards", "given", "words"),
    [
        ([np.ones((4, 2)), np.ones((4, 3))], {}, "shard 2 is float64 in dimension 3, what came before it float64 in dimension 2"),
        ([np.ones((4, 2)), np.ones((4, 2), "f4")], {}, "shard 2 is float32 in dimension 2, what came before it float64"),
        ([np.ones(4)], {}, r"shard 1 must have shape \(n, d\) with d ≥ 1; received shape \(4,\)"),
        ([np.ones((4, 2), complex)], {}, "shard 1 must be an array of real numbers"),
        ([], {}, "received 0 without any"),
        ([np.ones((0, 2))], {}, "received 1 without any"),
        (["missing.npy"], {}, r"shard 1 \(missing.npy\) must be a .npy file .*No such file"),
        ([torch.ones(3, 2)], {}, "shard 1 must be a numpy array.*received Tensor. Write Stream"),
        ([[1.0, 2.0]], {}, "shard 1 must be a numpy array, a memmap or the name of a .npy file; received list"),
        ([np.ones((4, 2))] * 2, {"weights": [np.ones(4)]}, "one entry per shard, 2 of them; received 1"),
        ([np.ones((4, 2))] * 2, {"weights": np.ones(8)}, "one entry per shard, 2 of them; received ndarray"),
        ([np.ones((4, 2))], {"weights": [np.ones(3)]}, r"weights of shard 1 must be a number or have shape \(4,\)"),
        ([np.ones((4, 2))], {"weights": [-np.eye(4)[0]]}, "weights of shard 1 must be finite and not negative; received 1 that"),
        ([np.ones((4, 2))], {"weights": [-1]}, "weights of shard 1 must be finite and not negative; received -1"),
        ([np.ones((4, 2))], {"weights": [np.zeros(4)]}, "must not all be zero; received 4 zeros"),
        ([np.ones((4, 2))], {"executor": 3}, r"executor must have .map\(function, items\), as pools have; received int"),
    ],
)
def test_bad_shards_are_refused(shards, given, words):
    with pytest.raises(ValueError, match=words):
        qz.Shards(shards, **given)


def test_archives_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((3, 2)))
    (tmp_path / "text.npy").write_text("no numbers")
    np.save(tmp_path / "objects.npy", np.array([None, 1]), allow_pickle=True)
    for name in ("x.npz", "text.npy", "objects.npy"):
        with pytest.raises(ValueError, match=rf"shard 1 \(.*{name}\) must be a .npy file"):
            qz.Shards(tmp_path / name)


def test_what_shards_are_not_for(x):
    shards = qz.Shards(cut(x))
    with pytest.raises(ValueError, match="samples in shards"):
        qz.quantize(shards, 3, masses="uniform", rng=0)
    with pytest.raises(ValueError, match="samples in shards"):
        qz.quantize(shards, 3, init="global", rng=0)
    with pytest.raises(ValueError, match=r"returned object\. Of a Dask client write client.get_executor"):
        qz.quantize(qz.Shards(cut(x), executor=Futures()), 3, rng=0)
    with pytest.raises(ValueError, match="samples in shards can't be transported"):
        qz.barycenter([shards, x], 3, rng=0)
    with pytest.raises(ValueError, match=r"law 1: shard 1, .* NaN"):
        qz.quantize_many([x, qz.Shards([np.full((9, 3), np.nan)])], 3, rng=0)
