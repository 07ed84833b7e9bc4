"""What people see of a run: a bar per stage on a terminal, a line per stage elsewhere."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from distill.engines.execute import Watcher
from distill.pipeline.stage import Stage

_EVERY = 60.0  # seconds without a word


class Lines(Watcher):
    """A line for every stage that completes; and one a minute of how far a long one has come."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock, self._said = console, clock, clock()

    def chose(self, sentence: str) -> None:
        self._say(sentence)

    def moved(self, stage: Stage, made: int, under_way: float) -> None:
        if self._clock() - self._said >= _EVERY:
            total = len(stage.parts())
            self._say(f"{stage.title:<18} {made:>4} of {total} parts, {(made + under_way) / total:.1%}")

    def remake(self, stage: Stage, part: str) -> None:
        self._say(f"{stage.title}: {part} does not match its checksum and is made again")

    def finished(self, stage: Stage, took: str) -> None:
        self._say(f"{stage.title:<18} {len(stage.parts()):>4} parts  {took}")

    def _say(self, line: str) -> None:
        self._said = self._clock()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bars(Watcher):
    """A bar for every stage, moving with the fractions its parts report."""

    def __init__(self, console: Console) -> None:
        fields = map(TextColumn, ("{task.fields[parts]:>12}", "{task.fields[took]}"))
        self._bars = Progress(TextColumn("{task.description:<18}"), BarColumn(40), *fields, console=console)
        self._tasks = dict[Stage, TaskID]()

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def chose(self, sentence: str) -> None:
        self._bars.console.print(sentence, markup=False, highlight=False)

    def moved(self, stage: Stage, made: int, under_way: float) -> None:
        total = len(stage.parts())
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage.title, total=total, parts="", took="")
        self._bars.update(self._tasks[stage], completed=made + under_way, parts=f"{made}/{total} parts")

    def finished(self, stage: Stage, took: str) -> None:
        self._bars.update(self._tasks[stage], took=took)
