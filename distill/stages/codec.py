"""The codec: a KL autoencoder trained on the training images; its folder loads with ``AutoencoderKL.from_pretrained``."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe


class CodecStage(Stage):
    r"""$\min E|D(z) - x|^2 + \beta\, KL(q(z|x) \| N(0, I))$ over encoder and decoder, both terms per entry.

    Latents are then scaled to mean 0 and variance 1 over the training images; the model's configuration holds shift and factor.
    """

    name = "codec"

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self._recipe, self._data = recipe, data

    def options(self) -> Mapping[str, Any]:
        return {**self._recipe.codec.model_dump(), "data": self._data.fingerprint}

    def parts(self) -> list[str]:
        return ["model"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.convnet import scaled
        from distill.models.training import train

        options = self._recipe.codec
        images = scaled(torch.from_numpy(self._data.train.images))
        model = diffusion.new_autoencoder(
            channels=self._data.channels,
            size=self._recipe.data.size,
            latent_channels=options.latent_channels,
            widths=tuple(options.channels),
        )
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            posterior = model.encode(images[chosen]).latent_dist
            latents = posterior.sample(generator=generator)
            divergence = posterior.kl().mean() / latents[0].numel()
            return (model.decode(latents).sample - images[chosen]).square().mean() + options.kl_weight * divergence

        train(model, loss, len(images), options, generator, progress, checkpoint=read.checkpoint(self, part))
        model.eval()
        with torch.no_grad():
            latents = torch.cat([model.encode(batch).latent_dist.mode() for batch in images.split(512)])
        model.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
        return diffusion.files(model)


class Codec:
    """A trained codec: images in uint8 to standardized latents (the posterior mean) and back."""

    def __init__(self, stage: CodecStage, read: Reader) -> None:
        from distill.models.diffusion import load_autoencoder

        self._model = load_autoencoder(read.check(stage, "model"))

    def encode(self, images: Any, batch: int = 512) -> Any:
        """(n, C, H, W) uint8 → (n, c, h, w) float32."""
        import torch

        from distill.models.convnet import scaled

        config = self._model.config
        with torch.no_grad():
            means = [self._model.encode(scaled(part)).latent_dist.mode() for part in images.split(batch)]
        return (torch.cat(means) - config.shift_factor) * config.scaling_factor

    def decode(self, latents: Any, batch: int = 512) -> Any:
        """(n, c, h, w) → (n, C, H, W) uint8, clamped to the range of pixels."""
        import torch

        config = self._model.config
        with torch.no_grad():
            pixels = [
                self._model.decode(part / config.scaling_factor + config.shift_factor).sample for part in latents.split(batch)
            ]
        return ((torch.cat(pixels).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
