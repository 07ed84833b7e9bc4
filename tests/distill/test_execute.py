import os
import threading
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pytest

from distill.engines import execute as execution
from distill.engines.execute import Board, Watcher, execute
from distill.pipeline.engine import PartFailed
from distill.pipeline.store import ChecksumMismatch, Store


class InProcess:
    """An engine whose workers are threads. made: the parts that it was told to make, in order."""

    made: list[tuple[str, str]]

    def __init__(self, store, workers):
        self._store, self._workers, self._pool, self._busy = store, workers, ThreadPoolExecutor(workers), {}
        self.told = []

    def free(self):
        self._busy = {future: size for future, size in self._busy.items() if not future.done()}
        return self._workers - sum(self._busy.values())

    def submit(self, stage, part, on_progress):
        assert stage.processes <= self.free()
        self.made.append((stage.name, part))
        future = self._pool.submit(self.make, stage, part, on_progress)
        self._busy[future] = stage.processes
        return future

    def make(self, stage, part, on_progress):
        on_progress(0.5)
        try:
            product = stage.make(part, self._store, on_progress)
        except (ChecksumMismatch, BrokenExecutor):
            raise
        except Exception as error:
            raise PartFailed(f"{type(error).__name__}: {error}") from None
        self._store.write(stage, part, product, {"seed": 0, "began": 0.0, "ended": 1.0, "peak_memory_bytes": 1})

    def close(self):
        self._pool.shutdown()


class Diary(Watcher):
    """Every event, in order."""

    def __init__(self):
        self.events = []

    def moved(self, stage, made, under_way):
        self.events.append(("moved", stage.name, made))

    def remake(self, stage, part):
        self.events.append(("remake", stage.name, part))

    def finished(self, stage, took):
        self.events.append(("finished", stage.name, len(stage.parts())))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "run").mkdir()
    return Store(tmp_path / "run")


@pytest.fixture
def made(monkeypatch):
    """Parts that the in-process workers were told to make, in order."""
    monkeypatch.setattr(InProcess, "made", [], raising=False)
    return InProcess.made


@pytest.fixture
def diamond(fake):
    """first → left, right → last."""
    first = fake(name="first", parts=("a", "b", "c"))
    left, right = fake(first, name="left", parts=("x", "y")), fake(first, name="right", parts=("u",))
    return [first, left, right, fake(left, right, name="last")]


def go(stages, store, workers=1, *, verify=False):
    diary = Diary()
    execute(Board(stages, store, {"here": 1}, diary, verify=verify), lambda most: InProcess(store, workers))
    return diary.events


def board_of(stages, store):
    return Board(stages, store, {}, Watcher(), verify=False)


def alter(store, stage, part):
    """Change a part's content; size and time stay."""
    path = store.folder(stage) / f"{part}.json"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"part"', b'"trap"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_board_offers_only_parts_whose_parents_are_complete(diamond, store):
    first, left, right, last = diamond
    board = board_of(diamond, store)
    for part in ("a", "b", "c"):
        assert board.next() == (first, part)
        board.running[first][part] = 0.0
    assert board.next() is None, "all of the first stage is under way, and nothing else may start"
    for part in ("a", "b", "c"):
        del board.running[first][part]
        board.missing[first].remove(part)
    offered = []
    while task := board.next():
        offered.append(task)
        board.running[task[0]][task[1]] = 0.0
    assert sorted((stage.name, part) for stage, part in offered) == [("left", "x"), ("left", "y"), ("right", "u")]
    board.missing[left].clear()
    assert board.next() is None
    board.missing[right].clear()
    assert board.next() == (last, "a")


def test_a_stage_waits_for_its_grandparents_too(fake, store, record):
    """It may read them, as the evaluation reads images; its parents being complete does not make them so."""
    first = fake(name="first")
    middle = fake(first, name="middle")
    last = fake(middle, name="last")
    store.write(middle, "a", {"a.json": {"part": "a"}}, record)
    board = board_of([first, middle, last], store)
    assert board.next() == (first, "a")
    board.running[first]["a"] = 0.0
    assert board.next() is None
    board.missing[first].clear()
    assert board.next() == (last, "a")


def test_the_longest_way_to_the_end_goes_first(fake, store):
    short, long = fake(name="short"), fake(name="long")
    middle = fake(long, name="middle")
    last = fake(short, middle, name="last")
    assert board_of([short, long, middle, last], store).next() == (long, "a")
    assert board_of([long, short, middle, last], store).next() == (long, "a")


def test_the_board_knows_what_is_there(diamond, store, record):
    first = diamond[0]
    store.write(first, "b", {"b.json": {}}, record)
    assert board_of(diamond, store).missing[first] == ["a", "c"]


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_everything_is_made_once_after_its_parents_and_sealed(diamond, store, made, workers):
    events = go(diamond, store, workers)
    assert sorted(made) == sorted((stage.name, part) for stage in diamond for part in stage.parts())
    assert [name for name, _ in made].index("last") == len(made) - 1
    assert {name for name, _ in made[:3]} == {"first"}
    for stage in diamond:
        assert all(store.holds(stage, part, verify=True) for part in stage.parts())
        assert store.manifest(stage)["environment"] == {"here": 1}
        assert ("finished", stage.name, len(stage.parts())) in events


@pytest.fixture
def pairs(fake):
    """alone → together, whose parts take two workers."""
    alone = fake(name="alone", parts=("a", "b", "c"))
    together = fake(alone, name="together", parts=("x", "y"))
    together.processes = 2
    return [alone, together]


