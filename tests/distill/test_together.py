"""Several processes that train one student: the steps are those of one process, up to the order of sums."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from distill.pipeline.checkpoint import EVERY
from distill.pipeline.team import ALONE, Team

# A student of 17 images in batches of 8: the last batch of an epoch is one image, of which two processes can't both have a share.
TRAIN = """
import os, sys, time
from pathlib import Path
import torch
from torch import nn
from safetensors.torch import save_file
from distill.models.student import Passes, hard_targets, learn
from distill.pipeline.checkpoint import Checkpoint, Interrupted, save_on_signals
from distill.pipeline.store import write_whole
from distill.pipeline.team import Left, Team
from distill.protocols import Augmentation, Protocol

folder, rank, size, slow = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
save_on_signals()
torch.set_num_threads(1)
images = torch.randint(256, (17, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
weights = torch.linspace(0.5, 1.5, 17, dtype=torch.float64)
mixing = Augmentation(crop=(0.5, 1.0), flip=True, cutmix=1.0)
length = {"steps": 12} if sys.argv[5] == "steps" else {"epochs": 4}
rules = Protocol("mine", batch=8, augmentation=mixing, labels="hard", temperature=1.0, evaluations=1, **length)
torch.manual_seed(3 + rank)  # processes begin apart; the first one's weights are the student's
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))
device = torch.device("cpu")
passes = Passes(images, weights, rules, 16, 0, device)
blend = hard_targets(torch.arange(17) % 4, 4, device)
seen = []

def targets(batch):
    seen.extend(batch.first.tolist())
    time.sleep(max(slow, 0))
    return blend(batch)

team = Team(rank, size, folder / "meeting")
if slow == -1 and rank == 1:  # an error before the meeting
    team.leave()
    sys.exit(3)
checkpoint = Checkpoint(folder / ("checkpoints" if slow != -2 or rank == 0 else "none"), "part", write_whole, team)
look = lambda model: {"top1": 0.0, "top5": 0.0}
tell = lambda fraction: print(fraction, flush=True)
try:
    learn(model, passes, weights, rules, targets, look, tell, student="net", ipc=1, checkpoint=checkpoint, team=team)
except Interrupted:
    sys.exit(143)
except Left:
    sys.exit(3)
except RuntimeError as error:
    os._exit(4 if "different checkpoints" in str(error) or slow == -2 else 5)
save_file({**model.state_dict(), "seen": torch.tensor(seen)}, folder / f"result{rank}.safetensors")
"""


@pytest.fixture
def start(clean_environment):
    def started(folder, size, slow=0.0, length="epochs", only=None):
        folder.mkdir(exist_ok=True)
        (folder / "meeting").unlink(missing_ok=True)
        environment = {**clean_environment, EVERY: "1000", "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-c", TRAIN, str(folder)]
        return [
            subprocess.Popen([*words, str(rank), str(size), str(slow), length], env=environment, stdout=subprocess.PIPE)
            for rank in (range(size) if only is None else [only])
        ]

    return started


def test_who_waits_for_one_that_will_not_come_leaves(tmp_path, start):
    first, second = start(tmp_path / "run", 2, slow=-1.0)
    assert second.wait(60) == 3
    second.stdout.close()
    assert ended([first]) == [3]


def test_who_waits_hears_signals(tmp_path, start):
    (tmp_path / "run").mkdir()
    alone = start(tmp_path / "run", 2, only=0)[0]
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "meeting").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    alone.send_signal(signal.SIGTERM)
    assert alone.wait(10) == 128 + signal.SIGTERM
    alone.stdout.close()


def test_processes_that_hold_other_checkpoints_are_told_apart(tmp_path, start):
    processes = start(tmp_path / "run", 2, slow=0.1)
    assert processes[0].stdout.readline()
    processes[0].send_signal(signal.SIGTERM)
    assert ended(processes) == [143, 143]
    first, second = start(tmp_path / "run", 2, slow=-2.0)  # the second finds no checkpoint
    assert {first.wait(60), second.wait(60)} == {4}
    first.stdout.close(), second.stdout.close()


def ended(processes):
    codes = [process.wait(120) for process in processes]
    for process in processes:
        process.stdout.close()
    return codes


@pytest.mark.parametrize("length", ["epochs", "steps"])
def test_three_processes_take_the_steps_of_one(tmp_path, start, length):
    runs = {}
    for size in (1, 3):
        assert ended(start(tmp_path / str(size), size, length=length)) == [0] * size
        runs[size] = [load_file(tmp_path / str(size) / f"result{rank}.safetensors") for rank in range(size)]
    (alone,), together = runs[1], runs[3]
    for name, tensor in alone.items():
        if name != "seen":
            # Steps of 1e-3 at most; sums in another order move them by rounding alone.
            torch.testing.assert_close(together[0][name], tensor, rtol=1e-4, atol=1e-6)
            assert all(torch.equal(each[name], together[0][name]) for each in together), "all hold the same student"
    # Each image of a batch is one process's; no share is empty, as what is left of a pass joins the batch before.
    whole, spread = alone["seen"].tolist(), [image for each in together for image in each["seen"].tolist()]
    assert sorted(spread) == sorted(whole)


def test_a_signal_to_one_saves_and_ends_all_and_they_go_on_to_the_same_bits(tmp_path, start):
    assert ended(start(tmp_path / "unbroken", 2)) == [0, 0]
    processes = start(tmp_path / "broken", 2, slow=0.1)
    assert processes[0].stdout.readline()  # a step is done
    processes[1].send_signal(signal.SIGTERM)
    assert ended(processes) == [143, 143]
    assert list((tmp_path / "broken" / "checkpoints").glob("*.safetensors"))
    assert ended(start(tmp_path / "broken", 2)) == [0, 0]
    first, second = (load_file(tmp_path / name / "result0.safetensors") for name in ("unbroken", "broken"))
    assert len(second.pop("seen")) < len(first.pop("seen"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_the_whole_in_order_and_even(count, size):
    shares = [list(range(count)[Team(rank, size).share(count)]) for rank in range(size)]
    assert [one for share in shares for one in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert list(range(count)[ALONE.share(count)]) == list(range(count))


@pytest.fixture
def tiny_pairs(tiny_command):
    """The tiny run with two processes a student."""
    return [*tiny_command, "--set", "train.processes=2", "--set", 'methods=["ddoq", "random"]', "--set", "select.k=[3]"]


def figures(folder):
    (path,) = folder.glob("evaluate-*/metrics.json")
    return path.read_text()


def test_a_run_of_pairs_by_two_workers_and_under_torchrun(tiny_pairs, clean_environment, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *tiny_pairs[1:]]
    for name, command in (("workers", [*tiny_pairs, "--workers", "2"]), ("ranks", torchrun)):
        command = [*command, "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=clean_environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        assert not list((tmp_path / name).glob("**/*.meeting"))
    assert figures(tmp_path / "workers") == figures(tmp_path / "ranks")


def test_too_few_workers_for_a_student_are_refused_before_work(tiny_pairs, clean_environment, tmp_path):
    command = [*tiny_pairs, "--workers", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=clean_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "train.processes = 2 is a student's number of workers, and there are 1" in done.stderr
    assert not (tmp_path / "run").exists()
