"""Decode: codes to images through the prior and the codec, or the real images that were selected."""

import io
from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.pipeline.work import Work
from distill.recipe import Recipe
from distill.recipe.codes import taken
from distill.stages.codec import CodecStage
from distill.stages.draw import Draw, draws
from distill.stages.prior import PriorStage
from distill.stages.select import QuantizeStage, RealStage, flat
from distill.stages.survey import SurveyStage, reading

if TYPE_CHECKING:
    from distill.models.batches import Batches


class DiffusionStage(Stage):
    r"""$x_k = D(U_t(z_k, c))$: bring each code to time t, denoise it under its class, decode; the masses come along.

    A code is noised at random or inverted by DDIM; codes quantized in noise space are at that time already; without a prior
    nothing is done to it. A draw's tensors: ``images`` (K, C, H, W) uint8, ``weights`` (K,), and ``latents`` (K, c·h·w), the
    images encoded again. Beside them a PNG sheet of the class. The noise of image k depends on its draw and k alone, not on the
    batch.
    """

    name = "decode"
    kind = "diffusion"
    version = 2  # since what is not finite is no image

    def __init__(self, recipe: Recipe, data: Images, codec: CodecStage, prior: PriorStage | None, select: QuantizeStage) -> None:
        self._recipe, self._data, self._codec, self._prior, self._select = recipe, data, codec, prior, select
        self.parents = (codec, *([prior] if prior else []), select)
        self.device, self.dtype = codec.device, prior.dtype if prior else codec.dtype

    @property
    def title(self) -> str:
        return f"decode {self.kind}"

    @property
    def _inverts(self) -> bool:
        """Whether codes are inverted here; those of noise space were before they were quantized."""
        return self._recipe.decode.start == "inverted" and self._recipe.select.space == "latent"

    def options(self) -> Mapping[str, Any]:
        if self._prior is None:
            return {"prior": "none", "size": self._data.size}
        return {**self._recipe.decode.model_dump(exclude={"batch"}), "size": self._data.size}

    def parts(self) -> list[str]:
        return self._data.part_names

    def weight(self) -> tuple[float, str]:
        codes, entries = self._select.count(), self._codec.channels * self._codec.side**2
        each = 8 * entries + 2 * self._data.channels * self._data.size**2
        return float(codes * each), f"{codes:,} codes × {each:,} bytes: latents, pixels, and as many again in the sheets at most"

    def work(self) -> list[Work]:
        decode, codes = self._recipe.decode, self._select.count()
        most = max(-(-codes // len(self.parts())), 1)  # a class's codes, of all draws
        halves = [
            Work(codes, f"{codes:,} codes by the {half}", self._codec.rehearsal(half, most)) for half in ("decoder", "encoder")
        ]
        if self._prior is None:
            return halves
        guided = [decode.guidance, *([decode.inversion_guidance] if self._inverts else [])]
        calls = taken(decode.steps, decode.strength) * sum(1 if scale == 1 else 2 for scale in guided)
        rehearsal = self._prior.rehearsal(min(decode.batch, most))
        return [Work(codes * calls, f"{codes:,} codes × {calls} predictions", rehearsal), *halves]

    @cached_property
    def _batches(self) -> "Batches":
        from distill.models.batches import Batches

        return Batches(self._recipe.decode.batch)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        codec, selected, index = self._codec.load(read), read.tensors(self._select, part), self._data.index_of(part)
        todo = draws(self._recipe, "quantize")
        shape = (-1, self._codec.channels, self._codec.side, self._codec.side)
        codes = torch.cat([draw.of(selected, "points") for draw in todo]).float().reshape(shape)
        names = [(draw, k) for draw in todo for k in range(len(draw.of(selected, "points")))]
        latents: list[Any] = []
        done = 0
        for some in self._batches.of(self._sampler(part, read, index, codes, names), len(codes)):
            latents.append(some)
            done += len(some)
            progress(0.9 * done / len(codes))
        images = codec.decode(torch.cat(latents))
        again = torch.from_numpy(flat(codec.encode(images, [_seed("again", part, draw, k) for draw, k in names])))
        images = _scaled(images, self._data.size)
        tensors: dict[str, Any] = {}
        start = 0
        for draw in todo:
            some = slice(start, start := start + len(draw.of(selected, "points")))
            tensors |= draw.tensors(
                images=images[some].clone(), weights=draw.of(selected, "weights"), latents=again[some].clone()
            )
        return {f"{part}.safetensors": tensors, f"{part}.png": _sheet(images.numpy())}

    def _sampler(self, part: str, read: Reader, index: int, codes: Any, names: list[tuple[Draw, int]]) -> Any:
        """Some of a class's codes → latents. names: the draw and the number of each code."""
        if self._prior is None:
            return lambda some: codes[some]
        import torch

        from distill.models.diffusion import inverse_of
        from distill.models.sampler import denoise, invert

        options, prior = self._recipe.decode, self._prior
        share = {"steps": options.steps, "strength": options.strength}
        scheduler = prior.scheduler(read, options.scheduler)
        predict = cache(lambda guidance, dtype: prior.predict(read, index, guidance, dtype))

        def sample(dtype: str, rows: Any) -> Any:
            noise, start = None, codes[rows]
            some = [names[row] for row in torch.arange(len(codes))[rows].tolist()]
            if self._inverts:
                start = invert(predict(options.inversion_guidance, dtype), inverse_of(scheduler), start, **share)
            elif self._recipe.select.space == "latent":
                noise = torch.cat([_noise("noise", part, draw, k, codes.shape[1:]) for draw, k in some])
            generators = [torch.Generator().manual_seed(_seed("steps", part, draw, k)) for draw, k in some]
            return denoise(predict(options.guidance, dtype), scheduler, start, noise, **share, generators=generators)

        return lambda some: prior.finite(sample, some)


class RealImagesStage(Stage):
    """The selected real images, with their weights: nothing is decoded, so nothing moves."""

    name = "decode"

    def __init__(self, recipe: Recipe, data: Images, survey: SurveyStage, select: RealStage) -> None:
        self._recipe, self._data, self._survey, self._select = recipe, data, survey, select
        self.parents = (survey, select)

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

    def weight(self) -> tuple[float, str]:
        images, each = self._select.count(), self._data.channels * self._data.size**2
        return float(images * each), f"{images:,} images × {each:,} bytes"

    def work(self) -> list[Work]:
        return [reading(self._data, self._select.count())]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        selected = read.tensors(self._select, part)
        of_class = self._survey.readable(read, "train", self._data.index_of(part))
        tensors: dict[str, Any] = {}
        for name, indices in selected.items():
            if name.endswith(".indices"):
                draw = name.removesuffix(".indices")
                tensors[f"{draw}.images"] = torch.from_numpy(self._data.train.read(of_class[indices.numpy()]))
                tensors[f"{draw}.weights"] = selected[f"{draw}.weights"]
        return {f"{part}.safetensors": tensors}


def _seed(what: str, part: str, draw: Draw, k: int) -> int:
    return seed_of(what, part, draw.name, k)


def _noise(what: str, part: str, draw: Draw, k: int, shape: Any) -> Any:
    import torch

    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(_seed(what, part, draw, k)))


def _scaled(images: Any, size: int) -> Any:
    """Images (n, C, H, W) uint8 at another size, by cubic resampling that averages what it shrinks."""
    import torch

    if images.shape[-1] == size:
        return images
    wide = torch.nn.functional.interpolate(images.float(), size=(size, size), mode="bicubic", antialias=True)
    return wide.round().clamp(0, 255).to(torch.uint8)


def _sheet(images: Any, columns: int = 16, gap: int = 2) -> bytes:
    """Images (n, C, H, W) uint8 as one PNG, in rows, gaps between the tiles; small ones enlarged, at most 160 of them."""
    from PIL import Image

    images = images[: 10 * columns]
    n, channels, height, width = images.shape
    scale = max(1, 48 // width)
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
