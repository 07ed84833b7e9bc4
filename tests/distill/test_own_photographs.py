"""The recipe ``photos``: what it finds in folders of one's own, what it says of that, and what it refuses in a sentence."""

import shutil

import numpy as np
import pytest
from PIL import Image

import distill
from distill.__main__ import main
from distill.engines.worker import make_part
from distill.graph import build
from distill.images import load
from distill.images.layout import chosen, find
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.runs.planning import planned

COUNTS = {"cat": 12, "dog": 30, "owl": 20}


def save(folder, count):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "mine"
    for name, count in COUNTS.items():
        save(root / name, count)
    return root


@pytest.fixture
def mine(saved, tmp_path):
    """``mine/cat/*.jpg``, ..., for a test to change."""
    return shutil.copytree(saved, tmp_path / "mine")


def recipe(path, *changes):
    return read("photos", [f"data.path={path}", "data.size=16", *changes])


def splits(path, *changes):
    found = find(recipe(path, *changes).data)
    return found.train, found.test, found.test_fraction


def test_folders_are_classes_and_a_fifth_of_each_is_held_out(mine):
    first, again = (load(recipe(mine).data) for _ in range(2))
    assert first.classes == ("cat", "dog", "owl")
    assert np.bincount(first.test.labels).tolist() == [2, 6, 4]  # a fifth, rounded
    names = [split.name(i) for split in (first.train, first.test) for i in range(len(split))]
    assert sorted(names) == sorted(path.relative_to(mine).as_posix() for path in mine.rglob("*.jpg"))
    assert first.fingerprint == again.fingerprint
    assert load(recipe(mine, "data.seed=1").data).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("train", "test"), [("train", "val"), ("train", "test"), ("Train", "Test"), ("training", "validation"), ("train", None)]
)
def test_folders_of_splits_are_taken_as_they_are(saved, tmp_path, train, test):
    root = tmp_path / "split"
    shutil.copytree(saved, root / train)
    if test:
        shutil.copytree(saved, root / test)
    assert splits(root) == ((train, test, 0.0) if test else (train, "", 0.2))
    data = load(recipe(root).data)
    assert data.classes == ("cat", "dog", "owl")
    assert (len(data.train), len(data.test)) == ((62, 62) if test else (50, 12))


def test_a_named_test_folder_goes_before_the_usual_ones(saved, tmp_path):
    for name in ("train", "val", "test", "mine"):
        shutil.copytree(saved, tmp_path / "split" / name)
    assert splits(tmp_path / "split")[1] == "val"
    assert splits(tmp_path / "split", "data.test=mine")[1] == "mine"
    said = chosen(given := recipe(tmp_path / "split"), load(given.data))
    assert f"The test images are those in {tmp_path / 'split' / 'val'}." in said
    assert "Not used: mine, test." in said


def test_photographs_of_trains_are_a_class(mine):
    (mine / "cat").rename(mine / "train")
    assert splits(mine) == ("", "", 0.2)
    assert load(recipe(mine).data).classes == ("dog", "owl", "train")


def test_what_was_chosen_is_said_in_sentences(mine):
    (mine / "loose.jpg").write_bytes(b"x")
    given = recipe(mine, "select.k=[5, 11]")
    assert chosen(given, load(given.data)) == [
        f"3 classes in {mine}, with training + test images: cat (10 + 2), dog (24 + 6), owl (16 + 4).",
        "No folder for the test is there: 0.2 of each class is held out (data.test_fraction), drawn with data.seed = 0.",
        "Not used: 1 image beside the folders.",
        "Images are cut to the square at their centre, 16 pixels a side (data.size); 5 and 11 per class are made (select.k).",
        "No class gets more than it has training images: cat has 10.",
    ]
    given = recipe(mine, "data.validation_fraction=0.25", "data.subset=dog,owl", "data.resize=stretch")
    said = " ".join(chosen(given, load(given.data)))
    assert said.startswith("2 classes")
    assert "dog (18 + 6), owl (12 + 4)" in said, "a quarter of the 24 and 16 training images"
    assert "They are not looked at: 0.25 of the others stand in for them." in said
    assert "stretched to a square" in said
    digits = read("digits")
    assert chosen(digits, load(digits.data)) == []


