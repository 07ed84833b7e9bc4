"""A run's folder of another version: every command ends in one sentence, and nothing in it changes."""

import json

import pytest

import distill
from distill.__main__ import main
from distill.pipeline.format import FORMAT
from distill.pipeline.store import Store
from distill.recipe import RecipeError


def state(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def rewritten(path, number):
    """A file of the folder as another version would number it; None: as versions before there were numbers."""
    content = json.loads(path.read_bytes())
    content.pop("format")
    path.write_text(json.dumps(content if number is None else {"format": number, **content}))


def test_all_that_is_written_carries_the_number(finished):
    paths = [*(finished.folder / name for name in ("recipe.json", "finished.json", "graphs.json"))]
    paths += list(finished.folder.glob("*/.seals/*.json"))
    assert len(paths) > 50
    assert {json.loads(path.read_bytes())["format"] for path in paths} == {FORMAT}


@pytest.mark.parametrize(("number", "age"), [(None, "format 1, of an earlier"), (FORMAT + 1, f"format {FORMAT + 1}, of a later")])
@pytest.mark.parametrize("command", ["status", "clean", "export", "run"])
def test_a_folder_of_another_version_ends_every_command_in_a_sentence(copied, tiny_command, command, number, age, capsys):
    for name in ("recipe.json", "finished.json", "graphs.json"):
        rewritten(copied / name, number)
    before = state(copied)
    arguments = {
        "status": ["status", str(copied)],
        "clean": ["clean", str(copied), "--yes"],
        "export": ["export", str(copied), "--format", "parquet"],
        "run": [*tiny_command[tiny_command.index("run") :], "--out", str(copied)],
    }[command]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.strip().count("\n") == 0
    assert f"{copied} holds a run of {age} version of distill, and this one reads format {FORMAT}: go on with" in said
    assert state(copied) == before
    with pytest.raises(RecipeError, match="holds a run of format"):
        distill.load(copied)


def test_a_part_whose_seal_has_another_number_counts_as_missing(copied, by_title):
    stage = by_title["codec"]
    assert Store(copied).holds(stage, "model")
    rewritten(copied / stage.folder_name / ".seals" / "model.json", None)
    assert not Store(copied).holds(stage, "model")
