"""Recipes around the tiny Stable Diffusion and DiT that the tests save with random weights."""

import pytest

from distill.recipe import read
from tests.distill.pretrained.parts import WNIDS


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
