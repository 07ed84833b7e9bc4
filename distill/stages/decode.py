"""Decode: codes to images, through the prior and the codec."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.codec import CodecStage
from distill.stages.draw import Draw, draws
from distill.stages.prior import PriorStage
from distill.stages.select import SelectStage
from distill.stages.sheet import sheet
from distill.stages.space import flat

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
    version = 2  # since what is not finite is no image

    def __init__(self, recipe: Recipe, data: Images, codec: CodecStage, prior: PriorStage | None, select: SelectStage) -> None:
        self.recipe, self.data, self.codec, self.prior, self.select = recipe, data, codec, prior, select
        self.parents = (codec, *([prior] if prior else []), select)
        self.device, self.dtype = codec.device, prior.dtype if prior else codec.dtype

    @property
    def kind(self) -> str:
        """What the images are, for titles."""
        return "diffusion" if self.select.kind == "quantize" else f"diffusion {self.select.kind}"

    @property
    def title(self) -> str:
        return f"decode {self.kind}"

    @property
    def inverts(self) -> bool:
        """Whether codes are inverted here; those of noise space were before they were quantized."""
        return self.recipe.decode.start == "inverted" and self.recipe.select.space != "noise"

    def options(self) -> Mapping[str, Any]:
        if self.prior is None:
            return {"prior": "none", "size": self.data.size}
        return {**self.recipe.decode.model_dump(exclude={"batch", "latent"}), "size": self.data.size}

    def parts(self) -> list[str]:
        return self.data.part_names

    @cached_property
    def _batches(self) -> "Batches":
        from distill.models.batches import Batches

        return Batches(self.recipe.decode.batch)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        codec, selected, index = self.codec.load(read), read.tensors(self.select, part), self.data.index_of(part)
        todo = draws(self.recipe, self.select.kind)
        shape = (-1, self.codec.channels, self.codec.side, self.codec.side)
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
        images = _scaled(images, self.data.size)
        tensors: dict[str, Any] = {}
        start = 0
        for draw in todo:
            some = slice(start, start := start + len(draw.of(selected, "points")))
            tensors |= draw.tensors(
                images=images[some].clone(), weights=draw.of(selected, "weights"), latents=again[some].clone()
            )
        return {f"{part}.safetensors": tensors, f"{part}.png": sheet(images.numpy())}

    def _sampler(self, part: str, read: Reader, index: int, codes: Any, names: list[tuple[Draw, int]]) -> Any:
        """Some of a class's codes → latents. names: the draw and the number of each code."""
        if self.prior is None:
            return lambda some: codes[some]
        import torch

        from distill.models.diffusion import inverse_of
        from distill.models.sampler import denoise, invert

        options, prior = self.recipe.decode, self.prior
        share = {"steps": options.steps, "strength": options.strength}
        scheduler = prior.scheduler(read, options.scheduler)
        predict = cache(lambda guidance, dtype: prior.predict(read, index, guidance, dtype))

        def sample(dtype: str, rows: Any) -> Any:
            noise, start = None, codes[rows]
            some = [names[row] for row in torch.arange(len(codes))[rows].tolist()]
            if self.inverts:
                start = invert(predict(options.inversion_guidance, dtype), inverse_of(scheduler), start, **share)
            elif self.recipe.select.space != "noise":
                noise = torch.cat([_noise("noise", part, draw, k, codes.shape[1:]) for draw, k in some])
            generators = [torch.Generator().manual_seed(_seed("steps", part, draw, k)) for draw, k in some]
            return denoise(predict(options.guidance, dtype), scheduler, start, noise, **share, generators=generators)

        return lambda some: prior.finite(sample, some)


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
