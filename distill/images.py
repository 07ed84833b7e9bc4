"""Images in: the source's training and test splits as uint8 tensors, with class names and a fingerprint of their content."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distill.recipe import Data, RecipeError


@dataclass(frozen=True)
class Split:
    """images: (n, C, H, W) uint8. labels: (n,) class indices."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def of_class(self, index: int) -> NDArray[np.int64]:
        """Positions of a class's images."""
        return np.flatnonzero(self.labels == index)


@dataclass(frozen=True)
class Images:
    """A labelled image set, split for training and for the evaluation alone."""

    train: Split
    test: Split
    classes: tuple[str, ...]

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    def index_of(self, part: str) -> int:
        """The class that a part named by :meth:`part_name`, or a shard of it, belongs to."""
        return int(part.split("-")[0])

    def part_name(self, index: int) -> str:
        """The name of a class's files, ``<index>-<slug>``: letters, digits and hyphens alone."""
        return f"{index:04d}-{re.sub(r'[^a-z0-9]+', '-', self.classes[index].lower()).strip('-')[:40] or 'class'}"

    @property
    def part_names(self) -> list[str]:
        """A part a class."""
        return [self.part_name(index) for index in range(len(self.classes))]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and class names."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for split in (self.train, self.test):
            for array in (split.images, split.labels):
                digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def load(data: Data) -> Images:
    """The images that ``data`` asks for, split by class in the same shares (scikit-learn's bundled digits need no download)."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    small = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(image).resize((data.size, data.size), Image.Resampling.BICUBIC)) for image in small]
    images, labels = np.stack(resized)[:, None], labels.astype(np.int64)
    try:
        train, test = train_test_split(
            np.arange(len(labels)), test_size=data.test_fraction, stratify=labels, random_state=data.seed
        )
        if data.validation_fraction:
            train, test = train_test_split(
                train, test_size=data.validation_fraction, stratify=labels[train], random_state=data.seed
            )
    except ValueError as error:
        raise RecipeError(
            f"data.test_fraction = {data.test_fraction} and data.validation_fraction = {data.validation_fraction} leave a split "
            f"without images of every class: {error}"
        ) from None
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    train, test = np.sort(train), np.sort(test)
    return Images(Split(images[train], labels[train]), Split(images[test], labels[test]), names)
