"""Prototypes that a run of linear classifiers hands out: what is written gives the run's own answers, from its folder alone."""

import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import distill
from distill.__main__ import main
from distill.recipe import RecipeError, read
from distill.runs import export as exporting
from distill.runs import graph_snapshot
from distill.runs.card import _built
from distill.runs.export import export
from distill.stages.draw import Draw

EPS = float(np.finfo(float).eps)


def opened(folder):
    return load_file(folder / "prototypes.safetensors"), json.loads((folder / "prototypes.json").read_text(encoding="utf-8"))


def raw_test_features(run):
    return np.concatenate([run.stages["features test"].points(run.store, c) for c in range(10)])


def logits(found, features):
    points = features - found["mean"].numpy()
    if "directions" in found:
        points = points @ found["directions"].numpy()
    return points @ found["matrix"].numpy().T + found["bias"].numpy()


@pytest.fixture(scope="module")
def decoded(made, probe_table, features_changes, tmp_path_factory):
    """A run of classifiers that learn from the features of decoded images, by a network of timm's whose weights are a file."""
    torch.manual_seed(0)
    weights = tmp_path_factory.getbasetemp() / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), weights)
    table = probe_table | {
        "features": {"source": "timm", "model": "test_resnet", "weights": str(weights), "size": 32, "layer": "layer3"}
    }
    whole = read("digits").model_dump()
    table |= {key: whole[key] for key in ("codec", "prior")}
    changes = [change for change in features_changes if not change.startswith(("features.source", "seeds", "select.k"))]
    small = ["codec.channels=[4, 4]", "codec.steps=3", "prior.layers=1", "prior.steps=3", "decode.steps=4", "seeds=[3]"]
    asked = ['methods=["ddoq", "random"]', "select.k=[2]", 'train.inputs="images"', 'train.labels=["fixed", "hard"]']
    return made("probed-images", read(table, [*changes, *small, *asked, 'distances=["features"]']))


@pytest.mark.parametrize("method", ["ddoq", "uniform", "nearest-mass", "random", "full"])
def test_the_exported_classifier_is_right_where_the_runs_is(probed, tmp_path, method):
    k, seed = (None, 1) if method == "full" else (4, 1)
    done = export(probed.folder, format="prototypes", method=method, k=k, seed=seed, out=tmp_path / "set")
    found, about = opened(done.folder)
    stage, part = probed.stages[f"probe {method}"], "all.seed1" if method == "full" else "k4.seed1"
    wanted = np.repeat(np.arange(10), [len(probed.stages["features test"].points(probed.store, c)) for c in range(10)])
    right = logits(found, raw_test_features(probed)).argmax(1) == wanted
    np.testing.assert_array_equal(right, probed.store.tensors(stage, part)["right"].numpy())
    assert about["top1"] == pytest.approx(right.mean(), abs=EPS)
    assert (about["method"], about["k"], about["seed"]) == (method, k, seed)
    assert done.images == len(found["points"]) == len(found["labels"])
    # The points, class by class, are those that the run's classifier learned from; so are the weights.
    draw = Draw(k, 0 if method == "full" else seed)
    learned = [stage.inputs(probed.store, c, draw) for c in range(10)]
    np.testing.assert_array_equal(found["points"].numpy(), np.concatenate(learned))
    np.testing.assert_array_equal(found["labels"].numpy(), np.repeat(np.arange(10), list(map(len, learned))))
    assert float(found["weights"].mean()) == pytest.approx(1, abs=8 * EPS)
    if method != "full":
        totals = np.bincount(found["labels"].numpy(), found["weights"].numpy())
        np.testing.assert_allclose(totals, 4, atol=16 * EPS)
        assert (np.ptp(found["weights"].numpy()) > 0.1) == (method in ("ddoq", "nearest-mass"))


def test_the_variance_is_that_about_the_nearest_prototype_of_the_class(probed, tmp_path):
    found, about = opened(export(probed.folder, format="prototypes", k=4, out=tmp_path / "set").folder)
    total, count = 0.0, 0
    for c in range(10):
        rows, own = probed.stages["components"].points(probed.store, c), found["points"][found["labels"] == c].numpy()
        total, count = total + np.square(rows[:, None] - own).sum(2).min(1).sum(), count + rows.size
    assert about["variance"] == pytest.approx(total / count, rel=1e-9)


def test_the_use_in_the_card_gives_the_runs_answers(probed, tmp_path):
    """Of a network trained in the run, whose weights are brought along."""
    folder = export(probed.folder, format="prototypes", k=4, seed=0, out=tmp_path / "set").folder
    said = (folder / "README.md").read_text(encoding="utf-8")
    data = probed.stages["validate"].data
    images = torch.from_numpy(data.test.read(np.concatenate([data.test.of_class(c) for c in range(10)])))
    names = used(said, folder, images.float() / 255)
    features = raw_test_features(probed)
    # float32 sums in batches of another size: a few thousand roundings of the largest.
    np.testing.assert_allclose(names["features"], features, atol=4096 * 2.0**-24 * np.abs(features).max())
    found, about = opened(folder)
    expected = logits(found, features)
    decided = np.diff(np.sort(expected, 1)[:, -2:], axis=1)[:, 0] > 1e-3
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(names["head"].numpy()[decided], expected.argmax(1)[decided])
    wanted = np.repeat(np.arange(10), [len(data.test.of_class(c)) for c in range(10)])
    assert (names["nearest"].numpy() == wanted).mean() > 0.5  # guessing is right on a tenth
    assert about["network"]["arguments"] == {
        "channels": 1, "size": 16, "classes": 10, "width": 4, "depth": 3, "small_stem": False
    }  # fmt: skip
    for words in ("CC BY 4.0", "Recipe digest: `", "the teacher's own top-1", "logistic regression", f"{about['top1']:.4f}"):
        assert words in said
    assert str(probed.folder) not in said
    order = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    assert [each["class"] for each in order] == list(data.classes)


