"""The Python examples of the README and the documentation run as they stand; those marked ``no-run`` at least parse."""

import ast
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from distill.__main__ import _parser as distill_parser
from distill.recipe import embedded, read
from theory_checks.__main__ import _parser as theory_checks_parser

ROOT = Path(__file__).parents[1]
MADE = [ROOT / "docs" / "theorems", ROOT / "docs" / "gallery"]  # by the site's build
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if not set(MADE) & set(p.parents))]


def _blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```python( no-run)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path) -> None:
    shared: dict[str, object] = {}
    for mark, code in _blocks(page):
        if mark:
            ast.parse(code)
        else:
            exec(compile(code, str(page), "exec"), shared)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        if target.startswith(("theorems/", "reference/")):
            continue  # made when the site is built, which fails where such a link leads nowhere
        source = re.sub(r"^gallery/(.*)\.rst$", r"../examples/\1.py", target)
        assert (page.parent / source).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    """Modules exist; in blocks for the terminal options are known, and recipes of the package take the changes shown."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")  # a line that goes on
    for module in re.findall(r"python -m ([a-z0-9_.]+)", text):
        assert find_spec(module), module
    parsers = {"distill": distill_parser(), "theory_checks": theory_checks_parser()}
    for module, words in re.findall(r"^\$ python -m (distill|theory_checks) (.+)$", text, re.MULTILINE):
        said = parsers[module].parse_args(shlex.split(words, comments=True))
        if getattr(said, "recipe", None) in embedded() and "select.kk=5" not in said.set:  # shown for its message
            read(said.recipe, said.set)


def test_figures_of_the_readme_stand_in_the_benchmarks() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Comparison with other libraries")[2].partition("\n## ")[0]
    figures = re.findall(r"\| (\**0\.\d+\**) (?=\|)", table)
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert len(figures) == 8
    assert [each for each in figures if f"| {each} |" not in benchmarks] == []


def test_badges_are_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    said = {"badge-python.svg": " | ".join(versions), "badge-licence.svg": project["license"]}
    assert project["requires-python"] == f">={versions[0]}"
    for name in re.findall(r"badge-\w+\.svg", (ROOT / "README.md").read_text(encoding="utf-8")):
        picture = (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8")
        assert re.findall(r"<text[^>]*>([^<]+)</text>", picture)[1] == said.pop(name)
    assert not said
