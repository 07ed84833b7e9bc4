"""``python -m theory_checks``: what it shows and writes, and its exit status."""

import importlib
import io
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import quantization as qz
from theory_checks import CLAIMS, Evidence, claim
from theory_checks.__main__ import main
from theory_checks.claim import Effort
from theory_checks.console import progress, show
from theory_checks.laws import FINITE
from theory_checks.trial import examine


def run(out: Path, *names: str) -> int:
    return main(["run", "--processes", "1", "--out", str(out), *(word for name in names for word in ("--claim", name))])


def test_a_run_writes_a_report_and_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert run(out, "lloyd_descends", "distortion_is_a_transport_cost") == 0
    assert sorted(p.name for p in out.iterdir()) == ["margins.png", "report.json", "report.md"]
    report = json.loads((out / "report.json").read_text())
    assert report["holds"] is True
    lloyd, transport = report["claims"]
    assert (lloyd["name"], lloyd["verdict"], lloyd["reference"]) == ("lloyd_descends", "holds", "lloyd1982")
    assert set(lloyd["cases"]) == set(FINITE.kinds)
    assert transport["worst"]["margin"] >= 0
    assert transport["control"]["margin"] < 0
    page = (out / "report.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| $W_2^2"))
    assert row.count("|") == 6
    assert (out / "margins.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "holds  lloyd_descends (lloyd1982): 36 cases" in shown
    assert "2 of 2 claims hold" in shown


def test_a_claim_has_the_same_cases_alone_and_among_others(tmp_path: Path) -> None:
    names = ("pushforward_is_lipschitz", "cell_masses_are_the_best_weights")
    run(tmp_path / "both", *names)
    run(tmp_path / "one", names[1])
    both, one = (json.loads((tmp_path / folder / "report.json").read_text())["claims"] for folder in ("both", "one"))
    assert one[0]["worst"] == both[1]["worst"]


@pytest.mark.usefixtures("registry")
def test_profile_and_seed_reach_the_claims(tmp_path: Path) -> None:
    seeds: list[int] = []

    @claim(statement="$0 \\le 0$", reference="graf2000", laws=FINITE, effort=Effort(tests=1, quick=2, full=3))
    def trivial(law: Any, k: int, seed: int) -> Evidence:
        seeds.append(seed)
        return Evidence(0.0, 0.0, 0.0)

    drawn = []
    for profile, seed in (("quick", "0"), ("quick", "1"), ("full", "0")):
        seeds.clear()
        main(["run", "--processes", "1", "--profile", profile, "--seed", seed, "--claim", "trivial", "--out", str(tmp_path)])
        drawn.append(seeds.copy())
    assert [len(one) for one in drawn] == [2, 2, 3]
    assert set(drawn[0]).isdisjoint(drawn[1])
    assert drawn[0] == [case.seed for case in trivial.cases("quick", 0)]


def test_a_terminal_shows_progress_and_a_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    name = "codes_do_no_worse_together"
    count = CLAIMS[name].effort.quick
    with progress(console, count) as done:
        findings = list(examine([name], done=done))
    show(console, findings)
    shown = console.file.getvalue()
    assert f"{count}/{count}" in shown
    for word in ("statement", "source", "laws tried", "worst margin", "verdict", name, "pages2015", f"{count} cases", "holds"):
        assert word in shown


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    names = ("lloyd_descends", "cells_on_the_line_are_exact", "competitive_step_is_unbiased")
    chosen = [word for name in names for word in ("--claim", name)]
    found = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        assert main(["run", "--seed", "5", "--processes", str(processes), "--out", str(out), *chosen]) == 0
        found.append(json.loads((out / "report.json").read_text())["claims"])
    for one, two in zip(*found, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_a_record_is_written_with_its_figures_beside_it(tmp_path: Path) -> None:
    record = tmp_path / "theorems.json"
    arguments = ["run", "--claim", "uniform_weights_do_not_converge", "--claim", "zador_constant_on_the_line", "--processes", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--write", str(record)]) == 0
    assert json.loads(record.read_text())["profile"] == "quick"
    for name in ("margins", "zador_constant_on_the_line"):
        assert (tmp_path / "theorems" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_error_in_one_claim_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no transport today")

    monkeypatch.setattr(qz, "transport", fail)
    assert run(tmp_path, "distortion_is_a_transport_cost", "lloyd_descends") == 1
    verdicts = [found["verdict"] for found in json.loads((tmp_path / "report.json").read_text())["claims"]]
    assert verdicts == ["error", "holds"]


def test_the_status_of_the_command_is_that_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qz.DiscreteMeasure, "project", lambda self, points: qz.DiscreteMeasure(points))
    words = ["run", "--processes", "1", "--claim", "distortion_is_a_transport_cost", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["theory_checks", *words])
    monkeypatch.delitem(sys.modules, "theory_checks.__main__")
    with pytest.raises(SystemExit) as left:
        runpy.run_module("theory_checks", run_name="__main__")
    assert left.value.code == 1


def test_the_usual_folder_is_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").write_text("not a folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--claim", "lloyd_descends"])
    assert left.value.code == 2


def test_list_names_every_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(stated.name in shown and stated.statement in shown for stated in CLAIMS.values())


def test_a_solver_that_ascends_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    descend = qz.Lloyd.solve

    def ascend(self: qz.Lloyd, problem: Any, codes: Any, rng: Any) -> Any:
        for n, state in enumerate(descend(self, problem, codes, rng)):
            yield replace(state, points=state.codes() + 10.0**n)

    monkeypatch.setattr(qz.Lloyd, "solve", ascend)
    assert run(tmp_path, "lloyd_descends") == 1
    assert "lloyd_descends fails: Evidence(" in capsys.readouterr().err
    assert json.loads((tmp_path / "report.json").read_text())["claims"][0]["verdict"] == "fails"


def test_a_projection_that_loses_the_weights_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qz.DiscreteMeasure, "project", lambda self, points: qz.DiscreteMeasure(points))
    assert run(tmp_path, "distortion_is_a_transport_cost") == 1


def test_an_error_inside_a_claim_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("the transport was not solved")

    monkeypatch.setattr(qz, "transport", fail)
    assert run(tmp_path, "distortion_is_a_transport_cost") == 1
    told = capsys.readouterr().err
    assert "raised an error: RuntimeError: the transport was not solved on " in told
    assert "again: python -m theory_checks run --profile quick --claim distortion_is_a_transport_cost --seed 0" in told
    found = json.loads((tmp_path / "report.json").read_text())["claims"][0]
    assert found["verdict"] == "error"
    assert found["worst"]["observed"] is None


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("control", "verdict"), [(True, "control_held"), (False, "uncontrolled")])
def test_a_check_that_can_not_fail_is_no_check(control: bool, verdict: str, tmp_path: Path) -> None:
    def too_generous(law: Any, k: int, seed: int) -> Evidence:
        return Evidence(0.0, 1.0, 0.0)

    made = claim(statement="$0 \\le 1$", reference="graf2000", laws=FINITE)(too_generous)
    if control:
        made.control(too_generous)
    assert run(tmp_path, "too_generous") == 1
    assert json.loads((tmp_path / "report.json").read_text())["claims"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--claim", "lloyd_decends"], "did you mean lloyd_descends?"),
        (["run", "--claim", "zzz"], "There are: "),
        (["run", "--profile", "slow"], "invalid choice: 'slow'"),
        (["run", "--processes", "0"], "an integer from 1 to 64; received '0'"),
        (["run", "--write", "page.txt"], "must be a file named *.json; received 'page.txt'"),
        (["run", "--seed", "-1"], "the seed must be an integer ≥ 0; received '-1'"),
        (["run", "--out", __file__], "is no writable folder"),
        ([], "required"),
        (["walk"], "invalid choice"),
    ],
)
def test_misuse_is_told_apart_from_failure(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("hidden", [("rich",), ("matplotlib",), ("rich", "matplotlib")], ids=" and ".join)
def test_without_its_extra_the_command_says_what_to_install(hidden: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment with the core alone; a module that is None can't be imported."""
    for name in [name for name in sys.modules if name.split(".")[0] in hidden or name.startswith("theory_checks.__main__")]:
        monkeypatch.delitem(sys.modules, name)
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "argv", ["theory_checks", "list"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("theory_checks", run_name="__main__")
    assert left.value.code == f"python -m theory_checks needs {' and '.join(hidden)}: pip install 'optimal-quantization[theory]'"


def test_without_rich_the_console_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich" or name == "theory_checks.console"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r"needs rich: pip install 'optimal-quantization\[theory\]'"):
        importlib.import_module("theory_checks.console")
