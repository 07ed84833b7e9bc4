"""What a run will take, before it is spent: parts, disk, memory and time of each stage, with the ground of each figure."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from distill.pipeline.stage import Stage
from distill.pipeline.store import Store
from distill.recipe import RecipeError

if TYPE_CHECKING:
    from distill.costs import Repeated

SPEED = 1e14  # operations a second, about a third of an A100's or a tenth of an H100's peak in half precision


@dataclass(frozen=True)
class Estimate:
    """Of a stage. disk: bytes still to write. hours: of one worker's work. memory: the peak of a worker's, on its device. host:
    the bytes of data that each worker holds in its own memory beside, where a part needs many at once.

    Each is None where nothing tells it yet. ground: what they are computed from.
    """

    stage: Stage
    parts: int
    done: int
    disk: float | None
    hours: float | None
    memory: int | None
    ground: str
    host: float | None = None

    def wall(self, workers: int) -> float | None:
        """Seconds until so many workers have done it, each with parts as long as the others'."""
        if self.hours is None:
            return None
        return 3600 * self.hours / min(workers, max(1, self.parts - self.done) * self.stage.processes)


def estimate(stage: Stage, store: Store, *, timed: bool = True) -> Estimate:
    """From a stage's finished parts, where there are some; else from the recipe's sizes and, if ``timed``, a microbenchmark."""
    parts = stage.parts()
    seals = [seal for part in parts if store.holds(stage, part) and (seal := store.seal(stage, part))]
    left = len(parts) - len(seals)
    memory = max((seal.get("peak_gpu_bytes", seal["peak_memory_bytes"]) for seal in seals), default=None)
    if not left:
        return Estimate(stage, len(parts), len(parts), 0.0, 0.0, memory, "all is made")
    if seals:
        seconds = median(seal["ended"] - seal["began"] for seal in seals)
        each = median(sum(file["size"] for file in seal["files"].values()) for seal in seals)
        ground = f"measured on {len(seals)} finished parts: {seconds:.3g} s and {size(each)} each"
        hours = left * seconds * stage.processes / 3600
        return Estimate(stage, len(parts), len(seals), left * each, hours, memory, ground)
    from distill.costs import disk_bytes, host_memory_bytes  # loads torch

    disk, host = disk_bytes(stage), host_memory_bytes(stage)
    hours, gpu_memory, ground = _microbenchmarked(stage) if timed else (None, None, "")
    grounds = [f"disk: {disk.ground}" if disk else "", ground, f"host memory: {size(host.value)}, {host.ground}" if host else ""]
    ground = "; ".join(filter(None, grounds)) or "unknown until a part is made"
    return Estimate(stage, len(parts), 0, disk and disk.value, hours, gpu_memory, ground, host and host.value)


def _microbenchmarked(stage: Stage) -> tuple[float | None, int | None, str]:
    """Hours, peak memory on a GPU, and their grounds: what the stage does over and over, timed if its device is at hand."""
    from distill.costs import cost

    try:
        works = Counter(cost(stage))
        found = [_held(stage, work) for work in works]
    except Exception as error:  # whatever a network of others' raises when it is built, a plan is still to be had
        return None, None, f"time: unknown, as no microbenchmark can run: {error}"
    if not works:
        return None, None, ""
    hours = sum(often * each.seconds for often, each in zip(works.values(), found, strict=True)) / 3600
    grounds = [
        f"{often} × {each.ground}" if often > 1 else each.ground for often, each in zip(works.values(), found, strict=True)
    ]
    most = max(found, key=lambda each: each.memory or 0)
    return hours, most.memory, "; ".join(filter(None, [f"time: {', '.join(grounds)}", most.memory_ground]))


@dataclass(frozen=True)
class _Held:
    """A work's microbenchmark. seconds: of all of the work. memory: the peak on a GPU, None where that is not known."""

    seconds: float
    ground: str
    memory: int | None
    memory_ground: str


def _held(stage: Stage, work: "Repeated") -> _Held:
    from torch import cuda

    from distill.costs.measure import counted, peak, timed

    benchmark, here = work.microbenchmark, stage.device == "cpu" or cuda.is_available()
    if not benchmark.network:
        found = timed(benchmark, stage.device if here else "cpu")
        if found.seconds is None:
            raise MemoryError("memory ran out")
        how = f"{found.seconds:.2g} s each, timed {'here' if here else 'on the CPU, as no GPU is here'}"
    elif here:
        found = timed(benchmark, stage.device)
        timing = f"{benchmark.batch} at once timed here, {(found.operations or 0.0) / (found.seconds or 1.0):.2g} operations/s"
        how = timing if found.seconds is not None else f"memory ran out at {benchmark.batch} at once"
    else:
        found, how = counted(benchmark), f"at {SPEED:.0e}/s, as no GPU is here"
    operations = found.operations or 0.0
    seconds = work.times * (found.seconds or operations / SPEED)
    ground = f"{work.what} × {operations:.3g} operations ({how})" if benchmark.network else f"{work.what} ({how})"
    memory = found.memory if here else peak(benchmark)
    if memory is None:
        return _Held(seconds, ground, None, "")
    return _Held(seconds, ground, memory + round(work.device_bytes), _memory(work, measured=here))


def _memory(work: "Repeated", *, measured: bool) -> str:
    """The ground of a peak of memory."""
    kept = f", and {size(work.device_bytes)} that lie there meanwhile" if work.device_bytes else ""
    how = "measured by its microbenchmark" if measured else "weights, gradients and activations, counted as no GPU is here"
    return f"memory: {work.microbenchmark.batch} at once, {how}{kept}{'' if measured else '; not the workspaces of its kernels'}"


def check_disk(found: Sequence[Estimate], folder: Path) -> None:
    """Refuses a run whose known artifacts do not fit on the disk of its folder."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, sum(each.disk or 0.0 for each in found)
    if needed > free:
        largest = max(found, key=lambda each: each.disk or 0.0)
        raise RecipeError(
            f"the run needs {size(needed)} more on disk, and {there} has {size(free)}; the most, {size(largest.disk or 0)}, is "
            f"for {largest.stage.title}. Choose another disk with --out, or ask for less"
        )


def duration(seconds: float) -> str:
    """A time, for people."""
    if 0 < seconds < 0.1:
        return "< 0.1 s"
    for unit, length, most in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 72 * 3600)):
        if seconds < most:
            return f"{seconds / length:.2g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
