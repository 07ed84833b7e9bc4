"""Images on disk, from every kind of source: what is listed, read, skipped and refused."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from distill.engines.execute import Board, Watcher, execute
from distill.engines.local import LocalEngine
from distill.engines.worker import make_part
from distill.graph import build
from distill.images import load
from distill.images.names import namer, subset, subsets
from distill.images.pixels import Unreadable
from distill.images.split import held_out
from distill.pipeline.engine import PartFailed
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.recipe.images import FolderData, HubData, ParquetData, WebdatasetData

WNIDS = ("n01440764", "n02102040", "n03126707")


@pytest.fixture
def tree(tmp_path, photos):
    return photos(tmp_path / "data", WNIDS)


def folder(path, **changes):
    return FolderData(**{"source": "folder", "path": str(path), "size": 16, **changes})


def rows_of(split):
    return sorted((int(label), image.tobytes()) for label, image in zip(split.labels, split.read(range(len(split))), strict=True))


def test_a_tree_is_listed_by_class_and_read_by_position(tree):
    data = load(folder(tree))
    assert data.classes == WNIDS
    assert (len(data.train), len(data.test), data.channels) == (18, 6, 3)
    for index, name in enumerate(WNIDS):
        for position in data.train.of_class(index):
            assert data.train.name(position).startswith(f"{name}/")
            with Image.open(tree / "train" / data.train.name(position)) as image:
                whole = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC, box=(4, 0, 44, 40)))
            # Decoded at a fraction of its size or whole, noise of 40 levels averaged over 2.5² pixels: close, not equal.
            assert np.abs(data.train.read([position])[0].transpose(1, 2, 0).astype(int) - whole).mean() < 8


def test_names_are_imagenets_and_two_of_one_name_are_kept_apart():
    """Class 134 and 517 of ImageNet-1K are both called crane, 638 and 639 maillot."""
    assert namer({})(("n01440764", "mine")) == ("tench", "mine")
    assert namer({"mine": "my class", "n01440764": "fish"})(("n01440764", "mine")) == ("fish", "my class")
    cranes = ("n02012849", "n03126707")
    assert namer({})(cranes) == ("crane", "crane")


def test_part_names_and_names_of_like_named_classes_differ(tmp_path, photos):
    data = load(folder(photos(tmp_path / "x", ("n02012849", "n03126707"), 2)))
    assert data.names == ("crane (n02012849)", "crane (n03126707)")
    assert data.prompts == ("crane", "crane")
    assert len(set(data.part_names)) == 2


def test_the_fingerprint_follows_paths_sizes_and_how_images_are_cut(tree):
    first = load(folder(tree)).fingerprint
    assert load(folder(tree)).fingerprint == first
    assert len({first, load(folder(tree, size=24)).fingerprint, load(folder(tree, resize="stretch")).fingerprint}) == 3
    some = tree / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    some.rename(some.with_name("other.JPEG"))
    second = load(folder(tree)).fingerprint
    some.with_name("other.JPEG").write_bytes(b"\xff\xd8")
    assert len({first, second, load(folder(tree)).fingerprint}) == 3


def test_another_place_of_the_same_data_is_the_same_data(tree, tmp_path):
    first = load(folder(tree)).fingerprint
    tree.rename(tmp_path / "moved")
    assert load(folder(tmp_path / "moved")).fingerprint == first


def test_subsets_are_distinct_classes_of_imagenet(tree, tmp_path):
    from timm.data import ImageNetInfo

    known = set(ImageNetInfo("imagenet-1k").label_names())
    assert {name: len(subset(name)) for name in subsets()} == {"imagenette": 10, "imagewoof": 10, "imagenet-100": 100}
    assert all(set(subset(name)) <= known for name in subsets())
    own = tmp_path / "own.txt"
    own.write_text("# mine\nn03126707 # crane\n\nn01440764\n")
    for wanted in (str(own), ["n03126707", "n01440764"]):
        assert load(folder(tree, subset=wanted)).classes == ("n01440764", "n03126707")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subset": "imagenette"}, "lacks, such as"),
        ({"subset": "imagenet"}, r"no list is called 'imagenet'.*imagenette"),
        ({"subset": ["n01440764", "n01440764"]}, "twice"),
        ({"train": "training"}, "can't be listed"),
        ({"test": "test"}, "no test split 'test'"),
        ({"names": {"tench": "fish"}}, "no class of the data"),
    ],
)
def test_what_is_not_there_is_refused_by_name(tree, changes, words):
    with pytest.raises(RecipeError, match=words):
        load(folder(tree, **changes))


def test_a_class_without_images_is_refused(tree):
    for path in (tree / "train" / WNIDS[1]).iterdir():
        path.unlink()
    with pytest.raises(RecipeError, match=r"1 of 3 classes have no training images, such as 'n02102040'"):
        load(folder(tree))


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tree, monkeypatch):
    listing = os.scandir

    def failing(path):
        if str(path).endswith(WNIDS[1]):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(RecipeError, match=rf"{WNIDS[1]} can't be listed: Permission denied"):
        load(folder(tree))


def test_validation_images_in_one_heap_are_refused_with_the_remedy(tree):
    heap = tree / "heap"
    heap.mkdir()
    (heap / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"x")
    with pytest.raises(RecipeError, match="move each into the folder of its class"):
        load(folder(tree, test="heap"))


def test_without_a_test_split_some_of_the_training_images_are_held_out(tree):
    data = load(folder(tree, test="", test_fraction=0.5))
    assert (len(data.train), len(data.test)) == (9, 9)
    assert rows_of(load(folder(tree)).train) == sorted(rows_of(data.train) + rows_of(data.test))


def test_a_share_to_hold_out_beside_a_test_split_is_refused(tree):
    with pytest.raises(RecipeError, match=r"test_fraction = 0.5 holds .* where there is no test split, and .* has one, 'val'"):
        load(folder(tree, test_fraction=0.5))


def test_shares_are_held_out_of_every_class():
    labels = np.repeat(np.arange(4), [10, 1, 7, 40])
    kept, out = held_out(labels, 0.25, 0)
    assert sorted([*kept, *out]) == list(range(58))
    # round(n/4), halves to even: 2.5 → 2, 0.25 → 0, 1.75 → 2, 10.
    assert np.bincount(labels[out], minlength=4).tolist() == [2, 0, 2, 10]


@pytest.fixture
def tables(tree, tmp_path, monkeypatch):
    """The tree as parquet files, webdataset shards and a folder of both splits, and where the library keeps its cache."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split in ("train", "val"):
        images = [
            (index, path.read_bytes()) for index, name in enumerate(WNIDS) for path in sorted((tree / split / name).iterdir())
        ]
        struct = [{"bytes": content, "path": None} for _, content in images]
        names = [WNIDS[index] for index, _ in images]
        parquet.write_table(pyarrow.table({"image": struct, "label": names}), tmp_path / f"{split}-0.parquet")
        (tmp_path / "hub").mkdir(exist_ok=True)
        official = {"train": "train", "val": "validation"}[split]
        parquet.write_table(
            pyarrow.table({"image": struct, "label": [i for i, _ in images]}), tmp_path / "hub" / f"{official}-0.parquet"
        )
        with tarfile.open(tmp_path / f"x-{split}-0.tar", "w") as tar:
            for number, (index, content) in enumerate(images):
                for name, data in ((f"{number:06d}.jpg", content), (f"{number:06d}.cls", str(index).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return tmp_path


def test_parquet_shards_and_a_hubs_layout_give_the_same_images(tree, tables):
    plain = load(folder(tree))
    at = {"path": str(tables), "size": 16}
    for data in (
        ParquetData(source="parquet", **at),
        WebdatasetData(source="webdataset", **at),
        HubData(source="hub", path=str(tables / "hub"), size=16),
    ):
        found = load(data)
        assert len(found.classes) == 3
        assert rows_of(found.train) == rows_of(plain.train)
        assert rows_of(found.test) == rows_of(plain.test)
    assert load(ParquetData(source="parquet", **at)).classes == WNIDS
    some = load(ParquetData(source="parquet", **at, subset=["n03126707"]))
    assert [image for _, image in rows_of(some.train)] == [image for label, image in rows_of(plain.train) if label == 2]


def test_rows_without_an_image_are_counted_and_rows_without_a_label_refused(tree, tmp_path, monkeypatch):
    import datasets
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    contents = [{"bytes": path.read_bytes(), "path": None} for path in sorted((tree / "train" / WNIDS[0]).iterdir())[:3]]
    for split in ("train", "val"):
        table = pyarrow.table({"image": [*contents, None], "label": ["a", "b", "a", "b"]})
        parquet.write_table(table, tmp_path / f"{split}-0.parquet")
    data = load(ParquetData(source="parquet", path=str(tmp_path), size=16))
    assert data.train.name(3) == "row 3"
    with pytest.raises(Unreadable, match="no image in this row"):
        data.train.content(3)
    assert len(data.train.read([0, 1, 2])) == 3
    parquet.write_table(pyarrow.table({"image": contents, "label": ["a", None, "a"]}), tmp_path / "train-0.parquet")
    with pytest.raises(RecipeError, match=r"data\.label: 1 of 3 rows have no label, such as row 1"):
        load(ParquetData(source="parquet", path=str(tmp_path), size=16))


def test_shards_may_hold_images_of_several_kinds(tree, tables):
    """Every third a PNG, the first not among the samples that the library looks at."""
    plain = load(WebdatasetData(source="webdataset", path=str(tables), size=16))
    before = rows_of(plain.test)
    images = [(i, path) for i, name in enumerate(WNIDS) for path in sorted((tree / "train" / name).iterdir())]
    with tarfile.open(tables / "x-train-0.tar", "w") as tar:
        for number, (index, path) in enumerate(images):
            content, ending = path.read_bytes(), "jpg"
            if number % 3 == 2 and number > 5:
                file = io.BytesIO()
                Image.open(path).save(file, "PNG")
                content, ending = file.getvalue(), "png"
            for name, data in ((f"{number:06d}.{ending}", content), (f"{number:06d}.cls", str(index).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    mixed = load(WebdatasetData(source="webdataset", path=str(tables), size=16))
    assert len(mixed.train) == len(images)
    for position, (index, path) in enumerate(images):
        with Image.open(path) as image:
            whole = np.asarray(image)
        assert mixed.train.labels[position] == index
        assert np.abs(mixed.train.read([position]).mean((0, 2, 3)) - whole[:, 4:-4].mean((0, 1))).max() < 8
    assert rows_of(mixed.test) == before


def test_files_of_every_ending_are_listed_and_what_macos_leaves_is_not(tree):
    place = tree / "train" / WNIDS[0]
    content = (place / f"{WNIDS[0]}_0.JPEG").read_bytes()
    before = len(load(folder(tree)).train)
    for name in ("a.jfif", "b.heic", "c.jpe", "._d.JPEG", "e.txt"):
        (place / name).write_bytes(content)
    (place / ".hidden").mkdir()
    (place / ".hidden" / "f.png").write_bytes(content)
    assert len(load(folder(tree)).train) == before + 3


def test_a_path_may_begin_at_home(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree.parent))
    assert len(load(folder(f"~/{tree.name}")).train) == 18


def test_whole_numbers_stand_for_imagenets_classes_if_the_recipe_says_so(tables):
    found = load(
        HubData(source="hub", path=str(tables / "hub"), size=16, labels="imagenet-1k", subset=["n01440764", "n01443537"])
    )
    assert found.classes == ("n01440764", "n01443537")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": "picture"}, "data.image: no column is called 'picture'; the columns are image, label"),
        ({"train": "none*.parquet"}, "no training split"),
    ],
)
def test_a_table_without_what_is_asked_is_refused(tables, changes, words):
    with pytest.raises(RecipeError, match=words):
        load(ParquetData(**{"source": "parquet", "path": str(tables), "size": 16, **changes}))


def test_a_hubs_name_needs_its_commit():
    with pytest.raises(RecipeError, match=r"data\.revision is needed"):
        load(HubData(source="hub", path="some/where", size=16))


# Validation of images


@pytest.fixture
def table(tree):
    recipe = read("digits").model_dump()
    recipe["data"] = {"source": "folder", "path": str(tree), "size": 16, "max_unreadable": 0.2}
    recipe["codec"]["channels"] = [4, 4]
    return recipe


def harmed(tree):
    """Three images of the first class that can't be read, and one that is converted."""
    place = tree / "train" / WNIDS[0]
    whole = (place / f"{WNIDS[0]}_1.JPEG").read_bytes()
    (place / f"{WNIDS[0]}_1.JPEG").write_bytes(b"")
    (place / f"{WNIDS[0]}_3.JPEG").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (20, 20), 7).save(place / f"{WNIDS[0]}_4.JPEG")
    (place / f"{WNIDS[0]}_9.JPEG").symlink_to(place / "nowhere")


