"""Samples in shards: arrays, memmaps and .npy files that no memory need hold, cut into parts that are read block by block."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating
from quantization.stored_rows import Rows, located, opened
from quantization.validation import checked_number

_PART_BYTES, _BLOCK_BYTES = 2**24, 2**21  # of the rows of a task; of those that are in memory at a time
_READ_AT_ONCE = 2**25  # bytes of a memmap, up to which it is an array like any other

Shard: TypeAlias = Array | str | Path


class Executor(Protocol):
    """Whatever runs a function on many items, in processes, threads or on machines of its own."""

    def map(self, fn: Callable[[Any], Any], items: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one shard that one task reads: small to send, unless they are an array in memory.

    name: of the shard, for errors. first: the number of its first row there. weights: of each point; ``None`` where each has
    the weight ``each``. top: what weights are divided by. block: rows that are read at a time.
    """

    name: str
    first: int
    size: int
    points: Rows
    weights: Rows | None
    each: float
    block: int
    top: float = 1.0

    def blocks(self) -> Iterator[tuple[int, Array, FloatArray]]:
        """The number of a first row, the rows as they are stored, and their weights."""
        for start in range(0, self.size, self.block):
            stop = min(start + self.block, self.size)
            with _named(self.name):
                points = self.points.read(start, stop)
            yield self.first + start, points, self.weights_of(start, stop)

    def weights_of(self, start: int, stop: int) -> FloatArray:
        """In float64, (stop - start,)."""
        if self.weights is None:
            return np.full(stop - start, self.each / self.top)
        with _named(f"the weights of {self.name}"):
            return np.divide(self.weights.read(start, stop), self.top, dtype=np.float64)

    def drawn(self, many: int, rng: np.random.Generator) -> Array:
        """So many points, as they are stored, drawn independently in proportion to their weights."""
        if self.weights is None:
            rows = rng.integers(self.size, size=many)
        else:
            cumulative: FloatArray = np.cumsum(self.weights_of(0, self.size))
            last = int(np.searchsorted(cumulative, float(cumulative[-1])))  # of positive weight, as round-off may lead on
            rows = np.searchsorted(cumulative, rng.random(many) * float(cumulative[-1]), side="right").clip(max=last)
        with _named(self.name):
            return self.points.take(np.sort(rows))


