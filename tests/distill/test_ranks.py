"""Several processes under torchrun or accelerate (gloo's store, CPU) make the very bytes that one makes."""

import hashlib
import subprocess
import sys

import pytest

from distill.pipeline import places


@pytest.fixture
def contents():
    """SHA-256 of every artifact, without seals and manifests, which say when and where."""

    def of(folder):
        files = [
            path
            for path in folder.glob("*/*")
            if path.is_file() and path.name != "manifest.json" and path.parent.name != "report"
        ]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return of


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
]


@pytest.fixture
def launched(tiny_command, clean_environment):
    """The tiny run by two processes of a launcher, in a folder."""

    def run(folder, launcher=TORCHRUN):
        command = [sys.executable, "-m", *launcher, *tiny_command[1:], "--out", str(folder)]
        return subprocess.run(command, env=clean_environment, capture_output=True, text=True, check=False, timeout=240)

    return run


@pytest.mark.parametrize("launcher", [TORCHRUN, pytest.param(ACCELERATE, marks=pytest.mark.slow)], ids=["torchrun", "accelerate"])
def test_two_processes_give_the_same_bytes_as_one(launcher, finished, launched, tmp_path, contents):
    done = launched(tmp_path / "run", launcher)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Report: ") == 1, "one of them speaks"
    theirs, ours = contents(finished.folder), contents(tmp_path / "run")
    assert len(ours) > 100
    assert ours == theirs
    assert not list((tmp_path / "run").glob("*.log"))


def test_a_recipe_that_can_not_be_run_ends_all_of_them(launched, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("x")
    done = launched(tmp_path / "run")
    assert done.returncode != 0
    assert "holds other files" in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_workers_share_gpus_and_processors(monkeypatch):
    monkeypatch.setattr(places, "processors", lambda: 16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = places.environments(4, "cuda")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["3", "5", "3", "5"]
    assert {each["DISTILL_READERS"] for each in found} == {"4"}
    assert places.environments(1, "cuda", first=1)[0]["CUDA_VISIBLE_DEVICES"] == "5"
    assert all("CUDA_VISIBLE_DEVICES" not in each for each in places.environments(16, "cpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert places.gpus() == []
