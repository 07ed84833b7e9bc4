"""What runs elsewhere, checked as far as it can be here: GitHub's schema of workflows, shellcheck on scripts, names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "deploy").glob("*.sh"))]


def steps(path):
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
        for step in job["steps"]:
            yield name, step


RUNS = [
    pytest.param(step["run"], id=f"{path.stem}-{name}-{step['run'].split()[0]}")
    for path in WORKFLOWS
    for name, step in steps(path)
    if "run" in step
]


def schema_of(path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def shellcheck(script):
    """As GitHub runs it: bash -eo pipefail, with something in the place of each expression."""
    script = re.sub(r"\$\{\{.*?\}\}", "expression", script)
    command = [str(Path(sys.executable).parent / "shellcheck"), "--shell=bash", "--exclude=SC2148", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_githubs_schema(path):
    ended = schema_of(path)
    assert ended.returncode == 0, ended.stdout


def test_a_workflow_with_a_misspelt_key_is_refused(tmp_path):
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    assert "runs-on" in text
    (tmp_path / "bad.yml").write_text(text.replace("runs-on", "run-on"))
    assert schema_of(tmp_path / "bad.yml").returncode == 1


@pytest.mark.parametrize("run", RUNS)
def test_steps_pass_shellcheck(run):
    ended = shellcheck(run)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path):
    ended = shellcheck(path.read_text(encoding="utf-8"))
    assert ended.returncode == 0, ended.stdout


def test_a_word_that_splits_is_refused():
    assert "SC2086" in shellcheck('rm -r $1 "${{ github.ref }}"').stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_names_in_a_workflow_agree(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert {job["needs"] for job in jobs.values() if "needs" in job} <= set(jobs)
    uploaded = [step["with"]["name"] for _, step in steps(path) if step.get("uses", "").startswith("actions/upload-artifact@")]
    for _, step in steps(path):
        if step.get("uses", "").startswith("actions/download-artifact@"):
            assert step["with"]["name"] in uploaded
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for run in (step["run"] for _, step in steps(path) if "run" in step):
        assert set(re.findall(r"\bmake ([\w-]+)", run)) <= set(targets)
        for name in re.findall(r"(?<![\w./])((?:docs|tests|\.ci)/[\w./]+)", run):
            assert (ROOT / name).exists(), name
