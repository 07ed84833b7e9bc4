"""The recipe of photographs around the tiny DiT that the tests save with random weights."""

import pytest


@pytest.fixture
def dit_table(table, dit):
    table["prior"] = {"source": "pretrained", "kind": "DiTTransformer2DModel", "path": str(dit), "classes": "data"}
    return table
