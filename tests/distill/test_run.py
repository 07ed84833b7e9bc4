"""The pipeline end to end, on a run of seconds. ``finished`` is made once, by the command with two workers."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

import distill
from distill.__main__ import main
from distill.pipeline.lock import locked
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.runs.folder import plan, progress_of


@pytest.fixture
def no_workers(monkeypatch):
    """Starting a worker is an error."""

    def refuse(*arguments):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("distill.engines.local.LocalEngine", refuse)


def snapshot(folder):
    """Every file with its content and time."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def artifacts(folder):
    others = (".lock", "recipe.json", "finished.json", "graphs.json")
    return {path: each for path, each in snapshot(folder).items() if path.name not in others}


def tamper(path):
    """Change a tensor's last byte; size and time stay."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_command_made_everything(finished, stages):
    assert [(each.stage.folder_name, each.done) for each in plan(finished.folder)] == [
        (stage.folder_name, len(stage.parts())) for stage in stages
    ]


def test_a_second_run_makes_nothing_and_returns_the_metrics(copied, tiny, metrics, no_workers):
    before = artifacts(copied)
    done = distill.run(tiny, out=copied)
    assert done.folder == copied
    assert done.metrics == metrics
    assert artifacts(copied) == before
    assert distill.run(tiny, out=str(copied), verify=True).metrics == metrics
    assert artifacts(copied) == before


def test_recipe_mapping_and_changes_are_the_same_run(copied, tiny, tiny_changes, metrics, no_workers):
    assert distill.run(tiny.model_dump(), out=copied).metrics == metrics
    assert distill.run(read("digits"), out=copied, set=tiny_changes).metrics == metrics


def test_status_and_dry_run_write_nothing(copied, tiny_changes, tmp_path, capsys, no_workers):
    shutil.rmtree(copied / "report")
    before = snapshot(copied)
    assert main(["status", str(copied)]) == 0
    arguments = ["run", "digits", *(word for change in tiny_changes for word in ("--set", change)), "--dry-run"]
    assert main([*arguments, "--out", str(copied)]) == 0
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 0
    assert snapshot(copied) == before
    assert not (tmp_path / "new").exists()
    lines = capsys.readouterr().out.splitlines()
    status, *plans = [re.sub(r"\W+", " ", line).split() for line in lines if "report" in line]
    assert status[-4:] == ["1", "0", "1", "0"]
    assert [plan[-3:] for plan in plans] == [["1", "0", "1"]] * 2


def test_a_dry_run_counts_what_another_option_would_make(finished, tiny_changes):
    changed = read("digits", [*tiny_changes, "train.steps=5"])
    for each in progress_of(changed, finished.folder):
        expected = 0 if each.stage.name in ("train", "evaluate", "report") else each.parts
        assert each.done == expected, each.stage.title


def test_a_folder_in_use_is_left_alone(copied, capsys, no_workers):
    before = artifacts(copied)
    recipe = (copied / "recipe.json").read_bytes()
    with locked(copied):
        assert main(["run", "digits", "--out", str(copied), "--set", "name=other"]) == 2
    told = capsys.readouterr().err
    assert str(os.getpid()) in told
    assert "--out" in told
    assert artifacts(copied) == before
    assert (copied / "recipe.json").read_bytes() == recipe


@pytest.mark.parametrize("options", [{"until": "magic"}, {"workers": 0}, {"set": ["select.kk=3"]}])
def test_misuse_is_refused_before_anything_is_written(tmp_path, options):
    with pytest.raises(RecipeError):
        distill.run("digits", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_pictures_of_another_recipe_do_not_stay_in_the_report(once, finished):
    """A report made again, without the best method and one budget, holds the pictures that it names and no others."""
    folder = fewer_budgets(once, finished)
    report = folder / "report"
    assert json.loads((report / "report.json").read_bytes())["recipe"]["select"]["k"] == 3
    named = set(re.findall(r'<img src="([^"]+)"', (report / "index.html").read_text(encoding="utf-8")))
    assert {path.name for path in report.glob("*.png")} == named


def test_another_budget_keeps_what_comes_before_it(once, finished):
    folder = fewer_budgets(once, finished)
    for name in ("codec", "encode", "prior", "teacher"):
        assert len(list(folder.glob(f"{name}-*"))) == 1
    before, after = artifacts(finished.folder), artifacts(folder)
    for path, (data, _) in before.items():
        if path.relative_to(finished.folder).parts[0] != "report":
            assert after[folder / path.relative_to(finished.folder)][0] == data


def test_a_draw_does_not_depend_on_which_others_were_asked_for(once, finished, by_title):
    folder, name = fewer_budgets(once, finished), by_title["select random"].folder_name
    new = next(path for path in folder.glob("select-*") if not (finished.folder / path.name).exists())
    for path in sorted((finished.folder / name).glob("*.safetensors")):
        both, alone = load_file(path), load_file(new / path.name)
        assert alone.keys() == {key for key in both if key.startswith("k3.")}
        assert all(np.array_equal(alone[key], both[key]) for key in alone)


def fewer_budgets(once, finished):
    """A copy of the finished run, run again for the larger budget and one method of real images alone."""

    def make(place):
        shutil.copytree(finished.folder, place / "run")
        changes = ["select.k=3", "methods=['random']", "comparisons=[]"]
        distill.run(finished.recipe, out=place / "run", set=changes, workers=1)

    return once("fewer-budgets", make) / "run"


MEND = """
import sys
import distill

