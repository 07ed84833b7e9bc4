"""What a run will take, said before it is spent."""

import shutil
from collections import namedtuple

import pytest
import torch

from distill import estimate as estimating
from distill.estimate import check_disk, estimate, size
from distill.graph import build
from distill.models.flops import autoencoder_flops, prior_flops
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.worker import make_part

WNIDS = ("n01440764", "n02102040", "n03126707")


@pytest.fixture
def recipe(once, photos, stable_diffusion):
    tree = once("photos", lambda folder: photos(folder, WNIDS, 5))
    table = read("digits").model_dump() | {"seeds": [0], "methods": ["ddoq", "random"]}
    table["data"] = {"source": "folder", "path": str(tree), "size": 32}
    table["codec"] = {"source": "pretrained", "kind": "AutoencoderKL", "path": str(stable_diffusion), "subfolder": "vae"}
    table["prior"] = {"source": "pretrained", "kind": "UNet2DConditionModel", "path": str(stable_diffusion)}
    table["select"] |= {"k": [2], "steps": 5, "solver": "lloyd"}
    table["decode"] = {"strength": 0.5, "steps": 4, "guidance": 2.0}
    return table


@pytest.fixture
def stages(recipe):
    return {stage.title: stage for stage in build(read(recipe))}


def test_bytes_are_those_of_the_tensors_to_be_written(stages, tmp_path):
    store = Store(tmp_path)
    for title in ("survey", "codec", "encode", "select random", "images random"):
        for part in stages[title].parts():
            make_part(store, stages[title], part, lambda fraction: None)
    for title, beside in (("encode", 0), ("images random", 8 * 6)):
        tensors = [tensor for part in stages[title].parts() for tensor in store.tensors(stages[title], part).values()]
        # Images carry their weights, eight bytes each of six.
        assert stages[title].weight()[0] == sum(t.numel() * t.element_size() for t in tensors) - beside
    left = estimate(stages["encode"], store)
    assert (left.disk, left.hours, left.done) == (0, 0, 3)
    assert left.memory > 0


def test_finished_parts_tell_what_the_others_take(stages, tmp_path):
    store = Store(tmp_path)
    for title in ("survey", "codec"):
        for part in stages[title].parts():
            make_part(store, stages[title], part, lambda fraction: None)
    encode = stages["encode"]
    counted = estimate(encode, store)
    assert counted.done == 0
    assert "15 images" in counted.ground
    make_part(store, encode, encode.parts()[0], lambda fraction: None)
    seal = store.seal(encode, encode.parts()[0])
    found = estimate(encode, store)
    assert found.hours == 2 * (seal["ended"] - seal["began"]) / 3600
    assert found.disk == 2 * next(iter(seal["files"].values()))["size"]
    assert "1 finished parts" in found.ground


def test_operations_are_those_of_the_real_model(stable_diffusion, dit):
    from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    def counted(run):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    vae = AutoencoderKL.from_pretrained(stable_diffusion / "vae", low_cpu_mem_usage=False)
    unet = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet", low_cpu_mem_usage=False)
    model = DiTTransformer2DModel.from_pretrained(dit / "transformer", low_cpu_mem_usage=False)
    latents, time = torch.zeros(1, 4, 16, 16), torch.zeros(1, dtype=torch.long)
    assert autoencoder_flops("AutoencoderKL", dict(vae.config), "encoder", 32, 4, 16) == counted(
        lambda: vae.encode(torch.zeros(1, 3, 32, 32))
    )
    assert autoencoder_flops("AutoencoderKL", dict(vae.config), "decoder", 32, 4, 16) == counted(lambda: vae.decode(latents))
    assert prior_flops("UNet2DConditionModel", dict(unet.config), (4, 16, 16)) == counted(
        lambda: unet(latents, time, encoder_hidden_states=torch.zeros(1, 77, 16))
    )
    assert prior_flops("DiTTransformer2DModel", dict(model.config), (4, 16, 16)) == counted(
        lambda: model(latents, timestep=time, class_labels=time)
    )


def test_guidance_doubles_the_predictions(stages):
    decode = stages["decode diffusion"]
    each, halves = decode._prior.flops(), [decode._codec.flops(half) for half in ("encoder", "decoder")]
    # Half of 4 steps, with and without the text, for 3 × 2 codes.
    assert decode.work()[0] == 6 * (2 * 2 * each + sum(halves))


def test_codes_of_noise_space_are_not_inverted_again(recipe):
    inverted = ("decode.start=inverted", "decode.inversion_guidance=2.0")
    latent, noise = (
        {stage.title: stage for stage in build(read(recipe, [*inverted, f"select.space={space}"]))}
        for space in ("latent", "noise")
    )
    each = latent["decode diffusion"]._prior.flops()
    assert latent["decode diffusion"].work()[0] - noise["decode diffusion"].work()[0] == 6 * 2 * 2 * each
    assert noise["invert"].work()[0] == 15 * 2 * 2 * each


def test_a_disk_too_small_is_refused_before_anything_is_written(stages, tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 20_000))
    assert estimating.shutil is shutil
    store = Store(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"the run needs .* more on disk, and .* has 20 kB; the most, .*, is for"):
        check_disk([estimate(stage, store, timed=False) for stage in stages.values()], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (8.4e10, "84 GB"), (3e12, "3 TB")])
def test_sizes_are_for_people(count, text):
    assert size(count) == text
