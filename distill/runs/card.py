"""The card of an exported set: what it was made of and by, under which terms, and what students of it scored."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData, RepoCard

from distill.methods import METHODS
from distill.models.networks import IMAGENET_MEAN, IMAGENET_STD
from distill.pipeline.store import ChecksumMismatch, Store
from distill.recipe import Recipe, Train
from distill.report.page import environment
from distill.report.table import top1
from distill.runs.distilled_set import DistilledSet
from distill.runs.folder import finished_of, metrics
from distill.runs.graph_snapshot import graph_of
from distill.runs.prototypes import Prototypes

_FILES = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]


def card(run: str | Path, recipe: Recipe, data: DistilledSet, method: str, format: str) -> str:
    """README.md, with the header that the ``datasets`` library reads: values into ``report/templates/card.md``."""
    stages = graph_of(run, recipe, finished_of(run)).stages
    store = Store(Path(run))
    soft, channels = data.logits is not None, data.images.shape[1]
    # Students were measured under these; the field's own network for small images is no model of timm's.
    student = recipe.train.student if isinstance(recipe.train, Train) else "convnet"
    imagenet = student != "convnet" and channels == 3
    models = [_model(part, getattr(recipe, part).model_dump()) for part in ("codec", "prior", "teacher")]
    header = DatasetCardData(
        license="other", task_categories=["image-classification"], configs=_FILES if format == "parquet" else None
    )
    values = {
        "name": recipe.name,
        "method": method,
        "summary": METHODS[method].summary,
        "ipc": data.ipc or "all",
        "seed": data.seed,
        "images": len(data),
        "classes": len(data.classes),
        "shape": tuple(data.images.shape[1:]),
        "channels": channels,
        "soft": soft,
        "labels_left": "" if soft else labels_left(recipe, method),
        "columns": "image, label, weight" + (", soft_label" if soft and format == "parquet" else ""),
        "mean": list(IMAGENET_MEAN if imagenet else (0.5,) * channels),
        "std": list(IMAGENET_STD if imagenet else (0.5,) * channels),
        "network": "resnet18" if student == "convnet" else student,
        "models": [*models, *_teacher(store, stages)],
        **_origin(recipe, data.keys, store, stages, method, data.ipc),
    }
    return environment().get_template("card.md").render(values, card_data=header.to_yaml())


def card_of_prototypes(run: str | Path, recipe: Recipe, made: Prototypes) -> str:
    """README.md of prototypes: values into ``report/templates/prototypes.md``."""
    assert recipe.features is not None
    stages, about = graph_of(run, recipe, finished_of(run)).stages, made.about
    network = about["network"]
    store, method = Store(Path(run)), about["method"]
    own = recipe.features.source == "teacher"
    models = [_model("teacher", recipe.teacher.model_dump())] if own else [_model("features", recipe.features.model_dump())]
    licence = [f"the network's licence: {network['licence']}"] if network["licence"] else []
    values = {
        **about,
        "name": recipe.name,
        "summary": METHODS[method].summary,
        "k": about["k"] or "all",
        "count": len(made),
        "classes": len(made.classes),
        "shapes": {name: (*tensor.shape,) for name, tensor in made.tensors.items()},
        "built": _built(network),
        "brought": made.state is not None,
        "models": [*models, *licence, *(_teacher(store, stages) if own else [])],
        **_origin(recipe, made.keys, store, stages, method, about["k"]),
    }
    header = DatasetCardData(license="other", task_categories=["image-classification"])
    return environment().get_template("prototypes.md").render(values, card_data=header.to_yaml())


def _built(network: dict[str, Any]) -> str:
    """Python that makes a network: with its weights where they have a name, else for those that lie beside."""
    library, model, weights = network["library"], network["model"], network["weights"]
    arguments = "".join(f", {key}={value!r}" for key, value in network["arguments"].items())
    if library == "distill":
        return f"distill.models.networks.new_student({model!r}{arguments}).network"
    if library == "timm":
        return (
            f"timm.create_model({model!r}, pretrained=True)"
            if weights
            else f"timm.create_model({model.partition('.')[0]!r}{arguments})"
        )
    given = f", weights={('DEFAULT' if weights == 'pretrained' else weights)!r}" if weights else arguments
    return f"torchvision.models.get_model({model!r}{given})"


def _origin(recipe: Recipe, keys: Sequence[str], store: Store, stages: list[Any], method: str, ipc: int | None) -> dict[str, Any]:
    """What every card says: the data and their terms, how all was made, and what was measured."""
    return {
        "data": _shown(recipe.data.model_dump()),
        "terms": _terms(recipe, keys),
        "digest": hashlib.sha256(json.dumps(recipe.model_dump(), sort_keys=True).encode()).hexdigest(),
        "stages": ", ".join(f"`{stage.folder_name}`" for stage in stages if stage.name != "report"),
        "measured": _scores(store, stages, method, ipc),
    }


def labels_left(recipe: Recipe, method: str) -> str:
    """Why a set comes without soft labels."""
    why = {
        "online": "its protocol asks the teacher again at every step",
        "stored": "its protocol's are of crops, others every epoch, and stay in the run",
        "hard": "its protocol learns from the classes",
    }
    regimes = [labels for labels in recipe.train.regimes if method in (recipe.train.scope(labels).methods or recipe.methods)]
    return f"It has no soft labels: {'; '.join(why[labels] for labels in regimes)}."


def _terms(recipe: Recipe, keys: Sequence[str]) -> str:
    if recipe.data.source == "digits":
        return "Made of the digits bundled with scikit-learn (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)."
    if all(key.startswith("n") and key[1:].isdigit() for key in keys):
        return "The classes are WordNet ids: made of ImageNet, whose terms allow research and teaching that is not commercial."
    return "The terms of the data that it was made of apply; see where these came from."


def _model(part: str, options: dict[str, Any]) -> str:
    """A model's options, and the licence that its own card states, if others made it and it lies here."""
    line = f"{part}: `{_shown(options)}`"
    if options["source"] in ("train", "none"):
        return line
    path = Path(options.get("path") or "")
    places = [path, *([path.parent] if (path.parent / "model_index.json").is_file() else [])] if options.get("path") else []
    cards = (place / "README.md" for place in places)
    stated = next((_licence(card) for card in cards if card.is_file()), None)
    return f"{line}; licence: {stated or 'not stated where it lies; see where it came from'}"


