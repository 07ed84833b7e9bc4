"""What overflows in float16 ends the run with the option's name, or is computed again where the recipe asks for that."""

import shutil

import numpy as np
import pytest
import torch

from distill.models.finite import NotFinite, finite
from distill.models.numerics import as_workers
from distill.recipe import read
from tests.distill.pretrained.parts import images_of, made

LARGEST = float(torch.finfo(torch.float16).max)


def loud(model, layer):
    """The model with the weights of a layer as large as float16 numbers are: their products are beyond them."""
    with torch.no_grad():
        layer.weight.mul_(0.9 * LARGEST / layer.weight.abs().max())
    return model


@pytest.fixture
def loud_prior(dit_table, tmp_path):
    """A DiT whose predictions are beyond float16, in float16."""
    from diffusers import DiTTransformer2DModel

    place = shutil.copytree(dit_table["prior"]["path"], tmp_path / "loud-prior")
    model = DiTTransformer2DModel.from_pretrained(place / "transformer", low_cpu_mem_usage=False)
    loud(model, model.proj_out_2).save_pretrained(place / "transformer")
    dit_table["prior"] |= {"path": str(place), "dtype": "float16"}
    return dit_table


@pytest.fixture
def loud_codec(table, tmp_path):
    """An autoencoder whose decoder is beyond float16, in float16; there is no prior."""
    from diffusers import AutoencoderKL

    place = shutil.copytree(table["codec"]["path"], tmp_path / "loud-codec")
    model = AutoencoderKL.from_pretrained(place / "vae", low_cpu_mem_usage=False)
    loud(model, model.decoder.conv_out).save_pretrained(place / "vae")
    table["codec"] |= {"path": str(place), "dtype": "float16"}
    return table | {"prior": {"source": "none"}}


def test_a_prior_that_overflows_makes_no_black_images(loud_prior, tmp_path):
    with pytest.raises(ValueError, match=r"prior.*not finite.*prior\.dtype = \"float16\".*prior\.fallback"):
        made(loud_prior, tmp_path / "run")


def test_a_codec_that_overflows_makes_no_black_images(loud_codec, tmp_path):
    with pytest.raises(ValueError, match=r"codec.*not finite.*codec\.dtype = \"float16\".*codec\.fallback"):
        made(loud_codec, tmp_path / "run")


@pytest.mark.parametrize("wider", ["bfloat16", "float32"])
def test_what_overflows_in_the_prior_is_computed_again_where_that_is_asked(loud_prior, tmp_path, wider):
    store, stages = made(loud_prior, tmp_path / "mixed", "decode", f"prior.fallback={wider}")
    other, theirs = made(loud_prior, tmp_path / "wide", "decode", f"prior.dtype={wider}")
    assert stages["decode"].digest != theirs["decode"].digest
    np.testing.assert_array_equal(images_of(store, stages), images_of(other, theirs))


def test_what_overflows_in_the_codec_is_computed_again_where_that_is_asked(loud_codec, tmp_path):
    store, stages = made(loud_codec, tmp_path / "mixed", "decode", "codec.fallback=float32")
    images = images_of(store, stages)
    codec, part = stages["codec"].load(store), stages["decode"].parts()[0]
    codes = store.tensors(stages["select"], part)["k2.seed0.points"].float().reshape(2, 4, 16, 16)
    wide = stages["codec"].load(store)._wider
    with torch.no_grad(), as_workers(on_gpu=False):
        pixels = wide.decode(codes / codec._scale + codec._shift).sample
    assert torch.equal(images[:2], ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    assert images.float().std() > 0


def test_where_nothing_overflows_a_fallback_changes_nothing(dit_table, tmp_path):
    store, stages = made(dit_table, tmp_path / "plain", "decode", "prior.dtype=float16")
    other, theirs = made(dit_table, tmp_path / "safe", "decode", "prior.dtype=float16", "prior.fallback=bfloat16")
    assert torch.equal(images_of(store, stages), images_of(other, theirs))


def test_rows_alone_are_computed_again():
    values = torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [3.0, 4.0], [0.0, torch.inf]])
    asked = []

    def again(rows):
        asked.append(rows.tolist())
        return torch.full((len(rows), 2), 7.0)

    assert finite(values, "numbers", "", again).tolist() == [[1, 2], [7, 7], [3, 4], [7, 7]]
    assert asked == [[1, 3]]
    assert not torch.isfinite(values[1]).all()  # what was given stays as it was
    with pytest.raises(NotFinite, match="numbers: 2 of 4 are not finite; mend it"):
        finite(values, "numbers", "mend it")
    with pytest.raises(NotFinite, match="2 of 4"):
        finite(values, "numbers", "", lambda rows: torch.full((len(rows), 2), torch.nan))


def test_inversion_is_checked_too(loud_prior, tmp_path):
    with pytest.raises(ValueError, match=r"prior\.dtype"):
        made(loud_prior, tmp_path / "run", "decode", "select.space=noise")


def test_a_fallback_that_is_no_wider_is_refused():
    with pytest.raises(ValueError, match=r"fallback.*wider than dtype"):
        read("imagenet1k-dit-ipc10", ["prior.fallback=bfloat16", "prior.dtype=float32"])
