"""A worker: a process of one compute thread that makes the parts it is told to, one after another.

``python -m distill.worker RUN`` reads one JSON line a part from its input, ``{"stage": folder name, "part": name}``, with a
``"team": [rank, size, name of their meeting]`` where several make it together, and answers in JSON lines:
``{"progress": fraction}`` while it works, then one of ``{"made": seconds}``, ``{"damaged": [folder name, part]}``,
``{"error": sentence}`` and ``{"left": true}``, where another of a team did not come. It ends with its input, so that it does not
outlive whoever started it; on SIGTERM and SIGINT it ends too, after saving what is being trained.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from distill.pipeline.checkpoint import Interrupted, save_on_signals
from distill.pipeline.environment import peak_memory, reset_peak_memory
from distill.pipeline.stage import Stage, seed_of
from distill.pipeline.store import Damaged, Store, Unwritable
from distill.pipeline.team import ALONE, Left, Team


def make_part(store: Store, stage: Stage, part: str, progress: Any) -> float:
    """Make one part under its own seed, write it and seal it, the first of a team that is; returns the seconds it took."""
    import torch

    from distill.models.numerics import as_workers

    on_gpu = stage.device == "cuda"
    reset_peak_memory()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seed = seed_of(stage.digest, part)
    torch.manual_seed(seed)
    began = time.time()
    with as_workers(on_gpu):
        product = stage.make(part, store, progress)
    ended = time.time()
    record = {"seed": seed, "began": began, "ended": ended, "peak_memory_bytes": peak_memory()}
    if on_gpu:
        record["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    if store.team.rank == 0:
        store.write(stage, part, product, record)
    return ended - began


def main() -> None:
    """Serve parts of the run in the folder named on the command line, until the input ends."""
    # Libraries may print: the answers keep the real output to themselves, everything else goes to the errors.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    save_on_signals()
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    from distill.graph import build
    from distill.recipe import check

    root = Path(sys.argv[1])
    stages = {stage.folder_name: stage for stage in build(check(json.loads((root / "recipe.json").read_bytes())))}
    while True:
        order = json.loads(orders.get())
        stage = stages.get(order["stage"])
        if stage is None:
            _answer(answers, {"error": "the images or the models changed while the recipe ran; run it again"})
            continue
        team = ALONE
        try:
            if order.get("team"):
                rank, size, name = order["team"]
                team = Team(rank, size, Store(root).meeting(stage, order["part"], name))
            answer = {"made": make_part(Store(root, team), stage, order["part"], _Reporter(answers))}
        except Damaged as damage:
            answer = {"damaged": [damage.folder, damage.part]}
        except Left:
            answer = {"left": True}
        except Interrupted:
            os._exit(128 + signal.SIGTERM)
        except Exception as error:
            with suppress(OSError):  # the log may lie on the very disk that is full
                traceback.print_exc()
            answer = {"error": str(error) if isinstance(error, Unwritable) else f"{type(error).__name__}: {error}"}
        if team.size > 1 and "made" not in answer:
            _leave(team, answers, answer)
        _answer(answers, answer)


def _leave(team: Team, answers: TextIO, answer: dict[str, Any]) -> None:
    """Let the others know; among those who have met already, say what happened and end, which they notice."""
    from torch import distributed

    with suppress(OSError):
        team.leave()
    if distributed.is_initialized():
        _answer(answers, {**answer, "ended": True})
        os._exit(1)


class _Reporter:
    """Sends the fraction done, a few times a second at most."""

    def __init__(self, answers: TextIO) -> None:
        self._answers, self._sent = answers, time.monotonic()

    def __call__(self, fraction: float) -> None:
        if time.monotonic() - self._sent > 0.25:
            self._sent = time.monotonic()
            _answer(self._answers, {"progress": fraction})


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")


def _listen(orders: "queue.Queue[str]") -> None:
    """Queue the orders; when the input ends, whoever gave them is gone, so stop at once, in the middle of a part too."""
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
