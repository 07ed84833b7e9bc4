"""A split of images on disk: rows of a ``datasets`` table, undecoded until they are read."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images.pixels import Unreadable, decode, inspect
from distill.images.split import Positions, Split
from distill.pipeline.environment import READERS


def readers() -> int:
    """Threads that decode images in this process."""
    return max(1, int(os.environ.get(READERS, "1")))


class Table:
    """Undecoded images, of each row the first of some columns that is not null: bytes within the table, or paths of files."""

    def __init__(self, dataset: Any, *columns: str) -> None:
        self._dataset, self._columns = dataset, columns

    def __getitem__(self, row: int) -> tuple[bytes | None, str | None]:
        found = self._dataset[row]
        images = [image for column in self._columns if (image := found[column]) is not None]
        return (images[0]["bytes"], images[0]["path"]) if images else (None, None)


@dataclass(frozen=True)
class Files:
    """Paths below a folder, kept relative."""

    root: Path
    paths: Sequence[str]

    def __getitem__(self, row: int) -> tuple[bytes | None, str | None]:
        return None, str(self.root / self.paths[row])


@dataclass(frozen=True)
class FileDataset(Split):
    """Images of a table or a list of files. rows: (n,) where each lies there. mark: what names the content, such as sizes.

    bits: of the largest value that 16-bit images hold.
    """

    table: Table | Files
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    size: int
    resize: str
    mark: bytes
    bits: int = 16

    def read(self, positions: Positions, size: int | None = None) -> NDArray[np.uint8]:
        side = size or self.size
        pixels = np.empty((len(positions), 3, side, side), np.uint8)

        def fill(i: int) -> None:
            try:
                pixels[i] = decode(self.content(int(positions[i])), side, self.resize, self.bits)
            except Unreadable as error:
                raise Unreadable(f"{self.name(int(positions[i]))}: {error}") from None

        with ThreadPoolExecutor(readers()) as pool:
            list(pool.map(fill, range(len(positions))))
        return pixels

    def name(self, position: int) -> str:
        row = int(self.rows[position])
        if isinstance(self.table, Files):
            return self.table.paths[row]
        return self.table[row][1] or f"row {row}"

    def content(self, position: int) -> bytes:
        data, path = self.table[int(self.rows[position])]
        if data is not None:
            return data
        if path is None:
            raise Unreadable("no image in this row")
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None

    def inspect(self, content: bytes) -> str | None:
        return inspect(content, self.bits)

    def fingerprint(self) -> bytes:
        digest = hashlib.sha256(self.mark + self.resize.encode() + (b"" if self.bits == 16 else bytes([self.bits])))
        digest.update(np.ascontiguousarray(self.rows).tobytes() + np.ascontiguousarray(self.labels).tobytes())
        return digest.digest()
