"""Somebody's distilled set in the place of a method's images."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.external import Item, opened
from distill.images import Images
from distill.images.pixels import Unreadable, decode
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe, RecipeError
from distill.stages.draw import draws


class ExternalImagesStage(Stage):
    """A draw's ``images`` (K, C, H, W) uint8, ``weights`` (K,) of sum 1, and ``logits`` (K, classes) where the set has its own.

    The set (:mod:`distill.external`) calls its classes as the data do, or by number in their order (000 or new000).
    """

    name = "external"
    kind = "external"
    version = 2  # since images are read as the data are, and soft labels say which classes their columns are

    def __init__(self, recipe: Recipe, data: Images) -> None:
        assert recipe.external is not None
        self.recipe, self.data, self.section = recipe, data, recipe.external
        options: Any = recipe.data  # as the random images beside them are read
        self._reading = (getattr(options, "resize", "crop"), getattr(options, "bits", None) or 16)
        self._set = opened(self.section.path, self.section.mean, self.section.std)
        self._items[0][0].content()  # tensors that nobody can take for images are refused before any work
        most = max(len(items) for items in self._items)
        if most != self.section.ipc:
            raise RecipeError(f"external.ipc = {self.section.ipc}, but a class of {self._set.path} has up to {most} images")
        if self.section.labels == "own":
            self._check_labels()

    @property
    def title(self) -> str:
        return "images external"

    def options(self) -> Mapping[str, Any]:
        normalized = {"mean": self.section.mean, "std": self.section.std} if self.section.mean else {}
        files = self._set.fingerprint(labels=self.section.labels == "own")
        return {"files": files, "labels": self.section.labels, "data": self.data.fingerprint, **normalized}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        items = self._items[self.data.index_of(part)]
        pixels = np.stack([self._pixels(item) for item in items])
        weights = np.array([item.weight for item in items])
        (draw,) = draws(self.recipe, "external")
        tensors = draw.tensors(images=torch.from_numpy(pixels), weights=torch.from_numpy(weights / weights.sum()))
        if self.section.labels == "own":
            tensors |= draw.tensors(logits=torch.stack([self._logits(item) for item in items]).float())
        return {f"{part}.safetensors": tensors}

    @cached_property
    def _items(self) -> list[Sequence[Item]]:
        """The images of each class of the data, in order."""
        found, classes = self._set.classes, self.data.classes
        names = list(found)
        if set(names) == set(classes):
            chosen = list(classes)
        elif len(names) == len(classes) and (order := numbers(names)) is not None:
            chosen = [name for _, name in sorted(zip(order, names, strict=True))]
        else:
            raise RecipeError(
                f"{self._set.path} must hold a folder per class, or labels, named as the data's {len(classes)} classes, such as "
                f"{classes[0]!r}, or by number in their order, such as 000 or new000; it holds {len(names)}, such as "
                f"{names[0] if names else 'none'!r}"
            )
        for name in chosen:
            if not sum(item.weight for item in found[name]) > 0:
                raise RecipeError(f"{self._set.path} holds no images of {name!r}, or gives all of them the weight 0")
        return [found[name] for name in chosen]

    def _check_labels(self) -> None:
        if not self._set.brings_labels:
            raise RecipeError(f"external.labels = 'own', but {self._set.path} does not name soft labels of every image")
        order = self._columns
        if order is not None and set(order) != set(self.data.classes):
            raise RecipeError(f"the columns of the soft labels of {self._set.path} are {order[:3]}, ..., not the data's classes")

    @cached_property
    def _columns(self) -> list[str] | None:
        return self._set.order()

    def _pixels(self, item: Item) -> Any:
        try:
            pixels = decode(item.content(), self.data.size, *self._reading)
        except (Unreadable, OSError) as error:
            raise ValueError(f"{item.name}: {error}") from None
        return pixels[:1] if self.data.channels == 1 else pixels

    def _logits(self, item: Item) -> Any:
        assert item.logits is not None
        logits, classes = item.logits(), self.data.classes
        if logits.shape != (len(classes),):
            raise ValueError(f"{item.name} must have logits ({len(classes)},); received {tuple(logits.shape)}")
        return logits if self._columns is None else logits[[self._columns.index(name) for name in classes]]


def classes_of(path: str | Path) -> list[str]:
    """What a set calls its classes."""
    return list(opened(path).classes)


def images_a_class(path: str | Path) -> int:
    """The most images that a class of a set has."""
    return max(len(items) for items in opened(path).classes.values())


def brings_labels(path: str | Path) -> bool:
    """Whether a set has soft labels of every image."""
    return opened(path).brings_labels


def numbers(names: list[str]) -> list[int] | None:
    """The numbers that names of classes end with, behind one and the same beginning; None where they are no such names."""
    found = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    parts = [match.groups() for match in found if match is not None]
    numbers = [int(number) for _, number in parts]
    if len(parts) != len(names) or len({beginning for beginning, _ in parts}) != 1 or len(set(numbers)) != len(numbers):
        return None
    if parts[0][0] and max(numbers) - min(numbers) >= len(numbers):  # as WordNet ids, which are names and no order
        return None
    return numbers
