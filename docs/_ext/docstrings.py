"""Docstrings as they are written here, made ready for numpydoc: LaTeX between dollars, sources by keys of references.bib."""

import re
from typing import Any

LITERAL = re.compile(r"(``.*?``|:[a-z:]+:`[^`]*`)")
FORMULA = re.compile(r"\$([^$]+)\$", re.DOTALL)
KEY = re.compile(r"\b([a-z]+\d{4}[a-z]*)\b")


def reformat(text: str) -> str:
    """The docstring in reStructuredText; examples stay as they are."""
    head, title, examples = text.partition("\nExamples\n--------\n")
    head = re.sub(r"(?<=\nReferences\n----------\n)(.+?)(?=\n\n|\n*\Z)", _cited, head, flags=re.DOTALL)
    return _prose(head) + title + examples


def _cited(found: re.Match[str]) -> str:
    return ", ".join(f":cite:t:`{key}`" for key in KEY.findall(found[1])) + "."


def _prose(text: str) -> str:
    pieces = FORMULA.split(text)
    for i, piece in enumerate(pieces):
        pieces[i] = f":math:`{' '.join(piece.split())}`" if i % 2 else _escaped(piece)
    return "".join(pieces)


def _escaped(text: str) -> str:
    """Bars stand for norms, not for substitutions, and a name may end in an underscore."""
    parts = LITERAL.split(text)
    parts[::2] = [re.sub(r"(?<=\w)_(?!\w)", r"\\_", part.replace("|", r"\|")) for part in parts[::2]]
    return "".join(parts)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """What autodoc calls for every docstring, before numpydoc."""
    lines[:] = reformat("\n".join(lines)).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True}
