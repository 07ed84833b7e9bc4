"""The engine of a cluster: an actor of Ray a GPU, or a processor, on any node; several make a part as one process group."""

import os
import platform
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Future
from importlib import import_module
from pathlib import Path
from typing import Any

from distill.engines import worker
from distill.pipeline import checkpoint
from distill.pipeline.engine import PartFailed
from distill.pipeline.environment import ONE_THREAD, READERS, processors, version
from distill.pipeline.process_group import ProcessGroup
from distill.pipeline.safe_path import inside
from distill.pipeline.stage import Stage
from distill.pipeline.store import ChecksumMismatch
from distill.recipe import RecipeError

_GRACE = 30.0  # seconds for actors to save what they train
_ALL = 30.0  # seconds for all actors to begin before the first is given a part
_LATE = 10.0  # seconds that the others of a group have to say more than that one is gone; a lost node is noticed after 4
_SEEN = 10.0  # seconds in which a file must be seen by all nodes
_FAILURES = 3  # times that an actor may fail to begin


class RayEngine:
    """Actors on the cluster that ``RAY_ADDRESS`` names, or on one that Ray starts here for as long as this lasts.

    workers: how many, by default one a GPU or processor that the cluster has, but no more than ``most``. group: how many of them
    the largest part takes. Raises RecipeError where they can't be had, and ``free`` does where a node is not like this process.
    """

    def __init__(self, root: Path, workers: int | None, device: str, most: int, group: int = 1) -> None:
        self._ray, self._ours = _connected(workers)
        self._root, self._probe, self._failures = root, inside(root, f".seen.{uuid.uuid4().hex}"), 0
        # running: a part's actors, and what they will have returned.
        self._running = dict[Future[Any], tuple[list[Any], list[Any]]]()
        self._told = dict[tuple[str, str], Callable[[float], None]]()
        self._starting, self._idle, self._leaving = dict[Any, Any](), list[Any](), list[Any]()  # starting: what it says → actor
        try:
            self._open(workers, "GPU" if device == "cuda" else "CPU", most, group)
        except BaseException:
            self.close()
            raise

    def _open(self, workers: int | None, kind: str, most: int, group: int) -> None:
        have = self._ray.cluster_resources()
        count = min(workers or int(have.get(kind, 0)), most)
        if count < group or not count:
            raise RecipeError(f"a part needs {group} workers with a {kind} each; the cluster has {int(have.get(kind, 0))}")
        affinity = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        here = affinity(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._fractions = import_module("ray.util.queue").Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        readers = max(1, int(have.get("CPU", 1)) // count)
        self._variables = {name: value for name, value in os.environ.items() if name.startswith("DISTILL_")}
        self._variables |= {**ONE_THREAD, READERS: str(readers), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        self._actor = self._ray.remote(max_restarts=0, **{"num_gpus" if kind == "GPU" else "num_cpus": 1})(_Worker)
        self._probe.write_bytes(b"")
        self._deadline = time.monotonic() + _ALL
        for _ in range(count):
            self._start()

    def free(self) -> int:
        for ref in self._done(list(self._starting)):
            self._begun(self._starting.pop(ref), ref)
        for key, fraction in self._fractions.get_nowait_batch(self._fractions.qsize()):
            self._told[key](fraction)
        for future, run in list(self._running.items()):
            self._settle(future, *run)
        return 0 if self._starting and time.monotonic() < self._deadline else len(self._idle)

    def submit(self, stage: Stage, part: str, on_progress: Callable[[float], None]) -> Future[Any]:
        size, key = stage.processes, (stage.folder_name, part)
        actors = [self._idle.pop() for _ in range(size)]
        address = actors[0].address.remote() if size > 1 else ""
        refs = [actor.make.remote(*key, rank, size, address) for rank, actor in enumerate(actors)]
        future = Future[Any]()
        self._running[future], self._told[key] = (actors, refs), on_progress
        return future

    def cancel(self, future: Future[Any]) -> None:
        actors, refs = self._running.pop(future)
        for ref in refs:
            self._ray.cancel(ref)
        self._leaving += actors
        future.set_exception(BrokenExecutor("it was canceled"))

    def close(self) -> None:
        for future in list(self._running):
            self.cancel(future)
        # Who trains ends once it has saved, and the answer of one that ended is an error.
        self._done([actor.address.remote() for actor in self._leaving], _GRACE)
        for actor in [*self._idle, *self._leaving, *self._starting.values()]:
            self._ray.kill(actor)
        for path in self._root.glob(f"{self._probe.name}*"):
            path.unlink(missing_ok=True)
        if self._ours:
            self._ray.shutdown()

    def _start(self) -> None:
        actor = self._actor.remote(self._root, self._fractions)
        self._starting[actor.begin.remote(self._probe.name, _versions(), self._variables)] = actor

    def _begun(self, actor: Any, ref: Any) -> None:
        """Take an actor that has begun as idle; refuse its node, or try again."""
        if error := self._error(ref):
            self._failures += 1
            if isinstance(error, RecipeError) or self._failures > _FAILURES:
                raise error if isinstance(error, RecipeError) else PartFailed(f"workers do not begin: {error}")
            self._start()
            return
        node, answer = self._ray.get(ref)
        if not _appears(self._root / answer):
            raise RecipeError(
                f"what the node {node} writes to {self._root} is not seen here within {_SEEN:.0f} s; the disk keeps old "
                "listings of folders: mount it without (for NFS: lookupcache=none), or give another folder with --out"
            )
        self._idle.append(actor)

    def _done(self, refs: list[Any], timeout: float = 0.0) -> list[Any]:
        return self._ray.wait(refs, num_returns=len(refs), timeout=timeout)[0] if refs else []

    def _settle(self, future: Future[Any], actors: list[Any], refs: list[Any]) -> None:
        """Say what came of a part, if it is known; after an error in a group no process of it is used again."""
        if len(done := self._done(refs)) < len(refs):
            if not any(map(self._error, done)):
                return
            done = self._done(refs, _LATE)
        del self._running[future]
        if not (errors := [error for error in map(self._error, done) if error]):
            self._idle += actors
            future.set_result(None)
            return
        # One that failed alone is the reason of what the others say.
        reason = min(errors, key=lambda error: [ChecksumMismatch, BrokenExecutor, PartFailed].index(type(error)))
        if isinstance(reason, BrokenExecutor) or len(actors) > 1:
            for actor in actors:
                self._ray.kill(actor)
                self._start()
        else:
            self._idle += actors
        future.set_exception(reason)

    def _error(self, ref: Any) -> Exception | None:
        """What an answer that is there says of a failure."""
        errors = self._ray.exceptions
        try:
            self._ray.get(ref)
        except errors.RayTaskError as error:
            known = isinstance(error.cause, ChecksumMismatch | PartFailed | RecipeError)
            return error.cause if known else PartFailed(str(error.cause))
        except errors.RayError as error:
            return BrokenExecutor(str(error).partition("\n")[0])
        return None


class _Worker:
    """An actor: one worker process."""

    def __init__(self, root: Path, fractions: Any) -> None:
        self._root, self._fractions, self._context = root, fractions, import_module("ray").get_runtime_context()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def begin(self, probe: str, versions: str, variables: Mapping[str, str]) -> tuple[str, str]:
        """Become a worker; the names of the node and of a file it wrote. RecipeError where the node is not like the driver's."""
        node, answer = platform.node(), f"{probe}.{uuid.uuid4().hex}"
        if versions != _versions():
            raise RecipeError(f"the node {node} has {_versions()}, and this one {versions}; all nodes must have the same")
        if not _appears(self._root / probe):
            raise RecipeError(f"the node {node} does not see {self._root}; it must lie on a disk that all nodes share")
        os.environ |= variables
        import_module("threadpoolctl").threadpool_limits(1)  # libraries that are loaded have read theirs
        worker.begin(self._root)
        (self._root / answer).write_bytes(b"")
        return node, answer

    def address(self) -> str:
        """Where a process group of which this is the first may meet."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{import_module('ray').util.get_node_ip_address()}:{free.getsockname()[1]}"

    def make(self, folder: str, part: str, rank: int, size: int, address: str) -> None:
        """Have a part made, alone or as one of a group."""

        def tell(fraction: float) -> None:
            if self._context.is_canceled():
                checkpoint.stop()
            if rank == 0:
                self._fractions.actor.put_nowait.remote(((folder, part), fraction))

        worker.make(self._root, folder, part, tell, ProcessGroup(rank, size, address))


def _connected(workers: int | None) -> tuple[Any, bool]:
    """Ray, connected, and whether it was not before."""
    ray = import_module("ray")
    if ray.is_initialized():
        return ray, False
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    address, before = os.environ.get("RAY_ADDRESS"), signal.getsignal(signal.SIGTERM)
    here = {} if address else {"address": "local", "num_cpus": workers or processors(), "include_dashboard": False}
    try:
        if address and (found := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)):  # Ray itself asks for two minutes
            socket.create_connection((found[1], int(found[2])), timeout=5).close()
        ray.init(**here, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise RecipeError(f"no cluster can be used at {address or 'this machine'}: {error}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # which Ray took
    return ray, True


def _versions() -> str:
    return f"Python {platform.python_version()}, distill {version('optimal-quantization')}"


def _appears(path: Path) -> bool:
    """Whether a path is there, or will be soon."""
    deadline = time.monotonic() + _SEEN
    while not (found := path.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
