import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import distill
from distill.graph import build
from distill.recipe import RecipeError

EPS32 = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def ddoq(finished):
    return distill.load(finished.folder)


def test_the_function_stays_a_function(finished):
    """The package's lazily imported module must not take the place of the function of its name."""
    for _ in range(2):
        assert isinstance(distill.load(finished.folder, ipc=1), distill.DistilledSet)
    assert callable(distill.run)


def test_by_default_the_first_method_the_largest_budget_the_first_seed(finished, ddoq):
    named = distill.load(str(finished.folder), "ddoq", 3, 0)
    assert len(ddoq) == 30
    assert torch.equal(ddoq.images, named.images)
    assert torch.equal(ddoq.weights, named.weights)


def test_items_are_image_label_weight(ddoq):
    image, label, weight = ddoq[4]
    assert image.dtype == torch.float32
    assert image.shape == (1, 16, 16)
    assert 0 <= image.min() <= image.max() <= 1
    assert torch.equal((image * 255).round().byte(), ddoq.images[4])
    assert label == ddoq.labels[4]
    assert weight == ddoq.weights[4]
    assert weight.dtype == torch.float32
    with pytest.raises(IndexError):
        ddoq[30]
    assert len(list(ddoq)) == 30


def test_classes_come_in_order_each_with_its_budget(ddoq):
    assert ddoq.classes[:3] == ("zero", "one", "two")
    assert torch.equal(ddoq.labels, torch.arange(10).repeat_interleave(3))
    assert ddoq.logits.shape == (30, 10)


@pytest.mark.parametrize("method", ["ddoq", "uniform", "random", "nearest"])
@pytest.mark.parametrize("ipc", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_weighs_the_same_and_the_mean_is_one(finished, method, ipc, seed):
    data = distill.load(finished.folder, method, ipc, seed)
    assert len(data) == 10 * ipc
    weights = data.weights.double().numpy()
    # Each weight is rounded to float32 once.
    np.testing.assert_allclose(weights.reshape(10, ipc).sum(1), ipc, rtol=EPS32)
    np.testing.assert_allclose(weights.mean(), 1, rtol=EPS32)
    assert (weights == 1).all() or method == "ddoq"


def test_ddoq_and_uniform_share_images_and_labels_and_differ_in_weights(finished, ddoq):
    uniform = distill.load(finished.folder, "uniform")
    assert torch.equal(uniform.images, ddoq.images)
    assert torch.equal(uniform.logits, ddoq.logits)
    assert not torch.equal(uniform.weights, ddoq.weights)


def test_seeds_and_budgets_are_other_draws(finished, ddoq):
    assert not torch.equal(distill.load(finished.folder, seed=1).images, ddoq.images)
    assert len(distill.load(finished.folder, ipc=1)) == 10


def test_full_is_everything_with_equal_weights(finished):
    full = distill.load(finished.folder, "full")
    counts = torch.bincount(full.labels)
    assert len(full) == counts.sum() > 1000
    # Equal within a class: 1/n times n, rounded twice, then to float32.
    np.testing.assert_allclose(full.weights.numpy(), 1, rtol=EPS32)


def test_a_loader_gives_batches_of_everything(ddoq):
    loader = DataLoader(ddoq, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(0))
    batches = list(loader)
    images, labels, weights = (torch.cat(each) for each in zip(*batches, strict=True))
    assert images.shape == (30, 1, 16, 16)
    assert torch.equal(labels.sort().values, ddoq.labels)
    assert torch.equal(weights.sort().values, ddoq.weights.sort().values)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "magic"}, "no method 'magic'; it has ddoq, uniform, random, nearest, full"),
        ({"ipc": 7}, "with 7 images per class and any seed; it has 1 or 3 images per class"),
        ({"ipc": 0}, "with 0 images per class and any seed; it has 1 or 3 images per class"),
        ({"ipc": -1}, "with -1 images per class and any seed; it has 1 or 3 images per class"),
        ({"seed": 9}, "and seed 9; it has 1 or 3 images per class, and seed 0 or 1"),
        ({"seed": -1}, "and seed -1; it has 1 or 3 images per class, and seed 0 or 1"),
        ({"method": ""}, "no method ''"),
        ({"method": "full", "ipc": 7}, "full"),
    ],
)
def test_what_the_run_has_not_is_refused_with_what_it_has(finished, arguments, words):
    with pytest.raises(RecipeError, match=words):
        distill.load(finished.folder, **arguments)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"is not a run folder"):
        distill.load(tmp_path)
    with pytest.raises(RecipeError, match=r"is not a run folder"):
        distill.load(tmp_path / "none")


def test_an_unfinished_run_is_refused_and_left_alone(finished, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished.folder / "recipe.json", run)
    with pytest.raises(RecipeError, match=r"not finished.*again"):
        distill.load(run)
    assert [path.name for path in run.iterdir()] == ["recipe.json"]


def test_a_damaged_run_is_refused(copied, tiny):
    decode = next(stage for stage in build(tiny) if stage.title == "decode diffusion")
    path = copied / decode.folder_name / "0003-three.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=r"changed.*0003-three"):
        distill.load(copied)
    assert len(distill.load(copied, "random")) == 30


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_recipe_that_was_damaged_is_refused(copied, text):
    (copied / "recipe.json").write_text(text)
    with pytest.raises(RecipeError):
        distill.load(copied)
