"""The engine of one machine: worker processes of the standard library, a GPU each if the run computes on GPUs.

Each worker is a pool of one process: it has an environment of its own, and its end is nobody else's.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, active_children, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

from distill.engines import worker
from distill.pipeline import checkpoint
from distill.pipeline.environment import environments
from distill.pipeline.stage import Stage

_GRACE = 30.0  # seconds for a worker to save what it trains


class LocalEngine:
    """``workers`` processes of this machine, started when there is a part for them."""

    def __init__(self, root: Path, workers: int, device: str) -> None:
        self._root, self._unused, self._workers = root, environments(workers, device), list[_Worker]()

    def free(self) -> int:
        for each in self._workers:
            each.listen()
        return len(self._unused) + sum(each.future.done() for each in self._workers)

    def submit(self, stage: Stage, part: str, on_progress: Callable[[float], None]) -> Future[Any]:
        for each in [each for each in self._workers if each.future.done()]:
            with suppress(BrokenExecutor):
                return each.submit(stage.folder_name, part, on_progress)
            each.end(0.0)  # the process is gone: a new one takes its place
            self._workers.remove(each)
            self._unused.append(each.environment)
        self._workers.append(_Worker(self._root, self._unused.pop(0), stage.folder_name, part, on_progress))
        return self._workers[-1].future

    def cancel(self, future: Future[Any]) -> None:
        next(each for each in self._workers if each.future is future).stop()

    def close(self) -> None:
        for each in self._workers:
            each.stop()
        deadline = time.monotonic() + _GRACE
        for each in self._workers:
            each.end(deadline)


class _Worker:
    """A process, a pipe on which it tells its progress and hears of an end, and the part it makes; with its first one."""

    def __init__(self, root: Path, environment: dict[str, str], folder: str, part: str, tell: Callable[[float], None]) -> None:
        self.environment = environment
        self._pipe, theirs = Pipe()
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (root, theirs))
        others = active_children()
        with _inherited(environment):
            self.submit(folder, part, tell)
        (self._process,) = set(active_children()) - set(others)
        theirs.close()

    def submit(self, folder: str, part: str, on_progress: Callable[[float], None]) -> Future[Any]:
        self.listen()
        self._on_progress = on_progress
        self.future = self._pool.submit(_make, folder, part)
        return self.future

    def listen(self) -> None:
        """Pass on what it told of its progress."""
        with suppress(EOFError, OSError):
            while self._pipe.poll():
                self._on_progress(self._pipe.recv())

    def stop(self) -> None:
        """Let it save what it trains, and end."""
        with suppress(OSError):
            self._pipe.send("stop")

    def end(self, deadline: float) -> None:
        """See it end, by a moment at last."""
        if not wait([self._process.sentinel], max(0.0, deadline - time.monotonic())):
            self._process.kill()
        self._pool.shutdown()
        self._pipe.close()


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """What a process that is started meanwhile finds: variables, Ctrl-C blocked, and no main module, which it would run."""
    main, before = sys.modules["__main__"], dict(os.environ)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(environment)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name in environment:
            del os.environ[name]
        os.environ.update(before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin(root: Path, pipe: Connection) -> None:
    """In the new process."""
    global _root, _pipe
    _root, _pipe = root, pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent to say
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_hear, args=(pipe,), daemon=True).start()
    worker.begin(root)


def _hear(pipe: Connection) -> None:
    """Wait for the word to end; where the parent is gone, end at once, in the middle of a part too."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(0)
    checkpoint.stop()


def _make(folder: str, part: str) -> None:
    worker.make(_root, folder, part, _pipe.send)
