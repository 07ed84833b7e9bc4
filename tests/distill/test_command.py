import io
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from distill.__main__ import main
from distill.pipeline.engine import PartFailed


@pytest.fixture(autouse=True)
def no_colours(monkeypatch):
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def helped(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_shows_examples(capsys):
    text = helped(capsys)
    for word in ("run", "status", "python -m distill run digits", "same command again"):
        assert word in text


def test_help_of_run_names_every_option(capsys):
    text = helped(capsys, "run")
    for option in ("--set", "--until", "--out", "--dry-run", "--verify", "--workers", "digits"):
        assert option in text


def test_help_of_status(capsys):
    assert "RUN" in helped(capsys, "status")


@pytest.mark.parametrize(
    "arguments", [[], ["walk"], ["run"], ["run", "digits", "--sett", "x"], ["run", "digits", "--workers", "two"]]
)
def test_what_cannot_be_parsed_exits_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "digts"], "no recipe is called 'digts'"),
        (["run", "{tmp}/none.toml"], "no recipe file"),
        (["run", "{tmp}/bad.toml"], "not valid TOML"),
        (["run", "{tmp}/bytes.toml"], "bytes.toml"),
        (["run", "digits", "--set", "select.kk=3"], "unknown key select.kk; did you mean select.k?"),
        (["run", "digits", "--set", "select.k"], "received 'select.k'"),
        (["run", "photos"], "the recipe lacks data.path, the folder of the images: --set data.path=DIR"),
        (["run", "photos", "--set", "data.path={tmp}/none"], "none' can't be listed: No such file or directory"),
        (["run", "digits", "--until", "magic"], "no stage 'magic'; the stages are validate"),
        (["run", "digits", "--workers", "0"], "workers must be at least 1"),
        (["run", "digits", "--dry-run", "--until", "magic"], "no stage 'magic'"),
        (["run", "digits", "--set", "data.test_fraction=0.001"], "data.test_fraction"),
        (["run", "digits", "--set", "data.test_fraction=0.999"], "data.test_fraction"),
        (["run", "digits", "--set", "data.seed=9999999999"], "data.seed"),
        (["run", "digits", "--set", "compute.device=cuda", "--workers", "1"], "no GPU is visible here"),
        (
            ["run", "digits", "--engine", "local", "--set", "train.processes=2"],
            "takes the engine that spans processes: --engine ray",
        ),
        (["run", "digits", "--set", "train.processes=2", "--workers", "1"], "a student's number of workers, and there are 1"),
        (["run", "digits", "--out", "{tmp}/file"], "file"),
        (["run", "digits", "--out", "{tmp}/file/below"], "file"),
        (["run", "digits", "--out", "{tmp}"], "holds other files"),
        (["schema", "trian"], "no section 'trian'; its sections are recipe, data, codec"),
        (["status", "{tmp}"], "is not a run folder"),
        (["status", "{tmp}/none"], "is not a run folder"),
    ],
)
def test_misuse_is_a_sentence_on_standard_error_and_exits_with_two(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "bad.toml").write_text("name = ")
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff'")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_a_run_folder_counts_as_missing(copied, tmp_path, capsys):
    encode, select = next(copied.glob("encode-*")), next(copied.glob("select-*"))
    encode.rename(tmp_path / "elsewhere")
    encode.symlink_to(tmp_path / "elsewhere")
    code = next(select.glob("*.safetensors"))
    code.rename(tmp_path / "code")
    code.symlink_to(tmp_path / "code")
    assert main(["status", str(copied)]) == 0
    out = capsys.readouterr().out
    for folder, missing in ((encode, 10), (select, 1)):
        row = next(line for line in out.splitlines() if folder.name in line)
        assert re.findall(r"\d+", row)[-2] == str(missing)  # the last is the share


@pytest.mark.parametrize("name", [".lock", "worker-errors.log", "exports"])
def test_what_links_lead_to_outside_of_the_run_stays_as_it_is(copied, tiny_command, tmp_path, capsys, name):
    outside = tmp_path / "outside"
    if name == "exports":
        outside.mkdir()
    else:
        outside.write_text("precious")
    (copied / name).unlink(missing_ok=True)
    (copied / name).symlink_to(outside)
    if name != "exports":
        shutil.rmtree(next(copied.glob("evaluate-*")))  # so that there is work
    again = [*tiny_command[3:], "--out", str(copied)]
    command = ["export", str(copied), "--format", "imagefolder"] if name == "exports" else again
    assert main(command) == 2
    assert f"{name}" in capsys.readouterr().err
    assert list(outside.iterdir()) == [] if name == "exports" else outside.read_text() == "precious"


