"""Students: the loss counts every image by its weight, and what they learn follows the weights."""

import numpy as np
import pytest
import torch

from distill.graph import build
from distill.images import load
from distill.models.training import weighted_cross_entropy
from distill.pipeline.store import Store
from distill.recipe import read
from distill.stages.draw import Draw, Run
from distill.stages.train import TrainStage
from distill.stages.weighted import WeightedSet

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_the_weighted_cross_entropy_over_the_batch_size(temperature):
    logits, teacher, weights = RNG.normal(size=(7, 5)), RNG.normal(size=(7, 5)), RNG.uniform(0, 3, 7)
    p, q = softmax(teacher / temperature), softmax(logits / temperature)
    expected = (weights * -(p * np.log(q)).sum(1)).sum() / 7
    got = weighted_cross_entropy(*(torch.from_numpy(a) for a in (logits, p, weights)), temperature)
    # About forty float64 roundings of terms of size one.
    assert float(got) == pytest.approx(expected, rel=40 * np.finfo(float).eps)


def test_doubling_the_weights_doubles_the_loss_and_a_weight_of_zero_takes_an_image_out():
    logits, targets = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64).softmax(1)
    weights = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.5, 1.0], dtype=torch.float64)
    loss = weighted_cross_entropy(logits, targets, weights, 2.0)
    assert torch.equal(weighted_cross_entropy(logits, targets, 2 * weights, 2.0), 2 * loss)
    changed = targets.clone()
    changed[3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    assert torch.equal(weighted_cross_entropy(logits, changed, weights, 2.0), loss)


def test_a_student_learns_what_has_weight(tmp_path, record):
    """All the weight on the images of one class: the student takes everything for that class; equal weights: it does not."""
    recipe = read("digits", ["train.steps=80", "train.temperature=1.0", "train.evaluations=1"])
    data = load(recipe.data)
    stage = next(stage for stage in build(recipe) if isinstance(stage, TrainStage))
    store, validated = Store(tmp_path), stage.parents[0]
    for part in validated.parts():
        store.write(validated, part, validated.make(part, store, lambda fraction: None), record)
    chosen = np.concatenate([data.train.of_class(c)[:8] for c in range(10)])
    images, labels = torch.from_numpy(data.train.read(chosen)), torch.from_numpy(data.train.labels[chosen])
    logits = 20.0 * torch.nn.functional.one_hot(labels, 10).float()

    def top1(weights):
        chosen = WeightedSet(images, labels, logits, weights, data.classes)
        return stage._student(store, Run("k8.seed0", Draw(8, 0), 0), chosen, lambda fraction: None).top1

    share = float((data.test.labels == 3).mean())
    assert top1(10.0 * (labels == 3).double()) == pytest.approx(share)
    assert top1(torch.ones(80, dtype=torch.float64)) > 5 * share
