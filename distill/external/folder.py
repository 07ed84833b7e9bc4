"""A folder of images for each class, with a ``metadata.csv`` that may give weights and soft labels: as exports have."""

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from distill.external.items import ExternalSet, Item
from distill.images.listing import images_in
from distill.models.model_cache import cached
from distill.recipe import RecipeError


class FolderSet(ExternalSet):
    """``<class>/*.png``, or ``train/<class>/*.png``; hidden files and folders are left out.

    metadata.csv: file_name and weight, and soft_label_file (safetensors, its tensor ``logits``) with soft_label_row. Its columns
    are the classes that the file's metadata call ``classes``, a JSON list; else the data's in their order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "train" if (path / "train").is_dir() else path
        self._notes = self.path / "metadata.csv"
        self._rows = self._noted()
        folders = sorted(each.name for each in self.path.iterdir() if each.is_dir() and not each.name.startswith("."))
        self._files = {name: [f"{name}/{file}" for file, _ in sorted(images_in(str(self.path / name)))] for name in folders}
        self._check()
        self.classes = {name: [self._item(file) for file in files] for name, files in self._files.items()}

    def fingerprint(self, *, labels: bool) -> str:
        mark = hashlib.sha256()
        for name in (name for files in self._files.values() for name in files):
            mark.update(f"{name}\0".encode("utf-8", "surrogateescape"))
            mark.update(hashlib.sha256((self.path / name).read_bytes()).digest())  # others of the same size are another set
        if self._notes.is_file():
            mark.update(self._notes.read_bytes())
        if labels:  # logits of other values have the same size
            for name in self._label_files():
                mark.update(hashlib.sha256(self._inside(name).read_bytes()).digest())
        return mark.hexdigest()

    def order(self) -> list[str] | None:
        orders = [_labels_in(self._inside(name))[1] for name in self._label_files()]
        if any(order != orders[0] for order in orders):
            raise RecipeError(f"the files of soft labels that {self._notes} names have classes in different orders")
        return orders[0] if orders else None

    def _noted(self) -> dict[str, dict[str, str]]:
        """What metadata.csv says of each file."""
        if not self._notes.is_file():
            return {}
        with self._notes.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin a file with a mark
            rows = csv.DictReader(file)
            if "file_name" not in (rows.fieldnames or []):
                raise RecipeError(f"{self._notes} has no column file_name; it has {', '.join(rows.fieldnames or ['nothing'])}")
            return {row["file_name"]: row for row in rows}

    def _check(self) -> None:
        """A metadata.csv speaks of every image: one left out would count 1 beside weights of whatever scale."""
        if not self._notes.is_file():
            return
        left = [name for files in self._files.values() for name in files if name not in self._rows]
        if left:
            raise RecipeError(
                f"{self._notes} has no row for {len(left)} of the images, such as {left[0]}; file_name is a path below "
                f"{self.path}"
            )
        for name, files in self._files.items():
            if files and not sum(self._weight(self._rows[file]) for file in files) > 0:
                raise RecipeError(f"{self._notes} gives every image of {self.path / name} the weight 0")

    def _item(self, name: str) -> Item:
        row = self._rows.get(name, {})
        labelled = row.get("soft_label_file") and row.get("soft_label_row")
        return Item(
            str(self.path / name),
            (self.path / name).read_bytes,
            self._weight(row) if row else 1.0,
            partial(self._logits, row) if labelled else None,
        )

    def _weight(self, row: Mapping[str, str]) -> float:
        text = row.get("weight") or "1"
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise RecipeError(f"{self._notes}: the weight of {row['file_name']} must be a number ≥ 0; received {text!r}")
        return weight

    def _label_files(self) -> list[str]:
        return sorted({row["soft_label_file"] for row in self._rows.values() if row.get("soft_label_file")})

    def _logits(self, row: Mapping[str, str]) -> Any:
        return _labels_in(self._inside(row["soft_label_file"]))[0][int(row["soft_label_row"])]

    def _inside(self, name: str) -> Path:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise RecipeError(f"soft_label_file {name!r} leads out of {self.path}")
        if not path.is_file():
            raise RecipeError(f"there is no {name}, which {self._notes} names")
        return path


def _labels_in(path: Path) -> tuple[Any, list[str] | None]:
    """The logits, and which classes their columns are."""
    from safetensors import safe_open

    def make() -> tuple[Any, list[str] | None]:
        with safe_open(path, "pt") as file:
            order = (file.metadata() or {}).get("classes")
            return file.get_tensor("logits"), None if order is None else json.loads(order)

    return cached((str(path), path.stat().st_mtime_ns), make)
