"""The sections from images to latents: data and codec."""

from typing import Annotated, Literal

from pydantic import Field

from distill.recipe.section import Section, Steps, Training


class Data(Section):
    """Where images come from. size: pixels a side. test_fraction: of each class, kept for evaluation alone.

    validation_fraction: to choose options by, hold this share of the training images out and evaluate there; the test images are
    then not looked at.
    """

    source: Literal["digits"]
    size: Annotated[int, Field(ge=8, multiple_of=8)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = Field(0, ge=0, lt=2**32)


class Codec(Training):
    """A KL autoencoder, trained here: latents of ``latent_channels`` × size/2^(levels − 1) a side."""

    source: Literal["train"]
    latent_channels: Steps
    channels: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=1)]
    kl_weight: Annotated[float, Field(ge=0)]
