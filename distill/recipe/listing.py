"""What a recipe may hold: sections and options with their meaning, as the types say it that check them."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from distill.recipe.reading import alternatives
from distill.recipe.recipe import Recipe
from distill.recipe.section import RecipeError, Section


@dataclass(frozen=True)
class Option:
    """An option: its name, what it takes, and its default as TOML has it or "not set"; None where it must be given."""

    name: str
    takes: str
    default: str | None


@dataclass(frozen=True)
class Listed:
    """A section, where it has a ``source`` under some of these: what its options mean, and these."""

    name: str
    sources: list[str]
    meaning: str
    options: list[Option]


def listing(section: str | None = None) -> list[Listed]:
    """All that a recipe may hold, or what one section may; the options outside of sections are those of ``recipe``."""
    found = list(_listed())
    chosen = [each for each in found if section in (None, each.name)]
    if not chosen:
        known = ", ".join(dict.fromkeys(each.name for each in found))
        raise RecipeError(f"a recipe has no section {section!r}; its sections are {known}")
    return chosen


def _listed() -> Iterator[Listed]:
    sections = {name: _sections(field.annotation) for name, field in Recipe.model_fields.items()}
    plain = [name for name, found in sections.items() if not found]
    yield Listed("recipe", [], _meaning(Recipe), _options(Recipe, plain))
    for name, found in sections.items():
        for each in found:
            yield Listed(name, _sources(each), _meaning(each), _options(each, list(each.model_fields)))


def _sections(annotation: Any) -> list[type[Section]]:
    found = [each for each in alternatives(annotation) if isinstance(each, type) and issubclass(each, Section)]
    return list(dict.fromkeys(found))


def _sources(section: type[Section]) -> list[str]:
    field = section.model_fields.get("source")
    return [] if field is None else [str(value) for value in get_args(field.annotation)]


def _meaning(section: type[Section]) -> str:
    """What the section says of itself, and then what it takes over from others."""
    own = [each for each in section.__mro__ if issubclass(each, Section) and each is not Section]
    return " ".join(" ".join(inspect.cleandoc(each.__dict__.get("__doc__") or "").split()) for each in own)


def _options(section: type[Section], names: list[str], above: str = "") -> list[Option]:
    """Those of a section and, by their paths in it, of the tables that it holds."""
    schema, found = _schema(section), list[Option]()
    for name in (name for name in names if name != "source"):
        field = section.model_fields[name]
        tables = _sections(field.annotation)
        for table in tables:
            found += _options(table, list(table.model_fields), f"{above}{name}.")
        if not tables:
            found.append(Option(above + name, _takes(schema[name]), _default(field)))
    return found


def _schema(section: type[Section]) -> dict[str, Any]:
    return section.model_json_schema()["properties"]


def _takes(schema: dict[str, Any]) -> str:
    """What an option takes, in a few words."""
    if "anyOf" in schema or "oneOf" in schema:
        parts = [_takes(each) for each in schema.get("anyOf") or schema["oneOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = str(schema.get("type", "value"))
    if kind == "array":
        return f"list of {_takes(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties", True)
        return "table of options" if values is True else f"table of {_takes(values)}"
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true | false"}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    if "multipleOf" in schema:
        limits.append(f"a multiple of {schema['multipleOf']:g}")
    return " ".join([words.get(kind, kind), ", ".join(limits)]).strip()


def _default(field: Any) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if value is None or value == {}:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
