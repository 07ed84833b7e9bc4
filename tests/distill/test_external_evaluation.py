"""Somebody's folder beside random real images under one protocol, through workers; stored labels, and the bytes they take."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from distill.__main__ import main
from distill.graph import build
from distill.images.names import imagenet_classes, subset
from distill.models.soft_labels import bytes_an_image
from distill.pipeline.format import numbered
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.runs.distilled_set import load
from distill.runs.export import export
from distill.runs.external_evaluation import evaluate, evaluation_recipe
from distill.runs.folder import recipe_of
from distill.stages.external_images import ExternalImagesStage, brings_labels, images_a_class, numbers
from distill.stages.label import StoredLabelStage
from distill.stages.train import TrainStage

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SMALL = ("train.epochs=2", "train.width=4", "train.evaluations=1", "train.batch=16")


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """An export of three weighted images per class."""
    return export(finished.folder, format="imagefolder", method="ddoq", k=3, out=tmp_path_factory.mktemp("set") / "mine").folder


def test_the_command_judges_a_folder_beside_random_images_and_encodes_nothing(folder, tiny_changes, tmp_path, capsys):
    changes = [word for change in (*tiny_changes, *SMALL) if change != "train.steps=4" for word in ("--set", change)]
    command = [
        "evaluate",
        str(folder),
        "--recipe",
        "digits",
        "--protocol",
        "rded",
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "1",
    ]
    assert main([*command, *changes]) == 0
    assert "external" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_bytes())
    assert [(row["method"], row["ipc"], row["seeds"], row["protocol"]) for row in report["rows"]] == [
        ("external", 3, 2, "rded"),
        ("random", 3, 2, "rded"),
    ]
    assert all(row["label_bytes"] == 0 and row["w2_codes"] is None for row in report["rows"])
    assert not list((tmp_path / "run").glob("codec-*"))
    (given,) = (tmp_path / "run").glob("external-*")
    tensors = load_file(given / "0003-three.safetensors")
    with (folder / "train" / "metadata.csv").open(newline="") as file:
        weights = np.array([float(row["weight"]) for row in csv.DictReader(file) if row["label"] == "three"])
    np.testing.assert_allclose(tensors["k3.seed0.weights"], weights / weights.sum(), rtol=4 * np.finfo(float).eps)


def test_what_a_judgement_takes_is_said_beforehand(folder, tiny_changes, tmp_path, capsys):
    changes = [word for change in tiny_changes for word in ("--set", change)]
    command = ["evaluate", str(folder), "--recipe", "digits", "--out", str(tmp_path / "run"), "--dry-run", *changes]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert re.search(r"train external", said)
    assert "all that is known" in said
    assert not (tmp_path / "run").exists()


def test_stored_labels_are_split_by_epochs_shared_and_counted(folder, tiny_changes, tmp_path):
    changes = [change for change in (*tiny_changes, *SMALL) if change != "train.steps=4"]
    changes += ["label.top=4", f"label.shard_mb={30 * bytes_an_image(10, 4) * 1.5 / 2**20}", "seeds=[0]"]
    done = evaluate(folder, "digits", protocol="fkd", set=changes, out=tmp_path / "run", workers=1)
    stages = build(recipe_of(done.folder))
    store = Store(done.folder)
    for train in (stage for stage in stages if isinstance(stage, TrainStage)):
        labels = train.labels
        assert isinstance(labels, StoredLabelStage)
        (run,) = train.runs()
        parts = labels.parts_of(run)
        assert len(parts) == 2  # an epoch a file
        tensors = [store.tensors(labels, part) for part in parts]
        assert all(each["values"].shape == (1, 30, 4) for each in tensors)
        size = sum((store.folder(labels) / f"{part}.safetensors").stat().st_size for part in parts)
        assert store.values(train, run.name)["label_bytes"] == size
        assert 0 < size - 2 * 30 * bytes_an_image(10, 4) < 1000  # but for the files' headers
    assert all(row["label_bytes"] > 0 for row in done.metrics["rows"])


@pytest.mark.slow
def test_a_set_may_bring_its_own_labels(folder, tiny_changes, tmp_path):
    changes = [change for change in (*tiny_changes, *SMALL) if change != "train.steps=4"]
    done = evaluate(folder, "digits", protocol="rded", own_labels=True, set=changes, out=tmp_path / "run", workers=1)
    assert [row["label_bytes"] > 0 for row in done.metrics["rows"]] == [True, False]


def judged(path, *changes, ipc=3):
    return read(
        "digits", [f"external.path='{path}'", f"external.ipc={ipc}", "methods=['external', 'ddoq']", "data.size=16", *changes]
    )


def test_labels_do_not_depend_on_the_batch_nor_on_the_network(folder):
    def digests(*changes):
        stages = build(judged(folder, "train.protocol=fkd", *changes))
        return {stage.title: stage.digest for stage in stages if isinstance(stage, StoredLabelStage)}

    assert len(digests()) == 2
    for change in ("train.batch=7", "train.learning_rate=0.1", "train.student=resnet18", "train.precision=bfloat16"):
        assert digests(change) == digests(), change
    assert digests("train.crop=[0.2, 1.0]") != digests()


def test_a_folder_stands_beside_a_method_in_one_run(folder):
    stages = build(judged(folder))
    assert sum(isinstance(stage, ExternalImagesStage) for stage in stages) == 1
    assert {"train external", "train ddoq", "codec", "report"} <= {stage.title for stage in stages}


def test_numbered_folders_are_the_classes_in_order(folder, tmp_path):
    for index, name in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")):
        (tmp_path / f"{index:05d}").mkdir()
        for path in (folder / "train" / name).glob("*.png"):
            (tmp_path / f"{index:05d}" / path.name).write_bytes(path.read_bytes())
    stage = next(stage for stage in build(judged(tmp_path)) if isinstance(stage, ExternalImagesStage))
    made = stage.make("0003-three", None, None)["0003-three.safetensors"]
    assert made["k3.seed0.images"].shape == (3, 1, 16, 16)
    assert made["k3.seed0.weights"].tolist() == [1 / 3] * 3


def testnumbers_behind_one_beginning_arenumbers_too(folder, tmp_path):
    """As some write them: new000, new001."""
    for index, name in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")):
        shutil.copytree(folder / "train" / name, tmp_path / f"new{index:03d}")
    stage = next(stage for stage in build(judged(tmp_path)) if isinstance(stage, ExternalImagesStage))
    assert [Path(items[0].name).parent.name for items in stage._items] == [f"new{index:03d}" for index in range(10)]
    assert numbers(["n02086240", "n02087394", "n02088364"]) is None
    (tmp_path / "new003").rename(tmp_path / "old003")
    with pytest.raises(RecipeError, match="by number in their order, such as 000 or new000; it holds 10, such as 'new000'"):
        build(judged(tmp_path))


def test_an_export_within_a_run_is_judged_by_the_runs_own_recipe(copied, tmp_path, capsys):
    assert main(["export", str(copied), "--format", "imagefolder", "--k", "3"]) == 0
    capsys.readouterr()
    place = next((copied / "exports").iterdir())
    asked = evaluation_recipe(place)
    assert asked.external.path == str(place)
    assert asked.data == recipe_of(copied).data
    assert asked.methods == ["external", "random"]
    elsewhere = shutil.copytree(place, tmp_path / "elsewhere")
    assert main(["evaluate", str(elsewhere), "--protocol", "rded"]) == 2
    assert "lies in no run's folder; say whose data" in capsys.readouterr().err
    assert brings_labels(place)
    assert not brings_labels(tmp_path)


def test_a_set_of_imagenets_classes_is_judged_by_the_recipe_for_them(tmp_path, capsys):
    def set_of(name, classes):
        for each in classes:
            (tmp_path / name / each).mkdir(parents=True)
        for each in classes:
            Image.new("RGB", (4, 4)).save(tmp_path / name / each / "0.png")
        return tmp_path / name

    for name, subset_of in (("imagenette", "imagenette"), ("imagewoof", "imagewoof"), ("imagenet-100", "imagenet-100")):
        asked = evaluation_recipe(set_of(name, subset(subset_of)), protocol="rd3")
        assert (asked.data.subset, asked.train.protocol, asked.external.ipc) == (subset_of, "rd3", 1)
    for whole in (imagenet_classes(), [f"new{index:03d}" for index in range(1000)]):
        asked = evaluation_recipe(set_of(f"all-{whole[0]}", whole))
        assert (asked.data.subset, asked.data.path) == (None, "data/imagenet")
    changes = ["--set", f"data.path={tmp_path}/none", "--set", "compute.device=cpu"]
    assert main(["evaluate", str(tmp_path / "imagenette"), "--protocol", "rded", *changes]) == 2
    assert f"{tmp_path}/none" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="there is no folder"):
        evaluation_recipe(tmp_path / "nothing")
    with pytest.raises(RecipeError, match="1000 classes of"):
        evaluation_recipe(set_of("every-seventh", [f"{7 * index:04d}" for index in range(1000)]))
    with pytest.raises(RecipeError, match=r"10 classes of .* are not those of ImageNet or a subset that is known"):
        evaluation_recipe(set_of("numbers", [str(index) for index in range(10)]))


def own(path):
    return next(stage for stage in build(judged(path, "external.labels=own")) if isinstance(stage, ExternalImagesStage))


def weighted(words, weight):
    """A metadata.csv with another weight for every image."""
    rows = list(csv.DictReader(words.splitlines()))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(row | {"weight": weight} for row in rows)
    return file.getvalue()


@pytest.fixture
def noted(folder, tmp_path):
    """A copy of the set to write to, and the words of its metadata.csv."""
    train = Path(shutil.copytree(folder, tmp_path / "noted")) / "train"
    return train, (train / "metadata.csv").read_text()


def test_other_labels_of_the_same_size_are_another_set(noted):
    train, _ = noted
    before, path = own(train).digest, train / "soft_labels.safetensors"
    content = path.read_bytes()
    save_file({"logits": load_file(path)["logits"] + 1}, path)
    assert own(train).digest != before
    path.write_bytes(content)
    assert own(train).digest == before


def test_other_images_of_the_same_size_are_another_set(noted):
    train, _ = noted
    before, image = own(train).digest, next((train / "three").iterdir())
    pixels = image.read_bytes()
    image.write_bytes(pixels[:-1] + bytes([pixels[-1] ^ 1]))
    assert own(train).digest != before
    image.write_bytes(pixels)
    assert own(train).digest == before


def test_own_labels_are_those_of_each_image(noted):
    """In the data's order of classes, whatever the file's, which says it; of a file that does not it is the data's."""
    train, words = noted
    logits = load_file(train / "soft_labels.safetensors")["logits"]
    columns = [sorted(CLASSES).index(name) for name in CLASSES]
    made = own(train).make("0003-three", None, None)["0003-three.safetensors"]
    labelled = [int(row["soft_label_row"]) for row in csv.DictReader(words.splitlines()) if row["label"] == "three"]
    np.testing.assert_array_equal(made["k3.seed0.logits"].numpy(), logits[labelled][:, columns].astype(np.float32))
    save_file({"logits": logits}, train / "soft_labels.safetensors", {"classes": json.dumps([str(i) for i in range(10)])})
    with pytest.raises(ValueError, match=r"columns of the soft labels of .* are \['0', '1', '2'\]"):
        own(train).make("0003-three", None, None)
    save_file({"logits": logits}, train / "soft_labels.safetensors")
    rows = [int(row["soft_label_row"]) for row in csv.DictReader(words.splitlines()) if row["label"] == "three"]
    made = own(train).make("0003-three", None, None)["0003-three.safetensors"]
    np.testing.assert_array_equal(made["k3.seed0.logits"].numpy(), logits[rows].astype(np.float32))
    save_file({"logits": logits[:, :7].copy()}, train / "soft_labels.safetensors")
    with pytest.raises(ValueError, match=r"must have logits \(10,\)"):
        own(train).make("0003-three", None, None)


