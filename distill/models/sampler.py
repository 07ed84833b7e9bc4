r"""Codes to latents, $z \mapsto U_t(z, c)$: noise to time t, denoise under class c; a few lines around ``scheduler.step``."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from distill.recipe.codes import taken

Predict = Callable[[Tensor, Tensor], Tensor]  # (noisy latents (n, c, h, w), a time) → what the scheduler's model predicts


@torch.no_grad()
def denoise(
    predict: Predict,
    scheduler: Any,
    codes: Tensor,
    noise: Tensor | None,
    *,
    steps: int,
    strength: float,
    generators: Sequence[torch.Generator] = (),
) -> Tensor:
    """Noise latents to the share ``strength`` of the time and denoise them: (n, c, h, w) → (n, c, h, w).

    noise: (n, c, h, w); None where the codes lie at that time already. steps: of the whole time; the share of them that is taken
    is rounded, one at least. generators: one per image, for schedulers that draw as they go. strength 0 returns the codes.
    """
    scheduler.set_timesteps(steps)
    if strength == 0:
        return codes
    first = steps - taken(steps, strength)
    times = scheduler.timesteps[first:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    latents = codes if noise is None else scheduler.add_noise(codes, noise, times[:1].expand(len(codes)))
    draws = "generator" in inspect.signature(scheduler.step).parameters
    more = {"generator": list(generators)} if draws and generators else {}
    for time in times:
        prediction = predict(scheduler.scale_model_input(latents, time), time)
        latents = scheduler.step(prediction, time, latents, **more).prev_sample
    return latents


@torch.no_grad()
def invert(predict: Predict, inverse: Any, latents: Tensor, *, steps: int, strength: float) -> Tensor:
    """DDIM run backwards from clean latents to the share ``strength`` of the time, where :func:`denoise` would start.

    inverse: diffusers' inverse scheduler of the one that will denoise.
    """
    inverse.set_timesteps(steps)
    for time in inverse.timesteps[: taken(steps, strength) if strength else 0]:
        latents = inverse.step(predict(latents, time), time, latents).prev_sample
    return latents


def guided(conditional: Predict, unconditional: Predict, scale: float) -> Predict:
    """Classifier-free guidance: p_null + w (p_class − p_null); w = 1 leaves the null class out."""

    def predict(latents: Tensor, time: Tensor) -> Tensor:
        prediction = conditional(latents, time)
        if scale == 1:
            return prediction
        unguided = unconditional(latents, time)
        return unguided + scale * (prediction - unguided)

    return predict


def of_class(model: Any, label: int) -> Predict:
    """The prediction of a class-conditional transformer; where it learns variances too, they are the second half, left out."""

    def predict(latents: Tensor, time: Tensor) -> Tensor:
        inner = latents.to(model.device, model.dtype)
        labels = torch.full((len(latents),), label, device=model.device)
        output = model(inner, timestep=time.to(model.device).expand(len(latents)), class_labels=labels).sample
        return output[:, : latents.shape[1]].to(latents)

    return predict


def of_text(model: Any, embedding: Tensor) -> Predict:
    """The prediction of a UNet conditioned on a text's embedding (1, tokens, width)."""

    def predict(latents: Tensor, time: Tensor) -> Tensor:
        inner = latents.to(model.device, model.dtype)
        states = embedding.to(inner).expand(len(latents), -1, -1)
        return model(inner, time.to(model.device), encoder_hidden_states=states).sample.to(latents)

    return predict
