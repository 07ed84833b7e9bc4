"""Data that no memory holds: same bits from any pool, and anonymous memory that does not grow with the file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def run(*options):
    work = [sys.executable, "-m", "benchmarks.out_of_core", *map(str, options)]
    return subprocess.run(work, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_it_refuses_where_little_is_free(tmp_path):
    done = run("--gigabytes", 1e6, "--folder", tmp_path)
    assert done.returncode == 2
    assert "1e+06 GB need 3000000" in done.stderr


@pytest.mark.parametrize(
    ("gigabytes", "processes"),
    [(0.05, []), pytest.param(2.0, [1, 2, 4], marks=pytest.mark.slow)],
)
def test_memory_stays_flat_and_bits_the_same(tmp_path, gigabytes, processes):
    if shutil.disk_usage(tmp_path).free < 3e9 * gigabytes:
        pytest.skip("too little is free on this disk")
    done = run("--gigabytes", gigabytes, "--codes", 32, "--rounds", 1, "--processes", *processes, "--folder", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 2 + len(processes)
    assert all(row["same"] for row in rows)
    assert max(row["anonymous"] for row in rows) < 200e6  # of each process, the interpreter and libraries included
    assert not list(tmp_path.iterdir())
