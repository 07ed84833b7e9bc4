"""How many threads to use, and one plain way to share independent work among them: no pool of BLAS or OpenMP beside it."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import cache, lru_cache
from importlib import import_module
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

Answer = TypeVar("Answer")

CACHE_LINES = 16  # float64 numbers between what two threads write all the time: with a cache line in common both would wait
_CGROUPS = Path("/sys/fs/cgroup")
_MOST_GROUPS, _ROWS = 16, 128  # into which rows are cut for threads, and rows of a group at least
_here = threading.local()


def available() -> int:
    """Threads that this thread may use: the least of the CPUs it may run on, its cgroup's quota and ``OMP_NUM_THREADS``.

    1 inside a worker of :func:`parallel_map`, so that parallel work starts no further threads. Asked at every call, the quota
    once a second: a process may be moved.
    """
    if getattr(_here, "worker", False):
        return 1
    limits = [_affinity(), _kept_quota(int(monotonic())), _asked_for(os.environ.get("OMP_NUM_THREADS", ""))]
    return max(1, min(limit for limit in limits if limit))


def parallel_map(
    function: Callable[[int], Answer], count: int, *, sizes: Sequence[float] | None = None, threads: int | None = None
) -> list[Answer]:
    """``[function(0), ..., function(count - 1)]``, computed by as many threads as are available, or ``threads`` at most.

    Each call runs with one thread of BLAS, OpenMP and torch, also where a single thread runs them all, so that the number of
    threads changes no result. sizes: what each call costs, in any unit; the costliest begin first.

    Of several calls that raise, the first by index is reported, and calls that have not begun are dropped. numpy's error
    handling and other context variables are the caller's.
    """
    if getattr(_here, "worker", False):
        return [function(i) for i in range(count)]
    workers = min(available(), count, threads or count)
    with limit_blas_threads():
        if workers <= 1:
            with _as_worker():
                return [function(i) for i in range(count)]
        order = range(count) if sizes is None else sorted(range(count), key=lambda i: -sizes[i])
        return _shared(function, order, workers)


class Stopped(BaseException):
    """Raised in a worker whose results nobody waits for any longer, as its caller was interrupted."""


def check_stopped() -> None:
    """To be called now and then in long work, so that Ctrl-C, which only the main thread hears, also ends it in workers."""
    stop: threading.Event | None = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def parallel_rows(work: Callable[[slice], Answer], count: int) -> list[Answer]:
    """``work`` on slices of so many rows: an even number of them, as threads often are, that ``count`` alone decides."""
    groups = min(_MOST_GROUPS, 2 * max(1, count // (2 * _ROWS)), count)
    return parallel_map(lambda g: work(slice(g * count // groups, (g + 1) * count // groups)), groups)


def _shared(function: Callable[[int], Answer], order: Sequence[int], workers: int) -> list[Answer]:
    """The calls, each taken by the next of the workers that is free; the calling thread, which need not be woken, is one."""
    left, context = deque(order), copy_context()
    answers: dict[int, Answer] = {}
    errors: dict[int, BaseException] = {}
    stop = threading.Event()

    def work() -> None:
        while True:
            try:
                i = left.popleft()
            except IndexError:
                return
            try:
                answers[i] = context.copy().run(function, i)
            except BaseException as error:
                left.clear()
                errors[i] = error
                if not isinstance(error, Exception):
                    stop.set()

    def help_along() -> None:
        _here.stop = stop
        work()

    helpers = [_pool(workers - 1).submit(help_along) for _ in range(workers - 1)]
    try:
        with _as_worker():
            work()
    finally:
        left.clear()
        begun = [helper for helper in helpers if not helper.cancel()]
        try:
            wait(begun)
        except BaseException:
            stop.set()
            wait(begun)
            raise
    if errors:
        raise errors[min(errors, key=lambda i: (isinstance(errors[i], Stopped), i))]
    return [answers[i] for i in range(len(order))]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Kept for the life of the process, as a pass over data may take a millisecond; a forked child makes its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="quantization", initializer=_begin_worker)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _asked_for(value: str) -> int | None:
    """The first number of a list as OpenMP reads it (``"4,2"``), None where there is none."""
    first = value.split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


@lru_cache(maxsize=1)
def _kept_quota(second: int) -> int | None:
    return _quota()


def _quota(root: Path = _CGROUPS, memberships: Path = Path("/proc/self/cgroup")) -> int | None:
    """CPUs' worth of time that this process's control group, or one above it, is held to (cgroup v2 or v1), rounded up."""
    try:
        lines = [line.split(":", 2) for line in memberships.read_text().splitlines()]
    except OSError:
        return None
    limits: list[int] = []
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if not controllers else root / "cpu"
        inside = base / path.lstrip("/")
        for folder in (inside, *inside.parents):
            limits += _quota_of(folder)
            if folder == base:
                break
    return min(limits, default=None)


def _quota_of(folder: Path) -> list[int]:
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return [max(1, ceil(int(quota) / int(period)))]
    return []


class _LimitBlasThreads:
    """One thread for BLAS, OpenMP and, where it is loaded, torch; what was before comes back.

    A thread of BLAS that has done its part of a sum spins for some 30 ms, on a core that other work waits for. So who takes many
    short steps holds this around them all; inside it costs nothing to hold it again. OpenMP's number belongs to the calling
    thread. That of BLAS and torch belongs to the process: callers in several threads share one hold on it, which the last to
    leave lets go.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._held = ExitStack()

    @contextmanager
    def __call__(self) -> Generator[None]:
        if getattr(_here, "worker", False) or getattr(_here, "holds", False):
            yield
            return
        torch: Any = sys.modules.get("torch")
        chosen = 1 if torch is None else int(torch.get_num_threads())  # reads OpenMP's number
        with _limits(limits=1, user_api="openmp"):
            with self._lock:
                if self._inside == 0:
                    self._held.enter_context(_limits(limits=1, user_api="blas"))
                    if torch is not None and chosen > 1:
                        self._held.callback(torch.set_num_threads, chosen)  # which also sets OpenMP's, restored further out
                        torch.set_num_threads(1)
                self._inside += 1
            _here.holds = True
            try:
                yield
            finally:
                _here.holds = False
                with self._lock:
                    self._inside -= 1
                    if self._inside == 0:
                        self._held.close()


limit_blas_threads = _LimitBlasThreads()


def _begin_worker() -> None:
    """OpenMP's number of threads belongs to each thread, so every worker sets its own."""
    _here.worker = True
    _limits(limits=1, user_api="openmp")


def _limits(**options: Any) -> Any:
    return _libraries(len(sys.modules)).limit(**options)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The thread pools of the libraries that are loaded; looked for again, which takes milliseconds, once more modules are."""
    return import_module("threadpoolctl").ThreadpoolController()


@contextmanager
def _as_worker() -> Generator[None]:
    _here.worker = True
    try:
        yield
    finally:
        _here.worker = False
