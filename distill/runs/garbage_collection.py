"""What lies in a run's folder that no recipe refers to any more, and its removal."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.graph import build
from distill.pipeline.lock import locked
from distill.pipeline.store import is_artifact
from distill.recipe import Recipe, RecipeError
from distill.runs.folder import finished_of, recipe_of
from distill.runs.graph_snapshot import kept_stages


@dataclass(frozen=True)
class Leftover:
    """A stage's folder that is not of any recipe asked for. parts: sealed in it. size: bytes of its files."""

    path: Path
    parts: int
    size: int


def leftovers(folder: str | Path, keep: Sequence[Recipe] = ()) -> list[Leftover]:
    """Folders of stages in a run that no recipe refers to: not the last it was run with, the last finished, nor those to keep."""
    root = Path(folder)
    finished = finished_of(root)
    recipes = [recipe_of(root), *keep, *([] if finished is None else [finished])]
    named = {stage.folder_name for stage in kept_stages(root)}
    for recipe in recipes:
        try:
            named |= {stage.folder_name for stage in build(recipe)}
        except RecipeError:  # its images or models are not at hand: what it had when it was run is known
            if recipe in keep or not named:
                raise
    strangers = [path for path in sorted(root.iterdir()) if is_artifact(path) and path.name not in named]
    return [_measured(path) for path in strangers]


def remove(folder: str | Path, found: Sequence[Leftover]) -> None:
    """Remove what :func:`leftovers` found, seals first: a removal that is cut off leaves parts unsealed, never damaged ones."""
    with locked(Path(folder)):
        for each in found:
            shutil.rmtree(each.path / ".seals", ignore_errors=True)
            shutil.rmtree(each.path)


def _measured(path: Path) -> Leftover:
    files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return Leftover(path, sum(1 for _ in path.glob(".seals/*.json")), sum(file.stat().st_size for file in files))
