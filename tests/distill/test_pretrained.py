"""Models that others trained: the code that loads the real ones, on tiny ones of random weights saved by the tests."""

import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.graph import build
from distill.models.autoencoder import Autoencoder
from distill.models.batches import in_batches
from distill.models.diffusion import inverse_of, load_autoencoder, load_scheduler, new_scheduler
from distill.models.kept import kept
from distill.models.sampler import denoise, invert, of_class, of_text
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.worker import make_part

WNIDS = ("n01440764", "n02102040", "n03126707")
EPS32 = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="session")
def tree(once, photos):
    return once("photos", lambda folder: photos(folder, WNIDS, 5))


@pytest.fixture
def table(tree, stable_diffusion):
    """A recipe of photographs, the tiny Stable Diffusion's codec and prior, and little of everything."""
    recipe = read("digits").model_dump()
    recipe |= {"seeds": [0], "methods": ["ddoq"]}
    recipe["data"] = {"source": "folder", "path": str(tree), "size": 32}
    recipe["codec"] = {"source": "pretrained", "kind": "AutoencoderKL", "path": str(stable_diffusion), "subfolder": "vae"}
    recipe["prior"] = {"source": "pretrained", "kind": "UNet2DConditionModel", "path": str(stable_diffusion)}
    recipe["select"] |= {"k": [2], "steps": 5, "solver": "lloyd"}
    recipe["decode"] = {"strength": 0.5, "steps": 4, "guidance": 2.0}
    return recipe


@pytest.fixture
def dit_table(table, dit):
    table["prior"] = {"source": "pretrained", "kind": "DiTTransformer2DModel", "path": str(dit), "classes": "data"}
    return table


def made(table, folder, last="decode", *changes):
    """The store and the stages by name, all parts made as far as ``last``."""
    store, stages = Store(folder), build(read(table, changes))
    names = [stage.name for stage in stages]
    for stage in stages[: len(names) - names[::-1].index(last)]:
        if stage.name in ("survey", "codec", "encode", "prior", "invert", "select", "decode"):
            for part in stage.parts():
                if not store.holds(stage, part):
                    make_part(store, stage, part, lambda fraction: None)
    return store, {stage.name: stage for stage in stages}


def images_of(store, stages, key="images"):
    stage = stages["decode"]
    return torch.cat([store.tensors(stage, part)[f"k2.seed0.{key}"] for part in stage.parts()])


def test_encoding_is_the_posterior_mean_times_the_factor(table, stable_diffusion, tmp_path):
    from diffusers import AutoencoderKL

    store, stages = made(table, tmp_path, "encode")
    encode, data = stages["encode"], stages["encode"]._data
    model = AutoencoderKL.from_pretrained(stable_diffusion / "vae", low_cpu_mem_usage=False).eval()
    for index, part in enumerate(data.part_names):
        pixels = torch.from_numpy(data.train.read(data.train.of_class(index))).float() / 127.5 - 1
        with torch.no_grad():
            expected = model.encode(pixels).latent_dist.mean * 0.18215
        assert torch.equal(store.tensors(encode, f"{part}-0")["latents"], expected)


def test_samples_of_the_posterior_belong_to_their_images(table, tmp_path):
    """Batches of 2 or of 5: the noise of an image is its own, so latents differ by round-off alone, and from the mean by much."""
    found = {}
    for latents, batch in (("sample", 2), ("sample", 5), ("mean", 5)):
        table["codec"] |= {"latents": latents, "batch": batch}
        store, stages = made(table, tmp_path / f"{latents}{batch}", "encode")
        found[latents, batch] = stages["encode"].latents(store, 0)
    size = float(found["sample", 5].abs().max())
    # A network of tens of layers, each rounding sums of at most a few hundred terms.
    assert torch.allclose(found["sample", 2], found["sample", 5], rtol=0, atol=1000 * EPS32 * size)
    assert not torch.allclose(found["sample", 5], found["mean", 5], rtol=0, atol=1e-3 * size)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_close_and_is_stored_in_half_the_bytes(table, tmp_path, dtype):
    whole, stages = made(table, tmp_path / "whole", "encode")
    expected = stages["encode"].latents(whole, 0)
    table["codec"] |= {"dtype": dtype, "stored": "float16"}
    half, other = made(table, tmp_path / "half", "encode")
    latents = other["encode"].latents(half, 0)
    assert latents.dtype == torch.float16
    assert other["encode"].digest != stages["encode"].digest
    # 8 bits of mantissa (bfloat16) through some twenty layers.
    assert (latents.float() - expected).abs().max() < 20 * 2.0**-7 * expected.abs().max()