# No `if __name__ == "__main__"` here: running must not depend on it.
done = distill.run(distill.recipe.read("digits", sys.argv[2].split("|")), out=sys.argv[1], until=sys.argv[3] or None,
                   verify=sys.argv[4] == "verify", workers=1)
print(done.folder, done.metrics is None)
"""


def test_verifying_mends_a_part_that_was_altered_in_place_and_python_c_may_run(copied, tiny_changes, by_title, clean_environment):
    path = copied / by_title["encode"].folder_name / "0003-three-0.safetensors"
    whole = path.read_bytes()
    tamper(path)
    before = artifacts(copied)
    subprocess.run(
        [sys.executable, "-c", MEND, str(copied), "|".join(tiny_changes), "", "verify"],
        check=True,
        env=clean_environment,
        capture_output=True,
        timeout=120,
    )
    assert path.read_bytes() == whole
    changed = {each.relative_to(copied) for each, state in artifacts(copied).items() if before.get(each) != state}
    folder = path.parent.relative_to(copied)
    assert changed == {folder / path.name, folder / ".seals" / "0003-three-0.json", folder / "manifest.json"}


def test_a_damage_found_on_reading_is_mended_on_the_way_and_until_stops(
    copied, tiny_changes, by_title, tmp_path, clean_environment
):
    """One code file is lost, the latents it is made of are altered in place, and all that follows is lost too."""
    encode, select, decode = (by_title[title] for title in ("encode", "select quantize", "decode diffusion"))
    latents = copied / encode.folder_name / "0003-three-0.safetensors"
    codes = copied / select.folder_name / "0003-three.safetensors"
    expected = latents.read_bytes(), codes.read_bytes()
    tamper(latents)
    codes.unlink()
    shutil.rmtree(copied / decode.folder_name)
    before = artifacts(copied)
    script = tmp_path / "script.py"
    script.write_text(MEND)
    done = subprocess.run(
        [sys.executable, str(script), str(copied), "|".join(tiny_changes), "select", ""],
        check=True,
        env=clean_environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == f"{copied} True\n"
    assert (latents.read_bytes(), codes.read_bytes()) == expected
    assert not (copied / decode.folder_name).exists()
    changed = {each.relative_to(copied).parts[0] for each, state in artifacts(copied).items() if before.get(each) != state}
    assert changed == {encode.folder_name, select.folder_name}
    assert all(Store(copied).holds(select, part, verify=True) for part in select.parts())
