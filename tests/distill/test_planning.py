"""Plans of what is not here: numbers and shapes that ship, times as people write them, wall time of the workers at hand."""

import re

import numpy as np
import pytest

from distill.__main__ import main
from distill.estimate import Estimate, duration
from distill.images.nominal import nominal, photograph
from distill.images.pixels import decode
from distill.recipe import RecipeError, embedded, read
from distill.runs.planning import planned


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A place without data, models or a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distill.models.fetching.why_no_teacher", lambda *_: "no route to host")
    return tmp_path


@pytest.mark.parametrize("name", [name for name in embedded() if name not in ("digits", "photos")])
def test_every_embedded_recipe_is_planned_from_nothing(elsewhere, name):
    recipe = read(name)
    plan = planned(recipe, elsewhere / "run")
    said = "\n".join(plan.missing)
    assert f"data.path = '{recipe.data.path}' is not here: planned for " in said
    if recipe.codec.source != "none":
        assert f"codec.path = '{recipe.codec.path}' is not here: planned for a model of its shapes" in said
    fetched = recipe.teacher.source != "train" or (recipe.features is not None and recipe.features.source != "teacher")
    assert ("no route to host" in said) == fetched
    validate = plan.stages[0]
    many = {"imagenet1k": 1000, "imagenet100": 100}.get(name.partition("-")[0], 10)
    assert len(validate.parts()) == many
    assert not (elsewhere / "run").exists()


def test_the_counts_are_the_known_ones():
    whole, part = (nominal(read(name).data) for name in ("imagenet1k-dit-ipc10", "imagenette64"))
    assert (len(whole.train), len(whole.test)) == (1_281_167, 50_000)
    assert (len(part.train), len(part.test)) == (9_469, 3_925)
    assert np.bincount(whole.train.labels).tolist() == [1282] * 167 + [1281] * 833
    held = nominal(read("imagenette64", ["data.validation_fraction=0.2"]).data)
    assert (len(held.train), len(held.test)) == (7_575, 1_894)
    assert nominal(read("imagenette64", ["data.path=/of/my/own"]).data) is None


def test_a_nominal_image_is_read_as_a_photograph_is():
    split = nominal(read("imagenette64").data).train
    np.testing.assert_array_equal(split.read([3]), [decode(photograph(), 64)])
    assert split.inspect(split.content(3)) is None
    assert 50_000 < len(photograph()) < 250_000, "about as an image of ImageNet, which has 110 kB in the mean"


def test_the_command_tells_a_line_a_stage_and_why_if_asked(elsewhere, capsys):
    changes = ["--set", "data.path=data/imagenette", "--until", "encode", "--dry-run", "--out", "run"]
    assert main(["run", "imagenette64", *changes, "--workers", "4"]) == 0
    said = capsys.readouterr().out
    assert "data.path = 'data/imagenette' is not here: planned for 9,469 and 3,925 images of 10 classes." in said
    assert re.search(r"^validate +\? +\S+ \S+ +\S+ \S+ +\? +10 +0 +10$", said, re.MULTILINE)
    assert re.search(r"^all that is known .* 21$", said, re.MULTILINE)
    assert "wall: by 4 workers (--workers)" in said
    assert "timed here" not in said
    assert main(["run", "imagenette64", *changes, "--why"]) == 0
    assert "13,394 images read and checked, as 64 of them were in one thread" in capsys.readouterr().out


def test_data_of_ones_own_must_be_there(elsewhere):
    with pytest.raises(RecipeError, match="/of/my/own"):
        planned(read("imagenette64", ["data.path=/of/my/own"]), elsewhere / "run")


def test_wall_time_is_shared_by_workers_as_far_as_there_are_parts(fake):
    def wall(parts, done, workers, hours=2.0):
        return Estimate(fake(), parts, done, None, hours, None, "").wall(workers)

    assert wall(10, 0, 4) == 1800
    assert wall(10, 8, 4) == 3600
    assert wall(10, 10, 4, 0.0) == 0
    assert wall(10, 0, 4, None) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.002, "< 0.1 s"),
        (0.25, "0.25 s"),
        (40, "40 s"),
        (119, "119 s"),
        (300, "5 min"),
        (513.6, "8.6 min"),
        (5280, "88 min"),
        (19224, "5.3 h"),
        (9e5, "10 days"),
    ],
)
def test_times_are_for_people(seconds, text):
    assert duration(seconds) == text
