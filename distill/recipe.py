"""A recipe: every option of a run, in TOML, checked strictly before any data or model is touched."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from distill.method import METHODS


class RecipeError(ValueError):
    """A recipe that cannot be run, in sentences that name the key, what was received and what is wanted."""


class Section(BaseModel):
    """Options are typed strictly and no others are taken."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Steps = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("must not repeat an entry")
    return values


def _known_methods(values: list[str]) -> list[str]:
    for value in values:
        if value not in METHODS:
            raise ValueError(f"names no method {value!r}; the methods are {', '.join(METHODS)}")
    return _distinct(values)


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


class Training(Section):
    """A training run of ``steps`` batches under AdamW and one cycle of the learning rate."""

    steps: Steps
    batch: Steps
    learning_rate: Rate


class Codec(Training):
    """A KL autoencoder, trained here: latents of ``latent_channels`` × size/2^(levels − 1) a side."""

    source: Literal["train"]
    latent_channels: Steps
    channels: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=1)]
    kl_weight: Annotated[float, Field(ge=0)]


class Prior(Training):
    """A class-conditional latent diffusion transformer, trained here to predict v under a cosine schedule."""

    source: Literal["train"]
    layers: Steps
    heads: Steps
    head_width: Annotated[int, Field(ge=8, multiple_of=4)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]


class Teacher(Training):
    """A ConvNet trained here on all of the training data; its logits label every method's images."""

    source: Literal["train"]
    width: Annotated[int, Field(ge=4)]
    shift: Annotated[int, Field(ge=0)]


class Select(Section):
    """How a class is quantized: K codes for every K in ``k``, an int or a list.

    steps: mini-batches (CLVQ) or full passes (Lloyd) at most.
    """

    k: Annotated[
        Annotated[Steps, Tag("one-")] | Annotated[list[Steps], Field(min_length=1), AfterValidator(_distinct), Tag("-many")],
        Discriminator(lambda value: "-many" if isinstance(value, list) else "one-"),
    ]
    solver: Literal["clvq", "lloyd"]
    batch: Steps
    steps: Steps
    restarts: Steps = 1

    @property
    def budgets(self) -> list[int]:
        """The Ks, as a list."""
        return [self.k] if isinstance(self.k, int) else list(self.k)


class Decode(Section):
    """Codes to images. strength: the share of the sampler's time to which codes are noised. steps: of the whole time."""

    strength: Annotated[float, Field(ge=0, le=1)]
    steps: Steps
    guidance: Annotated[float, Field(ge=0)]


class Train(Training):
    """The students' protocol, the same for every method. shift: pixels of random translation. temperature: of the soft labels."""

    width: Annotated[int, Field(ge=4)]
    shift: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    evaluations: Steps


class Recipe(Section):
    """All of a run. seeds: each varies the random draw, the quantization, the decoding noise and the student."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_distinct)]
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(_known_methods)]
    data: Data
    codec: Codec
    prior: Prior
    teacher: Teacher
    select: Select
    decode: Decode
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


def embedded() -> list[str]:
    """The names of the recipes that ship with the package."""
    folder = resources.files("distill") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read(source: str | Path | Mapping[str, Any] | Recipe, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of an embedded name, a TOML file, a mapping or a recipe, with ``key.path=value`` changes applied, checked."""
    if isinstance(source, Recipe):
        source = source.model_dump()
    if isinstance(source, Mapping):
        table: dict[str, Any] = _copied(source)
    else:
        try:
            table = tomllib.loads(_text(source))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{source} is not valid TOML: {error}") from None
    for change in changes:
        _apply(table, change)
    return check(table)


def check(table: Mapping[str, Any]) -> Recipe:
    """``table`` as a Recipe; :class:`RecipeError` lists all that is wrong with it."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError("\n".join(_sentences(error))) from None


def keys(section: type[Section] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every valid key, by its full path."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from keys(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _text(source: str | Path) -> str:
    path = Path(source)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"there is no recipe file {path}; the embedded recipes are {', '.join(embedded())}")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is not UTF-8 text: {error}") from None
    if str(source) not in embedded():
        raise RecipeError(
            f"no recipe is called {str(source)!r}; the embedded ones are {', '.join(embedded())}. A file's name ends in .toml"
        )
    return (resources.files("distill") / "recipes" / f"{source}.toml").read_text(encoding="utf-8")


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _apply(table: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*", path.strip()):
        raise RecipeError(f"a change is written key.path=value, such as select.k=50; received {change!r}")
    *sections, key = path.strip().split(".")
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            known = path.strip() in keys()
            raise RecipeError(
                f"cannot set {path.strip()}: {section} is {inner!r}, no section" if known else _unknown(path.strip())
            )
        table = inner
    try:
        table[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = text.strip()


def _sentences(error: ValidationError) -> Iterator[str]:
    seen: set[str] = set()
    for problem in error.errors():
        # Where an option takes several types the path holds the tag of the one that was tried, which is no identifier; but so may
        # an unknown key be.
        tagged = problem["type"] != "extra_forbidden"
        path = ".".join(str(part) for part in problem["loc"] if not (tagged and part in ("one-", "-many")))
        if path in seen:
            continue
        seen.add(path)
        if problem["type"] == "extra_forbidden":
            yield _unknown(path)
        elif problem["type"] == "missing":
            yield f"the recipe lacks {path}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:] if not message.startswith("must") else message
            if not path:
                yield message
                continue
            yield f"{path}: {message}; received {problem['input']!r} ({type(problem['input']).__name__})"


def _unknown(path: str) -> str:
    nearest = difflib.get_close_matches(path, list(keys()), n=1, cutoff=0.0)
    return f"unknown key {path}; did you mean {nearest[0]}?"
