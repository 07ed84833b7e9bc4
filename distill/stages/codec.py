"""The codec: a KL autoencoder of diffusers, trained on the training images; its folder loads with ``AutoencoderKL.from_pretrained``."""

import json
from collections.abc import Mapping
from typing import Any

from distill.images import load
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe


class CodecStage(Stage):
    """min over encoder and decoder of E|D(z) − x|² + β KL(q(z|x) ‖ N(0, I)), per pixel and per latent entry; latents scaled to mean 0, variance 1."""

    name = "codec"

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._fingerprint = load(recipe.data).fingerprint

    def options(self) -> Mapping[str, Any]:
        return {**self._recipe.codec.model_dump(), "data": self._fingerprint}

    def parts(self) -> list[str]:
        return ["config"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch
        from diffusers.models import AutoencoderKL

        from distill.models.convnet import scaled
        from distill.models.training import train

        options, data = self._recipe.codec, load(self._recipe.data)
        images = scaled(torch.from_numpy(data.train.images))
        levels = len(options.channels)
        model: Any = AutoencoderKL(
            in_channels=data.channels,
            out_channels=data.channels,
            latent_channels=options.latent_channels,
            block_out_channels=tuple(options.channels),
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=self._recipe.data.size,
            mid_block_add_attention=False,
        )
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            posterior = model.encode(images[chosen]).latent_dist
            latents = posterior.sample(generator=generator)
            divergence = posterior.kl().mean() / latents[0].numel()
            return (model.decode(latents).sample - images[chosen]).square().mean() + options.kl_weight * divergence

        train(model, loss, len(images), options, generator, progress)
        model.eval()
        with torch.no_grad():
            latents = torch.cat([model.encode(batch).latent_dist.mode() for batch in images.split(512)])
        model.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
        return {"config.json": json.loads(model.to_json_string()), "diffusion_pytorch_model.safetensors": model.state_dict()}


class Codec:
    """A trained codec: images in uint8 to standardized latents (the posterior mean) and back."""

    def __init__(self, stage: Stage, read: Reader) -> None:
        from diffusers.models import AutoencoderKL

        folder = read.check(stage, "config")
        self._model: Any = AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True).eval()  # pyright: ignore[reportUnknownMemberType]

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
