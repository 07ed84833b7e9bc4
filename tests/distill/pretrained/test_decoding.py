"""Images from codes: text, classes, guidance and starts, whatever the batch."""

import numpy as np
import torch

from distill.models.diffusion import inverse_of
from distill.models.sampler import denoise, invert, of_class, of_text
from distill.stages.space import flat
from tests.distill.pretrained.parts import images_of, made


def test_text_and_class_priors_decode_every_class(table, dit, tmp_path):
    for name, prior in (
        ("sd", table["prior"]),
        ("dit", {"source": "pretrained", "kind": "DiTTransformer2DModel", "path": str(dit), "classes": "data"}),
        ("none", {"source": "none"}),
    ):
        store, stages = made(table | {"prior": prior}, tmp_path / name)
        images = images_of(store, stages)
        assert (images.shape, images.dtype) == ((6, 3, 32, 32), torch.uint8)
        assert images.float().std() > 0
        assert stages["decode"].parents == tuple(stages[k] for k in ("codec", "prior", "select") if k in stages)


def test_an_image_does_not_depend_on_its_batch(dit_table, tmp_path):
    together, stages = made(dit_table, tmp_path / "a")
    alone, other = made(dit_table, tmp_path / "b", "decode", "decode.batch=1")
    assert other["decode"].digest == stages["decode"].digest
    first, second = images_of(together, stages).int(), images_of(alone, other).int()
    # The same to round-off before pixels are rounded to levels.
    assert (first - second).abs().max() <= 1


def test_prompts_and_negative_prompts_change_images_and_digests(table, tmp_path):
    store, stages = made(table, tmp_path / "plain")
    plain = images_of(store, stages)
    for key, text in (("prompt", "a photo of a {name}, tinted"), ("negative_prompt", "cartoon, anime, painting")):
        other, theirs = made({**table, "prior": {**table["prior"], key: text}}, tmp_path / key)
        assert theirs["decode"].digest != stages["decode"].digest
        assert not torch.equal(images_of(other, theirs), plain)
    assert stages["prior"].options()["conditions"] == ["tench", "English springer", "crane"]


def test_text_is_a_condition(stable_diffusion):
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet", low_cpu_mem_usage=False).eval()
    latents, states = torch.randn(2, 4, 16, 16), torch.randn(1, 77, 16)
    with torch.no_grad():
        expected = model(latents, torch.tensor(10), encoder_hidden_states=states.expand(2, -1, -1)).sample
        assert torch.equal(of_text(model, states)(latents, torch.tensor(10)), expected)


def test_learned_variances_are_left_out_and_guidance_uses_the_null_class(dit, tmp_path):
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel.from_pretrained(dit / "transformer", low_cpu_mem_usage=False).eval()
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    time = torch.tensor(500)
    with torch.no_grad():
        whole = model(latents, timestep=time.expand(2), class_labels=torch.full((2,), 3)).sample
        assert whole.shape[1] == 8
        assert torch.equal(of_class(model, 3)(latents, time), whole[:, :4])
        assert not torch.equal(of_class(model, 0)(latents, time), whole[:, :4])


def test_inverted_starts_and_noise_space_decode_too(dit_table, tmp_path):
    plain, stages = made(dit_table, tmp_path / "noised")
    inverted, other = made(dit_table, tmp_path / "inverted", "decode", "decode.start=inverted")
    quantized, third = made(dit_table, tmp_path / "noise", "decode", "select.space=noise")
    assert [stage["encode"].digest for stage in (stages, other, third)] == [stages["encode"].digest] * 3
    assert other["select"].digest == stages["select"].digest != third["select"].digest
    pictures = [images_of(store, made) for store, made in ((plain, stages), (inverted, other), (quantized, third))]
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])
    noise = third["invert"].latents(quantized, 1)
    assert noise.shape == third["encode"].latents(quantized, 1).shape
    assert third["select"].parents[1] is third["invert"]


def test_one_code_an_image_inverted_without_guidance_comes_back(dit_table, tmp_path):
    """K as large as the class: codes are the latents. Inverting and denoising them under one model returns near to them."""

    changes = ("select.k=[5]", "decode.start=inverted", "decode.guidance=1.0", "decode.steps=200", "decode.strength=0.1")
    store, stages = made(dit_table, tmp_path / "x", "prior", *changes)
    prior, codes = stages["prior"], stages["encode"].latents(store, 0)
    share = {"steps": 200, "strength": 0.1}
    predict, scheduler = prior.predict(store, 0, 1.0), prior.scheduler(store, "ddim")
    there = invert(predict, inverse_of(scheduler), codes, **share)
    back = denoise(predict, scheduler, there, None, **share)
    moved = np.linalg.norm(flat(there) - flat(codes))
    # DDIM back and forth errs by the change of ε over one step: the way back is a tenth of the way there at 20 steps.
    assert np.linalg.norm(flat(back) - flat(codes)) < 0.1 * moved
