"""A KL autoencoder, trained here on the training images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe
from distill.recipe.images import TrainedCodec
from distill.stages.codec import CodecStage
from distill.stages.validate_images import ValidateImagesStage

if TYPE_CHECKING:
    from distill.models.autoencoder import Autoencoder


class TrainedCodecStage(CodecStage):
    r"""$\min E|D(z) - x|^2 + \beta\, KL(q(z|x) \| N(0, I))$ over encoder and decoder, both terms per entry.

    Latents are then scaled to mean 0 and variance 1 over the training images; the model's configuration holds shift and factor.
    Its folder loads with ``AutoencoderKL.from_pretrained``.
    """

    def __init__(self, recipe: Recipe, section: TrainedCodec, data: Images, validated: ValidateImagesStage) -> None:
        self.recipe, self.section, self.data, self.validated = recipe, section, data, validated
        self.parents = (validated,)
        self.device = recipe.compute.device
        self.colours, self.size = data.channels, data.size
        self.channels, self.side = section.latent_channels, data.size // 2 ** (len(section.channels) - 1)

    def options(self) -> Mapping[str, Any]:
        return {**self.section.model_dump(), "data": self.data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.convnet import scaled
        from distill.models.training import train

        options, device = self.section, self.device
        images = torch.from_numpy(self.data.train.read(self.validated.all_readable(read, "train"))).to(device)
        model = self.untrained().to(device)
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            pixels = scaled(images[chosen.to(device)])
            posterior = model.encode(pixels).latent_dist
            latents = posterior.sample(generator=generator)
            divergence = posterior.kl().mean() / latents[0].numel()
            return (model.decode(latents).sample - pixels).square().mean() + options.kl_weight * divergence

        train(model, loss, len(images), options, generator, progress, checkpoint=read.checkpoint(self, part))
        model.eval()
        with torch.no_grad():
            latents = torch.cat([model.encode(scaled(batch)).latent_dist.mode() for batch in images.split(512)])
        model.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
        return diffusion.files(model.cpu())

    def untrained(self) -> Any:
        from distill.models.diffusion import new_autoencoder

        options, data = self.section, self.data
        widths = tuple(options.channels)
        return new_autoencoder(channels=data.channels, size=data.size, latent_channels=options.latent_channels, widths=widths)

    def load(self, read: Reader) -> "Autoencoder":
        from distill.models.autoencoder import Autoencoder
        from distill.models.diffusion import load_autoencoder

        folder = read.check(self, "model")
        return cached((folder, self.digest), lambda: Autoencoder(load_autoencoder("AutoencoderKL", folder), device=self.device))
