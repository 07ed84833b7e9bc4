"""Several processes that train one student: the steps are those of one process, up to the order of sums."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from distill.pipeline.checkpoint import EVERY
from distill.pipeline.process_group import ALONE, ProcessGroup

# A student of 17 images in batches of 8: the last batch of an epoch is one image, of which two processes can't both have a share.
TRAIN = """
import os, sys, time
from pathlib import Path
import torch
from torch import nn
from safetensors.torch import save_file
from distill.models.student import Passes, hard_targets, train_student
from distill.pipeline.checkpoint import Checkpoint, Interrupted, save_on_sigterm
from distill.pipeline.store import write_whole
from distill.pipeline.process_group import ProcessGroup
from distill.protocols import Augmentation, Protocol

rank, size, slow = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
save_on_sigterm()
torch.set_num_threads(1)
images = torch.randint(256, (17, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
weights = torch.linspace(0.5, 1.5, 17, dtype=torch.float64)
mixing = Augmentation(crop=(0.5, 1.0), flip=True, cutmix=1.0)
device = torch.device("cpu")
blend = hard_targets(torch.arange(17) % 4, 4, device)

def targets(batch):
    seen.extend(batch.first.tolist())
    time.sleep(max(slow, 0))
    return blend(batch)

group = ProcessGroup(rank, size, sys.argv[5])
look = lambda model: {"top1": 0.0, "top5": 0.0}
tell = lambda fraction: print(fraction, flush=True)
for name in sys.argv[6:]:  # students one after another, as starting processes takes most of the time
    folder, seen = Path(sys.argv[1]) / name, []
    folder.mkdir(parents=True, exist_ok=True)
    length = {"steps": 12} if name == "steps" else {"epochs": 4}
    rules = Protocol("mine", batch=8, augmentation=mixing, labels="hard", temperature=1.0, evaluations=1, **length)
    torch.manual_seed(3 + rank)  # processes begin apart; the first one's weights are the student's
    pooled = [nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    model = nn.Sequential(*pooled, nn.Linear(32, 4))
    passes = Passes(images, weights, rules, 16, 0, device)
    checkpoint = Checkpoint(folder / ("checkpoints" if slow != -2 or rank == 0 else "none"), "part", write_whole, group)
    try:
        train_student(
            model, passes, weights, rules, targets, look, tell, student="net", ipc=1, checkpoint=checkpoint, group=group
        )
    except Interrupted:
        os._exit(143)  # as workers do: a group is left in good order by all of it alone
    except RuntimeError as error:
        os._exit(4 if "different checkpoints" in str(error) or slow == -2 else 5)
    save_file({**model.state_dict(), "seen": torch.tensor(seen)}, folder / f"result{rank}.safetensors")
"""


@pytest.fixture
def start(clean_environment):
    def started(folder, size, slow=0.0, names=("epochs",)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {**clean_environment, EVERY: "1000", "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-c", TRAIN, str(folder)]
        return [
            subprocess.Popen([*words, str(rank), str(size), str(slow), address, *names], env=environment, stdout=subprocess.PIPE)
            for rank in range(size)
        ]

    return started


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


def test_three_processes_take_the_steps_of_one(tmp_path, start):
    for size in (1, 3):
        assert ended(start(tmp_path / str(size), size, names=("epochs", "steps"))) == [0] * size
    for name in ("epochs", "steps"):
        alone, *together = (
            load_file(tmp_path / str(size) / name / f"result{rank}.safetensors") for size in (1, 3) for rank in range(size)
        )
        check_same_student(alone, together)


def check_same_student(alone, together):
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
    assert list((tmp_path / "broken" / "epochs" / "checkpoints").glob("*.safetensors"))
    assert ended(start(tmp_path / "broken", 2)) == [0, 0]
    first, second = (load_file(tmp_path / name / "epochs" / "result0.safetensors") for name in ("unbroken", "broken"))
    assert len(second.pop("seen")) < len(first.pop("seen"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_the_whole_in_order_and_even(count, size):
    shares = [list(range(count)[ProcessGroup(rank, size).share(count)]) for rank in range(size)]
    assert [one for share in shares for one in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert list(range(count)[ALONE.share(count)]) == list(range(count))
