"""Latents: the mean or a sample of the posterior, whatever the batch, the shard or the precision."""

import pytest
import torch

from distill.models.autoencoder import Autoencoder
from distill.models.diffusion import load_autoencoder
from distill.models.numerics import as_workers
from tests.distill.pretrained.parts import EPS32, WNIDS, images_of, made


def test_encoding_is_the_posterior_mean_times_the_factor(table, stable_diffusion, tmp_path):
    from diffusers import AutoencoderKL

    store, stages = made(table, tmp_path, "encode")
    encode, data = stages["encode"], stages["encode"].data
    model = AutoencoderKL.from_pretrained(stable_diffusion / "vae", low_cpu_mem_usage=False).eval()
    for index, part in enumerate(data.part_names):
        pixels = torch.from_numpy(data.train.read(data.train.of_class(index))).float() / 127.5 - 1
        with torch.no_grad(), as_workers(on_gpu=False):
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


def test_a_sample_is_the_mean_and_the_deviation_times_the_noise_of_its_seed(stable_diffusion):
    model = load_autoencoder("AutoencoderKL", stable_diffusion, subfolder="vae")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        posterior = model.encode(images.float() / 127.5 - 1).latent_dist
    noise = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    expected = (posterior.mean + posterior.std * noise) * 0.18215
    found = Autoencoder(model, sample=True).encode(images, [5, 6])
    assert torch.allclose(found, expected, rtol=0, atol=1000 * EPS32 * float(expected.abs().max()))


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
    monkeypatch.setattr("distill.stages.space.SHARD", 2)
    store, stages = made(table, tmp_path / "many", "encode")
    assert stages["encode"].shards(0) == [f"0000-n01440764-{i}" for i in range(3)]
    many = stages["encode"].latents(store, 0)
    monkeypatch.setattr("distill.stages.space.SHARD", 2000)
    store, stages = made(table, tmp_path / "one", "encode")
    one = stages["encode"].latents(store, 0)
    assert many.shape == one.shape == (5, 4, 16, 16)
    assert torch.allclose(many, one, rtol=0, atol=1000 * EPS32 * float(one.abs().max()))


def test_what_can_not_be_read_is_not_encoded(table, photos, tmp_path):
    place = photos(tmp_path / "data", WNIDS, 5)
    (place / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG").write_bytes(b"")
    table["data"] |= {"path": str(place), "max_unreadable": 0.5}
    store, stages = made(table, tmp_path / "run", "encode")
    assert [len(stages["encode"].latents(store, index)) for index in range(3)] == [4, 5, 5]


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


def test_entries_of_a_configuration_that_are_unknown_are_no_warning(tmp_path, caplog, monkeypatch):
    """Published tiny autoencoders have them; the log of diffusers does not propagate, which is where caplog listens."""
    import json
    import logging

    from diffusers import AutoencoderTiny

    from distill.models.diffusion import untrained

    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    tiny = AutoencoderTiny(latent_channels=4, encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8))
    tiny.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"block_out_channels": [8, 8, 8, 8]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    untrained("AutoencoderTiny", config)
    load_autoencoder("AutoencoderTiny", tmp_path)
    assert not caplog.records
    AutoencoderTiny.from_config(config)
    assert "block_out_channels" in caplog.text
