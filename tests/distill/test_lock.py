import os
import subprocess
import sys
import time

import pytest

from distill.pipeline.lock import InUse, locked

HOLD = """
import sys, time
from pathlib import Path
from distill.pipeline.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_holder_is_told_who_the_first_is_and_what_to_do(holder, tmp_path):
    with pytest.raises(InUse, match=rf"in use by process {holder.pid}\b.*--out"), locked(tmp_path):
        pass


def test_being_refused_leaves_the_holder_its_lock(holder, tmp_path):
    for _ in range(2):
        with pytest.raises(InUse, match=str(holder.pid)), locked(tmp_path):
            pass


def test_the_lock_of_a_killed_holder_is_free(holder, tmp_path):
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_one_process_cannot_hold_a_folder_twice(tmp_path):
    with locked(tmp_path), pytest.raises(InUse, match=str(os.getpid())), locked(tmp_path):
        pass


def test_the_lock_is_free_after_use_and_after_an_error(tmp_path):
    began = time.monotonic()
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass
    assert time.monotonic() - began < 5, "nothing waits for a lock"


def test_the_folder_is_made(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run").is_dir()
