"""What is exported is what was distilled, read back by other libraries; what is cleaned is what no recipe refers to."""

import csv
import gc
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import distill
from distill.__main__ import main
from distill.pipeline.format import numbered
from distill.pipeline.lock import locked
from distill.recipe import RecipeError, read
from distill.runs import export as exporting
from distill.runs.card import _model, labels_left
from distill.runs.export import export
from distill.runs.folder import plan
from distill.runs.garbage_collection import leftovers


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def distilled(finished):
    return distill.load(finished.folder, "ddoq", 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves metadata.csv open
@pytest.mark.parametrize("format", ["imagefolder", "parquet"])
def test_the_datasets_library_reads_what_was_distilled(finished, distilled, tmp_path, format):
    from datasets import load_dataset

    done = export(finished.folder, format=format, method="ddoq", k=3, out=tmp_path / "set")
    assert done.images == len(distilled) == 30
    rows: Any = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 30
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(np.asarray(row["image"]), distilled.images[i, 0].numpy())
        label = row["label"] if isinstance(row["label"], str) else distilled.keys[row["label"]]
        assert label == distilled.keys[distilled.labels[i]]
        assert np.float32(row["weight"]) == float(distilled.weights[i])
        if format == "parquet":
            assert row["soft_label"] == distilled.logits[i].half().float().tolist()
    del rows, row
    gc.collect()  # the file that is left open is found here, and not by another test


def test_an_image_folder_has_a_row_an_image_with_its_soft_label(finished, distilled, tmp_path):
    export(finished.folder, format="imagefolder", method="ddoq", k=3, out=tmp_path / "set")
    train = tmp_path / "set" / "train"
    with (train / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {str(path.relative_to(train)) for path in train.rglob("*.png")} == {row["file_name"] for row in rows}
    logits = load_file(train / rows[0]["soft_label_file"])["logits"][[int(row["soft_label_row"]) for row in rows]]
    order = [each["class"] for each in json.loads((tmp_path / "set" / "classes.json").read_text(encoding="utf-8"))]
    assert torch.equal(logits[:, [order.index(key) for key in distilled.keys]], distilled.logits.half())
    assert all(row["file_name"].split("/")[0] == row["label"] for row in rows)


@pytest.mark.parametrize("rename", [str, "a/{}".format])
def test_soft_labels_are_in_the_order_of_torchvisions_image_folder(finished, distilled, tmp_path, monkeypatch, rename):
    """Class by class: column c of an image's soft label is the teacher's of the class that ``ImageFolder`` numbers c."""
    from torchvision.datasets import ImageFolder

    keys = tuple(rename(key) for key in distilled.keys)
    named = distill.load(finished.folder, "ddoq", 3)
    named.keys = keys
    monkeypatch.setattr(exporting, "load", lambda *_: named)
    train = export(finished.folder, format="imagefolder", method="ddoq", k=3, out=tmp_path / "set").folder / "train"
    found = ImageFolder(train)
    order = json.loads((tmp_path / "set" / "classes.json").read_text(encoding="utf-8"))
    assert [each["folder"] for each in order] == found.classes
    assert [each["class"] for each in order] != list(distilled.keys)
    with (train / "metadata.csv").open(newline="") as file:
        row_of = {str(train / row["file_name"]): int(row["soft_label_row"]) for row in csv.DictReader(file)}
    logits = load_file(train / "soft_labels.safetensors")["logits"]
    for path, number in found.samples:
        i = row_of[path]
        assert order[number]["class"] == keys[distilled.labels[i]]
        for column, each in enumerate(order):
            assert logits[i, column] == distilled.logits[i, keys.index(each["class"])].half()


def test_parquet_is_written_as_every_version_of_the_datasets_library_reads_it(finished, distilled, tmp_path):
    """Versions before 4 know no feature called List, later ones still know the one that it replaced."""
    from pyarrow import parquet

    place = export(finished.folder, format="parquet", method="ddoq", k=3, out=tmp_path / "set").folder
    known = json.loads(parquet.read_schema(next((place / "data").iterdir())).metadata[b"huggingface"])["info"]["features"]
    assert known["soft_label"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 10, "_type": "Sequence"}
    assert known["label"]["names"] == list(distilled.keys)
    order = json.loads((place / "classes.json").read_text(encoding="utf-8"))
    assert [each["class"] for each in order] == list(distilled.keys)


def test_the_card_says_data_models_digest_and_scores(finished, metrics, tmp_path):
    export(finished.folder, format="parquet", method="uniform", k=1, seed=1, out=tmp_path / "set")
    card = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    row = next(row for row in metrics["rows"] if (row["method"], row["ipc"]) == ("uniform", 1))
    assert f"the teacher's own top-1 on the test split: {metrics['teacher']['top1']:.4f}" in card
    for words in (
        "CC BY 4.0",
        "Recipe digest: `",
        f"{row['top1_mean']:.4f} ± {row['top1_std']:.4f}",
        "`small`",
        "seed 1",
        "`codec-",
    ):
        assert words in card
    assert str(finished.folder) not in card


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves metadata.csv open
@pytest.mark.parametrize("format", ["imagefolder", "parquet"])
def test_the_loop_of_the_card_trains_on_the_set(finished, distilled, tmp_path, format, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    place = export(finished.folder, format=format, method="ddoq", k=3, out=tmp_path / "set").folder
    (code,) = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {"FOLDER": str(place)}
    exec(code.replace("range(300)", "range(1)").replace("resnet18", "test_resnet"), names)
    assert [names["order"][label] for label in names["labels"]] == [distilled.keys[label] for label in distilled.labels]
    torch.testing.assert_close(names["weights"], distilled.weights)
    assert torch.equal(names["images"], (distilled.images / 255 - 0.5) / 0.5)
    assert torch.isfinite(names["losses"]).all()
    del names
    gc.collect()


@pytest.mark.parametrize(("labels", "why"), [("online", "asks the teacher again"), ("stored", "crops"), ("hard", "the classes")])
def test_a_set_without_soft_labels_says_why(labels, why):
    changes = ["train.protocol=fkd", f"train.labels={labels}"]
    assert why in labels_left(read("digits", changes), "ddoq")


def test_the_card_states_the_licence_that_a_models_own_card_states(tmp_path):
    options = {"source": "pretrained", "kind": "AutoencoderKL", "path": str(tmp_path / "vae")}
    (tmp_path / "vae").mkdir()
    assert "licence: not stated" in _model("codec", options)
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "README.md").write_text("---\nlicense: creativeml-openrail-m\ntags: []\n---\nlicense: none\n")
    assert "licence: creativeml-openrail-m" in _model("codec", options)
    (tmp_path / "vae" / "README.md").write_text("license: none")
    assert "licence: not stated" in _model("codec", options)
    assert "licence" not in _model("prior", {"source": "none"})


def test_a_folder_that_is_taken_and_what_the_run_has_not_are_refused(finished, tmp_path, capsys):
    (tmp_path / "set").mkdir()
    command = ["export", str(finished.folder), "--format", "parquet", "--out"]
    assert main([*command, str(tmp_path / "set")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "other"), "--k", "7"]) == 2
    assert "with 7 images per class" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    with pytest.raises(RecipeError, match="the formats are"):
        export(finished.folder, format="zip")


def test_nothing_half_written_is_left(finished, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(exporting._WRITERS, "parquet", full)
    with pytest.raises(OSError, match="No space"):
        export(finished.folder, format="parquet", out=tmp_path / "set")
    assert list(tmp_path.glob("set*")) == []


def test_by_default_an_export_lies_in_the_run_and_is_not_cleaned(copied, capsys):
    assert main(["export", str(copied), "--format", "imagefolder"]) == 0
    assert "30 images" in capsys.readouterr().out
    assert (copied / "exports" / "ddoq-ipc3-seed0-imagefolder" / "README.md").is_file()
    assert leftovers(copied) == []


def test_cleaning_removes_what_the_recipe_does_not_refer_to_and_nothing_else(copied, tiny, capsys, monkeypatch):
    assert main(["clean", str(copied)]) == 0
    assert "Nothing to remove" in capsys.readouterr().out
    changed = tiny.model_copy(update={"train": tiny.train.model_copy(update={"steps": 5})})
    for name in ("recipe.json", "finished.json"):
        (copied / name).write_text(json.dumps(numbered(changed.model_dump())))
    (copied / "notes.txt").write_text("mine")
    trains = {path for path in copied.iterdir() if path.name.startswith(("train-", "evaluate-"))}
    assert {each.path for each in leftovers(copied)} == trains
    assert leftovers(copied, [tiny]) == []
    before = {path for path in copied.rglob("*") if path.is_file()}
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    assert main(["clean", str(copied)]) == 0
    assert {path for path in copied.rglob("*") if path.is_file()} == before
    assert "MiB" in capsys.readouterr().out

    def nobody(*_):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert main(["clean", str(copied)]) == 0
    assert "nobody answers here; --yes" in capsys.readouterr().out
    assert {path for path in copied.rglob("*") if path.is_file()} == before
    with locked(copied):
        assert main(["clean", str(copied), "--yes"]) == 2
    assert all(path.exists() for path in trains)
    assert main(["clean", str(copied), "--yes"]) == 0
    gone = before - {path for path in copied.rglob("*") if path.is_file()}
    assert gone == {path for path in before if any(train in path.parents for train in trains)}
    assert all(each.done == each.parts for each in plan(copied) if each.stage.name in ("codec", "encode", "decode", "label"))


def test_another_recipe_that_did_not_come_to_its_end_takes_nothing_from_the_finished_one(copied, tiny, tmp_path):
    """Of what was finished nothing is a leftover, and an export says which recipe it wants."""
    assert json.loads((copied / "finished.json").read_text()) == json.loads((copied / "recipe.json").read_text())
    changed = tiny.model_copy(update={"select": tiny.select.model_copy(update={"k": 2})})
    (copied / "recipe.json").write_text(json.dumps(numbered(changed.model_dump())))
    assert leftovers(copied) == []
    with pytest.raises(RecipeError, match="given here last is not the one that was finished here; run that again: it is kept"):
        export(copied, format="parquet", out=tmp_path / "set")
