"""The prior: a class-conditional diffusion transformer on latents, diffusers' DiT, with a scheduler of diffusers beside it."""

import json
from collections.abc import Mapping
from typing import Any

from distill.images import load
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.encode import EncodeStage


class PriorStage(Stage):
    r"""min over v_θ of $E|v_\theta(\alpha_t z + \sigma_t \varepsilon, t, c) - (\alpha_t \varepsilon - \sigma_t z)|^2$ under a cosine schedule, labels dropped for guidance."""

    name = "prior"

    def __init__(self, recipe: Recipe, encode: EncodeStage) -> None:
        self._recipe, self._encode = recipe, encode
        self.parents = (encode,)

    def options(self) -> Mapping[str, Any]:
        return self._recipe.prior.model_dump()

    def parts(self) -> list[str]:
        return ["config"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch
        from diffusers.models import DiTTransformer2DModel
        from diffusers.schedulers import DDIMScheduler

        from distill.models.training import train

        options, classes = self._recipe.prior, len(load(self._recipe.data).classes)
        by_class = [self._encode.latents(read, index) for index in range(classes)]
        latents = torch.cat(by_class)
        labels = torch.arange(classes).repeat_interleave(torch.tensor([len(part) for part in by_class]))
        model: Any = DiTTransformer2DModel(
            num_attention_heads=options.heads,
            attention_head_dim=options.head_width,
            in_channels=latents.shape[1],
            num_layers=options.layers,
            sample_size=latents.shape[2],
            patch_size=2,
            num_embeds_ada_norm=classes,
        )
        # In training mode diffusers' DiT would drop labels from the global generator, anew in every block; here they are dropped once, below.
        model.eval()
        scheduler: Any = DDIMScheduler(
            num_train_timesteps=1000,
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            clip_sample=False,
            timestep_spacing="trailing",
        )
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            clean, n = latents[chosen], len(chosen)
            times = torch.randint(scheduler.config.num_train_timesteps, (n,), generator=generator)
            noise = torch.randn(clean.shape, generator=generator)
            dropped = torch.rand(n, generator=generator) < options.label_dropout
            conditions = torch.where(dropped, classes, labels[chosen])
            prediction = model(scheduler.add_noise(clean, noise, times), timestep=times, class_labels=conditions).sample
            return (prediction - scheduler.get_velocity(clean, noise, times)).square().mean()

        train(model, loss, len(latents), options, generator, progress)
        return {
            "config.json": json.loads(model.to_json_string()),
            "diffusion_pytorch_model.safetensors": model.state_dict(),
            "scheduler_config.json": json.loads(scheduler.to_json_string()),
        }


def load_prior(stage: PriorStage, read: Reader) -> tuple[Any, Any]:
    """The trained transformer and its scheduler."""
    from diffusers.models import DiTTransformer2DModel
    from diffusers.schedulers import DDIMScheduler

    folder = read.check(stage, "config")
    model: Any = DiTTransformer2DModel.from_pretrained(folder, low_cpu_mem_usage=False, local_files_only=True).eval()  # pyright: ignore[reportUnknownMemberType]
    return model, DDIMScheduler.from_pretrained(folder, local_files_only=True)
