"""Invert: every latent as the noise that DDIM takes to it, for codes that are quantized there."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe
from distill.stages.encode import EncodeStage, LatentStage
from distill.stages.prior import PriorStage
from distill.stages.validate_images import ValidateImagesStage

if TYPE_CHECKING:
    from distill.models.batches import Batches


class InvertStage(LatentStage):
    r"""$z_t = U_t^{-1}(z, c)$ at the time where decoding starts: the deterministic flow run backwards, under the class."""

    name = "invert"
    version = 2  # since what is not finite is no noise

    def __init__(
        self, recipe: Recipe, data: Images, validated: ValidateImagesStage, encode: EncodeStage, prior: PriorStage
    ) -> None:
        self.recipe, self.data, self.validated, self.encode, self.prior = recipe, data, validated, encode, prior
        self.codec = encode.codec
        self.parents = (validated, encode, prior)
        self.device, self.dtype = prior.device, prior.dtype

    def options(self) -> Mapping[str, Any]:
        decode = self.recipe.decode
        return {"steps": decode.steps, "strength": decode.strength, "guidance": decode.inversion_guidance}

    @cached_property
    def _batches(self) -> "Batches":
        from distill.models.batches import Batches

        return Batches(self.recipe.decode.batch)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.diffusion import inverse_of
        from distill.models.sampler import invert

        decode, latents = self.recipe.decode, read.tensors(self.encode, part)["latents"]
        index, guidance = self.data.index_of(part), decode.inversion_guidance
        inverse = inverse_of(self.prior.scheduler(read, "ddim"))
        noise: list[Any] = []
        done = 0

        predict = cache(lambda dtype: self.prior.predict(read, index, guidance, dtype))

        def sample(dtype: str, rows: Any) -> Any:
            return invert(predict(dtype), inverse, latents[rows].float(), steps=decode.steps, strength=decode.strength)

        for some in self._batches.of(lambda some: self.prior.finite(sample, some), len(latents)):
            noise.append(some.to(latents.dtype))
            done += len(some)
            progress(done / len(latents))
        return {f"{part}.safetensors": {"latents": torch.cat(noise) if noise else latents}}
