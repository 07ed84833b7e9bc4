"""Decode: codes to images through the prior and the codec, or the real images that were selected."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.codec import Codec, CodecStage
from distill.stages.draw import Draw, draws
from distill.stages.prior import PriorStage, load_prior
from distill.stages.select import QuantizeStage, RealStage, flat


class DiffusionStage(Stage):
    r"""$x_k = D(U_t(z_k, c))$: noise each code, denoise it under its class, decode; the masses come along.

    A draw's tensors: ``images`` (K, C, H, W) uint8, ``weights`` (K,), and ``latents`` (K, c·h·w), the images encoded again.
    Beside them a PNG sheet of the class. The noise of image k depends on its draw and k alone, not on the batch.
    """

    name = "decode"

    def __init__(self, recipe: Recipe, data: Images, codec: CodecStage, prior: PriorStage, select: QuantizeStage) -> None:
        self._recipe, self._data, self._codec, self._prior, self._select = recipe, data, codec, prior, select
        self.parents = (codec, prior, select)

    @property
    def kind(self) -> str:
        """What the images are, for titles."""
        return "diffusion"

    @property
    def title(self) -> str:
        return f"decode {self.kind}"

    def options(self) -> Mapping[str, Any]:
        return self._recipe.decode.model_dump()

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.sampler import denoise

        codec, (model, scheduler) = Codec(self._codec, read), load_prior(self._prior, read)
        selected, index, options = read.tensors(self._select, part), self._data.index_of(part), self._recipe.decode
        todo = draws(self._recipe, "quantize")
        size = model.config.sample_size
        shape = (-1, model.config.in_channels, size, size)
        codes = torch.cat([draw.of(selected, "points") for draw in todo]).float().reshape(shape)
        counts = [len(draw.of(selected, "points")) for draw in todo]
        noise = torch.cat(
            [self._noise(part, draw, k, codes.shape[1:]) for draw, count in zip(todo, counts, strict=True) for k in range(count)]
        )
        labels = torch.full((len(codes),), index)
        latents = denoise(
            model, scheduler, codes, labels, noise, steps=options.steps, strength=options.strength, guidance=options.guidance
        )
        images = codec.decode(latents)
        again = torch.from_numpy(flat(codec.encode(images)))
        tensors: dict[str, Any] = {}
        start = 0
        for draw, count in zip(todo, counts, strict=True):
            some = slice(start, start := start + count)
            tensors |= draw.tensors(
                images=images[some].clone(), weights=draw.of(selected, "weights"), latents=again[some].clone()
            )
        return {f"{part}.safetensors": tensors, f"{part}.png": _sheet(images.numpy())}

    def _noise(self, part: str, draw: Draw, k: int, shape: Any) -> Any:
        import torch

        return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed_of("noise", part, draw.name, k)))


class RealImagesStage(Stage):
    """The selected real images, with their weights: nothing is decoded, so nothing moves."""

    name = "decode"

    def __init__(self, recipe: Recipe, data: Images, select: RealStage) -> None:
        self._recipe, self._data, self._select = recipe, data, select
        self.parents = (select,)

    @property
    def kind(self) -> str:
        """What the images are, for titles."""
        return self._select.kind

    @property
    def title(self) -> str:
        return f"images {self.kind}"

    def options(self) -> Mapping[str, Any]:
        return {"decode": "real"}

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        data, selected = self._data, read.tensors(self._select, part)
        of_class = data.train.of_class(self._data.index_of(part))
        tensors: dict[str, Any] = {}
        for name, indices in selected.items():
            if name.endswith(".indices"):
                draw = name.removesuffix(".indices")
                tensors[f"{draw}.images"] = torch.from_numpy(data.train.images[of_class[indices.numpy()]])
                tensors[f"{draw}.weights"] = selected[f"{draw}.weights"]
        return {f"{part}.safetensors": tensors}


def _sheet(images: Any, columns: int = 16, gap: int = 2, scale: int = 3) -> bytes:
    """Images (n, C, H, W) uint8 as one PNG, in rows, gaps between the tiles."""
    from PIL import Image

    n, channels, height, width = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 96, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        sheet[top : top + height, left : left + width] = np.moveaxis(
            np.broadcast_to(image, (3, height, width)) if channels == 1 else image, 0, -1
        )
    file = io.BytesIO()
    Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()
