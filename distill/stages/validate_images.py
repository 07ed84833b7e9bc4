"""Validate images: every one is read once, before anything is made of it; what can't be read is listed and left out."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images, Split
from distill.images.file_dataset import readers
from distill.images.pixels import DARK, DEEP, Unreadable
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.pipeline.store import ChecksumMismatch
from distill.recipe import Recipe

_SPLITS = ("train", "test")


class ValidateImagesStage(Stage):
    """``<class>.json``: for each split the number of images, those unreadable with reasons, from what others are converted.

    Positions are of the class's images in their order. ``sha256`` covers the stored bytes, so that ``--verify`` can tell whether
    images changed whose names and sizes did not.
    """

    name = "validate"
    version = 2  # since images stand upright; all that is made of images has this stage among its parents

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self.recipe, self.data = recipe, data

    def options(self) -> Mapping[str, Any]:
        return {"data": self.data.fingerprint}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        index = self.data.index_of(part)
        splits = {name: self.data.split(name) for name in _SPLITS}
        return {f"{part}.json": {name: inspected(split, split.of_class(index)) for name, split in splits.items()}}

    def readable(self, read: Reader, split: str, index: int) -> NDArray[np.int64]:
        """Positions, in a split, of a class's images that can be read."""
        found = read.values(self, self.data.part_name(index))[split]
        return np.delete(self.data.split(split).of_class(index), [each["at"] for each in found["unreadable"]])

    def all_readable(self, read: Reader, split: str) -> NDArray[np.int64]:
        """Positions of all images of a split that can be read, in order."""
        classes = range(len(self.data.classes))
        return np.sort(np.concatenate([self.readable(read, split, index) for index in classes]))

    def summary(self, read: Reader) -> Mapping[str, Any]:
        """Counts and the list of what is left out; refuses more of it than ``data.max_unreadable`` allows, or all of a class."""
        counts: dict[str, int] = dict.fromkeys(_SPLITS, 0)
        unreadable: list[dict[str, Any]] = []
        converted: dict[str, int] = {}
        for part in self.parts():
            for split, found in read.values(self, part).items():
                counts[split] += found["images"]
                unreadable += [{"split": split, "class": part, **each} for each in found["unreadable"]]
                for kind, count in found["converted"].items():
                    converted[kind] = converted.get(kind, 0) + count
                if len(found["unreadable"]) == found["images"]:
                    raise ValueError(f"none of the {found['images']} images of {part} ({split}) can be read: {_some(unreadable)}")
        options: Any = self.recipe.data
        if DARK in converted and DEEP not in converted and options.bits is None:
            raise ValueError(
                f"all {converted[DARK]} images of 16 bits hold values below 4096 alone, as of 12 bits, and would be nearly "
                "black: set data.bits = 12, or data.bits = 16 if they are that dark"
            )
        allowed = getattr(self.recipe.data, "max_unreadable", 0.0)
        if len(unreadable) > allowed * sum(counts.values()):
            raise ValueError(
                f"{len(unreadable)} of {sum(counts.values())} images can't be read, more than the share data.max_unreadable = "
                f"{allowed:g} allows: {_some(unreadable)}. Repair them, or allow more"
            )
        return {"images": counts, "unreadable": unreadable, "converted": converted}

    def changed(self, read: Reader) -> list[str]:
        """The classes whose images hold other bytes than when they were validated. Reads all of the data.

        Of a class whose own record is damaged nothing is known: it is made again.
        """
        found: list[str] = []
        for index, part in enumerate(self.parts()):
            try:
                known = read.values(self, part)
            except ChecksumMismatch:
                continue
            if any(known[name]["sha256"] != _contents(self.data.split(name), index) for name in _SPLITS):
                found.append(self.data.classes[index])
        return found


def inspected(split: Split, positions: NDArray[np.int64]) -> dict[str, Any]:
    """Reads some images of a split: how many, which can't be read and why, from what others are converted, and a hash of all."""
    digest = hashlib.sha256()
    unreadable: list[dict[str, Any]] = []
    converted: dict[str, int] = {}
    with ThreadPoolExecutor(readers()) as pool:
        for start in range(0, len(positions), 256):  # a few at a time, so that few are in memory
            some = positions[start : start + 256]
            for i, (sha, kind, reason) in enumerate(pool.map(lambda p: _one(split, int(p)), some)):
                digest.update(sha)
                if reason is not None:
                    unreadable.append({"at": start + i, "name": split.name(int(some[i])), "reason": reason})
                elif kind is not None:
                    converted[kind] = converted.get(kind, 0) + 1
    return {"images": len(positions), "unreadable": unreadable, "converted": converted, "sha256": digest.hexdigest()}


def _one(split: Split, position: int) -> tuple[bytes, str | None, str | None]:
    """Of one image: the hash of its bytes, from what it is converted, and why it can't be read."""
    content = b""
    try:
        content = split.content(position)
        kind, reason = split.inspect(content), None
    except Unreadable as error:
        kind, reason = None, str(error)
    return hashlib.sha256(content).digest(), kind, reason


def _contents(split: Split, index: int) -> str:
    digest = hashlib.sha256()
    for position in split.of_class(index):
        try:
            digest.update(hashlib.sha256(split.content(int(position))).digest())
        except Unreadable:
            digest.update(hashlib.sha256(b"").digest())
    return digest.hexdigest()


def _some(unreadable: list[dict[str, Any]]) -> str:
    """The first few, for a sentence."""
    return "; ".join(f"{each['name']} ({each['reason']})" for each in unreadable[:3]) + ("; ..." if len(unreadable) > 3 else "")
