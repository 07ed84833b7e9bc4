"""Wall time as ratios within a round, and peak memory, in one process."""

import gc
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Timed:
    """What a call returned, its wall seconds, and how far memory rose above what was in use before (bytes, sampled)."""

    answer: Any
    seconds: float
    memory: int


def timed(call: Callable[[], Any]) -> Timed:
    """``call()``, timed."""
    gc.collect()
    with _watching() as peak:
        begun = time.perf_counter()
        answer = call()
        seconds = time.perf_counter() - begun
    return Timed(answer, seconds, peak[0])


@contextmanager
def _watching() -> Generator[list[int]]:
    """The rise of resident memory, looked at every two milliseconds by a thread."""
    before, peak, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], _resident() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
