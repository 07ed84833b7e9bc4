"""Rows of numbers where they are stored: in an array, or in a file of which some are read at a time."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, cast

import numpy as np

from quantization.arrays import Array, IntArray, check_unmasked, is_torch

_WINDOW_BYTES = 2**20  # that are read at once where single rows are taken
_BLOCK_BYTES, _AHEAD_BYTES = 2**19, 2**25  # of a block whose like the disk is asked for before its time, and how far before
_reading = Lock()  # datasets: not all of their libraries are safe with threads


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
    """Rows of an array of numpy."""

    array: Array

    def cut(self, start: int, stop: int) -> Rows:
        return InMemory(self.array[start:stop])

    def read(self, start: int, stop: int) -> Array:
        return np.asarray(self.array[start:stop])

    def take(self, rows: IntArray) -> Array:
        return np.asarray(self.array[rows])


@dataclass(frozen=True, eq=False)
class InDataset:
    """Rows of what copies arrays out by slices, such as a dataset of h5py: none is read before it is asked for."""

    dataset: Array
    start: int
    size: int

    def cut(self, start: int, stop: int) -> Rows:
        return InDataset(self.dataset, self.start + start, stop - start)

    def read(self, start: int, stop: int) -> Array:
        try:
            with _reading:
                rows = np.asanyarray(self.dataset[self.start + start : self.start + stop])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:  # of a file that was closed, as h5py has it
            raise OSError(f"{type(error).__name__}: {error}") from error
        if np.ma.is_masked(rows):
            raise OSError("it gives masked entries. Drop or fill them")
        if rows.shape != (stop - start, *self.dataset.shape[1:]):
            raise OSError(f"it gives an array of shape {rows.shape} for {stop - start} rows")
        return np.asarray(rows)

    def take(self, rows: IntArray) -> Array:
        return _by_windows(self, rows, self.dataset.dtype.itemsize * int(np.prod(self.dataset.shape[1:], dtype=np.int64)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes get the rows: datasets of h5py can't be sent."""
        return InMemory, (self.read(0, self.size),)


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
        return self.pieces([start], stop - start)

    def take(self, rows: IntArray) -> Array:
        return self.pieces(rows.tolist(), 1)

    def pieces(self, starts: list[int], count: int) -> Array:
        """So many rows from each of these."""
        rows, step = np.empty((len(starts) * count, *self.shape), self.dtype), count * self._size()
        whole: Any = memoryview(cast(Any, rows.reshape(-1).view(np.uint8)))
        with Path(self.path).open("rb", buffering=0) as file:
            for i, start in enumerate(starts):
                place = self.offset + start * self._size()
                file.seek(place)
                if step >= _BLOCK_BYTES and hasattr(os, "posix_fadvise"):  # so that it is read while others are computed with
                    os.posix_fadvise(file.fileno(), place + _AHEAD_BYTES, step, os.POSIX_FADV_WILLNEED)
                left = whole[i * step : (i + 1) * step]
                while len(left):
                    got = file.readinto(left)
                    if not got:
                        raise OSError(f"it has fewer rows than when it was opened: '{self.path}'")
                    left = left[got:]
        return rows

    def _size(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class ColumnsInFile:
    """Rows of an array in Fortran order, whose columns are in a file, one after another; read like :class:`InFile`."""

    first: InFile  # column
    step: int  # numbers from one column to the next
    dim: int

    def cut(self, start: int, stop: int) -> Rows:
        return replace(self, first=self.first.cut(start, stop))

    def read(self, start: int, stop: int) -> Array:
        columns = self.first.pieces([start + j * self.step for j in range(self.dim)], stop - start)
        return columns.reshape(self.dim, stop - start).T

    def take(self, rows: IntArray) -> Array:
        return _by_windows(self, rows, self.first.dtype.itemsize * self.dim)


def _by_windows(stored: Rows, rows: IntArray, row_bytes: int) -> Array:
    """These rows, in ascending order, out of slices that hold some of them: numbers that repeat are refused by h5py."""
    windows = rows // max(1, _WINDOW_BYTES // row_bytes)
    groups = np.split(rows, np.flatnonzero(np.diff(windows)) + 1)
    return np.concatenate([stored.read(int(some[0]), int(some[-1]) + 1)[some - some[0]] for some in groups])


def located(array: Array) -> Rows:
    """Rows in the file that they are mapped from, where that is the same; else in the array."""
    given: object = array
    if not isinstance(given, np.ndarray):
        return InDataset(array, 0, int(array.shape[0]))
    root: Any = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    step, left = divmod(array.strides[-1], array.itemsize)
    by_columns = array.ndim == 2 and array.strides[0] == array.itemsize and left == 0
    in_order = array.flags.c_contiguous or by_columns
    if not (all(isinstance(z, np.memmap) for z in (array, root)) and root.filename and in_order):
        return InMemory(array)
    shift = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    rows: Rows = InFile(str(root.filename), array.dtype, int(root.offset) + shift, array.shape[1:])
    if not array.flags.c_contiguous:
        rows = ColumnsInFile(replace(rows, shape=()), step, array.shape[1])
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
    check_unmasked(shard, name)
    return shard
