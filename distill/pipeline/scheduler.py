"""Spread parts over workers: a part may start when all that its stage comes from is complete; the longest way goes first."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from distill.pipeline.inside import inside
from distill.pipeline.places import environments
from distill.pipeline.stage import Stage, ordered
from distill.pipeline.store import Damaged, Store

_ERRORS = "worker-errors.log"
_GRACE = 30.0  # seconds for a worker to save what it trains
_LATE = 2.0  # seconds that the others of a team have for saying more than that one is gone
_REMAKES = 3  # times a part may be found damaged in one run before something else is wrong


Place = Sequence[int | str] | None  # in a team: rank, size, name of the meeting; None alone


class PartFailed(RuntimeError):
    """A part could not be made; everything finished so far is kept."""


class Worker:
    """One worker process and the line of orders and answers to it."""

    def __init__(self, root: Path, errors: Path, environment: Mapping[str, str]) -> None:
        self.log = errors.name
        self._errors, self._asked = errors.open("ab"), False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "distill.worker", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def make(self, stage: Stage, part: str, progress: Callable[[float], None], team: Place = None) -> dict[str, Any]:
        """Have one part made, alone or in a team; returns the worker's last answer."""
        return self.order(stage.folder_name, part, progress, team)

    def order(self, folder: str, part: str, progress: Callable[[float], None], team: Place = None) -> dict[str, Any]:
        """Have one part made of the stage that a folder belongs to; returns the worker's last answer."""
        wanted = {"stage": folder, "part": part, **({"team": team} if team else {})}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                answer = json.loads(line)
                if "progress" not in answer:
                    return answer
                progress(answer["progress"])
        except (BrokenPipeError, ValueError):
            pass
        code = self._process.wait()
        return {
            "error": f"the worker process ended with status {code}"
            + (", killed, perhaps for want of memory" if code == -9 else "")
        }

    def ask_to_end(self) -> None:
        """Let it save what it trains, and end."""
        self._asked = True
        self._process.terminate()

    def stop(self) -> None:
        """See it end: soon if it was asked to, else at once."""
        try:
            self._process.wait(_GRACE if self._asked else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._errors.close()


class AnyWorker(Protocol):
    """Whoever makes parts, wherever. log: the file, in the run's folder, of what its process says of errors."""

    log: str

    def make(self, stage: Stage, part: str, progress: Callable[[float], None], team: Place = None) -> dict[str, Any]: ...
    def ask_to_end(self) -> None: ...


class Watcher:
    """Told what happens; draws it. This one draws nothing."""

    def began(self, stage: Stage, done: int) -> None: ...
    def progress(self, stage: Stage, part: str, fraction: float) -> None: ...
    def made(self, stage: Stage, part: str) -> None: ...
    def remake(self, stage: Stage, part: str) -> None: ...
    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None: ...


def execute(
    stages: Sequence[Stage],
    store: Store,
    workers: int,
    environment: Mapping[str, Any],
    watcher: Watcher,
    *,
    verify: bool,
    others: Sequence[AnyWorker] = (),
) -> None:
    """Make every missing part of ``stages`` (in topological order), and a manifest for every stage that is complete.

    workers: processes started here; ``others`` work beside them.
    """
    board = _Board(stages, store, verify)
    for stage in stages:
        watcher.began(stage, len(stage.parts()) - len(board.missing[stage]))
    for stage in stages:
        if not board.missing[stage] and store.manifest(stage) is not None:
            watcher.finished(stage, store.manifest(stage))
        elif not board.missing[stage]:
            _close(stage, board, store, environment, watcher, Counter())
    if any(board.missing.values()):
        _work(board, store, workers, environment, watcher, others)


class _Board:
    """What is missing, and what may start."""

    def __init__(self, stages: Sequence[Stage], store: Store, verify: bool) -> None:
        self.stages = list(stages)
        self.missing = {
            stage: [part for part in stage.parts() if not store.holds(stage, part, verify=verify)] for stage in stages
        }
        self.running: dict[Stage, set[str]] = {stage: set() for stage in stages}
        depth: dict[Stage, int] = dict.fromkeys(stages, 0)
        for stage in reversed(self.stages):
            for parent in stage.parents:
                depth[parent] = max(depth.get(parent, 0), depth[stage] + 1)
        self._order = sorted(self.stages, key=lambda stage: -depth[stage])
        self._before = {stage: ordered(stage)[:-1] for stage in stages}

    def next(self) -> tuple[Stage, str] | None:
        """A part that may start now."""
        for stage in self._order:
            idle = [part for part in self.missing[stage] if part not in self.running[stage]]
            if idle and not any(self.missing[ancestor] for ancestor in self._before[stage]):
                return stage, idle[0]
        return None

    def find(self, folder: str) -> Stage:
        return next(stage for stage in self.stages if stage.folder_name == folder)


@dataclass(frozen=True)
class _Answer:
    """What a worker said, and when."""

    content: dict[str, Any]
    at: float

    @property
    def order(self) -> tuple[int, float]:
        """Damage before errors that follow from it, a process's death before what its team says of it, then who spoke first."""
        died = "ended with status" in self.content.get("error", "")
        return (0 if "damaged" in self.content else 1 if died else 2), self.at


def _answered(underway: "Mapping[Future[_Answer], tuple[AnyWorker, _Order]]") -> list[Future[_Answer]]:
    """The answers that are there, causes before what follows from them."""
    done = wait(underway, return_when=FIRST_COMPLETED).done
    if any("error" in future.result().content for future in done):
        # What failed first may be told last: those who trained together with it notice at once.
        orders = {underway[future][1] for future in done}
        done = wait([future for future, (_, order) in underway.items() if order in orders], timeout=_LATE).done
    return sorted(done, key=lambda future: future.result().order)


def _timed(make: Callable[[], dict[str, Any]]) -> _Answer:
    return _Answer(make(), time.monotonic())


@dataclass(eq=False)
class _Order:
    """A part given to a worker, or to several as a team."""

    stage: Stage
    part: str
    waited_for: int = 0
    failed: bool = False

    def places(self) -> list[Place]:
        """What each of its workers is told of its place; nothing to one alone."""
        self.waited_for = size = self.stage.processes
        name = uuid.uuid4().hex
        return [[rank, size, name] for rank in range(size)] if size > 1 else [None]


def _work(
    board: _Board,
    store: Store,
    workers: int,
    environment: Mapping[str, Any],
    watcher: Watcher,
    others: Sequence[AnyWorker],
) -> None:
    # No more than there is work for, but a whole team, since a part of one may be found damaged.
    teams = max(stage.processes for stage in board.stages)
    workers = min(workers, max(sum(len(parts) * stage.processes for stage, parts in board.missing.items()), teams))
    device = "cuda" if any(stage.device == "cuda" for stage in board.stages) else "cpu"
    remakes: Counter[tuple[str, str]] = Counter()
    underway: dict[Future[_Answer], tuple[AnyWorker, _Order]] = {}
    # The staff is dismissed before the pool waits for the threads that listen to it.
    with (
        ThreadPoolExecutor(workers + len(others)) as pool,
        ExitStack() as leaving,
        _staff(store.root, workers, device) as staff,
    ):
        for other in others:
            leaving.callback(other.ask_to_end)
        free: list[AnyWorker] = [*others, *staff]
        while any(board.missing.values()):
            # A part that takes a team waits until all of it is free, and nothing overtakes it.
            while (task := board.next()) and len(free) >= task[0].processes:
                order = _Order(*task)
                board.running[order.stage].add(order.part)
                for place in order.places():
                    worker = free.pop()
                    told = partial(watcher.progress, *task)
                    made = pool.submit(_timed, partial(worker.make, *task, told, *([place] if place else [])))
                    underway[made] = worker, order
            if task and not underway:
                raise PartFailed(f"{task[0].title}, part {task[1]}, takes {task[0].processes} workers; there are {len(free)}")
            for future in _answered(underway):
                worker, order = underway.pop(future)
                stage, part = order.stage, order.part
                free.append(worker)
                order.waited_for -= 1
                answer = future.result().content
                if "error" in answer:
                    raise PartFailed(f"{stage.title}, part {part}: {answer['error']}. Details: {store.root / worker.log}")
                if "damaged" in answer:
                    folder, name = answer["damaged"]
                    _remake(board, store, board.find(folder), name, remakes, watcher)
                    if "ended" in answer:
                        raise PartFailed(f"{folder}/{name} was damaged, which {stage.title} found under way; it is made anew")
                order.failed = order.failed or "made" not in answer
                if order.waited_for:
                    continue
                board.running[stage].discard(part)
                if order.failed:
                    continue
                board.missing[stage].remove(part)
                watcher.made(stage, part)
                if not board.missing[stage]:
                    _close(stage, board, store, environment, watcher, remakes)


def _close(
    stage: Stage,
    board: _Board,
    store: Store,
    environment: Mapping[str, Any],
    watcher: Watcher,
    remakes: Counter[tuple[str, str]],
) -> None:
    """Write the manifest of a stage whose parts are all there."""
    try:
        store.finish(stage, environment)
    except Damaged as damage:
        _remake(board, store, board.find(damage.folder), damage.part, remakes, watcher)
    except ValueError as error:
        raise PartFailed(f"{stage.title}: {error}") from None
    else:
        watcher.finished(stage, store.manifest(stage))


def _remake(board: _Board, store: Store, stage: Stage, part: str, remakes: Counter[tuple[str, str]], watcher: Watcher) -> None:
    """Have a damaged part made anew, unless another worker found the same damage already."""
    if part in board.missing[stage]:
        return
    remakes[stage.folder_name, part] += 1
    if remakes[stage.folder_name, part] > _REMAKES:
        raise PartFailed(f"{stage.folder_name}/{part} is damaged again and again; is the disk at fault?")
    store.discard(stage, part)
    board.missing[stage].append(part)
    watcher.remake(stage, part)


@contextmanager
def _staff(root: Path, workers: int, device: str) -> Iterator[list[Worker]]:
    """Workers, stopped at the end whatever happens; the log of their errors stays if there is anything in it."""
    errors = inside(root, _ERRORS)
    errors.write_bytes(b"")
    staff: list[Worker] = []
    try:
        for place in environments(workers, device):
            staff.append(Worker(root, errors, place))
        yield list(staff)
    finally:
        for worker in staff:
            worker.ask_to_end()
        for worker in staff:
            worker.stop()
        if not errors.stat().st_size:
            errors.unlink()
