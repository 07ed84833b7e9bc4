"""What a run computes on."""

from typing import Literal

from distill.recipe.section import Section


class Compute(Section):
    """device: of every stage that runs a network. It belongs to the digests: another kind of device gives other results."""

    device: Literal["cpu", "cuda"] = "cpu"
