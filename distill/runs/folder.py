"""What a run's folder holds: the recipes it was run with, and how far the stages of one have come."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.graph import build
from distill.pipeline.format import OtherFormat, plain
from distill.pipeline.safe_path import PathEscapesRun
from distill.pipeline.stage import Stage, ordered
from distill.pipeline.store import RECIPES, Store
from distill.recipe import Recipe, RecipeError, check
from distill.runs.graph_snapshot import stages_of

LAST, FINISHED = RECIPES


@dataclass(frozen=True)
class Planned:
    """A stage with the number of its parts, how many are in the folder, and what is kept of those under way, in parts."""

    stage: Stage
    parts: int
    done: int
    begun: float = 0.0

    @property
    def share(self) -> float:
        """Of the stage that is done."""
        return (self.done + self.begun) / self.parts


def folder_of(recipe: Recipe, out: str | Path | None = None) -> Path:
    """The folder of a run: ``out``, or ``runs/<recipe name>``."""
    return Path(out).expanduser() if out is not None else Path("runs") / recipe.name


def plan(folder: str | Path) -> list[Planned]:
    """What a run folder holds of the recipe it was last run with. Writes nothing."""
    return _planned(stages_of(folder, recipe_of(folder)), folder)


def progress_of(recipe: Recipe, folder: str | Path, *, until: str | None = None) -> list[Planned]:
    """What a folder holds of a recipe's stages. Writes nothing."""
    return _planned(upto(build(recipe), until), folder)


def _planned(stages: Sequence[Stage], folder: str | Path) -> list[Planned]:
    store = Store(Path(folder))
    found: list[Planned] = []
    for stage in stages:
        missing = [part for part in stage.parts() if not store.holds(stage, part)]
        begun = sum(_share(store, stage, part) for part in missing)
        found.append(Planned(stage, len(stage.parts()), len(stage.parts()) - len(missing), begun))
    return found


def _share(store: Store, stage: Stage, part: str) -> float:
    """What is kept of a part under way; nothing where its folder is a link that leads out of the run's."""
    try:
        return store.checkpoint(stage, part).share()
    except PathEscapesRun:
        return 0.0


def recipe_of(folder: str | Path) -> Recipe:
    """The recipe that a run folder was last run with."""
    path = Path(folder) / LAST
    if not path.is_file():
        raise RecipeError(
            f"{folder} is not a run folder: it holds no recipe.json. Make one with: python -m distill run RECIPE --out {folder}"
        )
    return _read(path)


def finished_of(folder: str | Path) -> Recipe | None:
    """The recipe that a run folder was last run with to the end, if there is one."""
    path = Path(folder) / FINISHED
    return _read(path) if path.is_file() else None


def check_format(folder: Path) -> None:
    """Refuses a folder that another version wrote; one whose recipe can't be read is to be written again."""
    try:
        content = json.loads((folder / LAST).read_bytes())
    except (OSError, ValueError):
        return
    _plain(content, folder)


def _plain(content: Any, folder: Path) -> Any:
    try:
        return plain(content, folder)
    except OtherFormat as error:
        raise RecipeError(str(error)) from None


def _read(path: Path) -> Recipe:
    try:
        return check(_plain(json.loads(path.read_bytes()), path.parent))
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path} is not valid JSON ({error}); run the recipe again to write it again") from None


def upto(stages: list[Stage], until: str | None) -> list[Stage]:
    """The stages up to and including those called ``until``."""
    if until is None:
        return stages
    names = list(dict.fromkeys(stage.name for stage in stages))
    if until not in names:
        raise RecipeError(f"there is no stage {until!r}; the stages are {', '.join(names)}")
    keep = {ancestor for stage in stages if stage.name == until for ancestor in ordered(stage)}
    return [stage for stage in stages if stage in keep]


def metrics(store: Store, stages: Sequence[Stage]) -> dict[str, Any] | None:
    """The measured figures, if the evaluation is finished."""
    evaluate = next((stage for stage in stages if stage.name == "evaluate"), None)
    return store.values(evaluate, "metrics") if evaluate is not None and store.holds(evaluate, "metrics") else None
