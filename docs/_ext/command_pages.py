"""Pages of the reference that are written before the site is built: the commands' help, and what a recipe may hold."""

import argparse
import os
from pathlib import Path
from typing import Any

from distill.__main__ import _parser as distill_parser
from distill.recipe import listing
from theory_checks.__main__ import _parser as theory_checks_parser


def commands() -> str:
    """The help of both commands and their subcommands."""
    os.environ["COLUMNS"] = "100"
    lines = ["# Commands", ""]
    for name, parser in (("distill", distill_parser()), ("theory_checks", theory_checks_parser())):
        lines += [f"## `python -m {name}`", "", *_help(parser)]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command, sub in action.choices.items():
                    lines += [f"### `{name} {command}`", "", *_help(sub)]
    return "\n".join(lines)


def _help(parser: argparse.ArgumentParser) -> list[str]:
    return ["```text", parser.format_help().rstrip(), "```", ""]


def recipe() -> str:
    """What a recipe may hold: what ``python -m distill schema`` prints."""
    lines = [
        "# Recipes: every option",
        "",
        "What `python -m distill schema` prints. A recipe is a TOML file of these sections.",
        "",
    ]
    for section in listing():
        source = " or ".join(f'`source = "{one}"`' for one in section.sources)
        lines += [f"## {section.name}" + (f": {source}" if source else ""), "", _escaped(section.meaning), ""]
        lines += ["| key | takes | default |", "|---|---|---|"] if section.options else []
        for option in section.options:
            default = {None: "must be given", "not set": "not set"}.get(option.default, f"`{option.default}`")
            lines.append(f"| `{option.name}` | {option.takes.replace('|', 'or')} | {default} |")
        lines.append("")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """The prose of docstrings, where Markdown would see markup: stars and dollars outside of code."""
    parts = text.split("``")
    parts[::2] = [part.replace("*", r"\*").replace("$", r"\$").replace("<", r"\<") for part in parts[::2]]
    return "``".join(parts)


def write(app: Any) -> None:
    """Write the pages that changed."""
    for name, text in {"commands": commands(), "recipe": recipe()}.items():
        path = Path(app.srcdir) / "reference" / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
