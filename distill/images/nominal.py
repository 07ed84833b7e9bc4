"""Sets of images that are not here yet, by their known numbers: for plans that are made before anything is fetched."""

import io
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images.names import imagenet_classes, namer, subset
from distill.images.pixels import decode, inspect
from distill.images.split import Images, Positions, Split
from distill.recipe.images import PhotoData

_SIZE = (500, 375)  # of a photograph of ImageNet, in the median


@dataclass(frozen=True)
class Nominal(Split):
    """So many images of each class, all of them one synthetic photograph."""

    labels: NDArray[np.int64]
    size: int
    resize: str

    def read(self, positions: Positions, size: int | None = None) -> NDArray[np.uint8]:
        return np.stack([decode(photograph(), size or self.size, self.resize) for _ in positions])

    def name(self, position: int) -> str:
        return f"nominal image {position}"

    def content(self, position: int) -> bytes:
        return photograph()

    def inspect(self, content: bytes) -> str | None:
        return inspect(content)

    def fingerprint(self) -> bytes:
        return f"nominal {len(self.labels)}".encode()


def nominal(data: PhotoData) -> Images | None:
    """The set of a recipe by the numbers that ship for a folder of its name; None where none do."""
    known: dict[str, dict[str, Any]] = json.loads((resources.files("distill") / "recipes" / "shapes" / "data.json").read_bytes())
    numbers = known.get(Path(data.path).name)
    if numbers is None:
        return None
    every = imagenet_classes() if numbers["classes"] == "imagenet-1k" else subset(numbers["classes"])
    wanted = set(every if data.subset is None else subset(data.subset))
    classes = tuple(name for name in every if name in wanted)
    share = len(classes) / len(every)
    held = data.validation_fraction
    train = round(numbers["train"] * share)
    sizes = (round(train * (1 - held)), round(train * held) if held else round(numbers["test"] * share))
    train_split, test_split = (
        Nominal(np.arange(count, dtype=np.int64) % len(classes), data.size, data.resize) for count in sizes
    )
    return Images(train_split, test_split, classes, channels=3, size=data.size, naming=namer(data.names))


@cache
def photograph() -> bytes:
    """A JPEG with structure on all scales, so that it takes about as long to decode as a photograph of its size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = np.zeros((_SIZE[1], _SIZE[0], 3))
    for scale in (1, 4, 16, 64):
        coarse = rng.standard_normal((-(-_SIZE[1] // scale), -(-_SIZE[0] // scale), 3))
        pixels += scale**0.5 * 6 * np.kron(coarse, np.ones((scale, scale, 1)))[: _SIZE[1], : _SIZE[0]]
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + 128, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
