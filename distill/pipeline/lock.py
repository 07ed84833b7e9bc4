"""One writer a run folder: a lock that the system lets go when its holder ends, or a file where the disk has no such locks."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import SoftFileLock, Timeout

from distill.pipeline.safe_path import inside

_WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # what disks without locks say, some network disks among them


class InUse(RuntimeError):
    """Another process is writing to the run folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; raises :class:`InUse` at once where another process does.

    A file that says who holds it stays where its holder is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner, stale = inside(folder, ".lock"), ""
    with ExitStack() as held:
        try:
            file = held.enter_context(owner.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _WITHOUT:
                    raise
                owner = inside(folder, ".lock.owner")
                stale = f". If that process is gone, remove {owner}: the disk has no locks that end by themselves"
                held.enter_context(SoftFileLock(owner, timeout=0))
        except (BlockingIOError, Timeout):
            who = " on ".join(owner.read_text().split()[:2]) or "unknown"
            end = f"Wait for it to end, or give {folder} to one run alone: another takes a folder of its own with --out"
            raise InUse(f"{folder} is in use by process {who}. {end}{stale}") from None
        if not stale:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield
