import io

import pytest
from rich.console import Console

from distill.engines.watch import Bars, Lines


@pytest.fixture
def stage(fake):
    return fake(name="encode", parts=("a", "b"))


def lines_of(stage, *events):
    file = io.StringIO()
    watcher = Lines(Console(file=file, width=100))
    for name, *arguments in events:
        getattr(watcher, name)(stage, *arguments)
    return file.getvalue().splitlines()


def test_a_stage_that_is_complete_says_what_it_took(stage):
    assert lines_of(stage, ("moved", 0, 0.0), ("moved", 1, 0.5), ("finished", "1.2 s")) == [
        "encode                2 parts  1.2 s"
    ]


def test_a_damaged_part_is_told(stage):
    lines = lines_of(stage, ("finished", "from cache"), ("remake", "b"), ("finished", "1.2 s"))
    assert lines[1:] == ["encode: b does not match its checksum and is made again", "encode                2 parts  1.2 s"]


def test_a_long_stage_says_once_a_minute_how_far_it_has_come(stage):
    now = [0.0]
    file = io.StringIO()
    watcher = Lines(Console(file=file, width=100), lambda: now[0])
    watcher.moved(stage, 0, 0.0)
    for second in range(1, 151):
        now[0] = float(second)
        watcher.moved(stage, 0, second / 200)
    now[0] = 240.0
    watcher.moved(stage, 1, 0.5)
    assert file.getvalue().splitlines() == [
        "encode                0 of 2 parts, 15.0%",
        "encode                0 of 2 parts, 30.0%",
        "encode                1 of 2 parts, 75.0%",
    ]


def test_names_with_brackets_are_no_markup(fake):
    assert lines_of(fake(name="[red]x"), ("finished", "1.2 s"))[0].startswith("[red]x")


def test_bars_count_fractions_and_survive_a_remake(stage):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Bars(console) as bars:
        bars.moved(stage, 0, 0.0)
        task = bars._bars.tasks[0]
        assert (task.total, task.completed) == (2, 0)
        bars.moved(stage, 0, 0.75)
        assert (task.completed, task.fields["parts"]) == (0.75, "0/2 parts")
        bars.moved(stage, 2, 0.0)
        bars.finished(stage, "1.2 s")
        assert (task.completed, task.fields["took"]) == (2, "1.2 s")
        bars.remake(stage, "a")
        bars.moved(stage, 1, 0.0)
        assert task.completed == 1
