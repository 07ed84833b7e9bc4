"""The command on models of others, from photographs to report and export: stopped, and spread over workers."""

import json
import shutil
import subprocess
import sys
from types import NoneType

import pytest

import distill
from distill.graph import build
from distill.recipe import RecipeError, read
from tests.distill.test_kills import contents, kill_and_resume

TINY = {"teacher": {"width": 4, "steps": 4}, "train": {"width": 4, "steps": 4, "evaluations": 2}}


@pytest.fixture(params=["stable diffusion", "DiT"])
def recipe(request, table, dit):
    """Every method, on either kind of model."""
    if request.param == "DiT":
        table["prior"] = {"source": "pretrained", "kind": "DiTTransformer2DModel", "path": str(dit), "classes": "data"}
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


def test_from_photographs_to_a_report_and_a_set_to_load(command, clean_environment, tmp_path):
    import datasets

    done([*command, "--out", str(tmp_path / "run")], clean_environment)
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    metrics = json.loads(next((tmp_path / "run").glob("evaluate-*/metrics.json")).read_text())
    assert {row["method"] for row in metrics["rows"]} == {"ddoq", "uniform", "ddoq-sqrt", "random", "nearest"}
    export = ["export", str(tmp_path / "run"), "--format", "parquet", "--out", str(tmp_path / "set")]
    done([*command[:3], *export], clean_environment)
    rows = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 6
    assert sum(rows["weight"]) == pytest.approx(6, rel=1e-6)
    assert rows[0]["image"].size == (32, 32)
    done([*command, "--out", str(tmp_path / "again"), "--workers", "3"], clean_environment)
    assert contents(tmp_path / "again") == contents(tmp_path / "run")


def test_a_run_is_read_where_its_images_and_models_are_not(recipe, clean_environment, tmp_path):
    """As where only its folder was copied to."""
    sources = tmp_path / "sources"
    for section in ("data", "codec", "prior"):
        recipe[section]["path"] = str(shutil.copytree(recipe[section]["path"], sources / section))
    path = tmp_path / "mine.toml"
    path.write_text(toml(recipe))
    command, run = [sys.executable, "-m", "distill"], tmp_path / "run"
    done([*command, "run", str(path), "--out", str(run)], clean_environment)
    told, before = said([*command, "status", str(run)], clean_environment), distill.load(run, "uniform")
    export = [*command, "export", str(run), "--format", "imagefolder", "--out"]
    done([*export, str(tmp_path / "before")], clean_environment)
    shutil.rmtree(sources)
    with pytest.raises(RecipeError):
        build(read(recipe))
    after = distill.load(run, "uniform")
    assert after.images.equal(before.images)
    assert after.weights.equal(before.weights)
    assert (after.classes, after.keys) == (before.classes, before.keys)
    done([*export, str(tmp_path / "after")], clean_environment)
    assert contents(tmp_path / "after") == contents(tmp_path / "before")
    assert said([*command, "status", str(run)], clean_environment) == told
    assert "Nothing to remove" in said([*command, "clean", str(run)], clean_environment)
    again = subprocess.run(
        [*command, "run", str(path), "--out", str(run)], env=clean_environment, capture_output=True, check=False
    )
    assert again.returncode == 2
    assert b"can't be listed" in again.stderr
    assert distill.load(run).images.equal(distill.load(run, "ddoq").images)


def said(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_killed_ten_times_the_results_are_the_same_bytes(command, recipe, clean_environment, tmp_path):
    stages = build(read(recipe))
    moments = kill_and_resume(command, clean_environment, tmp_path / "killed", stages, kills=10, workers=1)
    done([*command, "--out", str(tmp_path / "unbroken")], clean_environment)
    found, expected = contents(tmp_path / "killed"), contents(tmp_path / "unbroken")
    assert found.keys() == expected.keys(), moments
    assert [path for path in expected if found[path] != expected[path]] == [], moments
