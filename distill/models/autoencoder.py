r"""Images to latents and back, by an autoencoder of diffusers: $z = (E(x) - \text{shift}) \cdot \text{scale}$ and its inverse."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from distill.models.batches import Batches
from distill.models.convnet import scaled
from distill.models.finite import finite, of_precision

BATCH = 512  # images at once, where a recipe says nothing else


class Autoencoder:
    """A model of diffusers on its device, with the scaling of its configuration.

    model: an ``AutoencoderKL`` (its posterior's mean, or a sample) or an ``AutoencoderTiny`` (which has no posterior).
    batch: images at once, fewer where memory runs out. wider: makes the model in the precision in which images are computed again
    that are not finite; without it they raise :class:`distill.models.finite.NotFinite`.
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str = "cpu",
        batch: int = BATCH,
        sample: bool = False,
        wider: Callable[[], Any] | None = None,
    ) -> None:
        self._model, self._device, self._make_wider = model.to(device).eval(), device, wider
        self.batch, self.samples = batch, sample
        self._encoding, self._decoding = Batches(batch), Batches(batch)
        self._scale = getattr(model.config, "scaling_factor", None) or 1.0
        self._shift = getattr(model.config, "shift_factor", None) or 0.0
        self._remedy = of_precision("codec", str(model.dtype).removeprefix("torch."))

    @cached_property
    def _wider(self) -> Any:
        assert self._make_wider is not None
        return self._make_wider().to(self._device).eval()

    @torch.no_grad()
    def encode(self, images: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """(n, C, H, W) uint8 → (n, c, h, w) float32 on the host. seeds: one per image, where a posterior is sampled."""

        def by(model: Any, images: Tensor, seeds: Sequence[int]) -> Tensor:
            pixels = scaled(images.to(self._device)).to(model.dtype)
            return (self._latents(model, pixels, seeds).float().cpu() - self._shift) * self._scale

        def work(some: slice) -> Tensor:
            here, drawn = images[some], seeds[some]

            def again(rows: Tensor) -> Tensor:
                return by(self._wider, here[rows], [drawn[row] for row in rows.tolist()] if drawn else ())

            latents = by(self._model, here, drawn)
            return finite(latents, "latents of the codec", self._remedy, again if self._make_wider else None)

        return torch.cat(list(self._encoding.of(work, len(images))))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(n, c, h, w) → (n, C, H, W) uint8 on the host, clamped to the range of pixels."""

        def by(model: Any, latents: Tensor) -> Tensor:
            inner = (latents.float() / self._scale + self._shift).to(self._device, model.dtype)
            return model.decode(inner).sample.float()

        def work(some: slice) -> Tensor:
            again = (lambda rows: by(self._wider, latents[some][rows])) if self._make_wider else None
            pixels = finite(by(self._model, latents[some]), "images that the codec decoded", self._remedy, again)
            return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

        return torch.cat(list(self._decoding.of(work, len(latents))))

    def _latents(self, model: Any, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        encoded = model.encode(pixels)
        if not hasattr(encoded, "latent_dist"):
            return encoded.latents
        posterior = encoded.latent_dist
        if not self.samples:
            return posterior.mode()
        shape = (1, *posterior.mean.shape[1:])
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return posterior.mean + posterior.std * torch.cat(noise).to(posterior.mean)
