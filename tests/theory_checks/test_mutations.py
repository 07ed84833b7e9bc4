"""Solvers broken on purpose are noticed, and every way of breaking them still fits the solvers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

from benchmarks import mutations  # noqa: E402

DEFECTS = [name for name in mutations.MUTATIONS if name != "none"]


@pytest.mark.parametrize("name", DEFECTS)
def test_every_patch_fits_and_changes_its_results(name):
    example = mutations.MUTATIONS[name].example
    whole = example()
    with mutations.broken(name):
        changed = example()
    assert whole
    assert [i for i, pair in enumerate(zip(whole, changed, strict=True)) if np.array_equal(*pair)] == []
    assert all(map(np.array_equal, whole, example()))  # and nothing of it is left


def test_there_are_twenty_defects():
    assert len(DEFECTS) == 20


def test_a_patch_of_something_that_is_gone_is_an_error(monkeypatch):
    gone = mutations.Defect("something that is gone", lambda: [(np, "no_such_function", None)], list)
    monkeypatch.setitem(mutations.MUTATIONS, "gone", gone)
    with pytest.raises(AttributeError, match="no_such_function"), mutations.broken("gone"):
        pass


@pytest.mark.slow
def test_every_defect_is_noticed():
    command = [sys.executable, "-m", "benchmarks.mutations", "--processes", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
