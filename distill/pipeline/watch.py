"""What people see of a run: a bar a stage on a terminal, a line a stage elsewhere."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from distill.pipeline.execute import Watcher
from distill.pipeline.stage import Stage

_EVERY = 60.0  # seconds without a word


class _Counting(Watcher):
    """Knows of every stage how far it has come, and whether it was there already."""

    def __init__(self) -> None:
        self._cached: set[Stage] = set()
        self._fractions: dict[Stage, dict[str, float]] = {}
        self._done: dict[Stage, int] = {}

    def began(self, stage: Stage, done: int) -> None:
        self._fractions[stage], self._done[stage] = {}, done
        if done == len(stage.parts()):
            self._cached.add(stage)

    def progress(self, stage: Stage, part: str, fraction: float) -> None:
        self._fractions[stage][part] = fraction
        self.show(stage)

    def made(self, stage: Stage, part: str) -> None:
        self._fractions[stage].pop(part, None)
        self._done[stage] += 1
        self.show(stage)

    def remake(self, stage: Stage, part: str) -> None:
        self._done[stage] -= 1
        self._cached.discard(stage)
        self.show(stage)

    def show(self, stage: Stage) -> None:
        """Called whenever a stage has come further, or fallen back."""

    def parts(self, stage: Stage) -> float:
        """How many parts there are, those in work by their fractions."""
        return self._done[stage] + sum(self._fractions[stage].values())

    def took(self, stage: Stage, manifest: Mapping[str, Any] | None) -> str:
        """How long the stage took, in words."""
        return "from cache" if stage in self._cached else f"{manifest['wall_s']:.1f} s" if manifest else ""


class Lines(_Counting):
    """A line for every stage that completes; and one a minute of how far a long one has come."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._console, self._clock, self._said = console, clock, clock()

    def remake(self, stage: Stage, part: str) -> None:
        self._say(f"{stage.title}: {part} is damaged and is made anew")
        super().remake(stage, part)

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        self._say(f"{stage.title:<18} {len(stage.parts()):>4} parts  {self.took(stage, manifest)}")

    def show(self, stage: Stage) -> None:
        if self._clock() - self._said >= _EVERY:
            total = len(stage.parts())
            self._say(f"{stage.title:<18} {self._done[stage]:>4} of {total} parts, {self.parts(stage) / total:.1%}")

    def _say(self, line: str) -> None:
        self._said = self._clock()
        self._console.print(line, markup=False, highlight=False)


class Bars(_Counting):
    """A bar for every stage, moving with the fractions its parts report."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(40),
            TextColumn("{task.fields[parts]:>12}"),
            TextColumn("{task.fields[took]}"),
        )
        self._bars = Progress(*columns, console=console)
        self._tasks: dict[Stage, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def began(self, stage: Stage, done: int) -> None:
        super().began(stage, done)
        self._tasks[stage] = self._bars.add_task(stage.title, total=len(stage.parts()), parts="", took="")
        self.show(stage)

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        self._bars.update(self._tasks[stage], took=self.took(stage, manifest))

    def show(self, stage: Stage) -> None:
        words = f"{self._done[stage]}/{len(stage.parts())} parts"
        self._bars.update(self._tasks[stage], completed=self.parts(stage), parts=words)
