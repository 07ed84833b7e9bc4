import numpy as np
import pytest
import torch

from distill.models.diffusion import new_scheduler
from distill.models.sampler import denoise, guided

EPS32 = float(np.finfo(np.float32).eps)
STEPS = 10


class Model:
    """v(latents, labels), with a diary of its calls; the null class is 10."""

    def __init__(self, velocity):
        self._velocity, self.calls = velocity, []

    def of(self, labels):
        def predict(latents, time):
            self.calls.append((int(time), labels.clone()))
            return self._velocity(latents, labels)

        return predict


def exact():
    """The model of data N(0, I): α ε − σ x₀ and α x₀ + σ ε are independent, so v has posterior mean 0."""
    return Model(lambda latents, labels: torch.zeros_like(latents))


def sample(model, codes, noise, *, steps=STEPS, strength=1.0, guidance=1.0, labels=None):
    labels = torch.arange(len(codes)) % 10 if labels is None else labels
    predict = guided(model.of(labels), model.of(torch.full_like(labels, 10)), guidance)
    return denoise(predict, new_scheduler(), codes, noise, steps=steps, strength=strength)


@pytest.fixture
def codes():
    return torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def noise():
    return torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(2))


def angles(steps, strength):
    """θ with cos θ = α, sin θ = σ at the times that are visited, and 0 at the end; float64."""
    scheduler = new_scheduler()
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps[steps - max(1, round(steps * strength)) :]
    squares = scheduler.alphas_cumprod.double().numpy()[times.numpy()]
    return np.append(np.arctan2(np.sqrt(1 - squares), np.sqrt(squares)), 0.0)


def test_a_share_of_less_than_half_a_step_is_one_step(codes, noise):
    model = exact()
    sample(model, codes, noise, steps=4, strength=0.1)
    assert len(model.calls) == 1


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_with_the_exact_model_of_a_gaussian_only_the_norm_changes_and_by_the_known_factor(codes, noise, steps, strength):
    r"""v = 0 means x̂₀ = α z, ε̂ = σ z, so a step multiplies z by α_s α_t + σ_s σ_t = cos(θ_t − θ_s)."""
    theta = angles(steps, strength)
    start = np.cos(theta[0]) * codes.double() + np.sin(theta[0]) * noise.double()
    factor = float(np.prod(np.cos(np.diff(theta))))
    got = sample(exact(), codes, noise, steps=steps, strength=strength).double()
    # Each step rounds fewer than 20 float32 operations on α, σ ≤ 1 and |z|; nothing cancels, as all coefficients are positive.
    # α² is stored in float32: σ = (1 − α²)^½ near α = 1 moves by up to eps/(2σ), which enters times σ of the neighbour: once
    # eps a step.
    bound = 24 * (len(theta) + 1) * EPS32 * (codes.abs() + noise.abs()).max()
    assert (got - factor * start).abs().max() < bound
    # In the cosine schedule the factor tends to 1 with the number of steps: Σ Δ ≤ π/2, so it is at least cos(max Δ)^steps.
    assert np.cos(np.abs(np.diff(theta)).max()) ** (len(theta) - 1) - 1e-12 <= factor <= 1


def test_more_steps_keep_more_of_the_norm():
    factors = [np.prod(np.cos(np.diff(angles(steps, 1.0)))) for steps in (2, 5, 20, 100)]
    assert factors == sorted(factors)
    # −log of the product is Σ Δ²/2 + O(Σ Δ⁴) with Σ Δ ≤ π/2 and Δ ≤ 2 · (π/2)/100 (the steps are nearly equal): at most 0.026.
    assert factors[-1] > np.exp(-0.026)


@pytest.mark.parametrize(("steps", "strength"), [(20, 0.0), (1, 0.0)])
def test_strength_zero_returns_the_codes(codes, noise, steps, strength):
    model = exact()
    assert torch.equal(sample(model, codes, noise, steps=steps, strength=strength, guidance=3.0), codes)
    assert model.calls == []


@pytest.mark.parametrize(("steps", "strength", "calls"), [(10, 1.0, 10), (10, 0.5, 5), (4, 0.75, 3), (1, 1.0, 1)])
def test_the_share_of_the_time_is_the_share_of_the_steps(codes, noise, steps, strength, calls):
    model = exact()
    sample(model, codes, noise, steps=steps, strength=strength)
    times = [time for time, _ in model.calls]
    assert len(times) == calls
    assert times == sorted(times, reverse=True)
    # Trailing spacing: the noisiest time of a share s of the schedule of 1000 is 1000 s − 1.
    assert times[0] == round(1000 * strength) - 1


def test_guidance_one_never_asks_for_the_null_class(codes, noise):
    model = exact()
    sample(model, codes, noise, guidance=1.0)
    assert len(model.calls) == STEPS
    assert all((labels < 10).all() for _, labels in model.calls)


def test_the_null_class_is_asked_for_once_a_step_otherwise(codes, noise):
    model = exact()
    sample(model, codes, noise, guidance=2.0)
    nulls = [(labels == 10).all() for _, labels in model.calls]
    assert len(nulls) == 2 * STEPS
    assert sum(nulls) == STEPS


@pytest.mark.parametrize("guidance", [0.0, 0.5, 2.0, 4.0])
def test_guidance_is_the_linear_combination(codes, noise, guidance):
    def velocity(latents, labels):
        return torch.where(labels == 10, 0.25, -0.5)[:, None, None, None] * latents

    guided = sample(Model(velocity), codes, noise, guidance=guidance)
    combined = Model(lambda latents, labels: (0.25 + guidance * (-0.5 - 0.25)) * latents)
    expected = sample(combined, codes, noise, guidance=1.0)
    # With v = a z a step multiplies z by cos(Δ) + a sin(Δ), rounded below 30 times in float32; over all steps the factors, each
    # at most 1 + |a| Δ, multiply to at most exp(|a| π/2).
    size = float((codes.abs() + noise.abs()).max())
    assert (guided - expected).abs().max() < 30 * STEPS * EPS32 * size * np.exp(abs(0.25 - 0.75 * guidance) * np.pi / 2)
    if guidance != 0:
        assert not torch.allclose(guided, sample(exact(), codes, noise), atol=1e-2)


def test_an_image_does_not_depend_on_its_batch(codes, noise):
    def velocity(latents, labels):
        return 0.1 * latents * (labels + 1)[:, None, None, None]

    together = sample(Model(velocity), codes, noise, guidance=2.0)
    for i in range(len(codes)):
        label = torch.tensor([i])
        alone = sample(Model(velocity), codes[i : i + 1], noise[i : i + 1], guidance=2.0, labels=label)
        assert torch.equal(alone[0], together[i])


def test_codes_and_noise_are_left_alone(codes, noise):
    before = codes.clone(), noise.clone()
    sample(exact(), codes, noise, guidance=2.0)
    assert torch.equal(codes, before[0])
    assert torch.equal(noise, before[1])


def test_no_gradient_is_kept(codes, noise):
    assert not sample(exact(), codes.requires_grad_(), noise).requires_grad
