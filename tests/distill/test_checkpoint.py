"""Checkpoints: whole or not there, and training that goes on from one ends in the same bits."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.pipeline.checkpoint import EVERY, Checkpoint
from distill.pipeline.store import Store, write_whole


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "checkpoints", "part", write_whole)


STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}


def test_what_is_saved_is_loaded(checkpoint):
    assert checkpoint.load() is None
    checkpoint.save(STATE, {"done": 3})
    tensors, values = checkpoint.load()
    assert values == {"done": 3}
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


def test_one_state_is_kept_and_none_after_the_end(checkpoint, tmp_path):
    for done in range(3):
        checkpoint.save(STATE, {"done": done})
    assert checkpoint.load()[1] == {"done": 2}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    checkpoint.remove()
    assert checkpoint.load() is None
    assert not (tmp_path / "checkpoints").exists()


def test_parts_whose_names_begin_alike_are_kept_apart(tmp_path):
    first, second = (Checkpoint(tmp_path, part, write_whole) for part in ("k1.seed1", "k1.seed10"))
    for checkpoint in (first, second, first):
        checkpoint.save(STATE, {})
    first.remove()
    assert second.load() is not None


def test_a_folder_that_another_part_removes_as_it_is_looked_at(tmp_path, monkeypatch):
    """It is there when mkdir would make it, and gone when mkdir looks whether it is a folder."""
    first, second = (Checkpoint(tmp_path / "checkpoints", part, write_whole) for part in ("k1.seed1", "k1.seed2"))
    (tmp_path / "checkpoints").mkdir()
    is_dir, removed = Path.is_dir, []

    def looked_at(self, *given, **options):
        if self.name == "checkpoints" and not removed:
            removed.append(self)
            second.remove()
        return is_dir(self, *given, **options)

    monkeypatch.setattr(Path, "is_dir", looked_at)
    first.save(STATE, {"done": 3})
    assert removed
    assert first.load()[1] == {"done": 3}


def test_a_folder_that_another_part_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    """A worker that ends a part removes the folder if it is empty, which it is while another has just made it to write there."""
    first, second = (Checkpoint(tmp_path / "checkpoints", part, write_whole) for part in ("k1.seed1", "k1.seed2"))
    mkdir, removed = Path.mkdir, []

    def made(self, *given, **options):
        mkdir(self, *given, **options)
        if len(removed) < 2:
            removed.append(self)
            second.remove()

    monkeypatch.setattr(Path, "mkdir", made)
    first.save(STATE, {"done": 3})
    assert len(removed) == 2
    assert first.load()[1] == {"done": 3}


@pytest.mark.parametrize("harm", ["cut", "flip", "lose", "note", "empty", "elsewhere"])
def test_a_damaged_state_counts_as_none(checkpoint, tmp_path, harm):
    checkpoint.save(STATE, {"done": 3})
    folder = tmp_path / "checkpoints"
    (tensors,), note = folder.glob("*.safetensors"), folder / "part.json"
    data = tensors.read_bytes()
    if harm == "cut":
        tensors.write_bytes(data[:-1])
    elif harm == "flip":
        tensors.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "lose":
        tensors.unlink()
    elif harm == "note":
        note.write_text(note.read_text()[:-5])
    elif harm == "empty":
        note.write_text("[]")
    else:
        note.write_text(json.dumps({**json.loads(note.read_text()), "file": "../../etc/passwd"}))
    assert checkpoint.load() is None


def test_the_time_between_saves_is_that_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(EVERY, "0")
    assert Checkpoint(tmp_path, "part", write_whole).due()
    monkeypatch.setenv(EVERY, "1000")
    assert not Checkpoint(tmp_path, "part", write_whole).due()


def test_sealing_a_part_removes_its_state_and_sweeping_what_was_half_written(tmp_path, fake, record):
    store, stage = Store(tmp_path), fake(parts=("a", "b"))
    for part in ("a", "b"):
        store.checkpoint(stage, part).save(STATE, {})
    store.write(stage, "a", {"a.json": {}}, record)
    assert store.checkpoint(stage, "a").load() is None
    assert store.checkpoint(stage, "b").load() is not None
    half = tmp_path / stage.folder_name / ".checkpoints" / "b.1.safetensors.7.partial"
    half.write_bytes(b"half")
    store.sweep()
    assert not half.exists()
    assert store.checkpoint(stage, "b").load() is not None


# A training with all that has state: dropout and noise from the global generator, batch norm, batches and noise from its own.
TRAIN = """
import sys, time
from pathlib import Path
import torch
from torch import nn
from safetensors.torch import save_file
from distill.models.training import train
from distill.pipeline.checkpoint import Checkpoint, Interrupted, save_on_sigterm
from distill.pipeline.store import write_whole
from distill.recipe import Training

folder, slow = Path(sys.argv[1]), float(sys.argv[2])
save_on_sigterm()
torch.set_num_threads(1)
torch.manual_seed(5)
model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
generator = torch.Generator().manual_seed(1)

told = False

def loss(chosen):
    global told
    if not told:
        print("started", flush=True)
        told = True
    time.sleep(slow)
    noise = torch.randn(len(chosen), 6, generator=generator)
    return nn.functional.cross_entropy(model(x[chosen] + noise), (x[chosen, 0] > 0).long())

checkpoint = Checkpoint(folder / "checkpoints", "part", write_whole)
try:
    options = Training(steps=60, batch=8, learning_rate=0.01)
    train(model, loss, 50, options, generator, lambda f: None, ema=0.9, checkpoint=checkpoint)
except Interrupted:
    sys.exit(143)
save_file(model.state_dict(), folder / "result.safetensors")
"""


def started(folder, slow, environment, every):
    environment = {**environment, EVERY: every, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(folder), str(slow)], env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"started"
    return process


def finish(folder, environment, every="1000"):
    process = started(folder, 0, environment, every)
    assert process.wait(60) == 0
    process.stdout.close()
    return load_file(folder / "result.safetensors")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, clean_environment):
    return finish(tmp_path_factory.mktemp("unbroken"), clean_environment)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def kill_and_finish(folder, environment, kills):
    """Killed at random moments, saving at every step, and at last left to end; the moments, for the message."""
    seed = secrets.randbits(32)
    rng, seen = random.Random(seed), []
    for _ in range(kills):
        process = started(folder, 0.004, environment, "0")
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = Checkpoint(folder / "checkpoints", "part", write_whole).load()
        seen.append(found[1]["done"] if found else 0)
    assert seen == sorted(seen), "nothing that was saved is lost"
    return finish(folder, environment), f"seed {seed}, steps {seen}"


def test_killed_at_random_moments_training_ends_in_the_same_bits(tmp_path, clean_environment, unbroken):
    result, moments = kill_and_finish(tmp_path, clean_environment, 2)
    assert equal(result, unbroken), moments


@pytest.mark.slow
def test_killed_ten_times_training_ends_in_the_same_bits(tmp_path, clean_environment, unbroken):
    result, moments = kill_and_finish(tmp_path, clean_environment, 10)
    assert equal(result, unbroken), moments


def test_a_signal_saves_at_the_next_step_and_training_goes_on_from_it(tmp_path, clean_environment, unbroken):
    process = started(tmp_path, 0.02, clean_environment, "1000")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdout.close()
    _, values = Checkpoint(tmp_path / "checkpoints", "part", write_whole).load()
    assert 0 < values["done"] < 60
    assert equal(finish(tmp_path, clean_environment), unbroken)