def test_weights_are_found_behind_a_spreadsheets_mark(noted):
    train, words = noted
    (train / "metadata.csv").write_text(words, encoding="utf-8-sig")
    stage = next(stage for stage in build(judged(train)) if isinstance(stage, ExternalImagesStage))
    weights = stage.make("0003-three", None, None)["0003-three.safetensors"]["k3.seed0.weights"]
    expected = np.array([float(row["weight"]) for row in csv.DictReader(words.splitlines()) if row["label"] == "three"])
    assert len(set(expected)) > 1
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: words.replace("three/", "train/three/"), r"has no row for 3 of the images, such as three/"),
        (lambda words: words.replace("file_name", "image"), r"no column file_name; it has image, label"),
        (lambda words: words.replace("soft_labels.safetensors", "other.safetensors"), r"there is no other\.safetensors"),
        (lambda words: words.replace("soft_labels.safetensors", "../../x"), r"leads out of"),
        (lambda words: words.replace("soft_label_row", "row"), r"does not name soft labels of every image"),
        (lambda words: weighted(words, "abc"), r"the weight of \S+ must be a number ≥ 0; received 'abc'"),
        (lambda words: weighted(words, "-1"), r"the weight of \S+ must be a number ≥ 0; received '-1'"),
        (lambda words: weighted(words, "0"), r"gives every image of \S+ the weight 0"),
    ],
)
def test_notes_that_leave_images_out_are_refused_before_work(noted, change, said):
    train, words = noted
    (train / "metadata.csv").write_text(change(words))
    with pytest.raises(RecipeError, match=said):
        own(train)


