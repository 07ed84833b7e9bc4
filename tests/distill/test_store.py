import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch

from distill.pipeline import store as stores
from distill.pipeline.store import ChecksumMismatch, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run")


@pytest.fixture
def stage(fake):
    return fake()


@pytest.fixture
def content():
    return {"a.safetensors": {"x": torch.arange(64.0)}, "a.json": {"y": [1.5, None]}, "a.png": b"\x89PNG..."}


@pytest.fixture
def written(store, stage, content, record):
    store.write(stage, "a", content, record)
    return store.folder(stage)


def tamper(path, *, keep_time):
    """Flip a byte at the end: the size stays; the time too, where asked."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (0 if keep_time else 1_000_000)))


def seal_path(folder, part="a"):
    return folder / ".seals" / f"{part}.json"


def test_what_is_written_is_held_and_read_back(store, stage, written, content, record):
    assert store.holds(stage, "a")
    assert store.holds(stage, "a", verify=True)
    assert torch.equal(store.tensors(stage, "a")["x"], content["a.safetensors"]["x"])
    assert store.values(stage, "a") == content["a.json"]
    assert store.check(stage, "a") == written
    assert {key: store.seal(stage, "a")[key] for key in record} == record


def test_an_unwritten_part_is_missing(store, stage):
    assert not store.holds(stage, "a")
    with pytest.raises(ChecksumMismatch):
        store.values(stage, "a")


def test_a_part_under_another_digest_is_missing(store, fake, record):
    first, second = fake(options={"o": 1}, folder="report"), fake(options={"o": 2}, folder="report")
    store.write(first, "a", {"a.json": {}}, record)
    assert store.holds(first, "a")
    assert not store.holds(second, "a")
    with pytest.raises(ChecksumMismatch):
        store.values(second, "a")


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_part_cut_short_is_missing(monkeypatch, store, stage, content, record, writes):
    left = iter(range(writes))
    whole = stores.write_whole

    def write(path, data):
        if next(left, None) is None:
            raise KeyboardInterrupt
        whole(path, data)

    monkeypatch.setattr(stores, "write_whole", write)
    with pytest.raises(KeyboardInterrupt):
        store.write(stage, "a", content, record)
    assert not store.holds(stage, "a")


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_overwriting_cut_short_never_passes_new_files_under_the_old_seal(
    monkeypatch, store, stage, written, content, record, writes
):
    test_a_part_cut_short_is_missing(
        monkeypatch, store, stage, {name: _other(value) for name, value in content.items()}, record, writes
    )


def _other(value):
    """Other content of the same size."""
    if isinstance(value, bytes):
        return value[::-1]
    return {"x": value["x"] + 1} if "x" in value else {"y": [2.5, None]}


def test_a_kill_before_the_rename_leaves_the_old_file(monkeypatch, tmp_path):
    path = tmp_path / "file"
    stores.write_whole(path, b"old")

    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        stores.write_whole(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"the disk of \S+ is full: file takes 3 bytes"),
        (errno.EACCES, r"file cannot be written: Permission denied"),
    ],
)
def test_what_cannot_be_written_is_a_sentence_and_leaves_nothing_half_written(monkeypatch, tmp_path, number, words):
    path = tmp_path / "file"
    stores.write_whole(path, b"old")

    def fails(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(stores.Unwritable, match=words):
        stores.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_files_without_a_seal_are_missing(store, stage, written):
    seal_path(written).unlink()
    assert not store.holds(stage, "a")
    with pytest.raises(ChecksumMismatch):
        store.tensors(stage, "a")


@pytest.mark.parametrize("name", ["a.safetensors", "a.json", "a.png"])
def test_truncated_deleted_or_altered_files_are_missing(store, stage, written, name):
    path = written / name
    whole, stat = path.read_bytes(), path.stat()
    tamper(path, keep_time=False)
    assert not store.holds(stage, "a")
    path.write_bytes(whole[:-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not store.holds(stage, "a")
    path.unlink()
    assert not store.holds(stage, "a")
    path.mkdir()
    assert not store.holds(stage, "a")


@pytest.mark.parametrize(("name", "read"), [("a.safetensors", "tensors"), ("a.json", "values"), ("a.png", "check")])
def test_an_alteration_that_restores_the_time_is_found_by_verifying_and_by_reading(store, stage, written, name, read):
    tamper(written / name, keep_time=True)
    assert store.holds(stage, "a"), "sizes and times alone cannot tell"
    assert not store.holds(stage, "a", verify=True)
    with pytest.raises(ChecksumMismatch) as caught:
        getattr(store, read)(stage, "a")
    assert (caught.value.folder, caught.value.part) == (stage.folder_name, "a")
    assert seal_path(written).exists(), "who reads may not hold the lock, so only the pipeline breaks seals"
    store.discard(stage, "a")
    assert not store.holds(stage, "a")


def test_a_touched_file_of_the_same_content_stays(store, stage, written):
    os.utime(written / "a.safetensors")
    assert store.holds(stage, "a")
    store.tensors(stage, "a")


def test_a_run_folder_may_be_moved_and_copied(store, stage, written, tmp_path):
    shutil.copytree(store.root, tmp_path / "copy", copy_function=shutil.copyfile)  # without the times
    store.root.rename(tmp_path / "moved")
    for place in ("moved", "copy"):
        assert Store(tmp_path / place).holds(stage, "a", verify=True)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"null", b"[]", b"3", b'"seal"', b"\xff\xfe", b"{}", b'{"digest": "0"}', b'{"files": {}}'],
)
def test_a_seal_that_is_none_counts_as_missing(store, stage, written, garbage):
    seal_path(written).write_bytes(garbage)
    assert store.seal(stage, "a") is None
    assert not store.holds(stage, "a")
    with pytest.raises(ChecksumMismatch):
        store.values(stage, "a")


@pytest.mark.parametrize(
    "files",
    [
        [],
        None,
        {"a.json": None},
        {"a.json": {}},
        {"a.json": {"size": "1"}},
        {"a.json": {"size": 1, "mtime_ns": 0}},
        {"a.json": []},
    ],
)
def test_a_seal_with_malformed_files_counts_as_missing(store, stage, written, files):
    seal = json.loads(seal_path(written).read_bytes())
    seal_path(written).write_text(json.dumps({**seal, "files": files}))
    assert not store.holds(stage, "a")
    with pytest.raises(ChecksumMismatch):
        store.values(stage, "a")


def test_a_seal_that_names_another_hash_is_found_on_reading(store, stage, written):
    seal = json.loads(seal_path(written).read_bytes())
    seal["files"]["a.json"]["sha256"] = "0" * 64
    seal_path(written).write_text(json.dumps(seal))
    with pytest.raises(ChecksumMismatch):
        store.values(stage, "a")


def test_a_file_that_the_seal_does_not_name_is_not_read(store, stage, record):
    store.write(stage, "a", {"a.png": b"..."}, record)
    (store.folder(stage) / "a.json").write_text("{}")
    with pytest.raises(ChecksumMismatch):
        store.values(stage, "a")


def test_partial_files_are_swept_and_nothing_else(store, stage, written):
    (store.root / "a film.partial").write_bytes(b"somebody's own")
    (store.root / "films").mkdir()
    (store.root / "films" / "another.partial").write_bytes(b"somebody's own")
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    halves = (
        written / "b.safetensors.77.partial",
        written / ".seals" / "b.json.77.partial",
        store.root / "recipe.json.77.partial",
    )
    for partial in halves:
        partial.write_bytes(b"half")
    store.sweep()
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before
    assert store.holds(stage, "a", verify=True)


def test_sweeping_a_folder_that_is_not_there_is_nothing(store):
    store.sweep()


@pytest.mark.parametrize("name", ["../../outside.json", "../../../outside.json", "/{tmp}/outside.json"])
def test_a_product_cannot_leave_the_run_folder(store, stage, record, tmp_path, name):
    with pytest.raises(ValueError, match="leads out of the run folder"):
        store.write(stage, "a", {name.replace("/{tmp}", str(tmp_path)): {"x": 1}}, record)
    assert not list(tmp_path.glob("outside*"))
    assert not store.holds(stage, "a")


def test_a_seal_cannot_leave_the_run_folder(store, stage, record, tmp_path):
    with pytest.raises(ValueError, match="leads out of the run folder"):
        store.write(stage, "../../../outside", {"a.json": {"x": 1}}, record)
    assert not list(tmp_path.glob("outside*"))


def test_a_link_out_of_the_run_folder_is_not_followed(store, stage, record, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    store.root.mkdir()
    store.folder(stage).symlink_to(outside)
    with pytest.raises(ValueError, match=r"leads out of the run folder .*remove the link"):
        store.write(stage, "a", {"a.json": {}}, record)
    assert not list(outside.iterdir())


def test_a_link_in_place_of_the_seals_is_not_followed(store, stage, record, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    store.folder(stage).mkdir(parents=True)
    (store.folder(stage) / ".seals").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of the run folder"):
        store.write(stage, "a", {"a.json": {}}, record)
    assert not list(outside.iterdir())


def test_a_link_in_place_of_a_file_is_not_followed(store, stage, written, record, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_bytes((written / "a.json").read_bytes())
    (written / "a.json").unlink()
    (written / "a.json").symlink_to(secret)
    before = secret.read_bytes()
    assert not store.holds(stage, "a")
    with pytest.raises((ValueError, ChecksumMismatch)):
        store.values(stage, "a")
    with pytest.raises(ValueError, match="leads out of the run folder"):
        store.write(stage, "a", {"a.json": {"z": 1}}, record)
    assert secret.read_bytes() == before


def test_a_run_folder_that_is_itself_a_link_is_fine(stage, record, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "run")
    store.write(stage, "a", {"a.json": {"x": 1}}, record)
    assert store.values(stage, "a") == {"x": 1}


def test_nothing_is_pickled(store, stage, written):
    for path in (path for path in written.rglob("*") if path.is_file()):
        assert path.suffix in (".safetensors", ".json", ".png")
        assert not path.read_bytes().startswith((b"\x80", b"PK"))  # a pickle; torch.save's archive of one
    with pytest.raises(TypeError, match="bytes"):
        store.write(stage, "a", {"a.pt": {"x": torch.ones(1)}}, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_that_is_none_is_refused(store, stage, record, value):
    with pytest.raises(ValueError, match="JSON"):
        store.write(stage, "a", {"a.json": {"x": [value]}}, record)
    assert not store.holds(stage, "a")


def test_tensors_are_stored_whatever_their_layout(store, stage, record):
    tensor = torch.arange(12.0, requires_grad=True).reshape(3, 4).t()
    store.write(stage, "a", {"a.safetensors": {"x": tensor}}, record)
    assert torch.equal(store.tensors(stage, "a")["x"], tensor.detach())


def test_the_manifest_says_what_and_where_and_what_it_took(store, fake, record):
    parent = fake(name="parent")
    stage = fake(parent, name="child", parts=("a", "b"), options={"o": 1}, version=4)
    assert store.manifest(stage) is None
    store.write(stage, "a", {"a.json": {}}, record | {"began": 10.0, "ended": 14.0, "peak_memory_bytes": 5})
    store.write(stage, "b", {"b.json": {}}, record | {"began": 12.0, "ended": 15.0, "peak_memory_bytes": 9})
    store.finish(stage, {"python": "3"})
    assert store.manifest(stage) == {
        "stage": "child",
        "title": "child",
        "version": 4,
        "digest": stage.digest,
        "options": {"o": 1},
        "parents": [parent.folder_name],
        "parts": 2,
        "began": 10.0,
        "wall_s": 5.0,
        "work_s": 7.0,
        "peak_memory_bytes": 9,
        "environment": {"python": "3"},
    }


def test_a_manifest_of_other_options_is_none(store, fake, record):
    """The report's folder keeps its name when the recipe changes; a kill may leave the old manifest beside the new parts."""
    old, new = fake(options={"o": 1}, folder="report"), fake(options={"o": 2}, folder="report")
    store.write(old, "a", {"a.json": {}}, record)
    store.finish(old, {})
    store.write(new, "a", {"a.json": {}}, record)
    assert store.manifest(new) is None


def test_wall_time_is_the_length_of_the_union(store, fake, record):
    rng = np.random.default_rng(11)
    for trial in range(10):
        spans = [(float(a), float(a + n)) for a, n in zip(rng.integers(0, 20, 5), rng.integers(0, 8, 5), strict=True)]
        stage = fake(name=f"t{trial}", parts=tuple("abcde"))
        for part, (began, ended) in zip(stage.parts(), spans, strict=True):
            store.write(stage, part, {f"{part}.json": {}}, record | {"began": began, "ended": ended})
        store.finish(stage, {})
        covered = {unit for began, ended in spans for unit in range(int(began), int(ended))}
        assert store.manifest(stage)["wall_s"] == len(covered), spans
        assert store.manifest(stage)["work_s"] == sum(ended - began for began, ended in spans)
