"""The engine of a cluster: two nodes of Ray on this machine, with fake GPUs; a run's bytes are those of one machine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill.pipeline.checkpoint import EVERY
from distill.pipeline.environment import ONE_THREAD
from tests.distill.test_kills import alive, children, contents, kill_and_resume

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes with a processor and a fake GPU each, and nobody connected to them."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0123456789abcdef" * 4)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
    yield made
    made.shutdown()


@pytest.fixture
def clustered(cluster, clean_environment):
    tokens = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED")}
    return {**clean_environment, **tokens, "RAY_ADDRESS": cluster.address}


def actors():
    """The processes that make parts for some cluster of this machine, by their titles."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::_Worker" in (title := path.read_bytes()):
                found[int(path.parent.name)] = title
        except OSError:
            continue
    return found


def descendants(pid):
    below = children(pid)
    return below + [each for child in below for each in descendants(child)]


def unmade(folder, names):
    for name in names:
        for path in folder.glob(f"{name}-*"):
            shutil.rmtree(path)


def test_two_nodes_of_which_a_worker_is_killed_give_the_bytes_of_one_machine(finished, copied, tiny_command, clustered):
    unmade(copied, ["decode", "label", "train"])
    process = subprocess.Popen(
        [*tiny_command, "--out", str(copied)], env=clustered, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(copied.glob("decode-*/.seals/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    victim = next(iter(actors()))
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("Report: ") == 1
    assert contents(copied) == contents(finished.folder)
    assert not list(copied.glob(".seen.*"))


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["worker", "node"])
def test_a_student_of_two_processes_of_which_one_is_lost(copied, tiny_command, clustered, cluster, lost):
    """On two nodes; another group goes on from the checkpoint, to the same bytes."""
    unmade(copied, ["train"])
    changes = [
        "--set",
        "train.processes=2",
        "--set",
        'methods=["random"]',
        "--set",
        "comparisons=[]",
        "--set",
        "select.k=[3]",
        "--set",
        "seeds=[0]",
    ]
    command = [*tiny_command, *changes, "--set", "train.steps=60", "--until", "train", "--out", str(copied)]
    done = subprocess.run(command, env=clustered, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "train random          1 parts" in done.stdout
    expected = contents(copied)
    unmade(copied, ["train"])
    process = subprocess.Popen(
        command, env={**clustered, EVERY: "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(copied.glob("train-*/.checkpoints/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    if lost == "worker":
        os.kill(next(pid for pid, title in actors().items() if b"make" in title), signal.SIGKILL)
    else:
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
    err = process.communicate(timeout=240)[1]
    assert process.returncode == 0, err
    assert contents(copied) == expected


GPUS = """
import os, sys, time
from pathlib import Path
import ray
from distill.graph import build
from distill.engines.cluster import RayEngine
from distill.pipeline.format import plain
from distill.recipe import check, RecipeError
import json

root = Path(sys.argv[1])
try:
    RayEngine(root, None, "cuda", 9, 3)
except RecipeError as error:
    print(error)
engine = RayEngine(root, None, "cuda", 9, 2)
while engine.free() < 2:
    time.sleep(0.1)
print("GPUs in use", ray.cluster_resources()["GPU"] - ray.available_resources().get("GPU", 0))
stages = build(check(plain(json.loads((root / "recipe.json").read_bytes()), root)))
stage = next(stage for stage in stages if stage.title == "train random")
told = []
future = engine.submit(stage, stage.parts()[0], told.append)
while not future.done():
    assert engine.free() <= 1 or future.done()
    time.sleep(0.02)
print("made", future.result())
future = engine.submit(next(stage for stage in stages if stage.name == "validate"), "none", told.append)
while not future.done():
    engine.free()
    time.sleep(0.02)
print(type(future.exception()).__name__, future.exception())
engine.close()
print(list(root.glob(".seen.*")))
"""


def test_a_worker_has_a_gpu_and_refusals_are_sentences(copied, clustered):
    done = subprocess.run([sys.executable, "-c", GPUS, str(copied)], env=clustered, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused, gpus, made, failed, left = done.stdout.splitlines()
    assert refused == "a part needs 3 workers with a GPU each; the cluster has 2"
    assert gpus == "GPUs in use 2.0"
    assert made == "made None"
    assert failed.startswith("PartFailed ")
    assert "worker-errors.log" in failed
    assert left == "[]"


def test_an_address_where_no_cluster_answers_is_a_sentence(tiny_command, clustered, tmp_path):
    done = subprocess.run(
        [*tiny_command, "--out", str(tmp_path / "run")],
        env={**clustered, "RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "no cluster can be used at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker(copied, tiny_command, clustered):
    unmade(copied, ["train"])
    process = subprocess.Popen(
        [*tiny_command, "--set", "train.steps=3000", "--out", str(copied)],
        env={**clustered, EVERY: "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(copied.glob("train-*/.checkpoints/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    ours = actors()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, ours)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours
    assert not any(map(alive, ours))


@pytest.mark.slow
def test_a_cluster_of_a_run_s_own_beside_another_gives_the_bytes_of_one_machine(finished, copied, tiny_command, cluster):
    unmade(copied, ["decode", "label", "train"])
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", *ONE_THREAD)}
    command = [*tiny_command, "--engine", "ray", "--workers", "2", "--out", str(copied)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert contents(copied) == contents(finished.folder)


@pytest.mark.slow
def test_a_killed_run_ends_the_cluster_that_was_its_own(copied, tiny_command, clean_environment):
    """But for two agents of Ray's, which wait a minute for an answer of its other processes before they end."""
    unmade(copied, ["train"])
    environment = {name: value for name, value in clean_environment.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [*tiny_command, "--engine", "ray", "--set", "train.steps=3000", "--out", str(copied)],
        env={**environment, EVERY: "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(copied.glob("train-*/.checkpoints/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    ours = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in descendants(process.pid)}
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    for pid in [pid for pid, name in ours.items() if name.startswith(("ray::Dashboard", "ray::RuntimeEnv"))]:
        del ours[pid]
    while (left := [name for pid, name in ours.items() if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(ours) > 5
    assert left == []


@pytest.mark.slow
def test_killed_ten_times_on_two_nodes_the_results_are_the_same_bytes(finished, tiny_command, clustered, tmp_path, stages):
    moments = kill_and_resume(
        tiny_command, clustered, tmp_path / "run", stages, kills=10, workers=2, processes=lambda _: [*actors()]
    )
    assert contents(tmp_path / "run") == contents(finished.folder), moments


@pytest.mark.slow
def test_ctrl_c_saves_what_is_trained_on_the_cluster(copied, tiny_command, clustered):
    unmade(copied, ["train"])
    process = subprocess.Popen(
        [*tiny_command, "--set", "train.steps=3000", "--out", str(copied)],
        env={**clustered, EVERY: "1000"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(busy := [title for title in actors().values() if b"make" in title]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert busy
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "resumes" in told
    assert list(copied.glob("train-*/.checkpoints/*.json"))
    assert not actors()


@pytest.mark.slow
def test_a_node_that_goes_and_comes_changes_no_byte(finished, copied, tiny_command, clustered, cluster):
    unmade(copied, ["encode", "select", "decode", "label", "train"])
    process = subprocess.Popen(
        [*tiny_command, "--out", str(copied)], env={**clustered, EVERY: "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(copied.glob("decode-*/.seals/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    time.sleep(3)
    cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
    err = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 0, err
    assert contents(copied) == contents(finished.folder)


VERSIONS = "Metadata-Version: 2.1\nName: optimal-quantization\nVersion: 0.0.0\n"


def test_a_node_of_another_version_is_refused_before_work_begins(copied, clustered, tiny_command, tmp_path):
    """Here it is the driver that has another."""
    unmade(copied, ["train"])
    other = tmp_path / "other" / "optimal_quantization-0.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(VERSIONS)
    path = os.pathsep.join([str(other.parent), *sys.path])
    done = subprocess.run(
        [*tiny_command, "--out", str(copied)], env={**clustered, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"the node .* has Python .*, distill .*, and this one Python .*, distill 0\.0\.0; .*\n", done.stderr)
    assert not list(copied.glob("train-*"))
    assert not list(copied.glob(".seen.*"))


# Of the folders given a tmpfs hides the first, and of the second a layer of its own takes what is written there.
HIDDEN = """
set -e
mount -t tmpfs none "$1"
mount -t tmpfs none "$3"
mkdir "$3/upper" "$3/work"
mount -t overlay none -o "lowerdir=$2,upperdir=$3/upper,workdir=$3/work" "$2"
exec ray start --head --port "$4" --num-cpus 1 --include-dashboard false --object-store-memory 80000000 --block
"""
REFUSED = """
import sys, time
from pathlib import Path
from distill.engines.cluster import RayEngine
from distill.recipe import RecipeError

for folder in sys.argv[1:]:
    engine = RayEngine(Path(folder), None, "cpu", 1)
    try:
        while not engine.free():
            time.sleep(0.1)
    except RecipeError as error:
        print(error)
    engine.close()
    print(list(Path(folder).glob(".seen.*")))
"""


@pytest.mark.slow
def test_nodes_that_do_not_share_the_folder_are_refused(clustered, tmp_path):
    """A node whose view of the disk is another's: a mount namespace of its own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    unseen, cached, scratch = (tmp_path / name for name in ("unseen", "cached", "scratch"))
    for folder in (unseen, cached, scratch):
        folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**clustered, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    node = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", *map(str, (unseen, cached, scratch, port))], env=environment,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while "Ray runtime started" not in (line := node.stdout.readline()):
            assert line, "the node does not start"
        done = subprocess.run(
            [sys.executable, "-c", REFUSED, str(unseen), str(cached)],
            env={**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        node.terminate()
        node.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    hidden, none, kept, nothing = done.stdout.splitlines()
    assert re.fullmatch(rf"the node .* does not see {unseen}; it must lie on a disk that all nodes share", hidden)
    assert re.fullmatch(rf"what the node .* writes to {cached} is not seen here within 10 s; the disk keeps old listings.*", kept)
    assert none == nothing == "[]"