def _licence(card: Path) -> str | None:
    """What a model's card states in its header."""
    try:
        return RepoCard(card.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=True).data.get("license")
    except Exception:  # a header of somebody else's may hold anything
        return None


def _teacher(store: Store, stages: list[Any]) -> list[str]:
    teacher = next((stage for stage in stages if stage.name == "teacher"), None)
    if teacher is None:
        return []
    try:
        about = store.values(teacher, "teacher")
    except ChecksumMismatch:
        return []
    licence = f"; licence {about['licence']}" if about.get("licence") else ""
    warning = f". Warning: {about['warning']}" if about.get("warning") else ""
    return [f"the teacher's own top-1 on the test split: {about['top1']:.4f}{licence}{warning}"]


def _scores(store: Store, stages: list[Any], method: str, ipc: int | None) -> str:
    found = metrics(store, stages)
    rows = [row for row in (found or {}).get("rows", []) if (row["method"], row["ipc"]) == (method, ipc)]
    if not rows:
        return "Not evaluated."
    split = (found or {})["split"]
    return "\n\n".join(_score(row, split) for row in rows)


def _score(row: dict[str, Any], split: str) -> str:
    seeds = f"{row['seeds']} seeds" if row["seeds"] > 1 else "one seed"
    return (
        f"Top-1 {top1(row)} and top-5 {row['top5_mean']:.4f} after the last step, "
        f"{row['best_mean']:.4f} at the best look, as fractions over {seeds}: {row['student']} under the protocol "
        f"`{row['protocol']}`, {row['labels']} labels, on the real {split} split."
    )


def _shown(options: dict[str, Any]) -> str:
    """Options as JSON, without what was not set, and of paths the last name alone."""
    kept = {key: value for key, value in options.items() if value is not None}
    for key in ("path", "weights"):
        if isinstance(kept.get(key), str):
            kept[key] = Path(kept[key]).name
    return json.dumps(kept)