def test_the_process_exits_with_two_and_keeps_standard_output_clean(clean_environment):
    done = subprocess.run(
        [sys.executable, "-m", "distill", "run", "digits", "--set", "select.kk=3"],
        capture_output=True,
        text=True,
        env=clean_environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "unknown key select.kk; did you mean select.k?\n"


def test_a_part_that_fails_exits_with_one_and_says_how_to_go_on(copied, tiny_command, monkeypatch, capsys):
    class Broken:
        def __init__(self, *arguments):
            pass

        def free(self):
            return 1

        def submit(self, stage, part, on_progress):
            future = Future()
            future.set_exception(PartFailed("MemoryError: not enough"))
            return future

        def close(self):
            pass

    monkeypatch.setattr("distill.engines.local.LocalEngine", Broken)
    (copied / "report" / "report.json").unlink()
    assert main([*tiny_command[3:], "--out", str(copied)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("report, part report: MemoryError: not enough")
    assert "the same command resumes" in err


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("distill.__main__.run", interrupted)
    assert main(["run", "digits", "--out", str(tmp_path / "run")]) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_off_a_terminal_a_stage_is_a_plain_line(finished):
    """One line a stage, in the order of their completion, then the table and where the report is."""
    lines = finished.output.splitlines()
    stages = [line for line in lines if re.fullmatch(r"[a-z ]+ +\d+ parts  \d+\.\d s", line)]
    assert len(stages) == 29
    assert "\x1b" not in finished.output
    assert "\r" not in finished.output
    assert re.search(r"Report: .*/report/index\.html\. Took \d+\.\d s\.$", finished.output.strip())
    assert "…" not in finished.output, "no figure is cut off"
    for method in ("ddoq", "uniform", "random", "nearest", "full"):
        assert any(re.search(rf"\b{method}\b.*\d\.\d{{4}} ± \d\.\d{{4}}", line) for line in lines)


def test_a_run_without_trouble_says_nothing_on_standard_error(finished):
    assert finished.errors == ""


def test_a_cached_stage_says_so(copied, tiny_command, capsys):
    assert main([*tiny_command[3:], "--out", str(copied)]) == 0
    assert capsys.readouterr().out.count("from cache") == 29


def test_until_says_nothing_of_a_report(copied, tiny_command, capsys):
    assert main([*tiny_command[3:], "--out", str(copied), "--until", "select"]) == 0
    out = capsys.readouterr().out
    assert "Report" not in out
    assert "evaluate" not in out
    assert "select quantize" in out


def test_status_counts_parts_and_shows_whole_names(copied, capsys):
    folder = next(copied.glob("label-*"))
    next(folder.glob("*.safetensors")).unlink()
    assert main(["status", str(copied)]) == 0
    out = capsys.readouterr().out
    rows = [re.findall(r"[\w-]+(?: \w+)*", line) for line in out.splitlines() if "-" in line or "report" in line]
    found = {row[1]: list(map(int, row[2:5])) for row in rows if len(row) == 6}
    assert found[folder.name] == [10, 9, 1]
    assert len(found) == 29
    assert all(missing == 0 for name, (_, _, missing) in found.items() if name != folder.name)


def test_status_shows_the_share_that_is_kept_of_what_is_under_way(copied, capsys):
    """Of two students one is there, and three quarters of the other, as Ctrl-C leaves it."""
    folder = next(path for path in copied.glob("train-*") if sorted(p.name for p in path.glob("*.json"))[0].startswith("all"))
    (folder / "all.seed1.json").unlink()
    (folder / ".checkpoints").mkdir(exist_ok=True)
    (folder / ".checkpoints" / "all.seed1.json").write_text(json.dumps({"values": {"share": 0.75}}))
    assert main(["status", str(copied)]) == 0
    shown = {words[3]: words for line in capsys.readouterr().out.splitlines() if len(words := line.split()) > 3}
    (row,) = (line for line in shown.values() if folder.name in line)
    assert "87 %" in " ".join(row)


def test_version_is_said(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"optimal-quantization \d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("command", [["-c", "import distill"], ["-m", "distill", "--help"]])
def test_without_its_extra_what_to_install_is_said(command, tmp_path, clean_environment):
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError('No module named pydantic', name='pydantic')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env={**clean_environment, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 1
    said = "distill needs the packages of its extra: pip install 'optimal-quantization[distill]' (there is no pydantic)"
    assert done.stderr.strip().splitlines()[-1].endswith(said)
    assert ("Traceback" in done.stderr) == (command[0] == "-c")


def test_where_letters_are_ascii_alone_the_command_still_works(copied, tiny_command, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main([*tiny_command[3:], "--out", str(copied)]) == 0


@pytest.fixture
def small_disk(tmp_path):
    """A real disk, and the way to give it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk of its own")
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_under_way_is_said_and_with_room_the_run_goes_on(
    small_disk, tiny_command, finished, capsys, monkeypatch
):
    monkeypatch.setattr("distill.runs.run.check_disk", lambda *_: None)  # as if other programs had filled it since
    disk, resize = small_disk
    out = disk / "run"
    command = [*tiny_command[3:], "--out", str(out), "--workers", "1"]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert re.search(r"the disk of \S+ is full: \S+ takes [\d,]+ bytes", err)
    assert "the same command resumes" in err
    assert "Traceback" not in err
    assert not list(out.rglob("*.partial"))
    kept = [path for path in out.rglob("*.safetensors") if ".checkpoints" not in path.parts]
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert times, "something was finished before the disk was full"
    resize("100m")
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    (measured,), (expected,) = (list(folder.glob("evaluate-*/metrics.json")) for folder in (out, finished.folder))
    assert measured.read_bytes() == expected.read_bytes()


def test_a_full_disk_is_a_sentence_and_nothing_finished_is_lost(capsys, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["distill.__main__"], "run", full)
    assert main(["run", "digits", "--out", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert "No space left on device" in printed.err
    assert "the same command resumes" in printed.err
    assert "Traceback" not in printed.err
