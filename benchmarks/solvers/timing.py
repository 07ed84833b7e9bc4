"""Wall time and peak memory of a call, apart from each other: who looks at memory takes time from who is looked at."""

import gc
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY = 0.002  # seconds between two looks


@dataclass(frozen=True)
class Timed:
    """What a call returned, and its wall seconds."""

    answer: Any
    seconds: float


def timed(call: Callable[[], Any]) -> Timed:
    """``call()``, timed."""
    gc.collect()
    begun = time.perf_counter()
    answer = call()
    return Timed(answer, time.perf_counter() - begun)


def peak_memory(call: Callable[[], Any]) -> int:
    """How far resident memory rises above what was in use before ``call()``, in bytes, sampled by a thread."""
    gc.collect()
    before, done = _resident(), threading.Event()
    seen = [before]

    def watch() -> None:
        while not done.wait(_EVERY):
            seen.append(_resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()
    return max(seen) - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