@pytest.mark.parametrize("workers", [2, 3])
def test_a_part_of_two_workers_waits_for_them_and_is_made_once(pairs, store, made, workers):
    events = go(pairs, store, workers)
    assert sorted(made[3:]) == [("together", "x"), ("together", "y")]
    assert {event[2] for event in events if event[:2] == ("moved", "together")} == {0, 1, 2}
    assert all(store.holds(stage, part) for stage in pairs for part in stage.parts())


def test_an_engine_is_asked_for_a_whole_group_at_least(pairs, store, made):
    """Little is left to do, and a part of a group may be found damaged."""
    asked = []
    go(pairs, store, 2)
    store.discard(pairs[0], "a")
    execute(board_of(pairs, store), lambda most: asked.append(most) or InProcess(store, 2))
    assert asked == [2]


def test_a_group_that_can_not_be_is_an_error_and_no_endless_wait(pairs, store, made, monkeypatch):
    monkeypatch.setattr(execution, "_PATIENCE", 0.2)
    with pytest.raises(PartFailed, match=r"together, part x, takes 2 workers; there are 1"):
        go(pairs, store, 1)


def loses(times):
    """A part that ends its worker so many times."""
    left = [times]

    def make(part, read):
        left[0] -= 1
        if left[0] >= 0:
            raise BrokenExecutor("a process was terminated abruptly")
        return {}

    return make


def test_a_part_that_lost_its_worker_is_made_by_another(fake, store, made):
    stage = fake(name="only", parts=("a", "b"), make=loses(3))
    go([stage], store)
    assert len(made) == 5
    assert all(store.holds(stage, part) for part in stage.parts())


def test_a_part_that_loses_its_worker_again_and_again_is_given_up(fake, store, made):
    stage = fake(name="only", make=loses(10))
    with pytest.raises(PartFailed, match=r"part a, lost its worker 4 times, perhaps because memory ran out.*worker-errors\.log"):
        go([stage], store)
    assert len(made) == 4


def test_what_is_there_is_not_made_again(diamond, store, made):
    go(diamond, store)
    made.clear()
    events = go(diamond, store)
    assert made == []
    assert sorted(event[0] for event in events) == ["finished"] * 4 + ["moved"] * 4
    assert ("moved", "first", 3) in events


def test_one_missing_part_is_made_and_what_follows_stays(diamond, store, made):
    go(diamond, store)
    made.clear()
    (store.folder(diamond[0]) / "b.json").unlink()
    go(diamond, store)
    assert made == [("first", "b")]


def test_verifying_finds_what_sizes_and_times_hide(diamond, store, made):
    go(diamond, store)
    made.clear()
    alter(store, diamond[0], "b")
    go(diamond, store)
    assert made == []
    go(diamond, store, verify=True)
    assert made == [("first", "b")]
    assert store.values(diamond[0], "b")["part"] == "b"


def test_a_damaged_parent_found_on_reading_is_made_again(diamond, store, made):
    go(diamond, store)
    made.clear()
    alter(store, diamond[0], "b")
    store.discard(diamond[1], "x")
    events = go(diamond, store)
    assert made == [("left", "x"), ("first", "b"), ("left", "x")]
    assert ("remake", "first", "b") in events
    assert store.values(diamond[0], "b")["part"] == "b"


def test_one_damage_found_by_many_workers_at_once_is_one_damage(fake, store, made):
    barrier = threading.Barrier(8)

    def all_at_once(part, read):
        try:
            read.values(parent, "a")
        except ChecksumMismatch:
            barrier.wait(timeout=30)  # report it only when all have seen it
            raise
        return {}

    class Child(fake):
        def make(self, part, read, progress):
            all_at_once(part, read)
            return super().make(part, read, progress)

    parent = fake(name="parent")
    child = Child(parent, name="child", parts=tuple("abcdefgh"))
    go([parent], store)
    alter(store, parent, "a")
    made.clear()
    go([parent, child], store, workers=8)
    assert made.count(("parent", "a")) == 1
    assert all(store.holds(child, part) for part in child.parts())


def test_a_part_damaged_again_and_again_is_given_up(fake, store, made):
    parent = fake(name="parent")

    class Child(fake):
        def make(self, part, read, progress):
            alter(store, parent, "a")
            return super().make(part, read, progress)

    child = Child(parent, name="child")
    with pytest.raises(PartFailed, match=r"parent-.*/a repeatedly does not match its checksum"):
        go([parent, child], store)
    assert len(made) < 20


def test_a_failing_part_is_named_and_the_finished_ones_are_kept(fake, store, made):
    def fails(part, read):
        if part == "b":
            raise KeyError("the reason")
        return {}

    parent = fake(name="parent")
    child = fake(parent, name="child", parts=("a", "b", "c"), make=fails)
    with pytest.raises(PartFailed, match=r"child, part b: .*the reason"):
        go([parent, child], store)
    assert store.holds(parent, "a")
    assert store.holds(child, "a")
    assert not store.holds(child, "b")
    assert store.manifest(child) is None


def test_a_manifest_is_written_where_a_kill_left_none(diamond, store, made):
    go(diamond, store)
    (store.folder(diamond[1]) / "manifest.json").unlink()
    made.clear()
    go(diamond, store)
    assert made == []
    assert store.manifest(diamond[1])["parts"] == 2


def test_a_manifest_of_an_older_recipe_is_written_again(fake, store, made, record):
    """A folder that keeps its name (the report's), its new parts sealed, killed before its manifest."""
    old, new = fake(options={"o": 1}, folder="report"), fake(options={"o": 2}, folder="report")
    go([old], store)
    store.write(new, "a", {"a.json": {}}, record)
    go([new], store)
    assert store.manifest(new)["digest"] == new.digest
