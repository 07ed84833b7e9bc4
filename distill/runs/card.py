"""The card of an exported set: what it was made of and by, under which terms, and what students of it scored."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from distill.methods import METHODS
from distill.models.networks import IMAGENET_MEAN, IMAGENET_STD
from distill.pipeline.store import Damaged, Store
from distill.recipe import Recipe
from distill.report.table import top1
from distill.runs.distilled_set import DistilledSet
from distill.runs.folder import finished_of, metrics
from distill.runs.graph_snapshot import graph_of

_FILES = ("configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: data/*.parquet")


def card(run: str | Path, recipe: Recipe, data: DistilledSet, method: str, format: str) -> str:
    """README.md, with the header that the ``datasets`` library reads."""
    stages = graph_of(run, recipe, finished_of(run)).stages
    store = Store(Path(run))
    digest = hashlib.sha256(json.dumps(recipe.model_dump(), sort_keys=True).encode()).hexdigest()
    soft = data.logits is not None
    made = ", ".join(f"`{stage.folder_name}`" for stage in stages if stage.name != "report")
    columns = "image, label, weight" + (", soft_label" if soft and format == "parquet" else "")
    lines = [
        "---",
        "license: other",
        "task_categories: [image-classification]",
        *(_FILES if format == "parquet" else []),
        "---",
        f"# {recipe.name}: {method}, {data.ipc or 'all'} images per class",
        "",
        f"{len(data)} images of {len(data.classes)} classes, {tuple(data.images.shape[1:])} (channels, height, width); "
        f"seed {data.seed}. Method `{method}`: {METHODS[method].summary}. `weight` is the factor of an image's loss, of mean 1 "
        "over the set and the same total for every class"
        + ("; soft labels are the teacher's logits, in fp16." if soft else f". {labels_left(recipe)}"),
        "",
        f"A student of it, in a few lines (columns: {columns}). The number of a class is its place in `classes.json`"
        + (", as is the column of a soft label." if soft else "."),
        "",
        "```python",
        *_loop(recipe, data),
        "```",
        "",
        "## Data",
        f"`{_shown(recipe.data.model_dump())}`",
        "",
        _terms(recipe, data),
        "",
        "## Models",
        *(_model(part, getattr(recipe, part).model_dump()) for part in ("codec", "prior", "teacher")),
        *_teacher(store, stages),
        "",
        "## How it was made",
        f"Recipe digest: `{digest}`. Stages: {made}.",
        "",
        "## Measured",
        *_scores(store, stages, method, data.ipc),
        "",
    ]
    return "\n".join(lines)


def _loop(recipe: Recipe, data: DistilledSet) -> list[str]:
    """A training with the set's weights, its order of classes and the normalization of the students that it was measured by."""
    channels = data.images.shape[1]
    imagenet = recipe.train.student != "convnet" and channels == 3
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if imagenet else ((0.5,) * channels, (0.5,) * channels)
    network = "resnet18" if recipe.train.student == "convnet" else recipe.train.student
    return [
        "import json, datasets, timm, torch",
        "from torchvision.transforms.functional import pil_to_tensor",
        "order = [each['class'] for each in json.load(open(f'{FOLDER}/classes.json', encoding='utf-8'))]",
        "rows = datasets.load_dataset(FOLDER, split='train')",
        f"mean, std = (torch.tensor(x).view(-1, 1, 1) for x in ({list(mean)}, {list(std)}))",
        "images = (torch.stack([pil_to_tensor(row['image']) for row in rows]) / 255 - mean) / std",
        "labels = torch.tensor([order.index(y) if isinstance(y, str) else y for y in rows['label']])",
        "weights = torch.tensor([float(weight) for weight in rows['weight']])",
        f"model = timm.create_model('{network}', num_classes=len(order), in_chans={channels})",
        "optimizer = torch.optim.AdamW(model.parameters(), 1e-3)",
        "for batch in (batch for epoch in range(300) for batch in torch.randperm(len(rows)).split(50)):",
        "    losses = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch], reduction='none')",
        "    optimizer.zero_grad()",
        "    (weights[batch] * losses).mean().backward()",
        "    optimizer.step()",
    ]


def labels_left(recipe: Recipe) -> str:
    """Why a set comes without soft labels."""
    why = {
        "online": "its protocol asks the teacher again at every step",
        "stored": "its protocol's are of crops, others every epoch, and stay in the run",
        "hard": "its protocol learns from the classes",
    }
    return f"It has no soft labels: {why[recipe.train.rules.labels]}."


def _terms(recipe: Recipe, data: DistilledSet) -> str:
    if recipe.data.source == "digits":
        return "Made of the digits bundled with scikit-learn (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)."
    if all(key.startswith("n") and key[1:].isdigit() for key in data.keys):
        return "The classes are WordNet ids: made of ImageNet, whose terms allow research and teaching that is not commercial."
    return "The terms of the data that it was made of apply; see where these came from."


def _model(part: str, options: dict[str, Any]) -> str:
    """A model's options, and the licence that its own card states, if others made it and it lies here."""
    line = f"* {part}: `{_shown(options)}`"
    if options["source"] in ("train", "none"):
        return line
    path = Path(options.get("path") or "")
    places = [path, *([path.parent] if (path.parent / "model_index.json").is_file() else [])] if options.get("path") else []
    header = next((_header(place / "README.md") for place in places if (place / "README.md").is_file()), "")
    stated = re.search(r"^license: *(\S.*)$", header, re.MULTILINE)
    return f"{line}; licence: {stated[1].strip() if stated else 'not stated where it lies; see where it came from'}"


def _header(card: Path) -> str:
    """What stands between the first two lines of ---."""
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    return parts[1] if len(parts) == 3 and not parts[0].strip() else ""


def _teacher(store: Store, stages: list[Any]) -> list[str]:
    teacher = next((stage for stage in stages if stage.name == "teacher"), None)
    if teacher is None:
        return []
    try:
        about = store.values(teacher, "teacher")
    except Damaged:
        return []
    licence = f"; licence {about['licence']}" if about.get("licence") else ""
    warning = f". Warning: {about['warning']}" if about.get("warning") else ""
    return [f"* the teacher's own top-1 on the test split: {about['top1']:.4f}{licence}{warning}"]


def _scores(store: Store, stages: list[Any], method: str, ipc: int | None) -> list[str]:
    found = metrics(store, stages)
    rows = [row for row in (found or {}).get("rows", []) if (row["method"], row["ipc"]) == (method, ipc)]
    if not rows:
        return ["Not evaluated."]
    row = rows[0]
    seeds = f"{row['seeds']} seeds" if row["seeds"] > 1 else "one seed"
    return [
        f"Top-1 {top1(row)} and top-5 {row['top5_mean']:.4f} after the last step, "
        f"{row['best_mean']:.4f} at the best look, as fractions over {seeds}: {row['student']} under the protocol "
        f"`{row['protocol']}`, on the real {(found or {})['split']} split."
    ]


def _shown(options: dict[str, Any]) -> str:
    """Options as JSON, without what was not set, and of paths the last name alone."""
    kept = {key: value for key, value in options.items() if value is not None}
    for key in ("path", "weights"):
        if isinstance(kept.get(key), str):
            kept[key] = Path(kept[key]).name
    return json.dumps(kept)