def used(card, folder, images):
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names = {"FOLDER": str(folder), "images": images}
    exec(code, names)
    return names


def test_decoded_images_and_a_network_from_a_file_are_exported(decoded, tmp_path):
    folder = export(decoded.folder, format="prototypes", out=tmp_path / "set").folder
    found, about = opened(folder)
    stage, draw = decoded.stages["probe ddoq, fixed"], Draw(2, 3)
    expected = np.concatenate([stage.inputs(decoded.store, c, draw) for c in range(10)])
    np.testing.assert_allclose(found["points"].numpy(), expected, atol=4096 * 2.0**-24 * np.abs(expected).max())
    assert about["labels"] == "fixed"
    assert torch.equal(found["matrix"], decoded.store.tensors(stage, draw.name)["matrix"])
    network = about["network"]
    assert (network["library"], network["model"], network["size"], network["image_size"]) == ("timm", "test_resnet", 32, 16)
    assert network["weights"] is None
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = used((folder / "README.md").read_text(encoding="utf-8"), folder, images)
    own = decoded.stages["features test"]._load(decoded.store)(images)
    torch.testing.assert_close(names["features"], own, rtol=0, atol=4096 * 2.0**-24 * float(own.abs().max()))


@pytest.mark.parametrize(
    ("network", "code"),
    [
        (("timm", "resnet18.tv_in1k", "pretrained", {}), "timm.create_model('resnet18.tv_in1k', pretrained=True)"),
        (("timm", "resnet18.tv_in1k", None, {"num_classes": 7}), "timm.create_model('resnet18', num_classes=7)"),
        (("torchvision", "resnet18", "pretrained", {}), "torchvision.models.get_model('resnet18', weights='DEFAULT')"),
        (("torchvision", "resnet18", "IMAGENET1K_V1", {}), "torchvision.models.get_model('resnet18', weights='IMAGENET1K_V1')"),
        (("torchvision", "resnet18", None, {"num_classes": 7}), "torchvision.models.get_model('resnet18', num_classes=7)"),
    ],
)
def test_the_card_says_how_a_network_is_built(network, code):
    assert _built(dict(zip(("library", "model", "weights", "arguments"), network, strict=True))) == code


def test_a_runs_folder_is_enough(probed, decoded, tmp_path, monkeypatch):
    """It lies elsewhere, and neither its images nor its network's file are there."""
    before = [
        export(run.folder, format="prototypes", out=tmp_path / f"before{i}").folder for i, run in enumerate((probed, decoded))
    ]
    copies = [shutil.copytree(run.folder, tmp_path / f"copy{i}") for i, run in enumerate((probed, decoded))]

    def gone(*_):
        raise RecipeError("data.path: there is no such folder")

    monkeypatch.setattr(graph_snapshot, "build", gone)
    for run, expected in zip(copies, before, strict=True):
        folder = export(run, format="prototypes").folder
        assert {path.name for path in folder.iterdir()} == {
            "README.md", "classes.json", "network.safetensors", "prototypes.json", "prototypes.safetensors"
        }  # fmt: skip
        for path in folder.iterdir():
            assert path.read_bytes() == (expected / path.name).read_bytes(), path.name


def test_what_a_run_has_not_is_said(probed, finished, tmp_path, capsys):
    command = ["export", str(probed.folder), "--format", "prototypes", "--out", str(tmp_path / "set")]
    for more, said in (
        (["--method", "counts"], "this run has no method 'counts'; it has ddoq, uniform, nearest-mass, random, full"),
        (["--k", "7"], "with 7 images per class"),
        (["--seed", "5"], "seed 5"),
        (["--method", "full", "--seed", "5"], "its seeds are 0, 1"),
    ):
        assert main([*command, *more]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(RecipeError, match="has no prototypes: its students are networks that learn under the protocol small"):
        export(finished.folder, format="prototypes", out=tmp_path / "set")
    with pytest.raises(RecipeError, match=r"made no images of ddoq: .*--format prototypes"):
        distill.load(probed.folder, "ddoq")
    assert len(distill.load(probed.folder, "random", 4)) == 40
    assert list(tmp_path.iterdir()) == []


def test_prototypes_are_written_whole_or_not_at_all(probed, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as full:
        full.setattr(exporting, "card_of_prototypes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export(probed.folder, format="prototypes", out=tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
    assert main(["export", str(probed.folder), "--format", "prototypes", "--out", str(tmp_path / "set")]) == 0
    assert capsys.readouterr().out.startswith("40 prototypes: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_damaged_run_is_said(probed, tmp_path):
    run = shutil.copytree(probed.folder, tmp_path / "run")
    path = run / probed.stages["probe ddoq"].folder_name / "k4.seed0.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=r"changed.*k4\.seed0"):
        export(run, format="prototypes")
