"""A folder of images for each class, listed with the sizes of its files; no image is opened."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.images.file_dataset import FileDataset, Files
from distill.images.pixels import is_image
from distill.recipe import RecipeError
from distill.recipe.images import FolderData


def classes_of(data: FolderData) -> tuple[str, ...]:
    """The classes for which there is a training folder, in order."""
    return tuple(sorted(entry.name for entry in _entries(Path(data.path) / data.train, "data.train") if entry.is_dir()))


def listed(data: FolderData, folder: str, classes: Sequence[str]) -> FileDataset:
    """The images of some classes below ``<path>/<folder>``, by class and path."""
    root = Path(data.path) / folder
    paths: list[str] = []
    labels: list[int] = []
    mark = hashlib.sha256()
    for index, name in enumerate(classes):
        found = sorted(images_in(str(root / name), f"{name}/"))
        mark.update("".join([f"{path}\0{size}\n" for path, size in found]).encode("utf-8", "surrogateescape"))
        paths += [path for path, _ in found]
        labels += [index] * len(found)
    rows = np.arange(len(paths))
    return FileDataset(
        Files(root, paths), rows, np.array(labels, dtype=np.int64), data.size, data.resize, mark.digest(), data.bits or 16
    )


def has_classes(data: FolderData, folder: str) -> bool:
    """Whether a split's folder is there; refuses one that holds images and no classes, as ImageNet's validation images come."""
    root = Path(data.path) / folder
    if not folder or not root.is_dir():
        return False
    if not any(entry.is_dir() for entry in _entries(root, "data.test")):
        raise RecipeError(
            f"{root} holds no folder per class. Where it holds ILSVRC2012_val_*.JPEG, move each into the folder of its class "
            "first (torchvision.datasets.ImageNet does it)"
        )
    return True


def _entries(folder: Path, key: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise RecipeError(
            f"{folder} can't be listed: {error.strerror}. data.path is the folder that holds one a split; {key} names that of a "
            "split"
        ) from None


def images_in(folder: str, prefix: str = "") -> list[tuple[str, int]]:
    """Paths, with ``prefix`` before them, and sizes of the images in a folder and the folders in it; hidden ones are left out.

    In one thread: to ask for a size takes less than threads take to agree whose turn it is.
    """
    found: list[tuple[str, int]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    found += images_in(entry.path, f"{prefix}{name}/")
                elif is_image(name):
                    found.append((prefix + name, _size(entry)))
    except (FileNotFoundError, NotADirectoryError):
        pass  # a class without a folder has no images here
    except OSError as error:
        raise RecipeError(
            f"{folder} can't be listed: {error.strerror}. Its images would be left out; make it readable, or move it away"
        ) from None
    return found


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1  # a link to nowhere: an image that can't be read
