"""What a labelled image set is to the stages: two splits whose images are read by position, and its classes."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = Sequence[int] | NDArray[np.int64]


class Split(ABC):
    """Labelled images in a fixed order, none of them in memory until it is read. labels: (n,) class indices."""

    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def of_class(self, index: int) -> NDArray[np.int64]:
        """Positions of a class's images."""
        order, starts = self._by_class
        return order[starts[index] : starts[index + 1]] if 0 <= index < len(starts) - 1 else order[:0]

    @cached_property
    def _by_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = np.bincount(self.labels) if len(self.labels) else np.zeros(0, np.int64)
        return np.argsort(self.labels, kind="stable"), np.concatenate([[0], np.cumsum(counts)])

    @abstractmethod
    def read(self, positions: Positions, size: int | None = None) -> NDArray[np.uint8]:
        """Pixels (n, C, size, size) of readable images, the set's own size by default; raises ``Unreadable`` for another."""

    @abstractmethod
    def name(self, position: int) -> str:
        """The image as people find it: its path, or its row."""

    @abstractmethod
    def content(self, position: int) -> bytes:
        """The image as it is stored, undecoded."""

    @abstractmethod
    def inspect(self, content: bytes) -> str | None:
        """From what the image must be converted, None if from nothing; raises ``Unreadable`` if there is no reading it."""

    @abstractmethod
    def fingerprint(self) -> bytes:
        """What names the content, to be hashed: found without reading the images where they are many."""


@dataclass(frozen=True)
class Held(Split):
    """A split in memory. images: (n, C, H, W) uint8."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def read(self, positions: Positions, size: int | None = None) -> NDArray[np.uint8]:
        if size not in (None, self.images.shape[-1]):
            raise ValueError(f"images held in memory have {self.images.shape[-1]} pixels a side; received size {size}")
        return self.images[np.asarray(positions, dtype=np.int64)]

    def name(self, position: int) -> str:
        return str(position)

    def content(self, position: int) -> bytes:
        return self.images[position].tobytes()

    def inspect(self, content: bytes) -> str | None:
        return None

    def fingerprint(self) -> bytes:
        return b"".join(str(a.shape).encode() + np.ascontiguousarray(a).tobytes() for a in (self.images, self.labels))


@dataclass(frozen=True)
class Images:
    """A labelled image set, split for training and for the evaluation alone.

    classes: a name per class as the source writes it, no two alike. channels, size: of an image. naming: from ``classes`` to what
    people call them, asked when needed.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    size: int
    naming: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What people call the classes; two of one name keep the source's beside it."""
        names = self.naming(self.classes)
        return tuple(name if names.count(name) == 1 else f"{name} ({key})" for name, key in zip(names, self.classes, strict=True))

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """What a prompt calls the classes."""
        return self.naming(self.classes)

    @property
    def bytes_an_image(self) -> int:
        """Of its pixels."""
        return self.channels * self.size**2

    def split(self, name: str) -> Split:
        """``train`` or ``test``."""
        return {"train": self.train, "test": self.test}[name]

    def index_of(self, part: str) -> int:
        """The class that a part named by :meth:`part_name`, or a shard of it, belongs to."""
        return int(part.split("-")[0])

    def part_name(self, index: int) -> str:
        """The name of a class's files, ``<index>-<slug>``: letters, digits and hyphens alone."""
        return f"{index:04d}-{re.sub(r'[^a-z0-9]+', '-', self.classes[index].lower()).strip('-')[:40] or 'class'}"

    @property
    def part_names(self) -> list[str]:
        """A part per class."""
        return [self.part_name(index) for index in range(len(self.classes))]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the class names, the size of an image, and what each split is known by."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(f"{self.channels}x{self.size}".encode())
        for split in (self.train, self.test):
            digest.update(split.fingerprint())
        return digest.hexdigest()


def held_out(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Positions kept and held out, in order: of each class of n images round(n · fraction), drawn with a seed."""
    kept, out = [], []
    for index in np.unique(labels):
        of_class = np.flatnonzero(labels == index)
        order = np.random.default_rng([seed, int(index)]).permutation(of_class)
        count = round(len(order) * fraction)
        out.append(order[:count])
        kept.append(order[count:])
    nothing = np.zeros(0, np.int64)
    return np.sort(np.concatenate([nothing, *kept])), np.sort(np.concatenate([nothing, *out]))