def test_a_given_set_is_loaded_as_every_other_whatever_the_budgets(folder, tmp_path):
    """Its budget is its own, and it has one draw for all seeds."""
    recipe = judged(folder, "select.k=[1, 2]", "seeds=[4, 5]")
    (tmp_path / "recipe.json").write_text(json.dumps(numbered(recipe.model_dump())))
    for arguments in ({}, {"ipc": 3}, {"seed": 5}):
        with pytest.raises(RecipeError, match="not finished"):
            load(tmp_path, "external", **arguments)
    with pytest.raises(RecipeError, match=r"no set of external with 2 images per class and any seed; it has 3 images per class"):
        load(tmp_path, "external", 2)


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_a_set_is_read_as_the_images_are_that_stand_beside_it(photos, tmp_path, resize):
    """The very photographs of the data, as a set of somebody's: the same pixels, and nothing that macOS left beside them."""
    names = ("a", "b")
    tree = photos(tmp_path / "data", names, 3)
    shutil.copytree(tree / "train", tmp_path / "set")
    (tmp_path / "set" / "a" / "._a_0.JPEG").write_bytes(b"resource fork")
    (tmp_path / "set" / ".thumbnails").mkdir()
    (tmp_path / "set" / ".thumbnails" / "x.png").write_bytes(b"")
    Image.new("L", (9, 9)).save(tmp_path / "set" / "b" / "b_9.pgm")
    assert images_a_class(tmp_path / "set") == 4
    table = read("digits", ["methods=['ddoq']"]).model_dump()
    table["data"] = {"source": "folder", "path": str(tree), "size": 16, "resize": resize}
    table |= {"methods": ["external", "random"], "external": {"path": str(tmp_path / "set"), "ipc": 4}}
    table["codec"]["channels"] = [4, 4]
    stages = build(read(table))
    stage = next(stage for stage in stages if isinstance(stage, ExternalImagesStage))
    made = stage.make("0000-a", None, None)["0000-a.safetensors"]["k4.seed0.images"].numpy()
    data = stage.data.train
    np.testing.assert_array_equal(made, data.read(data.of_class(0)))


def test_what_is_no_set_of_the_classes_is_refused(folder, tmp_path, capsys):
    with pytest.raises(RecipeError, match=r"external\.ipc = 4, but a class of .* has up to 3"):
        build(judged(folder, ipc=4))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(RecipeError, match="must hold a folder per class"):
        build(judged(tmp_path, ipc=1))
    with pytest.raises(RecipeError, match="the method 'external' and the section"):
        read("digits", ["methods=['external']"])
    assert main(["evaluate", str(tmp_path / "none"), "--recipe", "digits"]) == 2
    assert "there is no folder" in capsys.readouterr().err
