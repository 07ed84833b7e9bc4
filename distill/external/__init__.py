"""Somebody's distilled set, handed out as a folder of images, parquet, webdataset's tars or tensors of torch."""

from collections.abc import Sequence
from pathlib import Path

from distill.external.folder import FolderSet
from distill.external.items import ExternalSet, Item
from distill.recipe import RecipeError

__all__ = ["ExternalSet", "Item", "opened"]


def opened(path: str | Path, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> ExternalSet:
    """The set at a path: a file (.parquet, .tar, .pt, .pth), a folder of such files, or a folder of images for each class.

    mean, std: one number per channel, by which tensors were normalized. Raises RecipeError where there is none.
    """
    root = Path(path).expanduser()
    tables = [root] if root.suffix in (".parquet", ".tar") and root.is_file() else []
    for pattern in ("*.parquet", "data/*.parquet", "*.tar") if root.is_dir() else ():
        tables = tables or sorted(file for file in root.glob(pattern) if not file.name.startswith("."))
    if tables:
        from distill.external.table import TableSet

        return _held(TableSet(root, tables))
    if tensors := _tensors(root):
        from distill.external.tensors import TensorSet

        return _held(TensorSet(root, tensors, mean, std))
    if not root.is_dir():
        raise RecipeError(f"there is no folder {path}, nor a file of a set (.parquet, .tar, .pt)")
    return _held(FolderSet(root))


def _tensors(root: Path) -> list[Path]:
    """The file of tensors, or the two in a folder."""
    if root.suffix in (".pt", ".pth") and root.is_file():
        return [root]
    pairs = [[root / name for name in pair] for pair in (("images_best.pt", "labels_best.pt"), ("images.pt", "labels.pt"))]
    return next((pair for pair in pairs if all(file.is_file() for file in pair)), [])


def _held(found: ExternalSet) -> ExternalSet:
    if not any(found.classes.values()):
        raise RecipeError(f"{found.path} holds no folder per class with images in it")
    return found