def validated_at(table, path):
    validated = next(stage for stage in build(read(table)) if stage.name == "validate")
    store = Store(path)
    for part in validated.parts():
        make_part(store, validated, part, lambda fraction: None)
    return validated, store


def test_what_can_not_be_read_is_counted_listed_and_left_out(tree, table, tmp_path):
    harmed(tree)
    validated, store = validated_at(table, tmp_path / "run")
    found = validated.summary(store)
    assert found["images"] == {"train": 19, "test": 6}
    assert [each["name"] for each in found["unreadable"]] == [f"{WNIDS[0]}/{WNIDS[0]}_{i}.JPEG" for i in (1, 3, 9)]
    assert all(each["reason"] for each in found["unreadable"])
    assert found["converted"] == {"greyscale": 1}
    split = validated.data.train
    positions = validated.readable(store, "train", 0)
    assert [split.name(p).split("_")[1] for p in positions] == ["0.JPEG", "2.JPEG", "4.JPEG", "5.JPEG"]
    assert split.read(positions).shape == (4, 3, 16, 16)
    assert len(validated.all_readable(store, "train")) == 16


def test_twelve_bits_stored_in_sixteen_are_not_taken_for_black_images(tree, table, tmp_path):
    deep = np.full((20, 20), 4095, np.uint16)
    for path in (tree / "train" / WNIDS[0]).iterdir():
        Image.fromarray(deep).save(path, "PNG")
    validated, store = validated_at(table, tmp_path / "run")
    with pytest.raises(ValueError, match=r"all 6 images of 16 bits hold values below 4096 alone.*data\.bits = 12"):
        validated.summary(store)
    first = validated.digest
    for bits in (12, 16):
        table["data"]["bits"] = bits
        validated, store = validated_at(table, tmp_path / str(bits))
        validated.summary(store)
        assert validated.data.train.read([0]).max() == (255 if bits == 12 else 16)
        assert (validated.digest == first) == (bits == 16)


