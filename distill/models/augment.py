r"""Augmentation in batches, on the device where the images are; what is random is drawn before, for a whole pass.

All that moves pixels here is separable, $x \mapsto A\, x\, B^\top$ with one matrix on the rows of an image and one on its
columns: translation, shuffled patches, crops resized with an antialiasing triangle filter, and flips are one product each. Where
nothing is resized the matrices hold a one per row at most, and pixels are looked up instead, to the same bits. A pass's draws are
a function of a seed alone, an image at a time, so that neither batches nor processes change what is drawn.
"""

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.protocols.pairs import order
from distill.protocols.protocol import Augmentation

_ASPECT = math.log(4 / 3)
_TRIES = 10


@dataclass(frozen=True)
class Draws:
    """What is drawn for the places of a pass, a row a place.

    image: which image. partner: at which place the image to mix in is. shift: (n, 2) pixels down and right. strips: (n, 2,
    patches) the order of the strips of rows and of columns. crop: (n, 4) top, left, height, width, or (n, 0). flip: (n, 1), or
    (n, 0). box: (n, 4) top, left, bottom, right of what is pasted in, empty where nothing is.
    """

    image: Tensor
    partner: Tensor
    shift: Tensor
    strips: Tensor
    crop: Tensor
    flip: Tensor
    box: Tensor

    def at(self, places: Tensor | slice, device: torch.device | str = "cpu") -> "Draws":
        """The rows of some places, on a device."""
        rows = (getattr(self, field.name)[places] for field in fields(self))
        return Draws(*(row.to(device, non_blocking=True) for row in rows))


def joined(parts: list[Draws]) -> Draws:
    """Rows of several passes, one below the other."""
    if len(parts) == 1:
        return parts[0]
    return Draws(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Draws)))


def laid_end_to_end(passes: list[Draws]) -> Draws:
    """Whole passes, one below the other, partners counted from the first row of all."""
    below = joined(passes)
    starts = torch.arange(len(passes)).repeat_interleave(len(passes[0].image)) * len(passes[0].image)
    return replace(below, partner=below.partner + starts)


def draw(
    augmentation: Augmentation, weights: NDArray[np.float64], source: tuple[int, int], size: int, pairing: str, seed: int
) -> Draws:
    """The draws of a pass over images with sample weights (n,), height and width ``source``, for students of ``size`` pixels."""
    rng, n = np.random.default_rng(seed), len(weights)
    image, partner = order(weights, pairing, rng)
    shift = rng.integers(-augmentation.shift, augmentation.shift + 1, (n, 2)) if augmentation.shift else np.zeros((n, 2), int)
    patches = augmentation.patches
    strips = rng.random((n, 2, patches)).argsort(2) if patches > 1 else np.zeros((n, 2, 1), int)
    crop = _crops(augmentation.crop, n, source, rng)
    flip = rng.random((n, 1)) < 0.5 if augmentation.flip else np.zeros((n, 0), dtype=bool)
    box = _boxes(augmentation.cutmix, n, size, rng)
    return Draws(*(torch.from_numpy(array) for array in (image, partner, shift, strips, crop, flip, box)))


def warp(images: Tensor, draws: Draws, size: int) -> Tensor:
    """Images (b, C, H, W) of uint8, moved as their rows of draws say: (b, C, size, size) in float32 from 0 to 1."""
    b, channels, height, width = images.shape
    if move_whole(draws, (height, width), size):
        return looked_up(images, draws).float() / 255
    rows = _matrix(height, size, draws.shift[:, 0], draws.strips[:, 0], draws.crop[:, 0::2])
    columns = _matrix(width, size, draws.shift[:, 1], draws.strips[:, 1], draws.crop[:, 1::2])
    if draws.flip.shape[1]:
        columns = torch.where(draws.flip[:, :, None], columns.flip(1), columns)
    wide = (images.reshape(b, -1, width).float() / 255) @ columns.mT
    wide = wide.reshape(b, channels, height, size).transpose(1, 2).reshape(b, height, -1)
    return (rows @ wide).reshape(b, size, channels, size).transpose(1, 2).contiguous()


def move_whole(draws: Draws, source: tuple[int, int], size: int) -> bool:
    """Whether pixels move whole: images of height and width ``source`` are neither cut out nor resized."""
    return not draws.crop.shape[1] and source == (size, size)


