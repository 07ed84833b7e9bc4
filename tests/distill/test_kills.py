"""Killed at random moments, resumed, under other numbers of workers: the same bytes."""

import json
import random
import re
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from distill.pipeline.checkpoint import EVERY


def contents(folder):
    """The bytes of everything that is a function of the recipe: not the seals, manifests and report, which tell the time."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.glob("*-*/*")
        if path.is_file() and path.name != "manifest.json"
    }


def seals(folder):
    return sum(1 for _ in folder.glob("*/.seals/*.json"))


def children(pid):
    with suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        tracker = b"multiprocessing.resource_tracker"  # of the standard library; it ends with the others
        return [int(child) for child in found if tracker not in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def alive(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return not re.search(r"^State:\s+[ZX]", status, re.MULTILINE)


def killed(command, folder, environment, rng, share, processes):
    """Start the command and kill it soon after a random part within ``share``; the workers' ids, or None if it had ended."""
    target = seals(folder) + rng.randint(1, share)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while seals(folder) < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        workers = processes(process.pid)
        return workers if process.poll() is None else None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def kill_and_resume(tiny_command, environment, folder, stages, *, kills, workers, processes=children):
    """processes: of the id of a run, the ids of its workers."""
    seed = secrets.randbits(32)
    rng = random.Random(seed)
    environment = {**environment, EVERY: "0"}  # every training saves at every step, so that kills fall between and within saves
    command = [*tiny_command, "--out", str(folder), "--workers", str(workers)]
    total = sum(len(stage.parts()) for stage in stages)
    times = 0
    for _ in range(kills):
        # Half of the parts are left for what is made between the moment aimed at and the kill.
        orphans = killed(command, folder, environment, rng, max(1, total // (2 * kills)), processes)
        assert orphans is not None, f"it came to its end before a kill; moments of seed {seed}"
        times += 1
        assert 1 <= len(orphans) <= workers, f"moments of seed {seed}"
        deadline = time.monotonic() + 10
        while any(map(alive, orphans)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, orphans)), f"workers outlive the run they belong to; moments of seed {seed}"
    assert times == kills
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"moments of seed {seed}: {done.stderr}"
    assert not list(folder.rglob("*.partial"))
    return f"moments of seed {seed}"


def test_killed_twice_and_with_another_number_of_workers_the_results_are_the_same_bytes(
    finished, tiny_command, clean_environment, tmp_path, stages
):
    moments = kill_and_resume(tiny_command, clean_environment, tmp_path / "run", stages, kills=2, workers=1)
    expected, found = contents(finished.folder), contents(tmp_path / "run")
    assert sum(path.name == "metrics.json" for path in expected) == 1
    assert found.keys() == expected.keys(), moments
    assert [path for path in expected if found[path] != expected[path]] == [], moments


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_without_kills_the_number_of_workers_does_not_change_a_byte(finished, tiny_command, clean_environment, tmp_path, workers):
    command = [*tiny_command, "--out", str(tmp_path / "run"), "--workers", str(workers)]
    subprocess.run(command, env=clean_environment, capture_output=True, check=True)
    assert contents(tmp_path / "run") == contents(finished.folder)


@pytest.mark.slow
def test_killed_ten_times_the_results_are_the_same_bytes(finished, tiny_command, clean_environment, tmp_path, stages):
    moments = kill_and_resume(tiny_command, clean_environment, tmp_path / "run", stages, kills=10, workers=2)
    assert contents(tmp_path / "run") == contents(finished.folder), moments


@pytest.mark.slow
def test_sigterm_saves_what_is_trained_and_the_same_command_goes_on_from_it(tiny_command, clean_environment, tmp_path, stages):
    teacher = next(stage for stage in stages if stage.name == "teacher")
    command = [
        *tiny_command,
        "--set",
        "teacher.steps=2000",
        "--until",
        "teacher",
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, env=clean_environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("validate-*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "the same command resumes" in told
    (note,) = (tmp_path / "run").glob(f"{teacher.name}-*/.checkpoints/teacher.json")
    assert 0 < json.loads(note.read_text())["values"]["done"] < 2000
    assert subprocess.run(command, env=clean_environment, capture_output=True, check=False).returncode == 0
    assert not note.exists()
    assert list((tmp_path / "run").glob("teacher-*/teacher.safetensors"))
