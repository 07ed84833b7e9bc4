"""A run's graph as it was when it was run, kept in its folder: so that it is read also where its images and models are not."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from distill.graph import build
from distill.pipeline.format import numbered, plain
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.pipeline.store import GRAPHS, RECIPES, write_whole
from distill.recipe import Recipe, RecipeError
from distill.stages.students import StudentsStage


class FrozenStage(Stage):
    """A stage of which the name, the digest and the parts are known, and no more: its parts can be read, and none be made."""

    def __init__(self, name: str, digest: str, folder: str, title: str, parts: Sequence[str]) -> None:
        if not (isinstance(parts, list) and all(isinstance(each, str) for each in (name, digest, folder, title, *parts))):
            raise TypeError(f"{folder!r} is no record of a stage")
        self.name, self.digest = name, digest  # type: ignore[misc]
        self._folder, self._title, self._parts = folder, title, list(parts)

    @property
    def title(self) -> str:
        return self._title

    @property
    def folder_name(self) -> str:
        return self._folder

    def parts(self) -> list[str]:
        return self._parts

    def options(self) -> Mapping[str, Any]:
        self._refuse()

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RecipeError(f"{self._folder} can be read here, but not continued: the run's images or models are missing")


@dataclass(frozen=True)
class Graph:
    """classes, names: as the data write them, and as people call them. part_names: a part per class.

    sets: of each method that has images the stage of these, and that of the labels of each image if it has such under any regime.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    part_names: list[str]
    stages: list[Stage]
    sets: Mapping[str, tuple[Stage, Stage | None]]

    @classmethod
    def of(cls, stages: list[Stage]) -> "Graph":
        trains = [stage for stage in stages if isinstance(stage, StudentsStage)]
        data = trains[0].data
        found = sorted(trains, key=lambda stage: stage.logits is not None)
        sets = {stage.method: (stage.images, stage.logits) for stage in found if stage.images is not None}
        return cls(data.classes, data.names, data.part_names, stages, sets)

    def written(self) -> dict[str, Any]:
        """As JSON values."""
        sets = {method: [images.folder_name, logits and logits.folder_name] for method, (images, logits) in self.sets.items()}
        named = {"classes": list(self.classes), "names": list(self.names), "part_names": self.part_names}
        return {**named, "stages": _told(self.stages), "sets": sets}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Graph":
        stages: list[Stage] = [FrozenStage(*each) for each in written["stages"]]
        by_folder = {stage.folder_name: stage for stage in stages}
        sets = {method: (by_folder[images], by_folder.get(logits)) for method, (images, logits) in written["sets"].items()}
        return cls(tuple(written["classes"]), tuple(written["names"]), list(written["part_names"]), stages, sets)


def keep(folder: Path, stages: list[Stage], recipe: str) -> None:
    """Write the graph of the recipe that a file of the folder holds, ``recipe.json`` or ``finished.json``, beside the other's."""
    kept = _kept(folder, recipe)
    if kept is None or _told(kept.stages) != _told(stages):  # else it is there, and names of classes take a while
        content = (folder / recipe).read_bytes()
        entry = {"recipe": hashlib.sha256(content).hexdigest(), "graph": Graph.of(stages).written()}
        write_whole(folder / GRAPHS, json.dumps(numbered({**_known(folder), recipe: entry})).encode())


def graph_of(folder: str | Path, recipe: Recipe, finished: Recipe | None) -> Graph:
    """The graph of a run: as it was when the recipe was finished last, else when it was given; without a record, as it is now."""
    names = [name for name, same in zip(RECIPES, (True, finished == recipe), strict=True) if same]
    found = (graph for name in reversed(names) if (graph := _kept(Path(folder), name)))
    return next(found, None) or Graph.of(build(recipe))


def stages_of(folder: str | Path, recipe: Recipe) -> list[Stage]:
    """The stages of the recipe given last: as they are now, or as they were where its images or models are not at hand."""
    try:
        return build(recipe)
    except RecipeError:
        if (graph := _kept(Path(folder), RECIPES[0])) is None:
            raise
        return graph.stages


def kept_stages(folder: str | Path) -> list[Stage]:
    """The stages that a run's recipes had when they were given and finished, as far as there are records."""
    return [stage for name in RECIPES if (graph := _kept(Path(folder), name)) for stage in graph.stages]


def _told(stages: list[Stage]) -> list[list[Any]]:
    return [[each.name, each.digest, each.folder_name, each.title, each.parts()] for each in stages]


def _kept(folder: Path, recipe: str) -> Graph | None:
    """The graph recorded of the recipe in a file, unless the file is another one by now."""
    try:
        entry = _known(folder)[recipe]
        now = hashlib.sha256((folder / recipe).read_bytes()).hexdigest()
        return Graph.read(entry["graph"]) if entry["recipe"] == now else None
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _known(folder: Path) -> dict[str, Any]:
    try:
        return dict(plain(json.loads((folder / GRAPHS).read_bytes()), folder))
    except (OSError, RecursionError, TypeError, ValueError):  # of another format too: it is written again with the recipe
        return {}
