r"""Images to latents and back, by an autoencoder of diffusers: $z = (E(x) - \text{shift}) \cdot \text{scale}$ and its inverse."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill.models.batches import Batches
from distill.models.convnet import scaled

BATCH = 512  # images at once, where a recipe says nothing else


class Autoencoder:
    """A model of diffusers on its device, with the scaling of its configuration.

    model: an ``AutoencoderKL`` (its posterior's mean, or a sample) or an ``AutoencoderTiny`` (which has no posterior).
    batch: images at once, fewer where memory runs out.
    """

    def __init__(self, model: Any, *, device: str = "cpu", batch: int = BATCH, sample: bool = False) -> None:
        self._model, self._dtype, self._device = model.to(device).eval(), model.dtype, device
        self.batch, self.samples = batch, sample
        self._encoding, self._decoding = Batches(batch), Batches(batch)
        self._scale = getattr(model.config, "scaling_factor", None) or 1.0
        self._shift = getattr(model.config, "shift_factor", None) or 0.0

    @torch.no_grad()
    def encode(self, images: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """(n, C, H, W) uint8 → (n, c, h, w) float32 on the host. seeds: one an image, where a posterior is sampled."""

        def work(some: slice) -> Tensor:
            pixels = scaled(images[some].to(self._device)).to(self._dtype)
            return (self._latents(pixels, seeds[some]).float().cpu() - self._shift) * self._scale

        return torch.cat(list(self._encoding.of(work, len(images))))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(n, c, h, w) → (n, C, H, W) uint8 on the host, clamped to the range of pixels."""

        def work(some: slice) -> Tensor:
            inner = (latents[some].float() / self._scale + self._shift).to(self._device, self._dtype)
            pixels = self._model.decode(inner).sample.float()
            return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

        return torch.cat(list(self._decoding.of(work, len(latents))))

    def _latents(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        encoded = self._model.encode(pixels)
        if not hasattr(encoded, "latent_dist"):
            return encoded.latents
        posterior = encoded.latent_dist
        if not self.samples:
            return posterior.mode()
        shape = (1, *posterior.mean.shape[1:])
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return posterior.mean + posterior.std * torch.cat(noise).to(posterior.mean)
