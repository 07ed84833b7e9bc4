"""The engine of one machine: its workers end with their parent, and one that dies is replaced."""

import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from multiprocessing import active_children
from pathlib import Path

import pytest

from distill.engines.local import LocalEngine
from distill.pipeline import environment
from distill.pipeline.checkpoint import EVERY
from distill.pipeline.engine import PartFailed
from distill.pipeline.store import Store
from tests.distill.test_kills import alive, children, contents, seals


@pytest.fixture
def engine(copied):
    made = LocalEngine(copied, 1, "cpu")
    yield made
    made.close()


def labels(by_title):
    """A stage whose parts are made at once."""
    return by_title["label random"]


def test_a_part_is_made_by_a_process_that_is_kept(copied, by_title, engine):
    stage, store = labels(by_title), Store(copied)
    seen = set()
    for part in stage.parts()[:2]:
        store.discard(stage, part)
        assert engine.free() == 1
        future = engine.submit(stage, part, lambda fraction: None)
        assert engine.free() == 0 or future.done()
        assert future.result(120) is None
        assert store.holds(stage, part)
        seen |= {child.pid for child in active_children()}
    assert len(seen) == 1


def test_a_process_that_died_is_replaced(copied, by_title, engine):
    stage = labels(by_title)
    part = stage.parts()[0]
    engine.submit(stage, part, lambda fraction: None).result(120)
    (worker,) = active_children()
    worker.kill()
    worker.join()
    told = []
    for _ in range(2):  # its end may be noticed only once it is asked for a part
        try:
            told.append(engine.submit(stage, part, lambda fraction: None).result(120))
        except BrokenExecutor:
            continue
        break
    assert told == [None]


def test_what_fails_is_told_with_the_log(tmp_path, fake):
    engine = LocalEngine(tmp_path, 1, "cpu")  # no recipe.json there
    try:
        with pytest.raises(PartFailed, match=r"FileNotFoundError.*recipe\.json.*Details: .*/worker-errors\.log"):
            engine.submit(fake(), "a", lambda fraction: None).result(120)
    finally:
        engine.close()
    assert "recipe.json" in (tmp_path / "worker-errors.log").read_text()


def test_a_closed_engine_leaves_no_process_and_no_open_file(copied, by_title):
    def files():
        return {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}

    LocalEngine(copied, 1, "cpu").close()
    before = files()
    engine = LocalEngine(copied, 1, "cpu")
    assert not active_children(), "none before there is a part"
    engine.submit(labels(by_title), labels(by_title).parts()[0], lambda fraction: None).result(120)
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 5
    assert not active_children()
    deadline = time.monotonic() + 5
    while (left := [name for name in files() - before if not name.startswith("pipe:")]) and time.monotonic() < deadline:
        time.sleep(0.05)  # a thread sees the end of the process
    assert left == []


def test_one_machine_loads_no_ray():
    code = "import sys, distill.__main__, distill.engines.local; print({'ray', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_workers_share_gpus_and_processors(monkeypatch):
    monkeypatch.setattr(environment, "processors", lambda: 16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = environment.environments(4, "cuda")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["3", "5", "3", "5"]
    assert {each["DISTILL_READERS"] for each in found} == {"4"}
    assert all("CUDA_VISIBLE_DEVICES" not in each for each in environment.environments(16, "cpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.gpus() == []


def began(pid):
    """When a process began, in ticks since the machine did; numbers of processes begin again at some time."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return float("inf")


def kill_workers(command, folder, environment, missing, kills):
    """Kill workers of a command at random moments while ``missing`` stages are made; what it says at the end.

    Between two kills a part is made, and the worker that began first is killed, not the one that makes the lost part again: a
    part that loses its worker four times is given up.
    """
    for name in missing:
        for path in folder.glob(f"{name}-*"):
            shutil.rmtree(path)
    seed = secrets.randbits(32)
    rng, killed, made = random.Random(seed), set(), -1
    process = subprocess.Popen(
        [*command, "--out", str(folder), "--workers", "2"],
        env={**environment, EVERY: "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        time.sleep(rng.uniform(0.1, 1.0))
        now = seals(folder)
        if len(killed) < kills and now > made and (workers := [pid for pid in children(process.pid) if alive(pid)]):
            killed.add(victim := min(workers))
            made = now
            os.kill(victim, signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 0, f"moments of seed {seed}: {said}"
    assert killed, "it came to its end before a kill"
    return f"moments of seed {seed}, {len(killed)} killed"


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_while_workers_are_killed_the_run_goes_on_to_the_same_bytes(finished, copied, tiny_command, clean_environment, kills):
    stages = ["train"] if kills == 1 else ["encode", "select", "decode", "label", "train"]
    moments = kill_workers(tiny_command, copied, clean_environment, stages, kills)
    assert contents(copied) == contents(finished.folder), moments


@pytest.mark.slow
def test_ctrl_c_saves_what_is_trained_and_leaves_no_process(tiny_command, clean_environment, tmp_path):
    """As a terminal does: to all processes at once."""
    command = [*tiny_command, "--set", "teacher.steps=5000", "--until", "teacher", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, env={**clean_environment, EVERY: "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("teacher-*/.checkpoints/teacher.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert re.fullmatch(r"Interrupted\. .*resumes\.\n", told), "and no traceback of a worker"
    assert workers
    assert not any(map(alive, workers))
