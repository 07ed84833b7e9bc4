"""Given: somebody's distilled set, a folder of images a class, in the place of a method's images."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.images import Images
from distill.images.listing import images_in
from distill.images.pixels import Unreadable, decode
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe, RecipeError
from distill.stages.draw import draws


class GivenStage(Stage):
    """A draw's ``images`` (K, C, H, W) uint8, ``weights`` (K,) of sum 1, and ``logits`` (K, classes) where the set has its own.

    The folder holds one a class, named as the data's classes or by number in their order (000 or new000); or ``train/`` with
    those in it. A
    ``metadata.csv`` may say file_name and weight, and soft_label_file (safetensors, its tensor ``logits``) with soft_label_row.
    Its columns are the data's classes in their order, or those that its metadata call ``classes``, a JSON list.
    """

    name = "given"
    kind = "given"
    version = 2  # since images are read as the data are, and soft labels say which classes their columns are

    def __init__(self, recipe: Recipe, data: Images) -> None:
        assert recipe.given is not None
        self._recipe, self._data, self._given = recipe, data, recipe.given
        self._root = _root(self._given.path)
        data_options: Any = recipe.data  # as the random images beside them are read
        self._reading = (getattr(data_options, "resize", "crop"), getattr(data_options, "bits", None) or 16)
        counts = [len(files) for files in self._files]
        if max(counts) != self._given.ipc:
            raise RecipeError(f"given.ipc = {self._given.ipc}, but a class of {self._root} has up to {max(counts)} images")
        self._check_notes()

    @property
    def title(self) -> str:
        return "images given"

    def options(self) -> Mapping[str, Any]:
        mark = hashlib.sha256()
        for files in self._files:
            for path in files:
                mark.update(f"{path.relative_to(self._root)}\0".encode("utf-8", "surrogateescape"))
                mark.update(hashlib.sha256(path.read_bytes()).digest())  # others of the same size are another set
        if self._notes.is_file():
            mark.update(self._notes.read_bytes())
        if self._given.labels == "own":  # logits of other values have the same size
            for name in sorted({row["soft_label_file"] for row in self._rows.values()}):
                mark.update(hashlib.sha256(self._label_file(name).read_bytes()).digest())
        return {"files": mark.hexdigest(), "labels": self._given.labels, "data": self._data.fingerprint}

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        files = self._files[self._data.index_of(part)]
        pixels = np.stack([self._pixels(path) for path in files])
        rows = [self._rows.get(self._name(path), {}) for path in files]
        weights = np.array([self._weight(row) for row in rows])
        (draw,) = draws(self._recipe, "given")
        tensors = draw.tensors(images=torch.from_numpy(pixels), weights=torch.from_numpy(weights / weights.sum()))
        if self._given.labels == "own":
            tensors |= draw.tensors(logits=torch.stack([self._logits(row) for row in rows]).float())
        return {f"{part}.safetensors": tensors}

    @cached_property
    def _files(self) -> list[list[Path]]:
        """The images of each class of the data, in order."""
        if not self._root.is_dir():
            raise RecipeError(f"given.path: there is no folder {self._given.path}")
        names, classes = class_folders(self._given.path), self._data.classes
        found = [self._root / name for name in names]
        if set(names) == set(classes):
            folders = [self._root / name for name in classes]
        elif len(found) == len(classes) and (order := numbers(names)) is not None:
            folders = [path for _, path in sorted(zip(order, found, strict=True))]
        else:
            raise RecipeError(
                f"{self._root} must hold a folder a class, named as the data's {len(classes)} classes, such as {classes[0]!r}, "
                f"or by number in their order, such as 000 or new000; it holds {len(names)}, such as "
                f"{names[0] if names else 'none'!r}"
            )
        files = [[folder / name for name, _ in sorted(images_in(str(folder)))] for folder in folders]
        for folder, some in zip(folders, files, strict=True):
            if not some:
                raise RecipeError(f"{folder} holds no images")
        return files

    @cached_property
    def _rows(self) -> dict[str, dict[str, str]]:
        """What metadata.csv says of each file."""
        if not self._notes.is_file():
            return {}
        with self._notes.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin a file with a mark
            rows = csv.DictReader(file)
            if "file_name" not in (rows.fieldnames or []):
                raise RecipeError(f"{self._notes} has no column file_name; it has {', '.join(rows.fieldnames or ['nothing'])}")
            return {row["file_name"]: row for row in rows}

    @property
    def _notes(self) -> Path:
        return self._root / "metadata.csv"

    def _name(self, path: Path) -> str:
        """What metadata.csv calls an image."""
        return path.relative_to(self._root).as_posix()

    def _check_notes(self) -> None:
        """A metadata.csv speaks of every image: one left out would count 1 beside weights of whatever scale."""
        if self._notes.is_file():
            left = [name for files in self._files for path in files if (name := self._name(path)) not in self._rows]
            if left:
                raise RecipeError(
                    f"{self._notes} has no row for {len(left)} of the images, such as {left[0]}; file_name is a path below "
                    f"{self._root}"
                )
            for files in self._files:
                if not sum(self._weight(self._rows[self._name(path)]) for path in files) > 0:
                    raise RecipeError(f"{self._notes} gives every image of {files[0].parent} the weight 0")
        if self._given.labels == "own":
            rows = self._rows.values()
            if not rows or not all(row.get("soft_label_file") and row.get("soft_label_row") for row in rows):
                raise RecipeError(f"given.labels = 'own', but {self._notes} does not name soft labels of every image")
            for name in {row["soft_label_file"] for row in rows}:
                if not self._label_file(name).is_file():
                    raise RecipeError(f"given.labels = 'own', but there is no {name}, which {self._notes} names")

    def _pixels(self, path: Path) -> Any:
        try:
            pixels = decode(path.read_bytes(), self._data.size, *self._reading)
        except Unreadable as error:
            raise ValueError(f"{path}: {error}") from None
        return pixels[:1] if self._data.channels == 1 else pixels

    def _weight(self, row: Mapping[str, str]) -> float:
        text = row.get("weight") or "1"
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise RecipeError(f"{self._notes}: the weight of {row['file_name']} must be a number ≥ 0; received {text!r}")
        return weight

    def _logits(self, row: Mapping[str, str]) -> Any:
        labels, order = self._labels_in(self._label_file(row["soft_label_file"]))
        classes = self._data.classes
        if labels.shape[1:] != (len(classes),):
            raise ValueError(f"{row['soft_label_file']} must hold logits (n, {len(classes)}); received {tuple(labels.shape)}")
        if order is None:
            return labels[int(row["soft_label_row"])]
        if set(order) != set(classes):
            raise ValueError(f"{row['soft_label_file']} says that its columns are {order[:3]}, ..., which are not the data's")
        return labels[int(row["soft_label_row"])][[order.index(name) for name in classes]]

    def _label_file(self, name: str) -> Path:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise RecipeError(f"soft_label_file {name!r} leads out of {self._root}")
        return path

    def _labels_in(self, path: Path) -> tuple[Any, list[str] | None]:
        """The logits, and which classes their columns are; None where the file leaves that to the data's order."""
        from safetensors import safe_open

        from distill.models.kept import kept

        def make() -> tuple[Any, list[str] | None]:
            with safe_open(path, "pt") as file:
                order = (file.metadata() or {}).get("classes")
                return file.get_tensor("logits"), None if order is None else json.loads(order)

        return kept((str(path), path.stat().st_mtime_ns), make)


