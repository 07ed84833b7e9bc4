"""Tensors that others saved with torch: images and labels in one file, or in two beside each other. Nothing else is unpickled."""

import hashlib
import io
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.external.items import ExternalSet, Item
from distill.recipe import RecipeError

_KEYS = (("images", "labels"), ("data", "targets"), ("image", "label"))


class TensorSet(ExternalSet):
    """Images (n, C, H, W), uint8, floats from 0 to 1, or what (x − mean)/std made of these; labels (n,), or soft (n, classes).

    In one file: a pair of tensors, a mapping of ``images`` and ``labels`` (``data`` and ``targets``), or one of several such
    pairs, ``{"data": [[images, labels], ...]}``, of which the first is taken.
    """

    def __init__(self, path: Path, files: Sequence[Path], mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        self.path, self._files = path, files
        loaded = [_loaded(file) for file in files]
        images, labels = _pair(loaded[0] if len(loaded) == 1 else loaded, path)
        if images.ndim != 4 or images.shape[1] not in (1, 3) or len(labels) != len(images):
            raise RecipeError(
                f"{path} must hold images (n, 1 or 3, H, W) and as many labels; received {tuple(images.shape)} and "
                f"{tuple(labels.shape)}"
            )
        self._raw, self._normalized = images, (mean, std)
        soft = labels.float() if labels.ndim == 2 else None
        found: dict[int, list[Item]] = {}
        for i, label in enumerate((labels if soft is None else soft.argmax(1)).long().tolist()):
            logits = None if soft is None else partial(soft.__getitem__, i)
            found.setdefault(label, []).append(Item(f"{path}, image {i}", partial(self._png, i), 1.0, logits))
        self.classes = {str(label): found[label] for label in sorted(found)}

    def fingerprint(self, *, labels: bool) -> str:
        mark = hashlib.sha256()
        for file in self._files:
            mark.update(hashlib.sha256(file.read_bytes()).digest())
        return mark.hexdigest()

    @cached_property
    def _levels(self) -> Tensor:
        return _levels(self._raw, *self._normalized, self.path)

    def _png(self, i: int) -> bytes:
        from PIL import Image

        pixels, file = self._levels[i].numpy(), io.BytesIO()
        Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()


def _loaded(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler meets whatever the bytes say
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(f"{file} can't be read as tensors alone, which is all that is read of it: {first}") from None


def _pair(content: Any, path: Path) -> tuple[Tensor, Tensor]:
    if isinstance(content, dict):
        for names in _KEYS:
            if all(isinstance(content.get(name), Tensor) for name in names):
                content = [content[name] for name in names]
                break
        else:
            content = content["data"][0] if isinstance(content.get("data"), list | tuple) and content["data"] else None
    if isinstance(content, list | tuple) and len(content) == 2 and all(isinstance(each, Tensor) for each in content):
        return content[0].detach(), content[1].detach()
    raise RecipeError(f"{path} holds no pair of tensors, images and labels, nor a mapping of them")


def _levels(images: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None, path: Path) -> Tensor:
    """Images as uint8."""
    if images.dtype == torch.uint8:
        return images
    values = images.float()
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        values = values * torch.tensor(list(std)).view(shape) + torch.tensor(list(mean)).view(shape)
    elif not (values.min() >= 0 and 0.1 < values.max() <= 1):
        raise RecipeError(
            f"{path} holds images with values from {float(values.min()):.3g} to {float(values.max()):.3g}, which are neither "
            "levels (uint8) nor shares from 0 to 1; say how they were normalized: external.mean and external.std, one "
            "number per channel"
        )
    if not torch.isfinite(values).all():
        raise RecipeError(f"{path} holds images with values that are not finite")
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)
