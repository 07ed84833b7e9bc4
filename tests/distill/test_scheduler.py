import os
import threading
import time
from pathlib import Path

import pytest

from distill.pipeline import scheduler
from distill.pipeline.scheduler import PartFailed, Watcher, _Board, execute
from distill.pipeline.store import Damaged, Store


class InProcess:
    """A worker that is no process."""

    made: list[tuple[str, str]]

    def __init__(self, root, errors, environment):
        self.log = errors.name
        self._store = Store(root)

    def make(self, stage, part, progress, team=None):
        self.made.append((stage.name, part) if team is None else (stage.name, part, *team[:2]))
        if team and team[0] > 0:
            return self.beside(team)
        try:
            progress(0.5)
            product = stage.make(part, self._store, progress)
        except Damaged as damage:
            return {"damaged": [damage.folder, damage.part]}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        self._store.write(stage, part, product, {"seed": 0, "began": 0.0, "ended": 1.0, "peak_memory_bytes": 1})
        return {"made": 1.0}

    def beside(self, team):
        """What a member of a team answers that is not its first."""
        return {"made": 1.0}

    def ask_to_end(self):
        pass

    def stop(self):
        pass


class Diary(Watcher):
    """Every event, in order."""

    def __init__(self):
        self.events = []

    def began(self, stage, done):
        self.events.append(("began", stage.name, done))

    def made(self, stage, part):
        self.events.append(("made", stage.name, part))

    def remake(self, stage, part):
        self.events.append(("remake", stage.name, part))

    def finished(self, stage, manifest):
        assert manifest is not None
        assert manifest["digest"] == stage.digest
        self.events.append(("finished", stage.name, manifest["parts"]))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "run").mkdir()
    return Store(tmp_path / "run")


@pytest.fixture
def made(monkeypatch):
    """Parts that the in-process workers were told to make, in order."""
    monkeypatch.setattr(scheduler, "Worker", InProcess)
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
    execute(stages, store, workers, {"here": 1}, diary, verify=verify)
    return diary.events


def alter(store, stage, part):
    """Change a part's content; size and time stay."""
    path = store.folder(stage) / f"{part}.json"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"part"', b'"trap"'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_board_offers_only_parts_whose_parents_are_complete(diamond, store):
    first, left, right, last = diamond
    board = _Board(diamond, store, False)
    for part in ("a", "b", "c"):
        assert board.next() == (first, part)
        board.running[first].add(part)
    assert board.next() is None, "all of the first stage is under way, and nothing else may start"
    for part in ("a", "b", "c"):
        board.running[first].discard(part)
        board.missing[first].remove(part)
    offered = []
    while task := board.next():
        offered.append(task)
        board.running[task[0]].add(task[1])
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
    board = _Board([first, middle, last], store, False)
    assert board.next() == (first, "a")
    board.running[first].add("a")
    assert board.next() is None
    board.missing[first].clear()
    assert board.next() == (last, "a")


def test_the_longest_way_to_the_end_goes_first(fake, store):
    short, long = fake(name="short"), fake(name="long")
    middle = fake(long, name="middle")
    last = fake(short, middle, name="last")
    assert _Board([short, long, middle, last], store, False).next() == (long, "a")
    assert _Board([long, short, middle, last], store, False).next() == (long, "a")


def test_the_board_knows_what_is_there(diamond, store, record):
    first = diamond[0]
    store.write(first, "b", {"b.json": {}}, record)
    assert _Board(diamond, store, False).missing[first] == ["a", "c"]


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
def test_a_team_makes_a_part_together_and_it_is_made_once(pairs, store, made, workers):
    events = go(pairs, store, workers)
    assert sorted(made[3:]) == [("together", part, rank, 2) for part in ("x", "y") for rank in (0, 1)]
    # With a third worker the second part may begin, and end, before the first one's last member is done.
    told = [event for event in events if event[:2] == ("made", "together")]
    assert sorted(told) == [("made", "together", part) for part in ("x", "y")]
    assert all(store.holds(stage, part) for stage in pairs for part in stage.parts())


def firsts(made):
    """How often a team's first was asked."""
    return sum(entry[0] == "together" and entry[2] == 0 for entry in made)


@pytest.mark.parametrize("pause", [0, 0.2])
def test_a_team_that_found_damage_is_sent_again(pairs, store, made, monkeypatch, pause):
    go(pairs[:1], store)
    alter(store, pairs[0], "b")

    def waits(self, team):
        time.sleep(pause)
        return {"left": True} if firsts(made) <= 1 else {"made": 1.0}

    monkeypatch.setattr(InProcess, "beside", waits)
    events = go(pairs, store, 2)
    assert ("remake", "alone", "b") in events
    assert all(store.holds(stage, part) for stage in pairs for part in stage.parts())