def test_a_class_is_encoded_in_shards_and_each_shard_has_its_readable_images(table, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.stages.encode.SHARD", 2)
    store, stages = made(table, tmp_path / "many", "encode")
    assert stages["encode"].shards(0) == [f"0000-n01440764-{i}" for i in range(3)]
    many = stages["encode"].latents(store, 0)
    monkeypatch.setattr("distill.stages.encode.SHARD", 2000)
    store, stages = made(table, tmp_path / "one", "encode")
    one = stages["encode"].latents(store, 0)
    assert many.shape == one.shape == (5, 4, 16, 16)
    assert torch.allclose(many, one, rtol=0, atol=1000 * EPS32 * float(one.abs().max()))


def test_codec_and_students_may_see_images_of_different_sizes(table, tmp_path):
    """As Stable Diffusion's 512 pixels and a student's 224: latents are of the one, images of the other."""
    table["data"]["size"], table["codec"]["size"] = 16, 32
    store, stages = made(table, tmp_path)
    assert stages["encode"].latents(store, 0).shape[1:] == (4, 16, 16)
    assert images_of(store, stages).shape == (6, 3, 16, 16)
    assert images_of(store, stages, "latents").shape == (6, 4 * 16 * 16)


def test_a_tiny_autoencoder_needs_no_posterior(tmp_path):
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)
    ).save_pretrained(tmp_path)
    codec = Autoencoder(load_autoencoder("AutoencoderTiny", tmp_path))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    latents = codec.encode(images)
    assert latents.shape == (3, 4, 16, 16)
    decoded = codec.decode(latents)
    assert (decoded.shape, decoded.dtype) == (images.shape, torch.uint8)


def test_a_sample_is_the_mean_and_the_deviation_times_the_noise_of_its_seed(stable_diffusion):
    model = load_autoencoder("AutoencoderKL", stable_diffusion, subfolder="vae")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        posterior = model.encode(images.float() / 127.5 - 1).latent_dist
    noise = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    expected = (posterior.mean + posterior.std * noise) * 0.18215
    found = Autoencoder(model, sample=True).encode(images, [5, 6])
    assert torch.allclose(found, expected, rtol=0, atol=1000 * EPS32 * float(expected.abs().max()))


def test_what_can_not_be_read_is_not_encoded(table, photos, tmp_path):
    place = photos(tmp_path / "data", WNIDS, 5)
    (place / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG").write_bytes(b"")
    table["data"] |= {"path": str(place), "max_unreadable": 0.5}
    store, stages = made(table, tmp_path / "run", "encode")
    assert [len(stages["encode"].latents(store, index)) for index in range(3)] == [4, 5, 5]


def test_latents_are_shifted_then_scaled_and_decoding_undoes_both(stable_diffusion):
    """z = (E(x) − shift) · scale with a shift as our own codecs have; every factor a power of two, so that nothing rounds."""
    model = load_autoencoder("AutoencoderKL", stable_diffusion, subfolder="vae")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    plain = Autoencoder(model).encode(images)
    model.register_to_config(scaling_factor=0.5, shift_factor=2.0)
    codec = Autoencoder(model)
    assert torch.equal(codec.encode(images), (plain - 2.0) * 0.5)
    with torch.no_grad():
        pixels = model.decode((plain - 2.0) * 0.5 / 0.5 + 2.0).sample
    assert torch.equal(codec.decode((plain - 2.0) * 0.5), ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))


def test_models_are_made_once_and_the_one_not_asked_for_longest_goes(monkeypatch):
    monkeypatch.setattr("distill.models.kept._kept", OrderedDict())
    made = []
    for key in (1, 2, 3, 4, 1, 5, 1, 3, 2):
        assert kept(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 4, 5, 2]


@pytest.mark.parametrize("fits", [1, 3, 8, 100])
def test_batches_halve_until_they_fit_and_nothing_is_lost(fits):
    sizes = []

    def work(some):
        if some.stop - some.start > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(some.stop - some.start)
        return list(range(some.start, some.stop))

    assert [i for batch in in_batches(work, 37, 16) for i in batch] == list(range(37))
    assert max(sizes) <= fits


def test_one_that_does_not_fit_alone_is_reported():
    def work(some):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(work, 3, 4))
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(lambda some: (_ for _ in ()).throw(RuntimeError("shapes")), 3, 4))


# Decoding


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
    from distill.stages.select import flat

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


# Selection


def test_medoids_are_images_with_the_masses_of_their_cells(table, tmp_path):
    import quantization as qz
    from distill.stages.select import flat

    store, stages = made(table, tmp_path, "select", "select.medoids=true")
    for index, part in enumerate(stages["select"].parts()):
        latents = flat(stages["encode"].latents(store, index))
        tensors = store.tensors(stages["select"], part)
        points, weights = tensors["k2.seed0.points"].numpy(), tensors["k2.seed0.weights"].numpy()
        assert all((latents == point).all(1).any() for point in points)
        np.testing.assert_array_equal(weights, qz.DiscreteMeasure(latents).project(points).weights)


