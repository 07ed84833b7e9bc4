"""Rows of parquet, as exports are, or samples of webdataset's tars, opened by the ``datasets`` library."""

import hashlib
import tarfile
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from distill.external.items import ExternalSet, Item
from distill.images.pixels import is_image
from distill.recipe import RecipeError

_IMAGES, _LABELS = (
    ("image", "img"),
    ("label", "labels", "cls", "txt"),
)  # what such columns are called, the first there being meant


class TableSet(ExternalSet):
    """A row per image: ``image``, ``label`` (a name, or a number that the table or the data's order explains), and in parquet
    ``weight`` and ``soft_label``, whose columns are the classes in the order in which the table names them.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path, self._files = path, files
        library: Any = import_module("datasets")
        library.disable_progress_bars()
        kind = "webdataset" if files[0].suffix == ".tar" else "parquet"
        options = {"features": _features(library, files)} if kind == "webdataset" else {}
        try:
            rows = library.load_dataset(kind, data_files={"train": [str(file) for file in files]}, split="train", **options)
        except (OSError, ValueError, TypeError, library.exceptions.DatasetsError) as error:
            raise RecipeError(f"{path} can't be opened as {kind}: {error}") from None
        images = [name for name in rows.column_names if name in _IMAGES or (kind == "webdataset" and is_image(f"x.{name}"))]
        labels = [name for name in _LABELS if name in rows.column_names]
        if not images or not labels:
            raise RecipeError(f"{path} has the columns {', '.join(rows.column_names)}; it needs an image and a label")
        feature = rows.features[labels[0]]
        self._names = [str(name) for name in feature.names] if hasattr(feature, "names") else None
        for name in images:
            rows = rows.cast_column(name, library.Image(decode=False))
        self._rows, self._images = rows, images
        soft = "soft_label" in rows.column_names
        weights = rows["weight"] if "weight" in rows.column_names else [1.0] * len(rows)
        found: dict[str, list[Item]] = {}
        for row, (value, weight) in enumerate(zip(rows[labels[0]], weights, strict=True)):
            if value is None or not weight >= 0:
                raise RecipeError(
                    f"{path}: row {row} has the label {value} and the weight {weight}; it needs a label, and one ≥ 0"
                )
            name = self._names[value] if self._names is not None else str(value)
            logits = partial(self._logits, row) if soft else None
            found.setdefault(name, []).append(Item(f"{path}, row {row}", partial(self._content, row), float(weight), logits))
        self.classes = dict(sorted(found.items()))

    def fingerprint(self, *, labels: bool) -> str:
        mark = hashlib.sha256()
        for file in self._files:
            mark.update(hashlib.sha256(file.read_bytes()).digest())
        return mark.hexdigest()

    def order(self) -> list[str] | None:
        return self._names

    def _content(self, row: int) -> bytes:
        found = [image for name in self._images if (image := self._rows[row][name]) is not None]
        return (found[0]["bytes"] or Path(found[0]["path"]).read_bytes()) if found else b""

    def _logits(self, row: int) -> Any:
        import torch

        return torch.tensor(self._rows[row]["soft_label"])


def _features(library: Any, files: Sequence[Path]) -> Any:
    """The columns of tars, by the endings in them: the library else takes those of the first few samples for all."""
    endings: dict[str, None] = {}
    for path in files:
        with tarfile.open(path) as tar:
            endings |= dict.fromkeys(name.rpartition("/")[2].partition(".")[2].lower() for name in tar.getnames())
    known = {name: library.Image() for name in endings if is_image(f"x.{name}")}
    known |= {name: library.Value("int64" if name == "cls" else "string") for name in endings if name in _LABELS}
    return library.Features(known | {"__key__": library.Value("string"), "__url__": library.Value("string")})
