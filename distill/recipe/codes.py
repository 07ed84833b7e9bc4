"""The sections from latents to codes and back to images: select, prior and decode."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field

from distill.recipe.section import Section, Steps, Training, distinct, tag


class Select(Section):
    """How a class is quantized: K codes for every K in ``k``, an int or a list.

    steps: mini-batches (CLVQ) or full passes (Lloyd) at most.
    """

    k: Annotated[
        Annotated[Steps, tag("one")] | Annotated[list[Steps], Field(min_length=1), AfterValidator(distinct), tag("many")],
        Discriminator(lambda value: "<many>" if isinstance(value, list) else "<one>"),
    ]
    solver: Literal["clvq", "lloyd"]
    batch: Steps
    steps: Steps
    restarts: Steps = 1

    @property
    def budgets(self) -> list[int]:
        """The Ks, as a list."""
        return [self.k] if isinstance(self.k, int) else list(self.k)


class Prior(Training):
    """A class-conditional latent diffusion transformer, trained here to predict v under a cosine schedule."""

    source: Literal["train"]
    layers: Steps
    heads: Steps
    head_width: Annotated[int, Field(ge=8, multiple_of=4)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]


class Decode(Section):
    """Codes to images. strength: the share of the sampler's time to which codes are noised. steps: of the whole time."""

    strength: Annotated[float, Field(ge=0, le=1)]
    steps: Steps
    guidance: Annotated[float, Field(ge=0)]
