"""The command on models of others, from photographs to report and export: stopped, and spread over workers."""

import json
import shutil
import subprocess
import sys
from types import NoneType

import pytest

import distill
from distill.__main__ import main
from distill.graph import build
from distill.recipe import RecipeError, read
from tests.distill.test_kills import contents, kill_and_resume

TINY = {"teacher": {"width": 4, "steps": 4}, "train": {"width": 4, "steps": 4, "evaluations": 2}}


@pytest.fixture(params=["stable diffusion", pytest.param("DiT", marks=pytest.mark.slow)])
def recipe(request, table, dit, tmp_path):
    """Every method, on either kind of model; images and models lie below ``sources``."""
    if request.param == "DiT":
        table["prior"] = {"source": "pretrained", "kind": "DiTTransformer2DModel", "path": str(dit), "classes": "data"}
    for section in ("data", "codec", "prior"):
        table[section]["path"] = str(shutil.copytree(table[section]["path"], tmp_path / "sources" / section))
    for section, changes in TINY.items():
        table[section] |= changes
    return table | {"methods": ["ddoq", "uniform", "ddoq-sqrt", "random", "nearest"], "seeds": [0, 1]}


@pytest.fixture
def command(recipe, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(toml(recipe))
    assert read(path) == read(recipe)
    return [sys.executable, "-m", "distill", "run", str(path)]


def done(command, environment):
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def toml(table):
    """A recipe as people write it: options that are set, sections after them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict | NoneType)]
    for name, section in table.items():
        if isinstance(section, dict):
            set_ = {key: value for key, value in section.items() if value is not None and value != {}}
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in set_.items())]
    return "\n".join(lines) + "\n"


def test_from_photographs_to_a_report_a_set_to_load_and_a_folder_that_is_read_alone(
    command, recipe, clean_environment, tmp_path, capsys
):
    run = tmp_path / "run"
    done([*command, "--out", str(run), "--workers", "1"], clean_environment)
    assert (run / "report" / "index.html").is_file()
    metrics = json.loads(next(run.glob("evaluate-*/metrics.json")).read_text())
    assert {row["method"] for row in metrics["rows"]} == {"ddoq", "uniform", "ddoq-sqrt", "random", "nearest"}
    done([*command, "--out", str(tmp_path / "again"), "--workers", "2"], clean_environment)
    assert contents(tmp_path / "again") == contents(run)
    check_parquet(run, tmp_path)
    check_what_is_read_elsewhere(run, tmp_path, recipe, clean_environment, capsys)


def check_parquet(run, tmp_path):
    import datasets

    assert main(["export", str(run), "--format", "parquet", "--out", str(tmp_path / "set")]) == 0
    rows = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 6
    assert sum(rows["weight"]) == pytest.approx(6, rel=1e-6)
    assert rows[0]["image"].size == (32, 32)


ELSEWHERE = """
import sys
from distill.__main__ import main

run, folder, recipe = sys.argv[1:]
codes = [main(["status", run]), main(["export", run, "--format", "imagefolder", "--out", folder])]
print("exported", flush=True)
codes += [main(["clean", run]), main(["run", recipe, "--out", run])]
print(codes)
"""


def check_what_is_read_elsewhere(run, tmp_path, recipe, environment, capsys):
    """As where only its folder was copied to: without images and models, in a process that has not seen them."""
    capsys.readouterr()
    assert main(["status", str(run)]) == 0
    told, before = capsys.readouterr().out, distill.load(run, "uniform")
    assert main(["export", str(run), "--format", "imagefolder", "--out", str(tmp_path / "before")]) == 0
    shutil.rmtree(tmp_path / "sources")
    with pytest.raises(RecipeError):
        build(read(recipe))
    after = distill.load(run, "uniform")
    assert after.images.equal(before.images)
    assert after.weights.equal(before.weights)
    assert (after.classes, after.keys) == (before.classes, before.keys)
    words = [sys.executable, "-c", ELSEWHERE, str(run), str(tmp_path / "after"), str(tmp_path / "mine.toml")]
    asked = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert contents(tmp_path / "after") == contents(tmp_path / "before")
    status, rest = asked.stdout.split("exported\n")
    assert status.startswith(told)
    assert "Nothing to remove" in rest
    assert rest.endswith("[0, 0, 0, 2]\n")
    assert "can't be listed" in asked.stderr
    assert distill.load(run).images.equal(distill.load(run, "ddoq").images)


@pytest.mark.slow
def test_killed_ten_times_the_results_are_the_same_bytes(command, recipe, clean_environment, tmp_path):
    stages = build(read(recipe))
    moments = kill_and_resume(command, clean_environment, tmp_path / "killed", stages, kills=10, workers=1)
    done([*command, "--out", str(tmp_path / "unbroken")], clean_environment)
    found, expected = contents(tmp_path / "killed"), contents(tmp_path / "unbroken")
    assert found.keys() == expected.keys(), moments
    assert [path for path in expected if found[path] != expected[path]] == [], moments