def refusal(path, *changes):
    with pytest.raises(RecipeError) as caught:
        planned(recipe(path, *changes), path.parent / "run")
    return str(caught.value)


def test_folders_without_classes_are_refused_with_the_remedy(mine, tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").startswith(f"{tmp_path / 'empty'} holds no folders. Put the images of each class into a")
    assert refusal(mine / "cat").startswith(f"{mine / 'cat'} holds 12 images and no folder. Put the images of each class into a")
    assert refusal(tmp_path / "none").startswith(f"data.path = '{tmp_path / 'none'}' can't be listed: No such file")
    (tmp_path / "above").mkdir()
    inner = mine.rename(tmp_path / "above" / "mine")
    assert refusal(inner.parent) == (
        f"{inner.parent} holds one folder, 'mine', and there must be two classes at least. Does {inner} hold them? "
        "Then that is data.path"
    )


def test_classes_with_too_few_images_are_named(mine):
    for path in sorted((mine / "cat").iterdir())[9:]:
        path.unlink()
    (mine / "notes").mkdir()
    assert refusal(mine) == (
        f"data.path = '{mine}': a class takes at least 10 images, and 'cat' has 9 images, 'notes' has 0 images. Add some, or "
        "name the classes to keep, such as --set data.subset=dog,owl"
    )
    assert load(recipe(mine, "data.subset=dog,owl").data).classes == ("dog", "owl")


def test_a_run_is_not_put_among_the_classes(mine, monkeypatch, capsys):
    monkeypatch.chdir(mine)
    for more in ([], ["--dry-run"]):
        assert main(["run", "photos", "--set", "data.path=.", *more]) == 2
        assert capsys.readouterr().err == "runs/photos would lie among the classes, in .; give another place with --out\n"
    assert sorted(path.name for path in mine.iterdir()) == sorted(COUNTS)


def validated(path, run):
    stage, store = build(recipe(path))[0], Store(run)
    for part in stage.parts():
        make_part(store, stage, part, lambda fraction: None)
    return stage.summary(store)


def test_few_images_that_cannot_be_read_are_left_out_and_many_stop_the_run(mine, tmp_path):
    for i in range(3):
        (mine / "dog" / f"{i}.jpg").write_bytes(b"no image")
    assert sorted(each["name"] for each in validated(mine, tmp_path / "few")["unreadable"]) == [f"dog/{i}.jpg" for i in range(3)]
    (mine / "owl" / "0.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"4 of 62 images can't be read, .* data\.max_unreadable = 0\.05 allows: dog/.*Repair them"
    ):
        validated(mine, tmp_path / "many")


def test_the_command_says_what_it_chose_and_ends_with_a_report(mine, tmp_path, capsys):
    quick = ["codec.channels=[4,4]", "codec.steps=3", "prior.layers=1", "prior.steps=3", "teacher.steps=10", "teacher.width=4"]
    quick += [
        "train.width=4",
        "train.steps=4",
        "decode.steps=4",
        "decode.strength=0.5",
        "select.k=[2]",
        "seeds=[0]",
        "methods=ddoq",
    ]
    changes = [word for change in (f"data.path={mine}", "data.size=16", *quick) for word in ("--set", change)]
    assert main(["run", "photos", *changes, "--out", str(tmp_path / "run"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 classes in ")
    assert "No folder for the test is there: 0.2 of each class is held out" in said
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert len(distill.load(tmp_path / "run")) == 6
    assert said.splitlines()[:3] == planned(recipe(mine, *quick), tmp_path / "run").chosen
