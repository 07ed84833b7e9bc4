"""Streams of batches: checked, numbered in errors, and sampled evenly over a pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, asarray_like, double, is_torch, namespace
from quantization.validation import checked_points


@dataclass(frozen=True)
class Stream:
    """A law known only through batches, such as a data loader or a cache of latents too large for memory.

    It goes to :class:`CLVQ`; with ``solver=Lloyd()`` it is read at every step, and must give the same points every time. Files
    and memmaps are better given as :class:`Shards`.

    Parameters
    ----------
    make_batches : callable or iterable
        Called for every pass; returns a fresh iterable of arrays or tensors (n_i, d), of any sizes n_i ≥ 1, all of one library,
        dtype and device. Or such an iterable itself where it can be read repeatedly: a torch ``DataLoader``, a list. Of a batch
        that is a list or tuple of arrays, such as (x, y), the first is taken.
    dim : int, optional
        The dimension d, where it should be checked.

    Raises
    ------
    ValueError
        For an iterator, which can be read only once, and for what is no iterable of batches.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> rng = np.random.default_rng(0)
    >>> batches = [rng.normal(size=(500, 2)) for _ in range(4)]
    >>> qz.quantize(qz.Stream(batches), 3, solver=qz.CLVQ(epochs=2), rng=0).points.shape
    (3, 2)
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
        """The batches of a new pass.

        Returns
        -------
        iterable of arrays (n_i, d)

        Raises
        ------
        ValueError
            Where ``make_batches`` returns no iterable, or the same iterator a second time.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> len(list(qz.Stream([np.zeros((2, 3))]).fresh()))
        1
        """
        batches: Any = self.make_batches()
        if not hasattr(batches, "__iter__"):
            raise ValueError(f"make_batches must return an iterable of batches (n_i, d); it returned {type(batches).__name__}")
        if hasattr(batches, "__next__") and self.make_batches() is batches:
            raise ValueError(
                f"make_batches must return a fresh iterable every time it is called; it returned one {type(batches).__name__} "
                "twice, which can be read only once. Write a function that makes a new one"
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
    """``wanted`` points drawn uniformly without replacement from the first ``most`` of a pass, or all where there are fewer.

    Reservoir sampling: each point gets a uniform key, and those with the least keys stay, at most twice as many at a time. The
    order of the stream is kept.
    """
    candidates: list[Array] = []
    keys, threshold, seen = np.empty(0), 1.0, 0
    for batch in batches:
        new = rng.random(len(batch.points))
        accepted = np.flatnonzero(new < threshold)
        candidates.append(_rows(batch.points, accepted))
        keys = np.concatenate([keys, new[accepted]])
        if len(keys) > 2 * wanted:
            candidates, keys = _least_keys(candidates, keys, wanted)
            threshold = float(keys.max())
        seen += len(batch.points)
        if seen >= most:
            break
    return _least_keys(candidates, keys, wanted)[0][0]


def _least_keys(candidates: list[Array], keys: FloatArray, wanted: int) -> tuple[list[Array], FloatArray]:
    chosen = np.sort(np.argsort(keys)[:wanted])
    return [_rows(namespace(candidates[0]).concatenate(candidates), chosen)], keys[chosen]


def _rows(points: Array, chosen: IntArray) -> Array:
    return points[asarray_like(chosen, points, dtype=namespace(points).int64)]


def _described(x: Array) -> str:
    return f"a {x.dtype} tensor on {x.device}" if is_torch(x) else f"a numpy array of {x.dtype}"


def numbered(stream: Iterable[Any], dim: int | None, kind: Array | None) -> Iterator[Batch]:
    """One pass over a stream, its batches checked; errors say which one it is, counted from 1."""
    for i, batch in enumerate(stream, 1):
        yield Batch.of(checked_batch(batch, dim, kind, f"batch {i} of the stream"))