def looked_up(images: Tensor, draws: Draws) -> Tensor:
    """Images (b, C, S, S) of any dtype whose pixels :func:`move_whole`, as their rows of draws say; zero where none comes."""
    b, channels, size, _ = images.shape
    # In images with an edge of black around them, from which all comes that would come from outside.
    edged = torch.nn.functional.pad(images, (1, 1, 1, 1)).reshape(b, channels, -1)
    rows, columns = (_origin(size, draws.shift[:, i], draws.strips[:, i]).clamp(-1, size) + 1 for i in (0, 1))
    if draws.flip.shape[1]:
        columns = torch.where(draws.flip, columns.flip(1), columns)
    at = rows[:, :, None] * (size + 2) + columns[:, None]
    return edged.gather(2, at.reshape(b, 1, -1).expand(-1, channels, -1)).reshape(images.shape)


def cutmix(images: Tensor, others: Tensor, draws: Draws) -> Tensor:
    """``images`` (b, C, S, S) with each one's box taken from ``others``."""
    along = torch.arange(images.shape[-1], device=images.device)
    top, left, bottom, right = (side[:, None] for side in draws.box.unbind(1))
    rows, columns = (along >= top) & (along < bottom), (along >= left) & (along < right)
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], others, images)


def mixing_share(draws: Draws, size: int) -> Tensor:
    """λ (b,): the share of each image that is left beside what is pasted in, counted in pixels."""
    top, left, bottom, right = draws.box.unbind(1)
    return 1 - (bottom - top) * (right - left) / size**2


def _matrix(length: int, size: int, shift: Tensor, strips: Tensor, crop: Tensor) -> Tensor:
    """The matrices (b, size, length) of one axis: move by ``shift``, or reorder the strips, cut out, resize."""
    device = shift.device
    pixels = torch.arange(length, device=device)
    # Where each pixel comes, a row per image.
    place = _shuffled(length, strips).argsort(1) if strips.shape[1] > 1 else pixels + shift[:, None]
    if not crop.shape[1] and length == size:  # pixels move whole
        return (place[:, None, :] == pixels[:, None]).float()
    start, extent = crop.unbind(1) if crop.shape[1] else (0 * shift, 0 * shift + length)
    scale = extent[:, None] / size
    centre = start[:, None] + (torch.arange(size, device=device) + 0.5) * scale
    distance = (place[:, None, :] + 0.5 - centre[:, :, None]).abs() / scale.clamp(min=1)[:, :, None]
    inside = (place >= start[:, None]) & (place < (start + extent)[:, None])
    weight = (1 - distance).clamp(min=0) * inside[:, None, :]
    # Every row is an average; translation leaves rows of zeros, which are black.
    return weight / weight.sum(2, keepdim=True).clamp(min=1e-6)


def _origin(length: int, shift: Tensor, strips: Tensor) -> Tensor:
    """Which pixel (b, length) comes to each place of one axis; outside of the image where none does."""
    return _shuffled(length, strips) if strips.shape[1] > 1 else torch.arange(length, device=shift.device) - shift[:, None]


def _shuffled(length: int, strips: Tensor) -> Tensor:
    """Which pixel (b, length) comes to each place of one axis as its strips are reordered, the order within strips kept."""
    pixels = torch.arange(length, device=strips.device)
    strip = (pixels // max(1, length // strips.shape[1])).clamp(max=strips.shape[1] - 1)
    return strips.argsort(1)[:, strip].argsort(dim=1, stable=True)  # by where each pixel's strip comes


def _crops(area: tuple[float, float] | None, n: int, source: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Boxes of a random share of the area and log-uniform aspect ratio: the first of ten tries that fits, or all of the image."""
    height, width = source
    if area is None:
        return np.zeros((n, 0), dtype=int)
    boxes = np.tile([0, 0, height, width], (n, 1))
    share, aspect = rng.uniform(*area, (_TRIES, n)), np.exp(rng.uniform(-_ASPECT, _ASPECT, (_TRIES, n)))
    widths = np.round(np.sqrt(height * width * share * aspect)).astype(int)
    heights = np.round(np.sqrt(height * width * share / aspect)).astype(int)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, some = fits.argmax(0), fits.any(0)
    h, w = heights[first, np.arange(n)], widths[first, np.arange(n)]
    top, left = (np.floor(rng.random(n) * (np.maximum(room, 0) + 1)).astype(int) for room in (height - h, width - w))
    boxes[some] = np.stack([top, left, h, w], 1)[some]
    return boxes


def _boxes(beta: float | None, n: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """CutMix's boxes (yun2019): sides √(1 − λ) of the image's, centres uniform, cut off at the edges."""
    if beta is None:
        return np.zeros((n, 4), dtype=int)
    side = (size * np.sqrt(1 - rng.beta(beta, beta, n))).astype(int)[:, None]
    low = rng.integers(size, size=(n, 2)) - side // 2
    return np.concatenate([low, low + side // 2 * 2], 1).clip(0, size)
