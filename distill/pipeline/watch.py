"""What people see of a run: a bar a stage on a terminal, a line a stage elsewhere."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from distill.pipeline.scheduler import Watcher
from distill.pipeline.stage import Stage


class Lines(Watcher):
    """A line for every stage that completes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._cached: dict[Stage, bool] = {}

    def began(self, stage: Stage, done: int) -> None:
        self._cached[stage] = done == len(stage.parts())

    def remake(self, stage: Stage, part: str) -> None:
        self._console.print(f"{stage.title}: {part} is damaged and is made anew", markup=False, highlight=False)

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        took = "from cache" if self._cached[stage] else f"{manifest['wall_s']:.1f} s" if manifest else ""
        self._console.print(f"{stage.title:<18} {len(stage.parts()):>4} parts  {took}", markup=False, highlight=False)


class Bars(Watcher):
    """A bar for every stage, moving with the fractions its parts report."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(40),
            TextColumn("{task.fields[note]:>12}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[Stage, TaskID] = {}
        self._fractions: dict[Stage, dict[str, float]] = {}
        self._done: dict[Stage, int] = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def began(self, stage: Stage, done: int) -> None:
        self._tasks[stage] = self._bars.add_task(stage.title, total=len(stage.parts()), start=False, note="")
        self._fractions[stage], self._done[stage] = {}, done
        self._draw(stage)

    def progress(self, stage: Stage, part: str, fraction: float) -> None:
        self._bars.start_task(self._tasks[stage]) if not self._fractions[stage] and self._bars.tasks[
            self._tasks[stage]
        ].start_time is None else None
        self._fractions[stage][part] = fraction
        self._draw(stage)

    def made(self, stage: Stage, part: str) -> None:
        self._fractions[stage].pop(part, None)
        self._done[stage] += 1
        self._draw(stage)

    def remake(self, stage: Stage, part: str) -> None:
        self._done[stage] -= 1
        self._draw(stage)

    def finished(self, stage: Stage, manifest: Mapping[str, Any] | None) -> None:
        self._bars.stop_task(self._tasks[stage])

    def _draw(self, stage: Stage) -> None:
        done, total = self._done[stage], len(stage.parts())
        self._bars.update(self._tasks[stage], completed=done + sum(self._fractions[stage].values()), note=f"{done}/{total} parts")