def test_too_many_of_them_stop_the_run_before_anything_is_made_of_the_rest(tree, table, tmp_path):
    harmed(tree)
    table["data"]["max_unreadable"] = 0.05
    validated, store = validated_at(table, tmp_path / "run")
    with pytest.raises(PartFailed, match=r"3 of 25 images can't be read, more than the share data\.max_unreadable = 0\.05"):
        execute(Board([validated], store, {}, Watcher(), verify=False), lambda most: LocalEngine(store.root, 1, "cpu"))


def test_a_class_of_which_nothing_can_be_read_stops_it_too(tree, table, tmp_path):
    table["data"]["max_unreadable"] = 1.0
    for path in (tree / "val" / WNIDS[2]).iterdir():
        path.write_bytes(b"")
    validated, store = validated_at(table, tmp_path / "run")
    with pytest.raises(ValueError, match=r"none of the 2 images of 0002-n03126707 \(test\) can be read"):
        validated.summary(store)


def test_other_bytes_of_the_same_size_are_noticed_when_contents_are_asked_for(tree, table, tmp_path):
    validated, store = validated_at(table, tmp_path / "run")
    assert validated.changed(store) == []
    path = tree / "train" / WNIDS[1] / f"{WNIDS[1]}_2.JPEG"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    assert build(read(table))[0].digest == validated.digest, "names and sizes are what they were"
    assert validated.changed(store) == [WNIDS[1]]


def test_a_damaged_record_says_nothing_of_its_class_and_ends_no_check(tree, table, tmp_path):
    validated, store = validated_at(table, tmp_path / "run")
    harm = store.folder(validated) / f"{validated.parts()[0]}.json"
    harm.write_bytes(harm.read_bytes().replace(b"0", b"1"))
    path = tree / "train" / WNIDS[1] / f"{WNIDS[1]}_2.JPEG"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert validated.changed(store) == [WNIDS[1]]


def test_the_list_is_in_the_manifest(tree, table, tmp_path):
    harmed(tree)
    validated, store = validated_at(table, tmp_path / "run")
    store.finish(validated, {})
    manifest = json.loads((store.folder(validated) / "manifest.json").read_bytes())
    assert len(manifest["unreadable"]) == 3
