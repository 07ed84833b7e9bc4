"""One writer a run folder: a lock that the system lets go when its holder ends, or a file where the disk has no such locks."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLock, Timeout

from distill.pipeline.safe_path import inside

_WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # what disks without locks say, some network disks among them


class InUse(RuntimeError):
    """Another process is writing to the run folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; raises :class:`InUse` at once where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    end = f"Wait for it to end, or give {folder} to one run alone: another takes a folder of its own with --out"
    with inside(folder, ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InUse(f"{folder} is in use by process {file.read().strip() or 'unknown'}. {end}") from None
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
            with _by_file(folder, inside(folder, ".lock.owner"), end):
                yield
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _by_file(folder: Path, path: Path, end: str) -> Iterator[None]:
    """The same by a file that is there while the folder is held, and stays where its holder is killed."""
    try:
        with SoftFileLock(path, timeout=0):
            yield
    except Timeout:
        pid, host = [*path.read_text().split(), "unknown", "unknown"][:2]
        stale = f"If that process is gone, remove {path}: the disk has no locks that end by themselves"
        raise InUse(f"{folder} is in use by process {pid} on {host}. {end}. {stale}") from None
