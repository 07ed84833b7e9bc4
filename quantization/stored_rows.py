"""Rows of numbers where they are stored: in an array, or in a file of which some are read at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from quantization.arrays import Array, IntArray, is_torch


class Rows(Protocol):
    """Rows of numbers, wherever they lie."""

    def cut(self, start: int, stop: int) -> "Rows":
        """Some of them, not read yet."""
        ...

    def read(self, start: int, stop: int) -> Array: ...

    def take(self, rows: IntArray) -> Array:
        """These rows, in ascending order."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows of an array, or of whatever gives arrays by slices."""

    array: Array

    def cut(self, start: int, stop: int) -> Rows:
        return InMemory(self.array[start:stop])

    def read(self, start: int, stop: int) -> Array:
        return np.asarray(self.array[start:stop])

    def take(self, rows: IntArray) -> Array:
        return np.asarray(self.array[rows])


@dataclass(frozen=True)
class InFile:
    """Rows that follow one another in a file. They are read, not mapped: a file that is cut meanwhile is an error, no crash."""

    path: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]  # of a row

    def cut(self, start: int, stop: int) -> Rows:
        return InFile(self.path, self.dtype, self.offset + start * self._size(), self.shape)

    def read(self, start: int, stop: int) -> Array:
        return self._read([start], stop - start)

    def take(self, rows: IntArray) -> Array:
        return self._read(rows.tolist(), 1)

    def _read(self, starts: list[int], count: int) -> Array:
        rows, step = np.empty((len(starts) * count, *self.shape), self.dtype), count * self._size()
        whole: Any = memoryview(cast(Any, rows.reshape(-1).view(np.uint8)))
        with Path(self.path).open("rb", buffering=0) as file:
            for i, start in enumerate(starts):
                file.seek(self.offset + start * self._size())
                left = whole[i * step : (i + 1) * step]
                while len(left):
                    got = file.readinto(left)
                    if not got:
                        raise OSError("it has fewer rows than when it was opened")
                    left = left[got:]
        return rows

    def _size(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


def located(array: Array) -> Rows:
    """Rows in the file that they are mapped from, where that is the same; else in the array."""
    root: Any = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if not (all(isinstance(z, np.memmap) for z in (array, root)) and root.filename and array.flags.c_contiguous):
        return InMemory(array)
    shift = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    rows = InFile(str(root.filename), array.dtype, int(root.offset) + shift, array.shape[1:])
    ends = np.array([0, len(array) - 1])
    try:
        same = root.mode != "c" and rows.take(ends).tobytes() == np.asarray(array[ends]).tobytes()
    except (OSError, ValueError):
        same = False
    return rows if same else InMemory(array)


def opened(name: str, shard: Any) -> Array:
    """An array, or the array in a .npy file, mapped and not read."""
    if isinstance(shard, str | Path):
        try:
            array: Any = np.load(shard, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{name} must be a .npy file of numbers that can be opened; received {error}") from error
        if not hasattr(array, "shape"):
            raise ValueError(f"{name} must be a .npy file of one array; received an archive. Write its arrays one by one")
        return array
    if is_torch(shard) or not all(hasattr(shard, needed) for needed in ("shape", "dtype", "__getitem__")):
        raise ValueError(
            f"{name} must be a numpy array, a memmap or the name of a .npy file; received {type(shard).__name__}"
            + (". Write Stream(list_of_tensors)" if is_torch(shard) else "")
        )
    return shard
