"""The format of what a run's folder holds: a number in ``recipe.json``, ``finished.json``, ``graphs.json`` and every seal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 2  # 1: without a number


class OtherFormat(ValueError):
    """A run's folder that an earlier or a later version of distill wrote."""

    def __init__(self, folder: Path, found: object) -> None:
        super().__init__(folder, found)
        self.folder, self.found = folder, found

    def __str__(self) -> str:
        age = "a later" if isinstance(self.found, int) and self.found > FORMAT else "an earlier"
        return (
            f"{self.folder} holds a run of format {self.found}, of {age} version of distill, and this one reads format {FORMAT}: "
            "go on with that version, or give the recipe another folder with --out; nothing was changed"
        )


def numbered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are written, with the number."""
    return {"format": FORMAT, **values}


def plain(values: Any, folder: Path) -> Any:
    """Values as they were before they were written; :class:`OtherFormat` where the number is another one."""
    if not isinstance(values, dict):
        return values
    if values.get("format", 1) != FORMAT:
        raise OtherFormat(folder, values.get("format", 1))
    return {key: value for key, value in values.items() if key != "format"}
