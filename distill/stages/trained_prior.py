"""A latent diffusion transformer, trained here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe, RecipeError
from distill.recipe.codes import TrainedPrior
from distill.stages.encode import EncodeStage
from distill.stages.prior import PriorStage

if TYPE_CHECKING:
    from distill.models.sampler import Predict


class TrainedPriorStage(PriorStage):
    r"""$\min_\theta E\,|v_\theta(\alpha_t z + \sigma_t \varepsilon, t, c) - (\alpha_t \varepsilon - \sigma_t z)|^2$.

    Labels are dropped now and then, so that guidance has a null class.
    """

    def __init__(self, recipe: Recipe, section: TrainedPrior, data: Images, encode: EncodeStage) -> None:
        if encode.codec.side % 2:
            raise RecipeError(
                f"the codec's latents are {encode.codec.side} a side; the prior needs an even side: change data.size"
            )
        self.section, self.data, self.encode = section, data, encode
        self.shape = (encode.codec.channels, encode.codec.side, encode.codec.side)
        self.parents = (encode,)
        self.device = recipe.compute.device

    def options(self) -> Mapping[str, Any]:
        return self.section.model_dump()

    def untrained(self) -> Any:
        from distill.models.diffusion import new_transformer

        options, (channels, size, _) = self.section, self.shape
        return new_transformer(
            channels=channels,
            size=size,
            classes=len(self.data.classes),
            layers=options.layers,
            heads=options.heads,
            head_width=options.head_width,
        )

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.training import train

        options, classes, device = self.section, len(self.data.classes), self.device
        by_class = [self.encode.latents(read, index) for index in range(classes)]
        latents = torch.cat(by_class).float().to(device)
        labels = torch.arange(classes).repeat_interleave(torch.tensor([len(part) for part in by_class]))
        model = self.untrained().to(device)
        # In training mode the transformer would drop labels from the global generator, again in each block; here they are dropped
        # once, below. It has no other use for the mode.
        model.eval()
        scheduler = diffusion.new_scheduler()
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            clean, n = latents[chosen.to(device)], len(chosen)
            times = torch.randint(scheduler.config.num_train_timesteps, (n,), generator=generator)
            noise = torch.randn(clean.shape, generator=generator).to(device)
            dropped = torch.rand(n, generator=generator) < options.label_dropout
            conditions = torch.where(dropped, classes, labels[chosen]).to(device)
            times = times.to(device)
            prediction = model(scheduler.add_noise(clean, noise, times), timestep=times, class_labels=conditions).sample
            return (prediction - scheduler.get_velocity(clean, noise, times)).square().mean()

        train(model, loss, len(latents), options, generator, progress, ema=options.ema, checkpoint=read.checkpoint(self, part))
        return {**diffusion.files(model.cpu()), **diffusion.scheduler_files(scheduler)}

    def predict(self, read: Reader, index: int, guidance: float, dtype: str | None = None) -> "Predict":
        from distill.models.diffusion import load_transformer
        from distill.models.sampler import guided, of_class

        folder = read.check(self, "model")
        model = cached((folder, self.digest), lambda: load_transformer(folder).to(self.device))
        return guided(of_class(model, index), of_class(model, model.config.num_embeds_ada_norm), guidance)

    def scheduler(self, read: Reader, kind: str) -> Any:
        from distill.models.diffusion import load_scheduler

        return load_scheduler(read.check(self, "model"), kind)
