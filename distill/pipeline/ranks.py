"""Under ``torchrun`` or ``accelerate launch``: rank 0 runs the recipe, and every rank lends it one worker.

Orders and answers are JSON in the store that the launcher keeps; parts go by the run's folder, which all ranks must share. Which
rank makes a part changes nothing in it, so one process or several give the same bytes.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from distill.pipeline.inside import inside
from distill.pipeline.places import environments
from distill.pipeline.scheduler import Place, Worker
from distill.pipeline.stage import Stage

_PAUSE = 0.05  # seconds between looks for an order or an answer


def rank() -> int:
    """This process's number among those that were launched together; 0 alone."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class RemoteWorker:
    """Another rank's worker, seen from rank 0."""

    def __init__(self, store: Any, number: int) -> None:
        self.log = _log(number)
        self._store, self._number, self._orders = store, number, count()
        self._left = threading.Event()

    def make(self, stage: Stage, part: str, progress: Callable[[float], None], team: Place = None) -> dict[str, Any]:
        """Have one part made, alone or in a team; returns the worker's last answer."""
        order, wanted = next(self._orders), {"stage": stage.folder_name, "part": part, "team": team}
        self._store.set(f"order/{self._number}/{order}", json.dumps(wanted))
        for line in count():
            answer = json.loads(_awaited(self._store, f"answer/{self._number}/{order}/{line}", self._left))
            if answer is None:
                break
            if "progress" not in answer:
                return answer
            progress(answer["progress"])
        return {"error": f"rank {self._number} was sent home"}

    def ask_to_end(self) -> None:
        """Send it home; what it is making, a signal of the launcher's ends."""
        self._store.set(f"order/{self._number}/{next(self._orders)}", "null")
        self._left.set()


def others() -> list[RemoteWorker]:
    """The workers of the other ranks, for rank 0."""
    if world() == 1:
        return []
    store = _store()
    return [RemoteWorker(store, number) for number in range(1, world())]


def lend(root: Path, device: str) -> None:
    """Make what rank 0 orders, until it sends this rank home."""
    store, number = _store(), rank()
    errors = inside(root, _log(number))
    worker: Worker | None = None
    try:
        for order in count():
            wanted = json.loads(_awaited(store, f"order/{number}/{order}"))
            if wanted is None:
                return
            if worker is None:  # from now on the folder and the recipe in it are there
                worker = Worker(root, errors, environments(1, device, int(os.environ.get("LOCAL_RANK", "0")))[0])
            lines = count()

            def report(fraction: float, order: int = order, lines: "count[int]" = lines) -> None:
                store.set(f"answer/{number}/{order}/{next(lines)}", json.dumps({"progress": fraction}))

            answer = worker.order(wanted["stage"], wanted["part"], report, wanted["team"])
            store.set(f"answer/{number}/{order}/{next(lines)}", json.dumps(answer))
    finally:
        if worker is not None:
            worker.ask_to_end()
            worker.stop()
            if not errors.stat().st_size:
                errors.unlink()


def _log(number: int) -> str:
    return f"worker-errors.{number}.log"


def _store() -> Any:
    """The launcher's store, in which keys of this run's are kept apart by the number of its restart."""
    distributed = import_module("torch.distributed")
    store, _, _ = next(iter(distributed.rendezvous("env://", timeout=timedelta(minutes=5))))
    return distributed.PrefixStore(f"distill/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _awaited(store: Any, key: str, given_up: threading.Event | None = None) -> str:
    """The value of a key, once it is there, or null; looked for, since a store that waits lets nobody else in."""
    while not store.check([key]):
        if given_up is not None and given_up.is_set():
            return "null"
        time.sleep(_PAUSE)
    value: bytes = store.get(key)
    store.delete_key(key)
    return value.decode()