def test_damage_found_when_little_is_left_to_do_still_finds_a_whole_team(pairs, store, made, fake):
    last = fake(pairs[1], name="last")
    go([*pairs, last], store, 3)
    store.discard(last, "a")
    alter(store, pairs[1], "x")
    events = go([*pairs, last], store, 3)
    assert ("remake", "together", "x") in events
    assert all(store.holds(stage, part) for stage in [*pairs, last] for part in stage.parts())


def test_a_team_that_can_not_be_is_an_error_and_no_endless_wait(pairs, store, made):
    with pytest.raises(PartFailed, match=r"together, part x, takes 2 workers; there are 1"):
        go(pairs, store, 1)


@pytest.mark.parametrize("first", [0, 1])
def test_what_failed_first_is_what_is_told(pairs, store, made, monkeypatch, first):
    """A member that dies or fails takes the others with it; they may be heard first."""

    def fails(self, stage, part, progress, team=None):
        if not team:
            return made_alone(self, stage, part, progress)
        time.sleep(0.1 * ((team[0] + first) % 2))
        return {"error": "the worker process ended with status -9" if team[0] else "RuntimeError: Connection reset by peer"}

    made_alone = InProcess.make
    monkeypatch.setattr(InProcess, "make", fails)
    with pytest.raises(PartFailed, match="ended with status -9"):
        go(pairs, store, 2)


def test_damage_among_those_who_have_met_ends_the_run_and_is_mended_by_the_next(pairs, store, made, monkeypatch):
    go(pairs[:1], store)
    beside = {"damaged": [pairs[0].folder_name, "b"], "ended": True}
    monkeypatch.setattr(InProcess, "beside", lambda self, team: beside)
    with pytest.raises(PartFailed, match=r"was damaged, which together found under way; it is made anew"):
        go(pairs, store, 2)
    assert not store.holds(pairs[0], "b")


def test_an_error_of_any_member_is_the_parts(pairs, store, made, monkeypatch):
    monkeypatch.setattr(InProcess, "beside", lambda self, team: {"error": "MemoryError: too much"})
    with pytest.raises(PartFailed, match=r"together, part x: MemoryError: too much"):
        go(pairs, store, 2)


def test_what_is_there_is_not_made_again(diamond, store, made):
    go(diamond, store)
    made.clear()
    events = go(diamond, store)
    assert made == []
    assert [event[0] for event in events] == ["began"] * 4 + ["finished"] * 4
    assert ("began", "first", 3) in events


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


def test_a_damaged_parent_found_on_reading_is_made_anew(diamond, store, made):
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
        except Damaged:
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
    with pytest.raises(PartFailed, match=r"parent-.*/a is damaged again and again"):
        go([parent, child], store)
    assert len(made) < 20


def test_a_failure_elsewhere_names_the_log_of_elsewhere(fake, store, made):
    class Elsewhere(InProcess):
        def __init__(self):
            super().__init__(store.root, store.root / "worker-errors.3.log", {})

        def make(self, stage, part, progress):
            return {"error": "the reason"}

    stage = fake(name="only", parts=("a", "b"))
    with pytest.raises(PartFailed, match=r"the reason.*/worker-errors\.3\.log"):
        execute([stage], store, 1, {}, Watcher(), verify=False, others=[Elsewhere()])


def test_a_failing_part_is_named_and_the_finished_ones_are_kept(fake, store, made):
    def fails(part, read):
        if part == "b":
            raise KeyError("the reason")
        return {}

    parent = fake(name="parent")
    child = fake(parent, name="child", parts=("a", "b", "c"), make=fails)
    with pytest.raises(PartFailed, match=r"child, part b: .*the reason.*worker-errors\.log"):
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


def test_a_manifest_of_an_older_recipe_is_written_anew(fake, store, made, record):
    """A folder that keeps its name (the report's), its new parts sealed, killed before its manifest."""
    old, new = fake(options={"o": 1}, folder="report"), fake(options={"o": 2}, folder="report")
    go([old], store)
    store.write(new, "a", {"a.json": {}}, record)
    go([new], store)
    assert store.manifest(new)["digest"] == new.digest


def test_a_dead_worker_is_an_error_that_says_so(fake, tmp_path):
    worker = scheduler.Worker(tmp_path, tmp_path / "errors.log", {})  # no recipe.json there: it ends at once
    try:
        assert "ended with status 1" in worker.make(fake(), "a", lambda fraction: None)["error"]
    finally:
        worker.stop()
    assert "recipe.json" in (tmp_path / "errors.log").read_text()


def test_a_stopped_worker_leaves_no_process_and_no_open_file(tmp_path):
    def files():
        return {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}

    before = files()
    worker = scheduler.Worker(tmp_path, tmp_path / "errors.log", {})
    assert files() > before
    worker.stop()
    left = files() - before
    assert not any(each.startswith("pipe:") or each.endswith("errors.log") for each in left), left
