"""One writer a run folder: a lock that the system lets go when its holder ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.pipeline.inside import inside


class InUse(RuntimeError):
    """Another process is writing to the run folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; raises :class:`InUse` at once where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with inside(folder, ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise InUse(
                f"{folder} is in use by process {holder}. Wait for it to end, or give this run a folder of its own with --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
