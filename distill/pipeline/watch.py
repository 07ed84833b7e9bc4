"""What people see of a run: a bar a stage on a terminal, a line a stage elsewhere."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from distill.pipeline.scheduler import Watcher
from distill.pipeline.stage import Stage

_EVERY = 60.0  # seconds without a word


class Lines(Watcher):
    """A line for every stage that completes; and one a minute of how far a long one has come."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._cached: set[Stage] = set()
        self._fractions: dict[Stage, dict[str, float]] = {}
        self._done: dict[Stage, int] = {}
        self._said = clock()

    def began(self, stage: Stage, done: int) -> None:
        self._fractions[stage], self._done[stage] = {}, done
        if done == len(stage.parts()):
            self._cached.add(stage)

    def progress(self, stage: Stage, part: str, fraction: float) -> None:
        self._fractions[stage][part] = fraction
        self._say_how_far(stage)

    def made(self, stage: Stage, part: str) -> None:
        self._fractions[stage].pop(part, None)
        self._done[stage] += 1
        self._say_how_far(stage)

    def remake(self, stage: Stage, part: str) -> None:
        self._cached.discard(stage)
        self._done[stage] -= 1
        self._say(f"{stage.title}: {part} is damaged and is made anew")

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        self._say(f"{stage.title:<18} {len(stage.parts()):>4} parts  {_took(manifest, cached=stage in self._cached)}")

    def _say_how_far(self, stage: Stage) -> None:
        if self._clock() - self._said >= _EVERY:
            done, total = self._done[stage], len(stage.parts())
            share = (done + sum(self._fractions[stage].values())) / total
            self._say(f"{stage.title:<18} {done:>4} of {total} parts, {share:.1%}")

    def _say(self, line: str) -> None:
        self._said = self._clock()
        self._console.print(line, markup=False, highlight=False)


class Bars(Watcher):
    """A bar for every stage, moving with the fractions its parts report."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(40),
            TextColumn("{task.fields[parts]:>12}"),
            TextColumn("{task.fields[took]}"),
        )
        self._bars = Progress(*columns, console=console)
        self._tasks: dict[Stage, TaskID] = {}
        self._fractions: dict[Stage, dict[str, float]] = {}
        self._done: dict[Stage, int] = {}
        self._cached: set[Stage] = set()

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def began(self, stage: Stage, done: int) -> None:
        self._tasks[stage] = self._bars.add_task(stage.title, total=len(stage.parts()), parts="", took="")
        self._fractions[stage], self._done[stage] = {}, done
        if done == len(stage.parts()):
            self._cached.add(stage)
        self._draw(stage)

    def progress(self, stage: Stage, part: str, fraction: float) -> None:
        self._fractions[stage][part] = fraction
        self._draw(stage)

    def made(self, stage: Stage, part: str) -> None:
        self._fractions[stage].pop(part, None)
        self._done[stage] += 1
        self._draw(stage)

    def remake(self, stage: Stage, part: str) -> None:
        self._done[stage] -= 1
        self._cached.discard(stage)
        self._draw(stage)

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        self._bars.update(self._tasks[stage], took=_took(manifest, cached=stage in self._cached))

    def _draw(self, stage: Stage) -> None:
        done, total = self._done[stage], len(stage.parts())
        self._bars.update(
            self._tasks[stage], completed=done + sum(self._fractions[stage].values()), parts=f"{done}/{total} parts"
        )


def _took(manifest: Mapping[str, Any] | None, *, cached: bool) -> str:
    return "from cache" if cached else f"{manifest['wall_s']:.1f} s" if manifest else ""
