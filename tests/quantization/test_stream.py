"""Streams: what is one, what their batches may be, and which points of them starts are drawn from."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import quantization as qz
from quantization.make_problem import make_problem
from quantization.stream import Batch, reservoir


@pytest.fixture
def points(rng):
    return rng.normal(size=(103, 3)).astype(np.float32)


class Loader:
    """An iterable that can be read again and again, and is neither list nor function."""

    def __init__(self, batches):
        self.batches, self.passes = batches, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.batches)


def test_loaders_are_streams(points):
    x = torch.from_numpy(points)
    parts = list(x.split(20))
    solver = qz.CLVQ(epochs=3)
    answers = [
        qz.quantize(law, 4, solver=solver, rng=0)
        for law in (
            DataLoader(TensorDataset(x), batch_size=20),
            DataLoader(TensorDataset(x, torch.arange(103)), batch_size=20),
            DataLoader(x, batch_size=20),
            Loader(parts),
            qz.Stream(DataLoader(TensorDataset(x), batch_size=20), dim=3),
            qz.Stream(parts),
            qz.Stream(tuple(parts)),
            qz.Stream(lambda: parts),
            qz.Stream(lambda: ((part, "label") for part in parts)),
        )
    ]
    for answer in answers:
        assert torch.equal(answer.measure.points, answers[0].measure.points)
        assert answer.measure.points.dtype == torch.float32
        assert answer.n_iter == 18


def test_a_shuffling_loader_keeps_remainders(points):
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(TensorDataset(torch.from_numpy(points)), batch_size=20, shuffle=True, generator=generator)
    sol = qz.quantize(loader, 1, solver=qz.CLVQ(epochs=1, recency=0.0), rng=0)
    np.testing.assert_allclose(sol.measure.points.numpy()[0], points.mean(0), atol=1e-6)


def test_a_batch_may_be_rows(points):
    rows = qz.Stream([points[:50].tolist(), points[50:].tolist()])
    assert qz.quantize(rows, 2, solver=qz.CLVQ(epochs=1), rng=0).measure.points.dtype == np.float64


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (np.full((2, 3), np.nan, np.float32), "batch 2 of the stream: points must be finite; received 2 of 2 rows"),
        (np.ones((2, 4), np.float32), r"batch 2 of the stream must have dimension 3; received shape \(2, 4\)"),
        (np.ones((2, 3)), "batch 2 of the stream is a numpy array of float64, what came before it a numpy array of float32"),
        (
            torch.ones(2, 3),
            "batch 2 of the stream is a torch.float32 tensor on cpu, what came before it a numpy array of float32",
        ),
        (np.ones((0, 3), np.float32), r"batch 2 of the stream: points must have shape .* received shape \(0, 3\)"),
        (np.ones((2, 3, 1), np.float32), r"batch 2 of the stream: points must have shape .* received shape \(2, 3, 1\)"),
        ({"x": 1, "y": 2}, r"received a dictionary of 'x', 'y'. Write Stream\(lambda: \(batch\["),
        ("text", "batch 2 of the stream: points must be an array of real numbers; received str"),
        ([], "batch 2 of the stream"),
        (None, "batch 2 of the stream"),
    ],
)
def test_odd_batches_are_named(points, odd, words):
    with pytest.raises(ValueError, match=words):
        qz.quantize(qz.Stream([points, odd]), 2, solver=qz.CLVQ(epochs=1), rng=0)
    with pytest.raises(ValueError, match=words):  # and after the start was drawn
        qz.quantize(qz.Stream([points, odd]), 2, solver=qz.CLVQ(epochs=1), init=points[:2], rng=0)


def test_devices_must_not_be_mixed(points):
    x = torch.from_numpy(points)
    with pytest.raises(ValueError, match=r"batch 2 of the stream is a torch\.float32 tensor on meta"):
        pose_and_read([x, DeviceOnly.of(x)])


class DeviceOnly(torch.Tensor):
    """A tensor that says it lies elsewhere, for machines with one device."""

    @staticmethod
    def of(x):
        return x.as_subclass(DeviceOnly)

    def detach(self):
        return self

    @property
    def device(self):
        return torch.device("meta")


def pose_and_read(parts):
    return list(make_problem(qz.Stream(parts), 2, 2).batches(1, np.random.default_rng(0), epochs=1))


def test_a_law_of_changing_dtype_is_refused():
    class Turning:
        def sample(self, n, rng):
            return rng.normal(size=(n, 1)).astype(np.float32 if n < 100 else np.float64)

    with pytest.raises(ValueError, match=r"law\.sample is a numpy array of float64, what came before it"):
        qz.quantize(Turning(), 2, rng=0)


def test_what_is_no_stream_is_refused():
    with pytest.raises(ValueError, match="received a generator, which can be read only once"):
        qz.quantize((np.ones((4, 1)) for _ in range(3)), 2, rng=0)
    with pytest.raises(ValueError, match=r"Stream or a loader of batches.* received set"):
        qz.quantize({1.0, 2.0}, 2, rng=0)
    with pytest.raises(ValueError, match="no batches"):
        qz.quantize(Loader([]), 2, rng=0)


def test_initializations_see_a_whole_pass_of_a_sorted_stream():
    # 40,000 sorted points: the first 2^14 would be the lower 40 % alone.
    line = np.linspace(0, 1, 40_000)[:, None]
    stream = qz.Stream(np.split(line, 400))
    codes = qz.KMeansPlusPlus().draw(make_problem(stream, 8, 2), np.random.default_rng(0))
    assert codes.max() > 0.8
    assert codes.min() < 0.2
    pilot = make_problem(stream, 8, 2).pilot(np.random.default_rng(1)).points[:, 0]
    assert len(np.unique(pilot)) == len(pilot) == 2**14
    # Kolmogorov's bound at 1e-9, for sampling without replacement all the more.
    assert np.abs(np.sort(pilot) - (np.arange(2**14) + 0.5) / 2**14).max() < np.sqrt(np.log(2e9) / 2 / 2**14)


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_reservoirs_are_even(library):
    # Each of 60 points is held with probability 10/60: over 2000 draws a binomial share, within six standard errors.
    parts = [Batch.of(library(part)) for part in np.split(np.arange(60.0)[:, None], [1, 2, 40])]
    hits = np.zeros(60)
    for seed in range(2000):
        drawn = np.asarray(reservoir(parts, 10, 1000, np.random.default_rng(seed)))[:, 0].astype(int)
        assert len(set(drawn)) == 10
        assert (np.diff(drawn) > 0).all()
        hits[drawn] += 1
    assert np.abs(hits / 2000 - 1 / 6).max() < 6 * np.sqrt(1 / 6 * 5 / 6 / 2000)


def test_a_short_stream_is_held_whole(points):
    pilot = make_problem(qz.Stream(np.split(points, [40])), 2, 2).pilot(np.random.default_rng(0))
    np.testing.assert_array_equal(pilot.points, points)


def test_an_endless_stream_is_a_stream():
    read = []

    def batches():
        rng = np.random.default_rng(0)
        for _ in itertools.count():
            read.append(1000)
            yield rng.normal(size=(1000, 1))

    sol = qz.quantize(qz.Stream(batches), 2, max_iter=20, rng=0)
    assert sol.n_iter == 20
    assert sum(read) <= 16 * 2**14 + 1000 + 22_000
    np.testing.assert_allclose(np.sort(sol.measure.points[:, 0]), [-np.sqrt(2 / np.pi), np.sqrt(2 / np.pi)], atol=0.1)
