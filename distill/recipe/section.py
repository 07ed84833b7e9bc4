"""What every section of a recipe is made of: strict types, bounds that recur, and options that depend on a ``source``."""

import re
from os.path import expanduser
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from distill.methods.entry_points import Group, registered


class RecipeError(ValueError):
    """A recipe that cannot be run, in sentences that name the key, what was received and what is wanted."""


class Section(BaseModel):
    """Options are typed strictly and no others are taken."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Steps = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(expanduser)]  # ~ is the user's folder
UNKNOWN_SOURCE = "unknown_source"


class Registered(BaseModel):
    """What a package registers under this ``source``; it checks its other options itself."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)

    source: str


class Training(Section):
    """A training run of ``steps`` batches of ``batch`` under AdamW and one cycle of rates up to ``learning_rate``."""

    steps: Steps
    batch: Steps
    learning_rate: Rate


class PretrainedNetwork(Section):
    """A classifier of timm's or torchvision's.

    model: its name. weights: ``pretrained``, or a file of yours (safetensors, or torch's own format, from which tensors alone are
    read). size: pixels a side it is fed, its own by default.
    """

    source: Literal["timm", "torchvision"]
    model: str
    weights: LocalPath = "pretrained"
    size: Annotated[int, Field(ge=8)] | None = None


Dtype = Literal["float16", "bfloat16", "float32"]  # from the least range to the most digits


class Precision(Section):
    """dtype: of the computation. fallback: of what is not finite in it, image by image; where it is not set that ends the run."""

    dtype: Dtype = "float32"
    fallback: Literal["bfloat16", "float32"] | None = None

    @model_validator(mode="after")
    def _wider(self) -> "Precision":
        if self.fallback is not None and get_args(Dtype).index(self.fallback) <= get_args(Dtype).index(self.dtype):
            raise ValueError(f"fallback = {self.fallback!r} must be wider than dtype = {self.dtype!r}; leave it out")
        return self


def distinct(values: list[Any]) -> list[Any]:
    """The values themselves, if none comes twice."""
    if len(set(values)) != len(values):
        raise ValueError("must not repeat an entry")
    return values


def tag(name: str) -> Tag:
    """Marks one of several types that an option takes, in a way that no key is written."""
    return Tag(f"<{name}>")


def is_tag(part: int | str) -> bool:
    """Whether a step of a path is such a mark."""
    return re.fullmatch(r"<\w+>", str(part)) is not None


def by_source(*sources: str, group: Group | None = None) -> Discriminator:
    """Tells the types of a section apart by its ``source``, the first one being meant where it is missing.

    group: of packages' entry points, whose names are sources too; their section is :class:`Registered`.

    Written ``Annotated[Annotated[Trained, tag("train")] | Annotated[Pretrained, tag("pretrained")], by_source("train", ...)]``.
    """

    def chosen(value: Any) -> str:
        source = value.get("source", sources[0]) if isinstance(value, dict) else getattr(value, "source", sources[0])
        return "<registered>" if group and source not in sources and source in registered(group) else f"<{source}>"

    known = f"must be one of {', '.join(sources)}{f', or what a package registers as distill.{group}' if group else ''}"
    return Discriminator(chosen, custom_error_type=UNKNOWN_SOURCE, custom_error_message=known)
