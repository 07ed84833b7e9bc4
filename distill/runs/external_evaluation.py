"""Evaluate an external set: students of it, and of as many random real images, under one protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.engines.execute import Watcher
from distill.images.names import imagenet_classes, subset
from distill.pipeline.store import RECIPES
from distill.recipe import Recipe, RecipeError, read
from distill.runs.folder import recipe_of
from distill.runs.run import EngineName, Run, run
from distill.stages.external_images import classes_of, images_a_class, numbers

_IMAGENET = {  # embedded recipes, and the subsets that they are for
    "imagenet1k-dit-ipc10": None,
    "imagenet100-dit": "imagenet-100",
    "imagenette-dit": "imagenette",
    "imagewoof-dit": "imagewoof",
}
_NETWORK = ("protocol", "student", "width", "depth", "small_stem", "precision", "weighting")


def evaluate(
    folder: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    *,
    protocol: str | None = None,
    own_labels: bool = False,
    out: str | Path | None = None,
    set: Sequence[str] = (),
    verify: bool = False,
    workers: int | None = None,
    engine: EngineName = "auto",
    watcher: Watcher | None = None,
) -> Run:
    """Train and test students of the set at ``folder`` (:mod:`distill.external`) beside students of as many random real images.

    recipe: whose data, teacher, students and seeds are used; by default those of the run in whose folder the set lies, as exports
    do, and else those of the embedded recipe for the ImageNet classes that it holds. protocol: instead of the recipe's own, and
    of what the recipe sets of it. own_labels: learn from the soft labels that the set brings. out: the folder,
    ``runs/judged-<name of the folder>`` by default; the same call resumes. verify, workers, engine: as in :func:`distill.run`. Of
    tensors that were normalized the changes ``external.mean`` and ``external.std`` say how.
    """
    asked = evaluation_recipe(folder, recipe, protocol=protocol, own_labels=own_labels, set=set)
    return run(asked, out=out, verify=verify, workers=workers, engine=engine, watcher=watcher)


def evaluation_recipe(
    folder: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    *,
    protocol: str | None = None,
    own_labels: bool = False,
    set: Sequence[str] = (),
) -> Recipe:
    """The recipe of such a run."""
    students = [change for change in set if change.strip().startswith(("train.", "external."))]
    table = read(
        _own_recipe(folder) if recipe is None else recipe, [change for change in set if change not in students]
    ).model_dump()
    ipc = images_a_class(folder)
    table |= {
        "name": f"judged-{_slug(Path(folder).resolve().name)}",
        "methods": ["external", "random"],
        "comparisons": [["external", "random"]],
        "external": {"path": str(folder), "ipc": ipc, "labels": "own" if own_labels else "protocol"},
    }
    table["select"] |= {"k": ipc, "shares": {}}
    table["train"] |= {"only": None}
    if protocol is not None:
        table["train"] = {key: value for key, value in table["train"].items() if key in _NETWORK} | {"protocol": protocol}
    return read(table, students)


def _own_recipe(folder: str | Path) -> Recipe:
    """The recipe of the run in whose folder a set lies, as exports do; else an embedded one for its classes of ImageNet."""
    run = next((place for place in Path(folder).resolve().parents if (place / RECIPES[0]).is_file()), None)
    if run is not None:
        return recipe_of(run)
    names = set(classes_of(folder))
    for recipe, part in _IMAGENET.items():
        classes = imagenet_classes() if part is None else subset(part)
        if names == set(classes) or (part is None and set(numbers(sorted(names)) or ()) == set(range(len(classes)))):
            return read(recipe)
    raise RecipeError(
        f"the {len(names)} classes of {folder} are not those of ImageNet or a subset that is known, and it lies in no run's "
        "folder; say whose data, teacher, students and seeds to use with --recipe"
    )


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")[:60] or "set"
