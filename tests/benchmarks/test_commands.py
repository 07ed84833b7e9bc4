"""Every benchmark can be run: its help is printed; tables of the solvers and of barycenters are made of tiny works."""

import sys
from importlib import import_module

import numpy as np
import pytest

from benchmarks.barycenters import __main__ as barycenters
from benchmarks.barycenters.work import Work as BarycenterWork
from benchmarks.solvers import __main__ as solvers
from benchmarks.solvers import contenders
from benchmarks.solvers.work import Problem, Work

COMMANDS = (
    "barycenters.__main__",
    "coresets",
    "efficientnet_lite0",
    "encode_memory",
    "false_alarms",
    "gaussian_grids",
    "gpu_quantize_many",
    "gpu_throughput",
    "imagenette",
    "mutations",
    "out_of_core",
    "shapes.__main__",
    "solvers.__main__",
    "student_loop",
    "transport",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "restarts"), [(1, 1), (2, 3)], ids=["one problem", "restarts"])
def test_table_of_the_solvers(count, restarts, monkeypatch):
    monkeypatch.setattr(contenders, "THREADS", 1)  # of others, which would wait for each other on a busy machine
    pytest.importorskip("sklearn")
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    points = rng.standard_normal((count, 300, 2), dtype=np.float32)
    problems = [Problem(x, [x[rng.choice(300, 4, replace=False)] for _ in range(restarts)]) for x in points]
    rows = solvers.table(Work("tiny", "tiny", 3, 1.0, lambda: problems), 1, lambda: None).split("\n")[6:]
    assert len(rows) == (count > 1) + 1 + len(solvers.PEERS)
    # Lloyd's steps are the same whoever takes them, so that the best of the same starts has the same distortion.
    lloyd = [row for row in rows if "MiniBatch" not in row and "faiss" not in row]
    assert {row.split("|")[4].strip().lstrip("+-") for row in lloyd} == {"0.000%"}


def test_table_of_barycenters():
    rng = np.random.default_rng(0)
    work = BarycenterWork("tiny", "tiny", 3, (0,), 1, lambda seed: list(rng.normal(size=(2, 80, 2))), "none")
    (row,) = barycenters.table(work, lambda: None).split("\n")[6:]
    uniform, free = (float(cell.split("%")[0]) for cell in row.split("|")[-6:-4])
    assert free <= uniform  # whose solution free weights begin at
