"""From a recipe's ``[data]`` to images, of whatever source; refused here where a class would be without images."""

from dataclasses import replace

import numpy as np

from distill.images import library
from distill.images.digits import digits
from distill.images.file_dataset import FileDataset
from distill.images.layout import check_counts, find
from distill.images.listing import classes_of, has_classes, listed
from distill.images.names import namer, subset
from distill.images.split import Images, Split, held_out
from distill.recipe import Data, RecipeError
from distill.recipe.images import DigitsData, FolderData, PhotoData, TableData


def load(data: Data) -> Images:
    """The images that ``data`` asks for: digits in memory, others listed and left on disk.

    Raises RecipeError for what is not there, and for a class without training images.
    """
    if isinstance(data, DigitsData):
        return digits(data)
    found = isinstance(data, FolderData) and data.splits == "found"
    if isinstance(data, FolderData) and found:
        data = find(data)
    train, test, classes = _folder(data) if isinstance(data, FolderData) else _table(data)
    if isinstance(data, FolderData) and found:
        check_counts(data, _counts(train, len(classes)), classes)
    if not len(train):
        raise RecipeError(f"data.path = {data.path!r} holds no training images that the recipe asks for")
    if test is None:
        if not data.test_fraction:
            raise RecipeError(
                f"data.path = {data.path!r} has no test split {data.test!r}; name it with data.test, or hold some training "
                "images out with data.test_fraction"
            )
        train, test = _split(train, data.test_fraction, data.seed)
    elif data.test_fraction:
        raise RecipeError(
            f"data.test_fraction = {data.test_fraction:g} holds training images out where there is no test split, and "
            f"{data.path!r} has one, {data.test!r}. Leave data.test_fraction out, or set data.test to one that is not there"
        )
    if data.validation_fraction:
        train, test = _split(train, data.validation_fraction, data.seed + 1)
    images = Images(train, test, classes, channels=3, size=data.size, naming=namer(data.names))
    _check(images, data)
    return images


def _folder(data: FolderData) -> tuple[FileDataset, FileDataset | None, tuple[str, ...]]:
    classes = _chosen(data, classes_of(data))
    test = listed(data, data.test, classes) if has_classes(data, data.test) else None
    return listed(data, data.train, classes), test, classes


def _table(data: TableData) -> tuple[FileDataset, FileDataset | None, tuple[str, ...]]:
    found = library.opened(data, "train")
    if found is None:
        raise RecipeError(f"data.path = {data.path!r} has no training split {data.train!r}; name it with data.train")
    known = library.classes_in(data, found[0])
    classes = _chosen(data, known)
    test = library.opened(data, "test")
    return (
        library.rows(data, *found, known, classes),
        None if test is None else library.rows(data, *test, known, classes),
        classes,
    )


def _chosen(data: PhotoData, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of the subset, in the order of the data."""
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise RecipeError(f"data.label: two classes are called {twice!r}; their labels must tell them apart")
    if data.subset is None:
        return classes
    wanted = set(subset(data.subset))
    missing = sorted(wanted - set(classes))
    if missing:
        raise RecipeError(
            f"data.subset asks for {len(missing)} classes that {data.path} lacks, such as {', '.join(missing[:3])}; "
            f"it has {', '.join(classes[:3])}, ..."
        )
    return tuple(name for name in classes if name in wanted)


def _split(rows: FileDataset, fraction: float, seed: int) -> tuple[FileDataset, FileDataset]:
    kept, out = held_out(rows.labels, fraction, seed)
    return tuple(replace(rows, rows=rows.rows[part], labels=rows.labels[part]) for part in (kept, out))  # type: ignore[return-value]


def _check(images: Images, data: PhotoData) -> None:
    for key, split in (("training", images.train), ("test", images.test)):
        counts = _counts(split, len(images.classes))
        if (counts == 0).any():
            empty = [images.classes[index] for index in np.flatnonzero(counts == 0)]
            raise RecipeError(
                f"data.path = {data.path!r}: {len(empty)} of {len(images.classes)} classes have no {key} images, such as "
                f"{empty[0]!r}"
            )
    unknown = sorted(set(data.names) - set(images.classes))
    if unknown:
        raise RecipeError(f"data.names names {unknown[0]!r}, which is no class of the data")


def _counts(split: Split, classes: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.bincount(split.labels, minlength=classes)
