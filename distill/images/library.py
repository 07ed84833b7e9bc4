"""The one door to the ``datasets`` library: parquet files, webdataset shards and data sets by name, as undecoded rows."""

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images.file_dataset import FileDataset, Table
from distill.images.names import imagenet_classes
from distill.recipe import RecipeError
from distill.recipe.images import HubData, TableData, WebdatasetData


def opened(data: TableData, split: str) -> tuple[Any, bytes] | None:
    """The rows of a split (``train`` or ``test``), images undecoded, and what names their content; None where there are none.

    The library keeps an Arrow copy in its own cache, from which rows are read without holding them in memory.
    """
    library = import_module("datasets")
    wanted = data.train if split == "train" else data.test
    if not wanted:
        return None
    library.disable_progress_bars()
    dataset: Any
    try:
        if isinstance(data, HubData):
            dataset, mark = _named(library, data, wanted)
        else:
            files = sorted(path for path in Path(data.path).glob(wanted) if path.is_file())
            if not files:
                return None
            mark = _mark(Path(data.path), files)
            names = {split: [str(path) for path in files]}
            features = library.Features(_in_tars(library, data)) if isinstance(data, WebdatasetData) else None
            dataset = library.load_dataset(data.source, data_files=names, split=split, features=features)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise RecipeError(f"data.path = {data.path!r}: the split {wanted!r} can't be opened: {error}") from None
    columns = data.image.split(";")
    for key, column in (*(("image", each) for each in columns), ("label", data.label)):
        if column not in dataset.column_names:
            raise RecipeError(f"data.{key}: no column is called {column!r}; the columns are {', '.join(dataset.column_names)}")
    dataset = dataset.select_columns([*columns, data.label])
    for column in columns:
        dataset = dataset.cast_column(column, library.Image(decode=False))
    return dataset, mark


def _in_tars(library: Any, data: WebdatasetData) -> dict[str, Any]:
    """The columns of shards: said, as the library else takes those of the first few samples, which may not be of all kinds."""
    label = library.Value("string" if data.label.endswith("txt") else "int64")
    images = {name: library.Image() for name in data.image.split(";")}
    return {**images, data.label: label, "__key__": library.Value("string"), "__url__": library.Value("string")}


def _named(library: Any, data: HubData, split: str) -> tuple[Any, bytes]:
    local = Path(data.path)
    if local.is_dir():
        mark = _mark(local, sorted(path for path in local.rglob("*") if path.is_file()))
        return library.load_dataset(data.path, split=split), mark
    if not data.revision:
        raise RecipeError(f"data.revision is needed, the commit of {data.path} on the hub, so that the recipe names the content")
    dataset = library.load_dataset(data.path, split=split, revision=data.revision)
    return dataset, f"{data.path}@{data.revision}:{len(dataset)}".encode()


def classes_in(data: TableData, dataset: Any) -> tuple[str, ...]:
    """The classes that a table's labels stand for: names the table knows, ImageNet's, or the labels themselves in order."""
    feature = dataset.features[data.label]
    if data.labels == "imagenet-1k":
        return imagenet_classes()
    if hasattr(feature, "names"):
        return tuple(str(name) for name in feature.names)
    values = np.unique(_labels(data, dataset))
    return tuple(str(value) for value in values)


def rows(data: TableData, dataset: Any, mark: bytes, known: Sequence[str], kept: Sequence[str]) -> FileDataset:
    """The rows whose class is among ``kept``, of a table whose labels stand for ``known``."""
    values = _labels(data, dataset)
    whole = values.dtype.kind in "iu" and (data.labels is not None or hasattr(dataset.features[data.label], "names"))
    place = {name: index for index, name in enumerate(kept)}
    if whole:
        outside = (values < 0) | (values >= len(known))
        if outside.any():
            raise RecipeError(
                f"data.label: row {int(outside.argmax())} has the label {values[outside][0]}, of {len(known)} classes"
            )
        to_kept = np.array([place.get(name, -1) for name in known])
        labels = to_kept[values]
    else:
        distinct, inverse = np.unique(values, return_inverse=True)
        strange = [str(value) for value in distinct if str(value) not in known]
        if strange:
            raise RecipeError(f"data.label: the class {strange[0]!r} is in the test split alone")
        labels = np.array([place.get(str(value), -1) for value in distinct], dtype=np.int64)[inverse]
    chosen = np.flatnonzero(labels >= 0)
    return FileDataset(
        Table(dataset, *data.image.split(";")),
        chosen,
        labels[chosen].astype(np.int64),
        data.size,
        data.resize,
        mark,
        data.bits or 16,
    )


def _labels(data: TableData, dataset: Any) -> NDArray[Any]:
    column = dataset.data.column(data.label)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise RecipeError(
            f"data.label: {column.null_count} of {len(column)} rows have no label, such as row {row}; leave them out"
        )
    values = column.to_numpy()
    if values.dtype.kind not in "iuUO":
        raise RecipeError(f"data.label: the column {data.label!r} holds {values.dtype}, no whole numbers or names")
    return values.astype(str) if values.dtype.kind == "O" else values


def _mark(root: Path, files: Sequence[Path]) -> bytes:
    """Relative paths and sizes."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return digest.digest()
