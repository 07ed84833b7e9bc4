"""Have what is missing made: a part may start when all that its stage comes from is complete; the longest way goes first."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import closing
from pathlib import Path
from typing import Any

from distill.engines.worker import LOG
from distill.pipeline.engine import Engine, PartFailed
from distill.pipeline.safe_path import inside
from distill.pipeline.stage import Stage, ordered
from distill.pipeline.store import ChecksumMismatch, Store

_AGAIN = 3  # times that a part may lose its worker, or be found damaged, in one run before something else is wrong
_PAUSE = 0.1  # seconds between looks for workers that are free
_PATIENCE = 600.0  # seconds to wait for workers while nothing is made


class Watcher:
    """Told what was chosen and how far stages have come; draws it. This one draws nothing."""

    def chose(self, sentence: str) -> None: ...
    def moved(self, stage: Stage, made: int, under_way: float) -> None: ...
    def remake(self, stage: Stage, part: str) -> None: ...
    def finished(self, stage: Stage, took: str) -> None: ...


def execute(board: "Board", start: Callable[[int], Engine]) -> None:
    """Make every missing part, and a manifest for every stage that is complete.

    start: gives an engine, for no more workers than a number; called if anything is missing.
    """
    if not any(board.missing.values()):
        return
    log = inside(board.store.root, LOG)
    log.write_bytes(b"")
    wanted = sum(len(parts) * stage.processes for stage, parts in board.missing.items())
    try:
        # For a whole group at least, since a part of one may be found damaged.
        with closing(start(max([wanted, *(stage.processes for stage in board.missing)]))) as engine:
            _work(board, engine, log)
    finally:
        if not log.stat().st_size:
            log.unlink()


class Board:
    """What is missing of stages in topological order, what is under way and how far, and what may start."""

    def __init__(
        self, stages: Sequence[Stage], store: Store, environment: Mapping[str, Any], watcher: Watcher, *, verify: bool
    ) -> None:
        self.store, self._environment, self._watcher = store, environment, watcher
        self.missing = {
            stage: [part for part in stage.parts() if not store.holds(stage, part, verify=verify)] for stage in stages
        }
        self.running: dict[Stage, dict[str, float]] = {stage: {} for stage in stages}
        self._cached, self._remakes = {stage for stage in stages if not self.missing[stage]}, Counter[tuple[str, str]]()
        depth: dict[Stage, int] = dict.fromkeys(stages, 0)
        for stage in reversed(stages):
            for parent in stage.parents:
                depth[parent] = max(depth.get(parent, 0), depth[stage] + 1)
        self._order = sorted(stages, key=lambda stage: -depth[stage])
        self._before = {stage: ordered(stage)[:-1] for stage in stages}
        for stage in stages:
            self._moved(stage)
            if not self.missing[stage]:
                self.close(stage)

    def next(self) -> tuple[Stage, str] | None:
        """A part that may start now."""
        for stage in self._order:
            idle = [part for part in self.missing[stage] if part not in self.running[stage]]
            if idle and not any(self.missing[ancestor] for ancestor in self._before[stage]):
                return stage, idle[0]
        return None

    def progress(self, stage: Stage, part: str, fraction: float) -> None:
        if part in self.running[stage]:  # else it comes late
            self.running[stage][part] = fraction
            self._moved(stage)

    def made(self, stage: Stage, part: str) -> None:
        """Take a part as made, and close its stage with the last."""
        self.missing[stage].remove(part)
        self._moved(stage)
        if not self.missing[stage]:
            self.close(stage)

    def close(self, stage: Stage) -> None:
        """Write the manifest of a stage whose parts are all there, unless they were there with one."""
        try:
            if stage not in self._cached or self.store.manifest(stage) is None:
                self.store.finish(stage, self._environment)
        except ChecksumMismatch as damage:
            self.remake(damage)
        except ValueError as error:
            raise PartFailed(f"{stage.title}: {error}") from None
        else:
            manifest = self.store.manifest(stage)
            took = "from cache" if stage in self._cached else f"{manifest['wall_s']:.1f} s" if manifest else ""
            self._watcher.finished(stage, took)

    def remake(self, damage: ChecksumMismatch) -> None:
        """Have a damaged part made again, unless another worker found the same damage already."""
        stage = next(stage for stage in self.missing if stage.folder_name == damage.folder)
        if damage.part in self.missing[stage]:
            return
        self._remakes[damage.folder, damage.part] += 1
        if self._remakes[damage.folder, damage.part] > _AGAIN:
            raise PartFailed(f"{damage.folder}/{damage.part} repeatedly does not match its checksum; the disk may be faulty")
        self.store.discard(stage, damage.part)
        self.missing[stage].append(damage.part)
        self._cached.discard(stage)
        self._watcher.remake(stage, damage.part)
        self._moved(stage)

    def _moved(self, stage: Stage) -> None:
        made = len(stage.parts()) - len(self.missing[stage])
        self._watcher.moved(stage, made, sum(self.running[stage].values()))


def _work(board: Board, engine: Engine, log: Path) -> None:
    underway: dict[Future[Any], tuple[Stage, str]] = {}
    losses = Counter[tuple[Stage, str]]()
    last = time.monotonic()
    while any(board.missing.values()):
        # A part that takes several workers waits until all of them are free, and nothing overtakes it.
        while (free := engine.free()) and (task := board.next()) and task[0].processes <= free:
            stage, part = task
            board.running[stage][part] = 0.0
            underway[engine.submit(stage, part, lambda fraction, task=task: board.progress(*task, fraction))] = task
        if underway:
            last = time.monotonic()
        elif (task := board.next()) and time.monotonic() - last > _PATIENCE:
            raise PartFailed(f"{task[0].title}, part {task[1]}, takes {task[0].processes} workers; there are {free}")
        else:
            time.sleep(_PAUSE)
        for future in wait(underway, _PAUSE, FIRST_COMPLETED).done:
            stage, part = underway.pop(future)
            del board.running[stage][part]
            try:
                future.result()
            except ChecksumMismatch as damage:
                board.remake(damage)
            except BrokenExecutor as error:  # another worker goes on from its last checkpoint
                losses[stage, part] += 1
                if losses[stage, part] > _AGAIN:
                    often = f"lost its worker {_AGAIN + 1} times, perhaps because memory ran out"
                    raise PartFailed(f"{stage.title}, part {part}, {often}: {error}. Details: {log}") from None
            except PartFailed as error:
                raise PartFailed(f"{stage.title}, part {part}: {error}") from None
            else:
                board.made(stage, part)
