r"""Codes to latents, $z \mapsto U_t(z, c)$: noise to time t, denoise under class c; a few lines around ``scheduler.step``."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def denoise(
    model: Any, scheduler: Any, codes: Tensor, labels: Tensor, noise: Tensor, *, steps: int, strength: float, guidance: float
) -> Tensor:
    """Noise latents to the share ``strength`` of the time and denoise them under their classes.

    model: a class-conditional transformer of diffusers (labels 0..C-1, null class C). codes, noise: (n, c, h, w). labels: (n,).
    steps: of the whole time; the share of them that is taken is rounded, one at least.
    guidance: the classifier-free scale w in v_null + w (v_class − v_null); 1 leaves the null class out. strength 0 returns the
    codes.
    """
    scheduler.set_timesteps(steps)
    if strength == 0:
        return codes
    times = scheduler.timesteps[steps - max(1, round(steps * strength)) :]
    latents = scheduler.add_noise(codes, noise, times[:1].expand(len(codes)))
    null = torch.full_like(labels, model.config.num_embeds_ada_norm)
    for time in times:
        when = time.expand(len(latents))
        prediction = model(latents, timestep=when, class_labels=labels).sample
        if guidance != 1:
            unconditional = model(latents, timestep=when, class_labels=null).sample
            prediction = unconditional + guidance * (prediction - unconditional)
        latents = scheduler.step(prediction, time, latents).prev_sample
    return latents
