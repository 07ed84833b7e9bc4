"""What a worker process does, whoever started it: it makes parts, one after another, in one thread, each under its own seed."""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from distill.pipeline.checkpoint import Interrupted, save_on_sigterm
from distill.pipeline.engine import PartFailed
from distill.pipeline.environment import peak_memory, reset_peak_memory
from distill.pipeline.format import plain
from distill.pipeline.process_group import ALONE, ProcessGroup
from distill.pipeline.safe_path import inside
from distill.pipeline.stage import Stage, seed_of
from distill.pipeline.store import ChecksumMismatch, Store, Unwritable

LOG = "worker-errors.log"


def make_part(store: Store, stage: Stage, part: str, progress: Any) -> float:
    """Make one part under its own seed, write it and seal it, the first of a group that is; returns the seconds it took."""
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
    if store.group.rank == 0:
        store.write(stage, part, product, record)
    return ended - began


def begin(root: Path) -> None:
    """Make a process a worker: what libraries print goes to the run's log, and a signal lets training be saved."""
    log = os.open(inside(root, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    save_on_sigterm()


def make(root: Path, folder: str, part: str, tell: Callable[[float], None], group: ProcessGroup = ALONE) -> None:
    """Make a part of the stage that a folder belongs to. tell: called with the fraction done, a few times a second at most."""
    said = time.monotonic()

    def progress(fraction: float) -> None:
        nonlocal said
        if time.monotonic() - said > 0.25:
            said = time.monotonic()
            tell(fraction)

    try:
        if (stage := _stages(root).get(folder)) is None:
            raise PartFailed("the images or the models changed while the recipe ran; run it again")
        make_part(Store(root, group), stage, part, progress)
    except (ChecksumMismatch, PartFailed):
        raise
    except Interrupted:
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        with suppress(OSError):  # the log may lie on the very disk that is full
            traceback.print_exc()
        sentence = str(error) if isinstance(error, Unwritable) else f"{type(error).__name__}: {error}"
        raise PartFailed(f"{sentence}. Details: {root / LOG}") from None


@cache
def _stages(root: Path) -> dict[str, Stage]:
    from distill.graph import build
    from distill.recipe import check

    return {stage.folder_name: stage for stage in build(check(plain(json.loads((root / "recipe.json").read_bytes()), root)))}
