"""Export: a distilled set as images or as prototypes, with a card that says what it is. Written whole or not at all."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from distill.pipeline.safe_path import inside
from distill.recipe import RecipeError
from distill.runs.card import card, card_of_prototypes, labels_left
from distill.runs.distilled_set import DistilledSet, load
from distill.runs.folder import recipe_of
from distill.runs.prototypes import Prototypes, prototypes

FORMATS = ("imagefolder", "parquet", "prototypes")
_SHARD = 256 * 2**20  # bytes of images in one parquet file, about


@dataclass(frozen=True)
class Export:
    """Where a set was written, how many images or prototypes it has, and what of their labels is not in it, if anything."""

    folder: Path
    images: int
    note: str


def export(
    run: str | Path,
    *,
    format: str,
    method: str | None = None,
    k: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
) -> Export:
    """Write a set that a run distilled: by default of its first method, its largest budget and its first seed.

    format: ``imagefolder``, ``train/<class>/<number>.png`` with ``train/metadata.csv`` (file_name, label, weight and, where
    images have soft labels, soft_label_file and soft_label_row); or ``parquet``, with columns image, label, weight and
    soft_label. Either is read by ``datasets.load_dataset(folder)``, the folder ``train`` by torchvision's ``ImageFolder`` too.
    ``classes.json`` lists the classes in the order of the soft labels' columns, which of a folder is ``ImageFolder``'s. out: the
    folder, by default in the run's own; it must not be there.

    Of a run of linear classifiers there are ``prototypes`` beside: in ``prototypes.safetensors`` the weighted points that one
    learned from, itself and its space; in ``prototypes.json`` of which network the features are, with ``network.safetensors``
    where no library has its weights under a name.

    Raises RecipeError for what the run has not, and where the folder is taken.
    """
    if format not in FORMATS:
        raise RecipeError(f"the formats are {', '.join(FORMATS)}; received {format!r}")
    recipe = recipe_of(run)
    made = prototypes(run, method, k, seed) if format == "prototypes" else load(run, method, k, seed)
    method = recipe.methods[0] if method is None else method
    k, seed = (made.about["k"], made.about["seed"]) if isinstance(made, Prototypes) else (made.ipc, made.seed)
    name = "-".join([method, *([f"ipc{k}"] if k else []), f"seed{seed}", format])
    folder = Path(out) if out is not None else inside(Path(run), "exports", name)
    if folder.exists():
        raise RecipeError(f"{folder} is there already; remove it, or give another folder with --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an export that was cut off
    try:
        partial.mkdir()
        _WRITERS[format](made, partial)
        prototypical = isinstance(made, Prototypes)
        told = card_of_prototypes(run, recipe, made) if prototypical else card(run, recipe, made, method, format)
        (partial / "README.md").write_text(told, encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    whole = isinstance(made, Prototypes) or made.logits is not None
    return Export(folder, len(made), "" if whole else labels_left(recipe, method))


def _image_folder(data: DistilledSet, folder: Path) -> None:
    from safetensors.torch import save_file

    train = folder / "train"
    folders = [f"{i:04d}-{_slug(key)}" if _unsafe(data.keys) else key for i, key in enumerate(data.keys)]
    order = sorted(range(len(folders)), key=folders.__getitem__)  # as torchvision's ImageFolder numbers them
    _write_order(data, folder, order, folders)
    head = ["file_name", "label", "weight", *(["soft_label_file", "soft_label_row"] if data.logits is not None else [])]
    with _opened(train / "metadata.csv") as file:
        rows = csv.writer(file)
        rows.writerow(head)
        for i, (png, label) in enumerate(_pictures(data)):
            name = f"{folders[label]}/{i:06d}.png"
            path = train / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
            soft = ["soft_labels.safetensors", i] if data.logits is not None else []
            rows.writerow([name, data.keys[label], repr(float(data.weights[i])), *soft])
    if data.logits is not None:
        logits = data.logits[:, order].half().contiguous()
        save_file({"logits": logits}, train / "soft_labels.safetensors", {"classes": json.dumps([data.keys[i] for i in order])})


def _parquet(data: DistilledSet, folder: Path) -> None:
    datasets: Any = import_module("datasets")
    parquet: Any = import_module("pyarrow.parquet")
    datasets.disable_progress_bars()
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(data.keys)),
        "weight": datasets.Value("float32"),
    }
    if data.logits is not None:
        features["soft_label"] = datasets.Sequence(datasets.Value("float32"), length=data.logits.shape[1])
    _write_order(data, folder, range(len(data.keys)))
    (folder / "data").mkdir()
    columns: dict[str, list[Any]] = {name: [] for name in features}
    size, shard = 0, 0

    def flush() -> None:
        nonlocal size, shard
        rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        table = rows.with_format("arrow")[:]
        parquet.write_table(_as_once_named(table), folder / "data" / f"train-{shard:05d}.parquet")
        for column in columns.values():
            column.clear()
        size, shard = 0, shard + 1

    for i, (png, label) in enumerate(_pictures(data)):
        columns["image"].append({"bytes": png, "path": None})
        columns["label"].append(label)
        columns["weight"].append(float(data.weights[i]))
        if data.logits is not None:
            columns["soft_label"].append(data.logits[i].half().float().tolist())
        size += len(png)
        if size >= _SHARD:
            flush()
    if columns["image"]:
        flush()


def _prototypes(made: Prototypes, folder: Path) -> None:
    from safetensors.torch import save_file

    _write_order(made, folder, range(len(made.keys)))
    save_file({name: tensor.contiguous() for name, tensor in made.tensors.items()}, folder / "prototypes.safetensors")
    if made.state is not None:
        save_file({name: tensor.contiguous() for name, tensor in made.state.items()}, folder / "network.safetensors")
    (folder / "prototypes.json").write_text(json.dumps(made.about, indent=1, ensure_ascii=False), encoding="utf-8")


def _as_once_named(table: Any) -> Any:
    """The table with its lists named as every version of the datasets library reads them; those before 4 know no ``List``."""
    known = json.loads(table.schema.metadata[b"huggingface"])
    for feature in known["info"]["features"].values():
        if feature["_type"] == "List":
            feature["_type"] = "Sequence"
    return table.replace_schema_metadata({b"huggingface": json.dumps(known).encode()})


def _write_order(data: DistilledSet | Prototypes, folder: Path, order: Sequence[int], folders: Sequence[str] = ()) -> None:
    """``classes.json``: what the columns of soft labels are, and the numbers of classes, in their order."""
    named = [{"class": data.keys[i], "name": data.classes[i], **({"folder": folders[i]} if folders else {})} for i in order]
    (folder / "classes.json").write_text(json.dumps(named, indent=1, ensure_ascii=False), encoding="utf-8")


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "imagefolder": _image_folder,
    "parquet": _parquet,
    "prototypes": _prototypes,
}


def _pictures(data: DistilledSet) -> Iterator[tuple[bytes, int]]:
    """Each image as PNG, which loses nothing, with its class."""
    from PIL import Image

    for image, label in zip(data.images, data.labels.tolist(), strict=True):
        pixels = image.numpy()
        file = io.BytesIO()
        Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
        yield file.getvalue(), label


def _opened(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", newline="", encoding="utf-8")


def _unsafe(keys: tuple[str, ...]) -> bool:
    """Whether a class is called what no folder can be."""
    return any(not key or key.startswith(".") or set(key) & set('/\\:*?"<>|\0') for key in keys)


def _slug(key: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in key.lower())[:40]
