"""Paths in a run's folder that stay in it."""

from pathlib import Path


class PathEscapesRun(ValueError):
    """A link, or a name that leads elsewhere, where the run's own files should be."""


def inside(root: Path, *names: str) -> Path:
    """The path of these names below a run's folder; raises :class:`PathEscapesRun` for one that is a link or leads out of it."""
    root = root.resolve()
    path = root.joinpath(*names)
    if not path.resolve().is_relative_to(root) or path.is_symlink():
        raise PathEscapesRun(f"{'/'.join(names)} leads out of the run folder {root}; remove the link")
    return path
