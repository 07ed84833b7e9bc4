"""Docstrings of the public objects of the three packages: numpydoc sections, the signature's names, examples that run."""

import dataclasses
import doctest
import inspect
import re
from pathlib import Path

import pytest

import distill
import quantization as qz
import theory_checks
from quantization import plot
from quantization.solvers import base

_PENDING: set[str] = set()

OBJECTS = {name: getattr(qz, name) for name in [*qz.__all__, "OptimalQuantizer"] if name not in _PENDING}
OBJECTS |= {f"plot.{f.__name__}": f for f in (plot.barycenter, plot.paths, plot.trace, plot.voronoi)}
OBJECTS |= {f"theory_checks.{f.__name__}": f for f in (theory_checks.Claim, theory_checks.Evidence, theory_checks.claim)}
OBJECTS |= {f"distill.{name}": getattr(distill, name) for name in distill.__all__}
CLASSES = {name: thing for name, thing in OBJECTS.items() if inspect.isclass(thing)}
PROTOCOLS = [thing for thing in [*CLASSES.values(), *vars(base).values()] if getattr(thing, "_is_protocol", False)]
# Implementations of these methods are documented where the protocol is.
PROTOCOL_METHODS = {name for protocol in PROTOCOLS for name in vars(protocol) if not name.startswith("_")}
METHODS = {
    f"{name}.{key}": inspect.unwrap(getattr(cls, key))
    for name, cls in CLASSES.items()
    if cls.__module__.startswith("quantization.")
    for key, member in vars(cls).items()
    if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod | staticmethod))
    if cls in PROTOCOLS or key not in PROTOCOL_METHODS or "\n" in (member.__doc__ or "")
}

ORDER = ["Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "Notes", "References", "Examples"]
CITATIONS = re.findall(r"^@\w+\{([^,\s]+),", (Path(__file__).parents[1] / "docs" / "references.bib").read_text(), re.MULTILINE)


def parsed(thing):
    """The summary, and the sections by title, of an object's own docstring."""
    parts = re.split(r"^(\w[\w ]*)\n(-{3,})$\n", inspect.cleandoc(thing.__doc__ or ""), flags=re.MULTILINE)
    for title, dashes in zip(parts[1::3], parts[2::3], strict=True):
        assert len(title) == len(dashes), title
    return parts[0], dict(zip(parts[1::3], parts[3::3], strict=True)), parts[1::3]


def names(section):
    """The names that a section of parameters describes; several may share a line."""
    entries = re.findall(r"^(\S.*?)(?: : .+)?$", section, re.MULTILINE)
    return [name for entry in entries for name in entry.split(", ")]


def signature(thing):
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


def check_sections(thing):
    summary, sections, titles = parsed(thing)
    assert re.match(r"\S.*[.:!?](\n\n|\n*$)", summary), f"one line of summary, and a blank one: {summary[:200]!r}"
    assert titles == [title for title in ORDER if title in titles], f"sections {titles}"
    cited = re.findall(r"[a-z]+\d{4}", sections.get("References", ""))
    assert set(cited) <= set(CITATIONS)
    assert cited or "References" not in sections
    return sections


@pytest.mark.parametrize("name", OBJECTS)
def test_public_objects_are_documented(name):
    thing = OBJECTS[name]
    sections = check_sections(thing)
    assert ">>> " in sections.get("Examples", "")
    if "Parameters" in sections:
        assert sorted(names(sections["Parameters"])) == sorted(signature(thing))  # those that share a line break the order
    elif dataclasses.is_dataclass(thing):  # a result, which users read and do not make
        public = [field.name for field in dataclasses.fields(thing) if not field.name.startswith("_")]
        assert sorted(names(sections.get("Attributes", ""))) == sorted(public)
    else:
        assert inspect.isclass(thing), "a function says what its parameters are"
    if inspect.isfunction(thing):
        assert "Returns" in sections


@pytest.mark.parametrize("name", METHODS)
def test_public_methods_are_documented(name):
    method = METHODS[name]
    sections = check_sections(method)
    assert sorted(names(sections.get("Parameters", ""))) == sorted(signature(method))
    if inspect.signature(method).return_annotation not in (None, "None"):
        assert {"Returns", "Yields"} & set(sections)


@pytest.mark.parametrize("name", CLASSES)
def test_public_properties_are_documented(name):
    for key, member in vars(CLASSES[name]).items():
        if isinstance(member, property) and not key.startswith("_") and CLASSES[name] not in PROTOCOLS:
            assert member.__doc__, key


@pytest.mark.parametrize("name", OBJECTS)
def test_examples_run(name):
    thing = OBJECTS[name]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    output = []
    # Examples of an object and of its methods; they import what they use.
    for example in doctest.DocTestFinder().find(thing, name, inspect.getmodule(thing), globs={"__name__": "__main__"}):
        runner.run(example, out=output.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(output)


def test_the_example_of_the_dictionary_of_claims_runs():
    """A dictionary has no docstring: its page says what it is in the template."""
    template = Path(__file__).parents[1] / "docs" / "_templates" / "autosummary" / "base.rst"
    text = "".join(re.findall(r"^ {3}.*\n", template.read_text(encoding="utf-8"), re.MULTILINE)) + "\n"
    example = doctest.DocTestParser().get_doctest(text, {}, "CLAIMS", str(template), 0)
    runner = doctest.DocTestRunner()
    output = []
    runner.run(example, out=output.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(output)


def test_nothing_is_pending_that_is_documented():
    for name in _PENDING:
        assert "Examples" not in parsed(getattr(qz, name))[1], f"{name} is documented: take it out of _PENDING"
