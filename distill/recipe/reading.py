"""Recipes read: from an embedded name, a TOML file or a mapping, with changes, and what is wrong with them in sentences."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from distill.recipe.recipe import Recipe
from distill.recipe.section import UNKNOWN_SOURCE, RecipeError, Section, is_tag

RENAMED: dict[str, str | dict[str, str]] = {  # keys and values of earlier recipes
    "select.steps": "select.max_iter",
    "select.restarts": "select.n_init",
    "given": "external",
    "methods": {"closest": "nearest", "given": "external"},
    "train.labels": {"image": "fixed"},
}


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
        below = [each for each in alternatives(field.annotation) if is_section(each)]
        if below:
            yield from dict.fromkeys(key for each in below for key in keys(each, f"{prefix}{name}."))
        else:
            yield prefix + name


def is_section(kind: Any) -> bool:
    """Whether a type is one of sections."""
    return isinstance(kind, type) and issubclass(kind, Section)


def alternatives(annotation: Any) -> list[Any]:
    """The types that an option may have, freed of what is annotated on them."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for part in get_args(annotation) for each in alternatives(part)]
    return [annotation]


def _text(source: str | Path) -> str:
    path = Path(source).expanduser()
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
    table[key] = [_value(each) for each in text.split(",")] if _is_list(path.strip(), text) else _value(text)


def _value(text: str) -> Any:
    """What is written as TOML writes it; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _is_list(path: str, text: str) -> bool:
    """Whether a change gives a list without its brackets: several entries, or one of what can be nothing else."""
    if not isinstance(value := _value(text), str) or text.strip() != value:
        return False  # it is TOML
    places: list[Any] = [Recipe]
    for name in path.split("."):
        fields = [place.model_fields[name] for place in places if is_section(place) and name in place.model_fields]
        places = [each for field in fields for each in alternatives(field.annotation) if each is not type(None)]
    lists = [place for place in places if get_origin(place) is list]
    return bool(lists) and ("," in text or len(lists) == len(places))


def _sentences(error: ValidationError) -> Iterator[str]:
    seen: set[str] = set()
    for problem in error.errors():
        # Where an option takes several types the path holds the tag of the one that was tried; an unknown key may look like one.
        *above, last = problem["loc"] or ("",)
        shown = [part for part in above if not is_tag(part)]
        path = ".".join(map(str, [*shown, *([last] if problem["type"] == "extra_forbidden" or not is_tag(last) else [])]))
        if path in seen:
            continue
        seen.add(path)
        if problem["type"] == "extra_forbidden":
            yield _unknown(path)
        elif problem["type"] == "missing":
            yield f"the recipe lacks {path}" + (", the folder of the images: --set data.path=DIR" if path == "data.path" else "")
        elif problem["type"] == UNKNOWN_SOURCE:
            yield f"{path}.source: {problem['msg']}; received {problem['input']['source']!r}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if new := _renamed(path, problem["input"]):
                yield f"{path}: {new}"
                continue
            message = message[0].lower() + message[1:] if not message.startswith("must") else message
            if not path:
                yield message
                continue
            of_section = isinstance(problem["input"], dict) and problem["type"] == "value_error"  # its sentence names the options
            yield f"{path}: {message}" + (
                "" if of_section else f"; received {problem['input']!r} ({type(problem['input']).__name__})"
            )


def _renamed(path: str, value: Any) -> str | None:
    """What a value of an option is called now, in a sentence, if an earlier name is among it."""
    names = RENAMED.get(path)
    if not isinstance(names, dict):
        return None
    found = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each in names]
    return ", ".join(f"{each!r} is called {names[each]!r} now" for each in found) or None


def _unknown(path: str) -> str:
    if path in RENAMED:
        return f"{path} is called {RENAMED[path]} now"
    known = list(keys())
    if path in known:
        section = path.rpartition(".")[0]
        kind = "protocol" if section == "train" else "source"
        return f"{path} does not go with the recipe's {section}.{kind}; leave it out, or change {section}.{kind}"
    depth = path.count(".") + 1
    beginnings = list(dict.fromkeys(".".join(key.split(".")[:depth]) for key in known))
    nearest = difflib.get_close_matches(path, beginnings, n=1, cutoff=0.6) or difflib.get_close_matches(path, known, cutoff=0.0)
    return f"unknown key {path}; did you mean {nearest[0]}?"
