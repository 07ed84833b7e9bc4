"""The short sampler on models whose answers are known: every scheduler, batch after batch, there and back."""

import numpy as np
import pytest
import torch

from distill.models.diffusion import inverse_of, load_scheduler, new_scheduler
from distill.models.sampler import denoise, invert
from tests.distill.pretrained.parts import EPS32


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver", "euler", "ddpm"])
def test_every_scheduler_recovers_a_point_that_the_model_knows(stable_diffusion, scheduler):
    """The law is one point x₀, so the exact ε is (x − α x₀)/σ: whatever the start, every solver must end at x₀."""
    solver = load_scheduler(stable_diffusion, scheduler, subfolder="scheduler")
    point = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    alphas = load_scheduler(stable_diffusion, "ddim", subfolder="scheduler").alphas_cumprod.double()

    def predict(latents, time):
        squared = float(np.interp(float(time), np.arange(1000), alphas.numpy()))
        return (latents - squared**0.5 * point) / (1 - squared) ** 0.5

    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    got = denoise(predict, solver, torch.zeros(3, 4, 8, 8), noise, steps=20, strength=0.7, generators=generators)
    # At the end σ of the schedule's first time is left: 0.03 of unit noise for the schedulers that stop there.
    assert (got - point).abs().max() < 4 * float((1 - alphas[0]) ** 0.5) + 0.05


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver", "euler", "ddpm"])
def test_one_scheduler_serves_batch_after_batch(stable_diffusion, scheduler):
    """Multistep solvers remember predictions: of another batch they must not."""
    codes = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))

    def run(solver, i):
        generators = [torch.Generator().manual_seed(i)]
        some = slice(i, i + 1)
        return denoise(lambda x, t: 0.5 * x, solver, codes[some], noise[some], steps=5, strength=0.6, generators=generators)

    one = load_scheduler(stable_diffusion, scheduler, subfolder="scheduler")
    for i in (0, 1):
        assert torch.equal(run(one, i), run(load_scheduler(stable_diffusion, scheduler, subfolder="scheduler"), i))


def test_drawing_schedulers_draw_for_each_image_apart(stable_diffusion):
    codes = torch.zeros(3, 4, 8, 8)
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))

    def run(some):
        solver = load_scheduler(stable_diffusion, "ddpm", subfolder="scheduler")
        generators = [torch.Generator().manual_seed(i) for i in range(3)][some]
        return denoise(lambda x, t: 0.5 * x, solver, codes[some], noise[some], steps=5, strength=1.0, generators=generators)

    assert torch.equal(run(slice(1, 2))[0], run(slice(0, 3))[1])


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_inverting_and_denoising_give_back_what_the_exact_model_keeps(steps, strength):
    r"""For N(0, I) in v-prediction v = 0: a step forth multiplies by cos(Δ), and so does one back; their product is known."""
    scheduler = new_scheduler()
    latents = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    still = lambda x, t: torch.zeros_like(x)  # noqa: E731
    there = invert(still, inverse_of(scheduler), latents, steps=steps, strength=strength)
    back = denoise(still, scheduler, there, None, steps=steps, strength=strength)
    squares = scheduler.alphas_cumprod.double().numpy()[scheduler.timesteps.numpy()[steps - max(1, round(steps * strength)) :]]
    theta = np.append(np.arctan2(np.sqrt(1 - squares), np.sqrt(squares)), 0.0)
    factor = np.prod(np.cos(np.diff(theta)))
    bound = 24 * (len(theta) + 1) * EPS32 * float(latents.abs().max())
    assert (there - factor * latents).abs().max() < bound
    assert (back - factor**2 * latents).abs().max() < 2 * bound
