"""The sections of those who learn: teacher and students."""

from typing import Annotated, Literal

from pydantic import Field

from distill.recipe.section import Steps, Training


class Teacher(Training):
    """A ConvNet trained here on all of the training data; its logits label every method's images."""

    source: Literal["train"]
    width: Annotated[int, Field(ge=4)]
    shift: Annotated[int, Field(ge=0)]


class Train(Training):
    """The students' protocol, the same for every method. shift: pixels of random translation. temperature: of the soft labels."""

    width: Annotated[int, Field(ge=4)]
    shift: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    evaluations: Steps
