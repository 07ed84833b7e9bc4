"""What installed packages of others register: stages, ways to select, codecs, priors and students (docs/extending.md)."""

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Group = Literal["stages", "select", "codecs", "priors", "students"]


def registered(group: Group) -> list[str]:
    """The names that are registered under ``distill.<group>``."""
    return sorted(_found(group, tuple(sys.path)))


def load(group: Group, name: str) -> Any:
    """What is registered under a name; KeyError where nothing is, ValueError where it can't be imported."""
    found = _found(group, tuple(sys.path))[name]
    try:
        return found.load()
    except Exception as error:  # a package of others may raise anything
        raise ValueError(f"{name!r}, which {found.value} registers as distill.{group}, can't be imported: {error}") from error


@cache
def _found(group: Group, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=f"distill.{group}")}
