"""Protocols say what METHOD's table says; weights through mixing are unbiased where they claim to be, by enumeration."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from distill.models.networks import optimizer_for
from distill.models.schedules import factor
from distill.protocols import PRESETS, Augmentation, Protocol
from distill.protocols.pairs import PAIRINGS, order, pair_weights, systematic


def test_the_presets_are_those_of_the_table():
    fkd, rded, rd3, hard = (PRESETS[name] for name in ("fkd", "rded", "rd3", "hard"))
    assert [p.epochs for p in (fkd, rded, rd3)] == [300, 300, 400]
    assert [hard.epochs_at(ipc) for ipc in (1, 10, 11, 50, 51, 200)] == [2000, 2000, 1500, 1500, 1000, 1000]
    assert [fkd.batch, rd3.batch, hard.batch] == [1024, 50, 64]
    assert [rded.batch_at(ipc, 10**6) for ipc in (1, 10, 50)] == [20, 100, 200]
    assert [p.optimizer for p in (fkd, rded, rd3, hard)] == ["adamw", "adamw", "adamw", "sgd"]
    assert [p.learning_rate for p in (fkd, rded, rd3, hard)] == [1e-3, 1e-3, 1e-3, 1e-2]
    assert [p.weight_decay for p in (fkd, rded, hard)] == [0.01, 0.01, 5e-4]
    assert hard.momentum == 0.9
    students = ("resnet18", "mobilenetv2_100", "efficientnet_b0", "swin_tiny_patch4_window7_224")
    assert [rded.rate_of(student) for student in students] == [1e-3, 2.5e-3, 2e-3, 1e-4]
    assert [fkd.rate_of(student) for student in students] == [1e-3] * 4
    assert [p.schedule for p in (fkd, rded, rd3, hard)] == ["cosine", "half-cosine", "cosine", "steps"]
    assert [p.temperature for p in (fkd, rded, hard)] == [20, 20, 1]
    assert [p.labels for p in (fkd, rded, rd3, hard)] == ["stored", "online", "online", "hard"]
    assert fkd.augmentation == Augmentation(crop=(0.08, 1.0), flip=True, cutmix=1.0)
    assert rded.augmentation == Augmentation(patches=2, crop=(0.5, 1.0), flip=True, cutmix=1.0)
    assert (rd3.augmentation.flip, rd3.augmentation.cutmix) == (True, 1.0)
    assert (hard.augmentation.crop is not None, hard.augmentation.flip, hard.augmentation.cutmix) == (True, False, 1.0)


def test_steps_are_those_of_whole_epochs_with_their_last_batch():
    assert PRESETS["fkd"].steps_at(10, 10_000) == 300 * 10
    assert PRESETS["fkd"].steps_at(10, 100) == 300  # a batch is never more than there are
    assert PRESETS["rded"].steps_at(10, 10_000) == 300 * 100
    assert PRESETS["small"].steps_at(1, 10) == 300


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        ("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2),
        ("half-cosine", lambda x: (1 + math.cos(math.pi * x / 2)) / 2),
        ("steps", lambda x: 1.0 if x < 2 / 3 else 0.2 if x < 5 / 6 else 0.04),
    ],
)
def test_schedules_are_their_formulas(schedule, formula):
    for epoch in range(300):
        assert factor(schedule, Fraction(epoch, 300)) == pytest.approx(formula(epoch / 300), rel=1e-12)
    assert factor("steps", Fraction(2, 3)) == 0.2


def test_decay_leaves_parameters_of_one_dimension_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for name in ("fkd", "hard"):
        groups = optimizer_for(model, PRESETS[name], "resnet18", model[0].weight.device).param_groups
        assert {(p.ndim > 1, group["weight_decay"] > 0) for group in groups for p in group["params"]} == {
            (True, True),
            (False, False),
        }
        assert sum(len(group["params"]) for group in groups) == 4


class Told(np.random.Generator):
    """A generator whose draws are said beforehand."""

    def __init__(self, *told):
        super().__init__(np.random.PCG64(0))
        self.told = list(told)

    def permutation(self, n):
        return self.told.pop(0)

    def spawn(self, n_children):
        return [self] * n_children

    def random(self, *_, **__):
        return self.told.pop(0)


W = np.array([0.3, 0.9, 1.8])  # sample weights, of mean 1
N = len(W)
LOSS = np.random.default_rng(0).uniform(0, 3, (2, N, N))  # of pairs, at each of two shares λ
SHARES = (0.25, 0.75)
STRETCHES = [(0.1, 0.2), (0.25, 0.1), (0.65, 0.7)]  # of offsets between the fractions of .3, 1.2 and 3: one in each, its length
COUNTS = np.array([[1, 1, 1], [1, 0, 2], [0, 1, 2]])  # of the images in a pass with such an offset


def expectation(pairing):
    """The mean loss of a pass over all that can be drawn, with its probabilities, as ``order`` and ``pair_weights`` have it."""
    permutations = [np.array(p) for p in itertools.permutations(range(N))]
    offsets = STRETCHES if pairing == "systematic" else [(None, 1.0)]
    outcomes = [
        (order(W, pairing, Told(a, b, offset)), length / len(permutations) ** 2)
        for a, b, (offset, length) in itertools.product(permutations, permutations, offsets)
    ]
    total = 0.0
    for (images, partner), probability in outcomes:
        first, second = images, images[partner]
        for share, losses in zip(SHARES, LOSS, strict=True):
            weights = pair_weights(W[first], W[second], share, pairing)
            total += probability / len(SHARES) * (weights * losses[first, second]).mean()
    assert sum(p for _, p in outcomes) == pytest.approx(1, rel=1e-12)
    return total


def test_products_are_unbiased_and_mixed_weights_are_not():
    """Against Σ_ij w_i w_j/n² E_λ ℓ_ij: 36 passes of three terms in float64, so 1e-12 relative is round-off."""
    expected = sum((np.outer(W, W) / N**2 * losses).sum() for losses in LOSS) / len(SHARES)
    assert expectation("product") == pytest.approx(expected, rel=1e-12)
    assert abs(expectation("mix") - expected) > 0.01 * expected


def test_systematic_pairs_have_the_joint_law_of_their_counts():
    """A pair has probability E c_i c_j/n²: exactly w_i/n on either side, and within 1/(4n²) of w_i w_j/n²."""
    lengths = np.array([length for _, length in STRETCHES])
    pairs = np.einsum("s,si,sj->ij", lengths, COUNTS, COUNTS) / N**2
    assert expectation("systematic") == pytest.approx(sum((pairs * losses).sum() for losses in LOSS) / len(SHARES), rel=1e-12)
    np.testing.assert_allclose(pairs.sum(1), W / N, rtol=1e-12)
    assert abs(pairs - np.outer(W, W) / N**2).max() <= 1 / (4 * N**2)


@pytest.mark.parametrize(
    "weights", [W, [1.0, 1, 1, 1], [0.0, 2.5, 0.25, 0.25], [3, 1, 2, 0], np.random.default_rng(1).exponential(size=40)]
)
def test_systematic_counts_are_the_weights_in_the_mean_and_each_within_one(weights):
    weights = np.array(weights) * len(weights) / np.sum(weights)
    n, offsets = len(weights), (np.arange(4000) + 0.5) / 4000
    counts = np.array([systematic(weights, offset) for offset in offsets])
    assert (counts.sum(1) == n).all()
    # The mean over a grid of offsets is that over all but for the two of the 4000 cells in which an end lies.
    np.testing.assert_allclose(counts.mean(0), weights, atol=2 / 4000)
    sums, runs = np.cumsum(counts, 1), np.cumsum(weights)
    for first in range(n):
        here, there = sums[:, first:] - sums[:, [first]], runs[first:] - runs[first]
        assert (abs(here - there) < 1 + 1e-9).all()


def test_equal_weights_count_one_whatever_the_pairing():
    for pairing in PAIRINGS:
        assert (pair_weights(np.ones(4), np.ones(4), np.array([0.0, 0.3, 0.7, 1.0]), pairing) == 1).all()
        assert torch.equal(pair_weights(torch.ones(4), torch.ones(4), torch.tensor(0.3), pairing), torch.ones(4))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_pass_of_equal_weights_holds_every_image_once(n):
    for pairing in PAIRINGS:
        rng, others = np.random.default_rng(0), np.random.default_rng(0)
        order(np.ones(n), "product", others)
        images, partner = order(np.full(n, n * (1 / n)), pairing, rng)
        assert sorted(partner) == list(range(n))
        assert sorted(images) == list(range(n))
        np.testing.assert_array_equal(rng.random(3), others.random(3))  # what is drawn next, the same for all


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "epochs or steps"),
        ({"epochs": 2, "steps": 2}, "epochs or steps"),
        ({"epochs": 2, "weighting": "magic"}, "product, systematic, mix"),
        ({"epochs": 2, "labels": "stored", "weighting": "systematic"}, "weighting = 'systematic'"),
        ({"steps": 2, "labels": "stored"}, "stored by epoch"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Protocol("mine", **options)


def test_what_a_protocol_is_called_does_not_decide_anything():
    assert Protocol("a", epochs=2).described() == Protocol("b", epochs=2).described()
