"""The whole of a recipe, and what its sections must agree on."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from distill.method import METHODS
from distill.recipe.codes import Decode, Prior, Select
from distill.recipe.images import Codec, Data
from distill.recipe.section import Section, distinct
from distill.recipe.students import Label, Teacher, Train


def _known_methods(values: list[Any]) -> list[Any]:
    for value in values:
        if value not in METHODS:
            raise ValueError(f"names no method {value!r}; the methods are {', '.join(METHODS)}")
    return distinct(values)


class Recipe(Section):
    """All of a run. seeds: each varies the random draw, the quantization, the decoding noise and the student."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(distinct)]
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(_known_methods)]
    data: Data
    codec: Codec
    prior: Prior
    teacher: Teacher
    select: Select
    decode: Decode
    label: Label = Label()
    train: Train

    @model_validator(mode="after")
    def _latents_fall_into_patches(self) -> "Recipe":
        side, rest = divmod(self.data.size, 2 ** (len(self.codec.channels) - 1))
        if rest or side % 2:
            raise ValueError(
                f"codec.channels has {len(self.codec.channels)} levels, so latents of data.size/2^(levels - 1) = "
                f"{self.data.size / 2 ** (len(self.codec.channels) - 1):g} a side; the prior needs an even side: use fewer"
            )
        return self
