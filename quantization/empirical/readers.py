"""How data larger than memory are read, pass after pass: parts of shards by an executor, or a stream, batch by batch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating, is_torch, namespace
from quantization.measure import DiscreteMeasure
from quantization.shards import Part, Shards
from quantization.stream import Batch, Stream, numbered, reservoir
from quantization.threads import parallel_map
from quantization.validation import check_magnitude, checked_points

_MOST_PARTS, _FEWEST_PARTS, _ANSWERS_BYTES = 128, 8, 2**26  # that are read before answers are added; bytes of these
_GATHERED = 2**16  # points of small batches of a stream that are looked at together

Blocks = Iterable[tuple[Array, Array]]  # points (b, d) and their weights (b,) in float64, where they live
Work = Callable[[Blocks, int], Any]  # what is done with a part, of this number; it can be pickled


class Reader(Protocol):
    """Points that are read as often as asked for. like: an array whose library, dtype and device they have."""

    kind: str
    like: Array

    def map(self, work: Work, answer_bytes: int) -> Iterator[Any]:
        """What ``work`` makes of each part, in the order of the parts; each of about so many bytes."""
        ...

    def pilot(self, wanted: int, rng: np.random.Generator) -> tuple[DiscreteMeasure, bool]:
        """About so many points, drawn in proportion to their weights; and whether these are all."""
        ...

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in batches of so many points."""
        ...