class Shards:
    r"""The measure $\sum_i w_i \delta_{x_i} / \sum_i w_i$ on rows of many arrays or files, of which a few MB are read at a time.

    Parameters
    ----------
    shards : array (n, d), str or Path, or a list of these
        numpy arrays, memmaps, names of .npy files, or what gives arrays by slices, such as a dataset of h5py; all of one
        dimension d and floating dtype (integers become float64). Nothing is copied whole. Shards of no rows are left out.
    weights : float, array (n,), str or Path, or a list of these, optional
        $w_i \ge 0$, of any sum: for each shard one number per row, in whatever form a shard may have, or one for all of its rows.
        ``None`` is 1 for every point.
    executor : object with ``.map(function, items)``, optional
        Who reads the parts: ``concurrent.futures`` pools of threads or processes, ``multiprocessing.Pool``, Ray's
        ``ray.util.multiprocessing.Pool``, ``mpi4py.futures.MPIPoolExecutor``, or ``client.get_executor()`` of Dask. ``None`` is
        threads of this process. Of files their path and offset are sent, which others must be able to open; of arrays the rows.

    Attributes
    ----------
    size : int
        The number of points.
    dim : int
        The dimension d.

    Raises
    ------
    ValueError
        Which names the shard, counted from 1: for what can't be opened, has masked entries, or is of another dimension or dtype
        than those before; while it is read, for NaN, for files that are gone or cut, and where its numbers change from one
        reading to the next.

    Notes
    -----
    Sums are in float64, part by part of a fixed size and in a fixed order, so that the answer has the same bits whatever the
    executor and the number of its workers.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> shards = qz.Shards([x[:600], x[600:]], weights=[1.0, 2.0])
    >>> shards.size, shards.dim, qz.quantize(shards, 5, rng=0).converged
    (1000, 2, True)
    """

    def __init__(
        self,
        shards: Shard | Sequence[Shard],
        weights: float | Shard | Sequence[float | Shard] | None = None,
        *,
        executor: Executor | None = None,
    ) -> None:
        if executor is not None and not callable(getattr(executor, "map", None)):
            raise ValueError(f"executor must have .map(function, items), as pools have; received {type(executor).__name__}")
        several = isinstance(cast(Any, shards), list | tuple)
        listed: list[Any] = list(cast(Any, shards)) if several else [shards]
        given: list[Any] = [weights] * len(listed)
        if weights is not None and several:
            given = list(cast(Any, weights)) if isinstance(cast(Any, weights), list | tuple) else []
        if len(given) != len(listed):
            received = len(given) or type(weights).__name__
            raise ValueError(f"weights must be a list of one entry per shard, {len(listed)} of them; received {received}")
        self.executor = executor
        self.size, self.dim, self.dtype = 0, 0, np.dtype(np.float64)
        self.parts: list[Part] = []
        self.masses: FloatArray = np.empty(0)
        names = [_name(i, shard) for i, shard in enumerate(listed, 1)]
        for name, shard, weight in zip(names, listed, given, strict=True):
            self._add(name, opened(name, shard), weight)
        if not self.parts:
            raise ValueError(f"shards must hold points; received {len(listed)} without any")
        self._weigh()

    def __repr__(self) -> str:
        return f"Shards({self.size} points in R^{self.dim}, {self.dtype})"

    def _add(self, name: str, points: Array, weight: Any) -> None:
        if len(points.shape) != 2 or points.shape[1] == 0:
            raise ValueError(f"{name} must have shape (n, d) with d ≥ 1; received shape {tuple(points.shape)}")
        if (n := int(points.shape[0])) == 0:
            return
        dim, stored = int(points.shape[1]), np.dtype(points.dtype)
        dtype = as_floating(np.empty(0, stored), name).dtype
        if self.parts and (dim, dtype) != (self.dim, self.dtype):
            raise ValueError(f"{name} is {dtype} in dimension {dim}, what came before it {self.dtype} in dimension {self.dim}")
        self.dim, self.dtype = dim, dtype
        weight = 1.0 if weight is None else weight
        where = f"the weights of {name}"
        array: Array = None if isinstance(weight, Real) else opened(where, weight)
        if array is not None and (tuple(array.shape) != (n,) or np.dtype(array.dtype).kind not in "fiub"):
            raise ValueError(f"{where} must be a number or have shape ({n},); received {array.dtype}, {tuple(array.shape)}")
        rows, weights = located(points), None if array is None else located(array)
        each = 1.0 if array is not None else checked_number(weight, f"{where} must be finite and not negative")
        step, block = (max(1, size // (dim * max(stored.itemsize, dtype.itemsize))) for size in (_PART_BYTES, _BLOCK_BYTES))
        for first in range(0, n, step):
            stop = min(first + step, n)
            own = None if weights is None else weights.cut(first, stop)
            self.parts.append(Part(name, first, stop - first, rows.cut(first, stop), own, each, block))
        self.size += n

    def _weigh(self) -> None:
        """Checks all weights, has the largest be 1, and sums those of each part."""
        sums, tops = np.empty(len(self.parts)), np.empty(len(self.parts))
        for i, part in enumerate(self.parts):
            weights = part.weights_of(0, part.size)
            bad = int((~(np.isfinite(weights) & (weights >= 0))).sum())
            if bad:
                raise ValueError(f"the weights of {part.name} must be finite and not negative; received {bad} that are not")
            tops[i] = weights.max()
            sums[i] = (weights / tops[i]).sum() if tops[i] > 0 else 0.0
        if not tops.max() > 0:
            raise ValueError(f"the weights must not all be zero; received {self.size} zeros")
        self.parts = [replace(part, top=float(tops.max())) for part in self.parts]
        self.masses = sums * (tops / tops.max())


@contextmanager
def _named(what: str) -> Generator[None]:
    """Errors of reading say of what."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{what} can't be read any longer: {error}") from error


def in_parts(law: Array) -> Array:
    """A memmap of more than 32 MB as :class:`Shards`, and anything else as it is."""
    given: Any = law
    if isinstance(law, np.memmap) and given.ndim == 2 and given.shape[1] > 1 and given.nbytes > _READ_AT_ONCE:
        return Shards(given)
    return given


def _name(number: int, shard: Any) -> str:
    path = shard if isinstance(shard, str | Path) else getattr(shard, "filename", None)
    return f"shard {number}" + (f" ({path})" if path else "")