def class_folders(folder: str | Path) -> list[str]:
    """The names of the folders of classes, sorted."""
    root = _root(folder)
    if not root.is_dir():
        raise RecipeError(f"there is no folder {folder}")
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_a_class(folder: str | Path) -> int:
    """The most images that a class of a folder has."""
    root = _root(folder)
    if not root.is_dir():
        raise RecipeError(f"there is no folder {folder}")
    counts = [len(images_in(str(root / name))) for name in class_folders(folder)]
    if not counts or not max(counts):
        raise RecipeError(f"{root} holds no folder a class with images in it")
    return max(counts)


def brings_labels(folder: str | Path) -> bool:
    """Whether a folder's metadata.csv names soft labels."""
    notes = _root(folder) / "metadata.csv"
    if not notes.is_file():
        return False
    with notes.open(newline="", encoding="utf-8-sig") as file:
        return "soft_label_file" in (csv.DictReader(file).fieldnames or [])


def numbers(names: list[str]) -> list[int] | None:
    """The numbers that folders of classes end with, behind one and the same beginning; None where they are no such names."""
    found = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    parts = [match.groups() for match in found if match is not None]
    numbers = [int(number) for _, number in parts]
    if len(parts) != len(names) or len({beginning for beginning, _ in parts}) != 1 or len(set(numbers)) != len(numbers):
        return None
    if parts[0][0] and max(numbers) - min(numbers) >= len(numbers):  # as WordNet ids, which are names and no order
        return None
    return numbers


def _root(folder: str | Path) -> Path:
    """Where the folders of the classes lie: in ``train/`` if there is one."""
    root = Path(folder)
    return root / "train" if (root / "train").is_dir() else root
