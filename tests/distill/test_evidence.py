"""Pairs to compare are checked; weights that leave few images in effect are told."""

from types import SimpleNamespace

import pytest

from distill.images import load
from distill.recipe import RecipeError, read
from distill.stages.evidence import few_in_effect
from distill.stages.report import ReportStage


def test_a_recipe_names_pairs():
    assert read("digits").comparisons == []
    pairs = [["ddoq", "uniform"], ["full", "random"]]
    assert read("digits", [f"comparisons={pairs}"]).comparisons == pairs


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([["ddoq"]], "comparisons.0: "),
        ([["ddoq", "uniform", "full"]], "comparisons.0: "),
        (["ddoq", "uniform"], "comparisons.0: "),
        ([["ddoq", "ddoq"]], "comparisons: must be pairs of two methods each, and no pair twice"),
        ([["ddoq", "full"], ["full", "ddoq"]], "comparisons: must be pairs of two methods each, and no pair twice"),
        ([["ddoq", "ddoq-sqrt"]], "comparisons names 'ddoq-sqrt', which is none of the recipe's methods, ddoq, uniform"),
        ([["ddoq", each] for each in ("uniform", "random", "nearest", "full")] + [["full", "random"]], "comparisons: "),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs, words):
    with pytest.raises(RecipeError) as caught:
        read("digits", [f"comparisons={pairs}"])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["train.labels=['hard','online']", "train.only.hard.methods=['ddoq']", "train.only.online.methods=['uniform']"],
            "comparisons names ddoq and uniform, which train.only lets meet under no labels",
        ),
        (
            ["methods=['external','ddoq']", "comparisons=[['external','ddoq']]", "external.path=x", "external.ipc=7"],
            "comparisons names external, of external.ipc = 7 images per class, and select.k =",
        ),
    ],
)
def test_pairs_that_never_meet_are_refused(changes, words):
    with pytest.raises(RecipeError) as caught:
        read("digits", ["methods=['ddoq','uniform']", "comparisons=[['ddoq','uniform']]", *changes])
    assert words in str(caught.value)


def test_somebody_elses_set_is_not_shown_as_codes_with_masses():
    recipe = read("digits", ["methods=['external']", "external.path=x", "external.ipc=7", "seeds=[0, 1]"])
    report = ReportStage(recipe, load(recipe.data), {("external", "hard"): SimpleNamespace(images="theirs")}, None)
    assert report.weighted is None


@pytest.mark.parametrize(("first", "below"), [("ddoq", "nearest"), ("nearest-balanced-mass", None), ("nearest-mass", None)])
def test_real_images_stand_below_the_codes_that_they_are_nearest_to(first, below):
    recipe = read("digits", [f"methods=['{first}','nearest']"])
    images = {(name, "hard"): SimpleNamespace(images=name) for name in recipe.methods}
    report = ReportStage(recipe, load(recipe.data), images, None)
    assert (report.weighted, report.below) == (first, below)


def test_weights_that_leave_fewer_than_two_images_are_told_with_the_classes():
    sizes = {"cat": 1.94, "dog": 2.0, "owl": 1.25}
    (said,) = few_in_effect("ddoq", 3, sizes)
    assert "At 3 images per class the weights of ddoq leave fewer than 2 in effect" in said
    assert "in cat (1.9), owl (1.2):" in said
    assert few_in_effect("ddoq", 2, sizes) == []
    assert few_in_effect("full", None, sizes) == []
    assert few_in_effect("ddoq", 3, {"dog": 2.0}) == []
    (many,) = few_in_effect("ddoq", 3, {str(i): 1.0 for i in range(9)})
    assert "4 (1.0) and 4 classes more" in many