class ShardReader:
    """Shards, their parts read by the executor, or by threads where there is none."""

    kind = "samples in shards"

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self.like: Array = np.empty((1, shards.dim), shards.dtype)
        self._fingerprints = list[int]()

    def map(self, work: Work, answer_bytes: int) -> Iterator[Any]:
        parts, first = self._shards.parts, not self._fingerprints
        tasks = [_Task(part, i, work, first) for i, part in enumerate(parts)]
        window, fingerprints = min(_MOST_PARTS, max(_FEWEST_PARTS, _ANSWERS_BYTES // answer_bytes)), list[int]()
        for start in range(0, len(tasks), window):
            for i, reading in enumerate(self._readings(tasks[start : start + window]), start):
                if not first and reading.fingerprint != self._fingerprints[i]:
                    raise ValueError(
                        f"{parts[i].name} has changed since it was read before, in the {parts[i].size} rows from "
                        f"{parts[i].first}: nothing may write to it while it is quantized"
                    )
                fingerprints.append(reading.fingerprint)
                yield reading.answer
        self._fingerprints = fingerprints

    def _readings(self, tasks: "list[_Task]") -> "list[_Reading]":
        executor = self._shards.executor
        if executor is None:
            return parallel_map(lambda i: _read(tasks[i]), len(tasks))
        found: list[Any] = list(executor.map(read_part, tasks))
        if not all(isinstance(reading, _Reading) for reading in found):
            raise ValueError(
                f"executor.map must return answers in the order of the items; {type(executor).__name__}'s returned "
                f"{type(found[0]).__name__}. Of a Dask client write client.get_executor()"
            )
        return found

    def pilot(self, wanted: int, rng: np.random.Generator) -> tuple[DiscreteMeasure, bool]:
        parts, masses = self._shards.parts, self._shards.masses
        if self._shards.size <= wanted:
            points, weights = list[Array](), list[FloatArray]()
            for part in parts:
                points += [_checked(part, first, stored) for first, stored, _ in part.blocks()]
                weights.append(part.weights_of(0, part.size))
            return DiscreteMeasure.from_unnormalized(np.concatenate(points), np.concatenate(weights)), True
        counts = rng.multinomial(wanted, masses / masses.sum())
        drawn = [_checked(part, part.first, part.drawn(many, rng)) for part, many in zip(parts, counts, strict=True) if many]
        return DiscreteMeasure(np.concatenate(drawn)), False

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Parts in random order, and the points of each block of theirs."""
        scale = self._shards.size / float(self._shards.masses.sum())
        order: list[int] = rng.permutation(len(self._shards.parts)).tolist()
        for part in (self._shards.parts[i] for i in order):
            for first, stored, weights in part.blocks():
                points, places = _checked(part, first, stored), rng.permutation(len(stored))
                for start in range(0, len(places), size):
                    some = places[start : start + size]
                    yield Batch(points[some], weights[some] * scale)


class StreamReader:
    """A stream that gives the same points on every pass, in whatever order."""

    kind = "a stream"

    def __init__(self, stream: Stream, like: Array) -> None:
        self._stream, self.like = stream, like
        self._seen: tuple[int, int] | None = None

    def map(self, work: Work, answer_bytes: int) -> Iterator[Any]:
        yield work(((batch.points, batch.masses) for batch in self._pass()), 0)

    def pilot(self, wanted: int, rng: np.random.Generator) -> tuple[DiscreteMeasure, bool]:
        points = reservoir(self._pass(), wanted, np.iinfo(np.int64).max, rng)
        return DiscreteMeasure(points), len(points) < wanted

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        yield from self._pass()

    def _pass(self) -> Iterator[Batch]:
        """Its batches, small ones put together; in the end their number and a sum of their bits are compared."""
        count, bits, waiting, held = 0, 0, list[Array](), 0
        for batch in numbered(self._stream.make_batches(), int(self.like.shape[1]), self.like):
            if self._seen is None:
                check_magnitude(batch.points, 2.0)
            count, bits = count + len(batch.points), bits + _fingerprint(batch.points)
            waiting.append(batch.points)
            held += len(batch.points)
            if held >= _GATHERED:
                yield Batch.of(_together(waiting))
                waiting, held = list[Array](), 0
        if waiting:
            yield Batch.of(_together(waiting))
        if not count:
            raise ValueError(
                "the stream gave no batches on this pass. make_batches must return a fresh iterable every time it is called"
            )
        seen = count, bits % 2**64
        if self._seen is not None and seen != self._seen:
            raise ValueError(
                f"the stream gave {count} points on this pass, and {self._seen[0]} on the first"
                + (", with other values" if count == self._seen[0] else "")
                + ". Lloyd reads it at every step, and it must be the same: fix its seed, or take solver=CLVQ()"
            )
        self._seen = seen


@dataclass(frozen=True, eq=False)
class _Task:
    """Work on one part, and whether it is read for the first time, so that its numbers are checked."""

    part: Part
    number: int
    work: Work
    first: bool


@dataclass(frozen=True, eq=False)
class _Reading:
    """What the work made of a part, and a sum of the bits of its points and weights."""

    answer: Any
    fingerprint: int


def read_part(task: _Task) -> _Reading:
    """One task, in one thread: workers are as many as there should be."""
    return parallel_map(lambda _: _read(task), 1)[0]


def _read(task: _Task) -> _Reading:
    fingerprint, part = 0, task.part

    def blocks() -> Iterator[tuple[Array, FloatArray]]:
        nonlocal fingerprint
        for first, stored, weights in part.blocks():
            points = _checked(part, first, stored) if task.first else as_floating(stored)
            fingerprint += _fingerprint(points) + (0 if part.weights is None else _fingerprint(weights))
            yield points, weights

    answer = task.work(blocks(), task.number)
    return _Reading(answer, fingerprint % 2**64)


def _checked(part: Part, first: int, stored: Array) -> Array:
    """Points as they are computed with; errors name the shard and the rows."""
    try:
        points = checked_points(stored)
        check_magnitude(points, 2.0)
    except ValueError as error:
        raise ValueError(f"{part.name}, in the {len(stored)} rows from {first}: {error}") from None
    return points


def _fingerprint(x: Array) -> int:
    """The sum of the numbers' bits, whatever their order."""
    size = int(x.itemsize)
    if is_torch(x):
        kind = getattr(namespace(x), f"int{8 * size}")
        return int(x.view(kind).sum(dtype=kind)) % 2 ** (8 * size)
    return int(np.add.reduce(x.view(f"u{size}"), axis=None, dtype=f"u{size}"))


def _together(points: list[Array]) -> Array:
    return points[0] if len(points) == 1 else namespace(points[0]).concatenate(points)
