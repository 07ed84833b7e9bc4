"""The recipes of ImageNet: what they aim at, and that nothing but paths stands between them and a run."""

import re
from importlib import resources

import pytest

from distill.images.names import subset, subsets
from distill.recipe import embedded, read

NAMES = [f"imagenet1k-{prior}-ipc{k}" for prior in ("sd15", "dit") for k in (10, 50, 100, 200)]
SUBSETS = {"imagenette-dit": "imagenette", "imagewoof-dit": "imagewoof", "imagenet100-dit": "imagenet-100"}


def text(name):
    return (resources.files("distill") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def test_all_are_there():
    assert {*NAMES, *SUBSETS} <= set(embedded())


@pytest.mark.parametrize("name", [*NAMES, *SUBSETS])
def test_the_header_says_what_is_aimed_at_and_what_was_measured(name):
    header = text(name).partition("\nname")[0]
    assert re.search(r"Published top-1.*: \S+", header)
    assert "Measured here: nothing yet." in header
    recipe = read(name)
    assert "random" in recipe.methods
    assert len(recipe.seeds) == 3
    assert recipe.compute.device == "cuda"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_the_budget_and_the_prior(name):
    recipe = read(name)
    assert recipe.select.budgets == [int(name.rpartition("ipc")[2])]
    assert recipe.prior.kind == ("UNet2DConditionModel" if "sd15" in name else "DiTTransformer2DModel")
    # Latents of 64 a side are Stable Diffusion's, of 32 that DiT's: an eighth of the image.
    assert recipe.codec.size == (512 if "sd15" in name else 256)


@pytest.mark.parametrize("name", SUBSETS)
def test_subsets_are_lists_that_ship(name):
    assert read(name).data.subset == SUBSETS[name] in subsets()
    assert len(subset(SUBSETS[name])) in (10, 100)


def test_recipes_of_one_prior_share_the_latents():
    """Budgets and subsets apart, recipes ask for the same images, codec and prior, so one folder serves all of a prior."""
    for prior in ("sd15", "dit"):
        sections = [read(name).model_dump() for name in NAMES if prior in name]
        assert all(s["data"] == sections[0]["data"] and s["codec"] == sections[0]["codec"] for s in sections)
        assert all(s["prior"] == sections[0]["prior"] and s["decode"] == sections[0]["decode"] for s in sections)
