"""The prior: a class-conditional diffusion transformer on the latents, with its scheduler beside it."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.encode import EncodeStage


class PriorStage(Stage):
    r"""$\min_\theta E\,|v_\theta(\alpha_t z + \sigma_t \varepsilon, t, c) - (\alpha_t \varepsilon - \sigma_t z)|^2$.

    Labels are dropped now and then, so that guidance has a null class.
    """

    name = "prior"

    def __init__(self, recipe: Recipe, data: Images, encode: EncodeStage) -> None:
        self._recipe, self._data, self._encode = recipe, data, encode
        self.parents = (encode,)

    def options(self) -> Mapping[str, Any]:
        return self._recipe.prior.model_dump()

    def parts(self) -> list[str]:
        return ["model"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.training import train

        options, classes = self._recipe.prior, len(self._data.classes)
        by_class = [self._encode.latents(read, index) for index in range(classes)]
        latents = torch.cat(by_class)
        labels = torch.arange(classes).repeat_interleave(torch.tensor([len(part) for part in by_class]))
        model = diffusion.new_transformer(
            channels=latents.shape[1],
            size=latents.shape[2],
            classes=classes,
            layers=options.layers,
            heads=options.heads,
            head_width=options.head_width,
        )
        # In training mode the transformer would drop labels from the global generator, anew in every block; here they are dropped
        # once, below. It has no other use for the mode.
        model.eval()
        scheduler = diffusion.new_scheduler()
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            clean, n = latents[chosen], len(chosen)
            times = torch.randint(scheduler.config.num_train_timesteps, (n,), generator=generator)
            noise = torch.randn(clean.shape, generator=generator)
            dropped = torch.rand(n, generator=generator) < options.label_dropout
            conditions = torch.where(dropped, classes, labels[chosen])
            prediction = model(scheduler.add_noise(clean, noise, times), timestep=times, class_labels=conditions).sample
            return (prediction - scheduler.get_velocity(clean, noise, times)).square().mean()

        train(model, loss, len(latents), options, generator, progress, checkpoint=read.checkpoint(self, part))
        return {**diffusion.files(model), **diffusion.scheduler_files(scheduler)}


def load_prior(stage: PriorStage, read: Reader) -> tuple[Any, Any]:
    """The trained transformer and its scheduler."""
    from distill.models.diffusion import load_scheduler, load_transformer

    folder = read.check(stage, "model")
    return load_transformer(folder), load_scheduler(folder)
