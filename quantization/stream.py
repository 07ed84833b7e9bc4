"""Streams of batches: checked, numbered in errors, and sampled evenly over a pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from quantization.arrays import Array, IntArray, asarray_like, double, is_torch, namespace
from quantization.validation import checked_points


@dataclass(frozen=True)
class Stream:
    """A law known only through batches, such as a data loader or a cache of latents too large for memory.

    make_batches: called for every pass; returns a fresh iterable of (n_i, d) arrays or tensors, of any sizes n_i ≥ 1, all of one
    library, dtype and device. Or such an iterable itself where it can be read again and again: a torch ``DataLoader``, a list.
    Of a batch that is a list or tuple of arrays, such as (x, y), the first is taken.
    dim: the dimension d, where it should be checked.
    """

    make_batches: Callable[[], Iterable[Any]]
    dim: int | None = None

    def __init__(self, make_batches: Callable[[], Iterable[Any]] | Iterable[Any], dim: int | None = None) -> None:
        if not callable(make_batches):
            if not hasattr(make_batches, "__iter__") or hasattr(make_batches, "__array__"):
                raise ValueError(
                    "make_batches must be a function that returns a fresh iterable of batches, or a loader or list of them; "
                    f"received {type(make_batches).__name__}"
                )
            if hasattr(make_batches, "__next__"):
                raise ValueError(
                    f"a stream is read more than once; received a {type(make_batches).__name__}, which can be read only once. "
                    "Give the function that makes it"
                )
            make_batches = partial(_itself, make_batches)
        object.__setattr__(self, "make_batches", make_batches)
        object.__setattr__(self, "dim", dim)

    def fresh(self) -> Iterable[Any]:
        """The batches of a new pass; ``ValueError`` where ``make_batches`` can't make one a second time."""
        batches: Any = self.make_batches()
        if not hasattr(batches, "__iter__"):
            raise ValueError(f"make_batches must return an iterable of batches (n_i, d); it returned {type(batches).__name__}")
        if hasattr(batches, "__next__") and self.make_batches() is batches:
            raise ValueError(
                f"make_batches must return a fresh iterable every time it is called; it returned one {type(batches).__name__} "
                "twice, which can be read only once. Write a function that makes it anew"
            )
        return batches


def _itself(batches: Iterable[Any]) -> Iterable[Any]:
    return batches


@dataclass(frozen=True)
class Batch:
    """Part of a law: points (b, d), and masses (b,) in float64 whose mean over the whole law is 1."""

    points: Array
    masses: Array

    @staticmethod
    def of(points: Array) -> "Batch":
        """Points of mass 1."""
        return Batch(points, namespace(points).ones_like(double(points[:, 0])))


def checked_batch(batch: Any, dim: int | None, kind: Array | None, name: str) -> Array:
    """The points of a batch: its first element where it is a list or tuple of arrays such as (x, y).

    Raises ``ValueError`` that names the batch where they are no finite (n, d) array, have another dimension than ``dim``, or
    another array library, dtype or device than ``kind``.
    """
    if isinstance(batch, Mapping):
        keys = ", ".join(map(repr, cast(Mapping[Any, Any], batch)))
        raise ValueError(
            f"{name} must be an array (n, d), or a list or tuple that begins with one; received a dictionary of {keys}. "
            'Write Stream(lambda: (batch["..."] for batch in loader))'
        )
    first: Any = cast(list[Any], batch)[0] if isinstance(batch, list | tuple) and batch else None
    try:
        points = checked_points(first if getattr(first, "ndim", 0) >= 2 else batch)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if dim is not None and points.shape[1] != dim:
        raise ValueError(f"{name} must have dimension {dim}; received shape {tuple(points.shape)}")
    if kind is not None and _described(points) != _described(kind):
        raise ValueError(
            f"{name} is {_described(points)}, what came before it {_described(kind)}. Give all in one library, dtype and device"
        )
    return points


def reservoir(batches: Iterable[Batch], wanted: int, most: int, rng: np.random.Generator) -> Array:
    """So many points drawn evenly, without replacement, from the first ``most`` of a pass, or all where they are fewer.

    In their order. Each point gets a uniform key, and those with the least keys are kept, at most twice as many at a time.
    """
    held: list[Array] = []
    keys, threshold, seen = np.empty(0), 1.0, 0
    for batch in batches:
        new = rng.random(len(batch.points))
        few = np.flatnonzero(new < threshold)
        held.append(_rows(batch.points, few))
        keys = np.concatenate([keys, new[few]])
        if len(keys) > 2 * wanted:
            held, keys = _least(held, keys, wanted)
            threshold = float(keys.max())
        seen += len(batch.points)
        if seen >= most:
            break
    return _least(held, keys, wanted)[0][0]


def _least(held: list[Array], keys: Any, wanted: int) -> tuple[list[Array], Any]:
    chosen = np.sort(np.argsort(keys)[:wanted])
    return [_rows(namespace(held[0]).concatenate(held), chosen)], keys[chosen]


def _rows(points: Array, chosen: IntArray) -> Array:
    return points[asarray_like(chosen, points, dtype=namespace(points).int64)]


def _described(x: Array) -> str:
    return f"a {x.dtype} tensor on {x.device}" if is_torch(x) else f"a numpy array of {x.dtype}"


def numbered(stream: Iterable[Any], dim: int | None, kind: Array | None) -> Iterator[Batch]:
    """One pass over a stream, its batches checked; errors say which one it is, counted from 1."""
    for i, batch in enumerate(stream, 1):
        yield Batch.of(checked_batch(batch, dim, kind, f"batch {i} of the stream"))
