"""A package of somebody else's registers what recipes name: the pages about it, followed word for word, and every group."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill.graph import build
from distill.methods import METHODS
from distill.methods.entry_points import load, registered
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.runs.folder import plan
from distill.runs.run import run
from tests.distill.conftest import TINY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
STAGES = PAGE.with_name("extending_stages.md")
OTHERS = '''
"""A codec that averages squares of 4 pixels, a prior that is the trained one, a student of one layer."""

from types import SimpleNamespace

import numpy as np
import torch

from distill.recipe.codes import TrainedPrior
from distill.stages.codec import CodecStage
from distill.stages.trained_prior import TrainedPriorStage


class Averages(CodecStage):
    def __init__(self, recipe, section, data, validated):
        self.section, self.device = section, recipe.compute.device
        self.pixels = section.model_extra["pixels"]
        self.colours, self.channels, self.size, self.side = data.channels, data.channels, data.size, data.size // self.pixels

    def options(self):
        return {"pixels": self.pixels}

    def make(self, part, read, progress):
        return {"model.json": {"pixels": self.pixels}}

    def load(self, read):
        pixels = read.values(self, "model")["pixels"]

        def encode(images, seeds):
            return torch.nn.functional.avg_pool2d(images.float() / 255, pixels)

        def decode(latents):
            wide = latents.repeat_interleave(pixels, 2).repeat_interleave(pixels, 3)
            return (255 * wide).round().clamp(0, 255).to(torch.uint8)

        return SimpleNamespace(batch=64, samples=False, encode=encode, decode=decode)


class Smaller(TrainedPriorStage):
    def __init__(self, recipe, section, data, encode):
        width = section.model_extra["width"]
        rest = {"steps": 2, "batch": 4, "learning_rate": 1e-3, "layers": 1, "heads": 1, "label_dropout": 0.1}
        super().__init__(recipe, TrainedPrior(source="train", head_width=width, **rest), data, encode)


def linear(*, channels, size, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size * size, classes))
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution that holds the page's module, and one of every other kind; also for worker processes."""
    place, points = tmp_path / "site", ""
    (place / "farthest-1.0.dist-info").mkdir(parents=True)
    for page in (STAGES, PAGE):
        text = page.read_text(encoding="utf-8")
        code, table = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "toml"))
        (place / re.match('"""(.*)"""', code)[1]).write_text(code, encoding="utf-8")
        group, line = re.search(r'entry-points\."([\w.]+)"', table)[1], table.splitlines()[1].replace('"', "")
        points += f"[{group}]\n{line}\n"
    (place / "others.py").write_text(OTHERS, encoding="utf-8")
    points += "broken = nowhere:Nothing\n[distill.codecs]\naverages = others:Averages\n"
    points += "[distill.priors]\nsmaller = others:Smaller\n[distill.students]\nlinear = others:linear\n"
    (place / "farthest-1.0.dist-info" / "entry_points.txt").write_text(points)
    (place / "farthest-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: farthest\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return tmp_path


SMALL = (
    *TINY,
    "comparisons=[]",
    "select.k=[1, 3]",
    "train.student=linear",
    "prior={source='none'}",
    "codec={source='averages', pixels=4}",
)


def test_the_page_about_extending_works_and_so_does_every_group(installed):
    """Real images by the page's method, latents by a registered codec, students of a registered network, in a worker process."""
    done = run("digits", out=installed / "run", set=[*SMALL, "methods=ddoq,farthest", "seeds=[0]"], workers=1)
    rows = {(row["method"], row["ipc"]): row for row in done.metrics["rows"]}
    assert set(rows) == {("ddoq", 1), ("ddoq", 3), ("farthest", 1), ("farthest", 3)}
    assert all(row["student"] == "linear" for row in rows.values())
    recipe = read("digits", [*SMALL, "methods=ddoq,farthest", "seeds=[0]"])
    stages = {stage.title: stage for stage in build(recipe)}
    assert stages["encode"].entries == 16, "digits of 16 pixels, averaged over 4"
    store, select = Store(done.folder), stages["select farthest"]
    for part in select.parts():
        tensors = store.tensors(select, part)
        assert len(set(tensors["k3.seed0.indices"].tolist())) == 3
    assert METHODS["farthest"].summary == "real images, each the farthest from those before it"
    assert METHODS["farthest"].summary in (done.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_the_page_about_stages_works_and_what_is_made_is_kept(installed):
    changes = [*TINY, "comparisons=[]", "methods=['random']", "seeds=[0]", "select.k=[3]", "stages.brightness.method=random"]
    done = run("digits", out=installed / "run", set=changes, until="brightness", workers=1)
    stages = {stage.title: stage for stage in build(read("digits", changes))}
    stage, images, store = stages["brightness"], stages["images random"], Store(done.folder)
    for part in stage.parts():
        pixels = store.tensors(images, part)["k3.seed0.images"].numpy()
        assert store.values(stage, part) == {"k3.seed0.images": pytest.approx(pixels.mean(), rel=1e-6)}
    assert not list(done.folder.glob("train-*")), "nothing was made that it does not come from"
    assert [each.done for each in plan(done.folder) if each.stage.name == "brightness"] == [10]
    before = store.manifest(stage)
    run("digits", out=done.folder, set=changes, until="brightness", workers=1)
    assert store.manifest(stage) == before


def test_a_stage_that_is_not_there_or_asks_for_one_that_is_not_is_a_sentence(installed):
    with pytest.raises(RecipeError, match=r"names no stage 'darkness'; those that packages register .* are: brightness"):
        build(read("digits", ["stages.darkness.method=random"]))
    with pytest.raises(RecipeError, match=r"stages.brightness asks for 'images full', no option of it and no stage of these: va"):
        build(read("digits", ["stages.brightness.method=full"]))
    with pytest.raises(RecipeError, match=r"stages.brightness asks for 'method', no option"):
        build(read("digits", ["stages.brightness={}"]))


def test_a_folder_is_read_where_the_package_of_a_stage_is_missing():
    recipe = read("digits", ["stages.darkness.method=random"])  # the folder's record says what stages it had
    assert recipe.stages == {"darkness": {"method": "random"}}
    with pytest.raises(RecipeError, match="names no stage 'darkness'"):
        build(recipe)


def test_a_fault_of_a_registered_stage_is_not_taken_for_a_missing_option(installed, monkeypatch):
    kind = load("stages", "brightness")
    monkeypatch.setattr(kind, "__init__", lambda self, recipe, data, options, stages: {}["its own"])
    with pytest.raises(KeyError, match="its own"):
        build(read("digits", ["stages.brightness.method=random"]))


def test_a_registered_prior_is_taken_with_its_options(installed):
    stages = {stage.title: stage for stage in build(read("digits", ["prior={source='smaller', width=8}"]))}
    assert type(stages["prior"]).__name__ == "Smaller"
    assert stages["prior"].section.head_width == 8
    assert stages["prior"].registered == "smaller"


def test_the_commands_know_what_is_registered(installed):
    asked = [
        sys.executable,
        "-c",
        "from distill.__main__ import main; raise SystemExit(main(['run', 'digits', '--set', 'methods=no']))",
    ]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    assert "names no method 'no'; the methods are ddoq, uniform, balanced, random" in said
    assert "farthest" in said
    assert registered("students") == ["linear"]


def test_what_can_not_be_imported_is_named(installed):
    with pytest.raises(
        RecipeError, match=r"'broken', which nowhere:Nothing registers as distill.select, can't be imported: No mod"
    ):
        read("digits", ["methods=['broken']"])


def test_without_the_package_its_names_are_unknown():
    with pytest.raises(RecipeError, match="names no method 'farthest'"):
        read("digits", ["methods=['farthest']"])
    said = "must be one of train, pretrained, none, or what a package registers as distill.codecs; received 'averages'"
    with pytest.raises(RecipeError, match=re.escape(said)):
        read("digits", ["codec.source=averages"])


def test_the_pages_are_short():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 46
    assert len(STAGES.read_text(encoding="utf-8").splitlines()) <= 40
