import errno
import fcntl
import os
import platform
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


@pytest.fixture
def without_locks(monkeypatch):
    """A disk without flock, as some network disks are."""

    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_on_a_disk_without_locks_a_file_says_who_holds_the_folder(without_locks, tmp_path):
    with locked(tmp_path):
        with (
            pytest.raises(InUse, match=rf"in use by process {os.getpid()} on {platform.node()}.*--out.*remove .*owner"),
            locked(tmp_path),
        ):
            pass
        assert (tmp_path / ".lock.owner").exists()
    with locked(tmp_path):
        pass
    assert not (tmp_path / ".lock.owner").exists()


def test_on_a_disk_without_locks_the_file_of_a_process_that_is_gone_is_no_hindrance(without_locks, tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    (tmp_path / ".lock.owner").write_text(f"{gone.stdout.strip()}\n{platform.node()}\n")
    with locked(tmp_path):
        pass


def test_a_file_of_another_machine_is_explained(without_locks, tmp_path):
    (tmp_path / ".lock.owner").write_text("17\nelsewhere\n")
    with (
        pytest.raises(InUse, match=r"process 17 on elsewhere.*If that process is gone, remove .*\.lock\.owner"),
        locked(tmp_path),
    ):
        pass


def test_other_errors_of_a_lock_are_told(monkeypatch, tmp_path):
    def refuse(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass
