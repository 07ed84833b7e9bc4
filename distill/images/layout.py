"""Folders of one's own: which of them are splits and which are classes, and what was chosen, in sentences."""

from pathlib import Path

import numpy as np

from distill.images.pixels import is_image
from distill.images.split import Images
from distill.recipe import Recipe, RecipeError
from distill.recipe.images import FolderData

_TRAIN, _TEST = ("train", "training"), ("val", "test", "valid", "validation")
FEWEST = 10  # images of a class: of fewer a fifth is one test image, and hardly more are left than are distilled
_SHOWN = 10  # classes that a sentence names


def find(data: FolderData) -> FolderData:
    """``data`` with the splits that are there: a folder for training, with folders in it, and one for the test if there is one.

    Without the first ``data.path`` itself holds the classes; without the second ``data.test_fraction`` of each is held out.

    Raises RecipeError where there are not two classes.
    """
    root = Path(data.path)
    folders, _ = _held(root)
    named = {name.lower(): name for name in reversed(folders)}  # Train is train
    train = next((named[name] for name in (data.train.lower(), *_TRAIN) if name in named), "")
    if train and (_held(root / train)[1] or not _held(root / train)[0]):
        train = ""  # a class of photographs of trains
    test = next((named[name] for name in (data.test.lower(), *_TEST) if train and name in named), "")
    _check_classes(root / train, *_held(root / train))
    return data.model_copy(
        update={"splits": "named", "train": train, "test": test, "test_fraction": 0.0 if test else data.test_fraction}
    )


def check_apart(data: object, folder: Path) -> None:
    """Refuse a run's folder among the classes: the next run would take it for one."""
    if not isinstance(data, FolderData) or data.splits == "named" or find(data).train:
        return
    if folder.resolve().is_relative_to(Path(data.path).resolve()):
        raise RecipeError(f"{folder} would lie among the classes, in {data.path}; give another place with --out")


def chosen(recipe: Recipe, images: Images) -> list[str]:
    """What was found and chosen where ``data.splits`` is ``found``, in sentences; else nothing."""
    data = recipe.data
    if not isinstance(data, FolderData) or data.splits == "named":
        return []
    found, most = find(data), max(recipe.select.budgets)
    root = Path(data.path)
    train, test = (np.bincount(split.labels, minlength=len(images.classes)) for split in (images.train, images.test))
    counts = [f"{name} ({n} + {m})" for name, n, m in zip(images.classes, train, test, strict=True)]
    said = [
        f"{len(counts)} classes in {root / found.train}, with training + test images: {_some(counts)}.",
        f"The test images are those in {root / found.test}."
        if found.test
        else f"No folder for the test is there: {found.test_fraction:g} of each class is held out (data.test_fraction), drawn "
        f"with data.seed = {data.seed}.",
    ]
    if data.validation_fraction:
        said[-1] += f" They are not looked at: {data.validation_fraction:g} of the others stand in for them."
    folders, loose = _held(root)
    unused = [name for name in folders if name not in (found.train, found.test)] if found.train else []
    unused += [f"{_images(loose)} beside the folders"] if loose else []
    if unused:
        said.append(f"Not used: {_some(unused)}.")
    how = "cut to the square at their centre" if data.resize == "crop" else "stretched to a square"
    said.append(
        f"Images are {how}, {data.size} pixels a side (data.size); {' and '.join(map(str, recipe.select.budgets))} per class are "
        "made (select.k)."
    )
    few = [f"{name} has {n}" for name, n in zip(images.classes, train, strict=True) if n < most]
    if few:
        said.append(f"No class gets more than it has training images: {_some(few)}.")
    return said


def check_counts(data: FolderData, counts: "np.ndarray[tuple[int], np.dtype[np.int64]]", classes: tuple[str, ...]) -> None:
    """Refuse classes of which nothing can be learnt. counts: images of each before any are held out."""
    few = [f"{name!r} has {_images(int(n))}" for name, n in zip(classes, counts, strict=True) if n < FEWEST]
    if few:
        enough = [name for name, n in zip(classes, counts, strict=True) if n >= FEWEST]
        keep = ",".join(enough[:3]) if len(enough) > 1 else "cat,dog"
        raise RecipeError(
            f"data.path = {data.path!r}: a class takes at least {FEWEST} images, and {_some(few)}. Add some, or name the classes "
            f"to keep, such as --set data.subset={keep}"
        )


def _check_classes(place: Path, folders: list[str], images: int) -> None:
    if len(folders) > 1:
        return
    if not folders:
        what = f"{_images(images)} and no folder" if images else "no folders"
        remedy = f"Put the images of each class into a folder named by the class, such as {place / 'cat'} and {place / 'dog'}"
    else:
        inside = _held(place / folders[0])[0]
        what = f"one folder, {folders[0]!r}, and there must be two classes at least"
        remedy = f"Does {place / folders[0]} hold them? Then that is data.path" if inside else "Add a folder for another class"
    raise RecipeError(f"{place} holds {what}. {remedy}")


def _held(folder: Path) -> tuple[list[str], int]:
    """The names of the folders in a folder, in order, and how many images lie beside them; hidden ones are left out."""
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    except OSError as error:
        raise RecipeError(
            f"data.path = {str(folder)!r} can't be listed: {error.strerror}. It is the folder that holds a folder of images for "
            "each class: --set data.path=DIR"
        ) from None
    return [entry.name for entry in entries if entry.is_dir()], sum(is_image(e.name) and not e.is_dir() for e in entries)


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _some(words: list[str]) -> str:
    """The first few, for a sentence."""
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
