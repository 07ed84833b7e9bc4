"""Who reads shards, threads, processes or machines, changes no bit of an answer."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest

import quantization as qz


@pytest.fixture
def files(tmp_path, rng):
    """Names of files with points, and with their weights, of shards of several sizes."""
    names = []
    for i, n in enumerate((4000, 1, 2500, 700, 3000)):
        names.append((str(tmp_path / f"x{i}.npy"), str(tmp_path / f"w{i}.npy")))
        np.save(names[-1][0], rng.normal(size=(n, 3)) + 3 * rng.integers(4, size=(n, 1)))
        np.save(names[-1][1], rng.random(n))
    return [list(each) for each in zip(*names, strict=True)]


def same_bits(one, other):
    for found, expected in [(one, other), (one.trace, other.trace)]:
        for name in ("distortion", "stationarity"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.weights, other.weights)


@contextmanager
def dask():
    """Processes of Dask, which is not installed everywhere."""
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client.get_executor()


@contextmanager
def ray():
    """Ray's pool on a cluster of its own."""
    library, pools = pytest.importorskip("ray"), pytest.importorskip("ray.util.multiprocessing")
    library.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    try:
        yield pools.Pool(2)
    finally:
        library.shutdown()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ThreadPoolExecutor(3),
        lambda: ThreadPool(2),
        lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn")),
        pytest.param(dask, marks=pytest.mark.slow),
        pytest.param(ray, marks=[pytest.mark.slow, pytest.mark.xdist_group("ray")]),
    ],
    ids=["threads", "multiprocessing", "processes", "dask", "ray"],
)
def test_the_executor_changes_no_bit(files, make):
    alone = qz.quantize(qz.Shards(*files), 6, rng=3)
    with make() as executor:
        shards = qz.Shards(*files, executor=executor)
        same_bits(qz.quantize(shards, 6, rng=3), alone)
        assert float(qz.distortion(shards, alone)) == alone.distortion


MPI = """
import sys
import quantization as qz
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    points, weights, answer = sys.argv[1].split(), sys.argv[2].split(), sys.argv[3]
    with MPIPoolExecutor() as executor:
        qz.quantize(qz.Shards(points, weights, executor=executor), 6, rng=3).save(answer)
"""


@pytest.mark.slow
def test_processes_of_mpi_change_no_bit(files, tmp_path):
    pytest.importorskip("mpi4py")
    if not shutil.which("mpiexec"):
        pytest.skip("needs mpiexec")
    (tmp_path / "script.py").write_text(MPI)
    as_root = {f"{name}_ALLOW_RUN_AS_ROOT{more}": "1" for name in ("OMPI", "PRTE") for more in ("", "_CONFIRM")}
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(tmp_path / "script.py")]
    subprocess.run(
        [*command, *(" ".join(map(str, names)) for names in files), str(tmp_path / "answer")],
        env=os.environ | as_root | {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}, check=True, timeout=300,
    )  # fmt: skip
    same_bits(qz.Solution.load(tmp_path / "answer"), qz.quantize(qz.Shards(*files), 6, rng=3))


def test_threads_change_no_bit(files, monkeypatch):
    answers = []
    for threads in ("1", "2", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        answers.append(qz.quantize(qz.Shards(*files), 6, rng=3))
    for answer in answers[1:]:
        same_bits(answer, answers[0])