def test_a_class_of_fewer_images_than_codes_gets_as_many_as_it_has_and_the_manifest_says_so(table, tmp_path):
    store, stages = made(table, tmp_path, "select", "select.k=[2, 9]", "select.shares={n02102040=0.5}")
    select = stages["select"]
    sizes = [[len(store.tensors(select, p)[f"k{k}.seed0.points"]) for k in (2, 9)] for p in select.parts()]
    assert sizes == [[2, 5], [1, 4], [2, 5]]
    # Half of 9 is 4.5, and the even neighbour 4 is what the second class has; the others have 5 of 9.
    assert select.summary(store) == {"capped": {"n01440764": 5, "n03126707": 5}}


def test_streaming_sees_shards_and_weighs_cells_exactly(table, tmp_path, monkeypatch):
    import quantization as qz
    from distill.stages.select import flat

    monkeypatch.setattr("distill.stages.encode.SHARD", 2)
    changes = ("select.solver=clvq", "select.streaming=true", "select.batch=2", "select.steps=40")
    store, stages = made(table, tmp_path, "select", *changes)
    part = stages["select"].parts()[0]
    tensors = store.tensors(stages["select"], part)
    points, weights = tensors["k2.seed0.points"].numpy(), tensors["k2.seed0.weights"].numpy()
    law = qz.DiscreteMeasure(flat(stages["encode"].latents(store, 0)))
    np.testing.assert_allclose(weights, law.project(points).weights, rtol=8 * np.finfo(float).eps)
    best = min(qz.quantize(law, 2, seed=seed).distortion for seed in range(8))
    worst = qz.distortion(law, law.points.mean(0, keepdims=True)).value
    assert qz.distortion(law, points).value < 0.5 * (best + worst)


# What does not fit


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("codec", {"kind": "AutoencoderTiny"}, "holds a AutoencoderKL"),
        ("codec", {"path": "/nowhere"}, "is no folder"),
        ("codec", {"path": "some/where"}, r"codec\.revision gives its commit"),
        ("codec", {"subfolder": "unet/x"}, "no readable"),
        ("prior", {"kind": "DiTTransformer2DModel"}, "no readable transformer/config.json"),
        ("prior", {"prompt": "a {thing}"}, "prior.prompt"),
        ("data", {"path": "/nowhere"}, "can't be listed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(table, section, changes, words):
    table[section] |= changes
    with pytest.raises(RecipeError, match=words):
        build(read(table))


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("unet/diffusion_pytorch_model.safetensors", r"no \.safetensors in unet"),
        ("text_encoder/model.safetensors", r"no \.safetensors in text_encoder"),
        ("tokenizer", "lacks the folder tokenizer"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_before_anything_is_made(table, stable_diffusion, tmp_path, lost, words):
    """As weights that come pickled alone: hours later they would be."""
    place = tmp_path / "sd"
    shutil.copytree(stable_diffusion, place)
    (place / lost).rename(tmp_path / "pytorch_model.bin")
    table["prior"]["path"] = str(place)
    with pytest.raises(RecipeError, match=words):
        build(read(table))


def test_channels_and_sides_that_differ_are_refused(dit_table, dit, tmp_path):
    dit_table["data"]["size"] = 64
    with pytest.raises(RecipeError, match="latents of 16 a side, the codec makes 32"):
        build(read(dit_table))
    dit_table["data"]["size"] = 32
    shutil.copytree(dit, tmp_path / "wide")
    config = tmp_path / "wide" / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 4', '"in_channels": 16'))
    dit_table["prior"]["path"] = str(tmp_path / "wide")
    with pytest.raises(RecipeError, match="takes 16 channels, the codec's latents have 4"):
        build(read(dit_table))


def test_a_prior_of_other_classes_is_refused(dit_table):
    dit_table["prior"]["classes"] = "imagenet-1k"
    with pytest.raises(RecipeError, match="knows 3"):
        build(read(dit_table))


def test_weights_that_changed_since_they_were_recorded_are_not_mixed_in(table, stable_diffusion, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.models.kept._kept", {})
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    table["codec"]["path"] = str(tmp_path / "sd")
    store, stages = made(table, tmp_path / "run", "codec")
    record = store.values(stages["codec"], "model")["files"]
    assert set(record) == {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}
    assert len(load_file(tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors")) > 10
    with (tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="files changed"):
        stages["codec"].load(store)
    assert build(read(table))[1].digest != stages["codec"].digest


def test_a_model_elsewhere_is_the_same_model(table, stable_diffusion, tmp_path):
    before = {stage.title: stage.digest for stage in build(read(table))}
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    table["codec"]["path"] = table["prior"]["path"] = str(tmp_path / "sd")
    after = {stage.title: stage.digest for stage in build(read(table))}
    assert {title for title in before if before[title] != after[title]} == {"report"}


def test_text_is_a_condition(stable_diffusion):
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet", low_cpu_mem_usage=False).eval()
    latents, states = torch.randn(2, 4, 16, 16), torch.randn(1, 77, 16)
    with torch.no_grad():
        expected = model(latents, torch.tensor(10), encoder_hidden_states=states.expand(2, -1, -1)).sample
        assert torch.equal(of_text(model, states)(latents, torch.tensor(10)), expected)
