"""Somebody's set in every form that sets are handed out in: the same images, weights and labels of every class."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from distill.external import opened
from distill.graph import build
from distill.recipe import RecipeError, read
from distill.runs.distilled_set import load
from distill.runs.export import export
from distill.stages.external_images import ExternalImagesStage, brings_labels, images_a_class

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def distilled(finished):
    return load(finished.folder, "ddoq", 3)


@pytest.fixture(scope="module")
def exports(finished, tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    return {
        format: export(finished.folder, format=format, method="ddoq", k=3, out=place / format).folder
        for format in ("imagefolder", "parquet")
    }


def stage_of(path, *changes):
    table = [f"external.path='{path}'", "external.ipc=3", "methods=['external', 'ddoq']", "data.size=16", *changes]
    return next(stage for stage in build(read("digits", table)) if isinstance(stage, ExternalImagesStage))


def holds(path, distilled, *changes, weights=True, labels=None):
    """Whether the set at a path gives the distilled images, class by class, with their weights and soft labels."""
    stage = stage_of(path, *changes, *(["external.labels=own"] if labels is not None else []))
    for index, part in enumerate(stage.parts()):
        made = stage.make(part, None, None)[f"{part}.safetensors"]
        mine = distilled.labels == index
        np.testing.assert_array_equal(made["k3.seed0.images"], distilled.images[mine])
        expected = distilled.weights[mine].double() if weights else torch.ones(3, dtype=torch.float64)
        # Weights were written in float32.
        torch.testing.assert_close(made["k3.seed0.weights"], expected / expected.sum(), rtol=1e-6, atol=0)
        if labels is not None:
            torch.testing.assert_close(made["k3.seed0.logits"], labels[mine], rtol=0, atol=0)


@pytest.mark.parametrize("format", ["imagefolder", "parquet"])
def test_an_export_is_read_back_as_it_was_distilled(exports, distilled, format):
    assert images_a_class(exports[format]) == 3
    assert brings_labels(exports[format])
    holds(exports[format], distilled, labels=distilled.logits.half().float())


def test_the_file_alone_is_a_set_too(exports, distilled):
    (file,) = (exports["parquet"] / "data").iterdir()
    holds(file, distilled)


@pytest.mark.parametrize("form", ["uint8", "floats", "normalized", "pair", "two files", "condensation"])
def test_tensors_of_torch_are_read_without_unpickling_more(distilled, tmp_path, form):
    images, labels, changes, path = distilled.images, distilled.labels, [], tmp_path / "set.pt"
    floats = images.float() / 255
    if form == "uint8":
        torch.save({"images": images, "labels": labels}, path)
    elif form == "floats":
        torch.save({"data": floats, "targets": labels}, path)
    elif form == "normalized":
        torch.save((((floats - 0.3) / 0.2), labels), path)
        changes = ["external.mean=[0.3]", "external.std=[0.2]"]
    elif form == "pair":
        torch.save([images, labels], path)
    elif form == "two files":
        path = tmp_path
        torch.save(floats, tmp_path / "images_best.pt")
        torch.save(labels, tmp_path / "labels_best.pt")
    else:
        torch.save({"data": [[floats, labels], [floats * 0, labels]], "accs_all_exps": {"ConvNet": [0.5]}}, path)
    holds(path, distilled, *changes, weights=False)


def test_soft_labels_of_tensors_are_the_sets_own(distilled, tmp_path):
    torch.save({"images": distilled.images, "labels": distilled.logits}, tmp_path / "set.pt")
    found = opened(tmp_path / "set.pt")
    assert sum(map(len, found.classes.values())) == 30
    (label, items) = next(iter(found.classes.items()))
    assert all(int(item.logits().argmax()) == int(label) for item in items)


def test_normalized_tensors_are_refused_with_the_remedy(distilled, tmp_path):
    torch.save((distilled.images.float() / 127.5 - 1, distilled.labels), tmp_path / "set.pt")
    with pytest.raises(RecipeError, match=r"values from -1 to 1, .*external\.mean and external\.std"):
        stage_of(tmp_path / "set.pt")
    with pytest.raises(RecipeError, match="mean and std belong together"):
        read("digits", ["external.path=x", "external.ipc=1", "methods=external", "external.mean=[0.5]"])


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_what_is_no_tensor_is_not_unpickled(tmp_path, capsys):
    torch.save({"images": Evil(), "labels": torch.arange(3)}, tmp_path / "set.pt")
    with pytest.raises(RecipeError, match=r"set\.pt can't be read as tensors alone"):
        opened(tmp_path / "set.pt")
    assert "unpickled" not in capsys.readouterr().out
    torch.save({"pixels": torch.zeros(1, 3, 8, 8)}, tmp_path / "other.pt")
    with pytest.raises(RecipeError, match="holds no pair of tensors"):
        opened(tmp_path / "other.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "other.pt").read_bytes()[:100])
    with pytest.raises(RecipeError, match="can't be read as tensors alone"):
        opened(tmp_path / "cut.pt")


@pytest.mark.parametrize("named", [False, True])
def test_tars_of_webdataset_are_read(distilled, tmp_path, named):
    """Numbers or names of classes, and images of two kinds in one tar."""
    with tarfile.open(tmp_path / "set-000.tar", "w") as tar:
        for i, (image, label) in enumerate(zip(distilled.images, distilled.labels.tolist(), strict=True)):
            file = io.BytesIO()
            Image.fromarray(image[0].numpy()).save(file, "PNG" if i % 7 else "BMP")
            text = CLASSES[label] if named else str(label)
            parts = {"png" if i % 7 else "bmp": file.getvalue(), "txt" if named else "cls": text.encode()}
            for ending, content in parts.items():
                info = tarfile.TarInfo(f"{i:05d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    holds(tmp_path / "set-000.tar", distilled, weights=False)
    holds(tmp_path, distilled, weights=False)


def test_a_table_without_labels_and_a_path_without_a_set_are_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"picture": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match="has the columns picture; it needs an image and a label"):
        opened(tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match=r"there is no folder .*nor a file of a set \(.parquet, .tar, .pt\)"):
        opened(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="holds no folder per class with images in it"):
        opened(tmp_path / "empty")


def test_other_content_is_another_set(exports, distilled, tmp_path):
    torch.save([distilled.images, distilled.labels], tmp_path / "set.pt")
    first = stage_of(tmp_path / "set.pt").digest
    torch.save([distilled.images.flip(-1), distilled.labels], tmp_path / "set.pt")
    assert stage_of(tmp_path / "set.pt").digest != first
    assert stage_of(exports["parquet"]).digest != stage_of(exports["imagefolder"]).digest


def test_the_notes_of_a_folder_and_its_order_of_classes_agree(exports):
    with (exports["imagefolder"] / "train" / "metadata.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 30
    order = [each["class"] for each in json.loads((exports["imagefolder"] / "classes.json").read_text(encoding="utf-8"))]
    assert opened(exports["imagefolder"]).order() == order == sorted(CLASSES)
    assert opened(exports["parquet"]).order() == list(CLASSES)
