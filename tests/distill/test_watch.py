import io

import pytest
from rich.console import Console

from distill.pipeline.watch import Bars, Lines

MANIFEST = {"wall_s": 1.25}


@pytest.fixture
def stage(fake):
    return fake(name="encode", parts=("a", "b"))


def lines_of(stage, *events):
    file = io.StringIO()
    watcher = Lines(Console(file=file, width=100))
    for name, *arguments in events:
        getattr(watcher, name)(stage, *arguments)
    return file.getvalue().splitlines()


def test_a_stage_that_is_made_says_what_it_took(stage):
    lines = lines_of(stage, ("began", 0), ("made", "a"), ("progress", "b", 0.5), ("made", "b"), ("finished", MANIFEST))
    assert lines == ["encode                2 parts  1.2 s"]


def test_a_stage_that_was_there_says_so(stage):
    assert lines_of(stage, ("began", 2), ("finished", MANIFEST)) == ["encode                2 parts  from cache"]


def test_a_stage_that_was_there_but_damaged_does_not_say_it_was_there(stage):
    lines = lines_of(stage, ("began", 2), ("finished", MANIFEST), ("remake", "b"), ("made", "b"), ("finished", MANIFEST))
    assert lines[1] == "encode: b is damaged and is made anew"
    assert lines[2] == "encode                2 parts  1.2 s"


def test_a_long_stage_says_once_a_minute_how_far_it_has_come(stage):
    now = [0.0]
    file = io.StringIO()
    watcher = Lines(Console(file=file, width=100), lambda: now[0])
    watcher.began(stage, 0)
    for second in range(1, 151):
        now[0] = float(second)
        watcher.progress(stage, "a", second / 200)
    watcher.made(stage, "a")
    now[0] = 240.0
    watcher.progress(stage, "b", 0.5)
    assert file.getvalue().splitlines() == [
        "encode                0 of 2 parts, 15.0%",
        "encode                0 of 2 parts, 30.0%",
        "encode                1 of 2 parts, 75.0%",
    ]


def test_names_with_brackets_are_no_markup(fake):
    assert lines_of(fake(name="[red]x"), ("began", 0), ("finished", MANIFEST))[0].startswith("[red]x")


def test_bars_count_fractions_and_survive_a_remake(stage):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Bars(console) as bars:
        bars.began(stage, 0)
        task = bars._bars.tasks[0]
        assert (task.total, task.completed) == (2, 0)
        bars.progress(stage, "a", 0.5)
        assert task.completed == 0.5
        bars.progress(stage, "b", 0.25)
        assert task.completed == 0.75
        bars.made(stage, "a")
        assert task.completed == 1.25
        bars.made(stage, "b")
        assert task.completed == 2
        bars.finished(stage, MANIFEST)
        bars.remake(stage, "a")
        assert task.completed == 1
        bars.made(stage, "a")
        assert task.completed == 2
        bars.finished(stage, None)
