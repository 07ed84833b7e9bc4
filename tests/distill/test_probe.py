import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from distill.models.probe import fit


def problem(seed, n=60, d=5, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    points = rng.normal(size=(n, d)) + rng.normal(size=(classes, d))[labels]
    weights = rng.exponential(size=n)
    return points, labels, weights / weights.mean(), np.eye(classes)[labels]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ridge", [1e-3, 1e-1])
def test_the_probe_is_the_minimum_that_scikit_learn_finds(seed, ridge):
    points, labels, weights, targets = problem(seed)
    ours = fit(points, targets, weights, ridge)
    theirs = LogisticRegression(C=1 / (ridge * len(points)), tol=1e-10, max_iter=100_000)
    theirs.fit(points, labels, sample_weight=weights)
    # The loss is ridge-strongly convex in W: both gradients, at most 1e-6 an entry, bound the distance of the two.
    bound = 2 * 1e-6 * np.sqrt(ours.matrix.size + 3) / ridge
    assert np.abs(ours.matrix - theirs.coef_).max() <= bound
    shift = ours.logits(points) - theirs.decision_function(points)
    assert np.ptp(shift, axis=1).max() <= 50 * bound  # a constant may differ, which no softmax sees


def test_a_weight_of_two_is_an_example_twice():
    points, _, _, targets = problem(0)
    weights = np.ones(len(points))
    weights[:20] = 2
    twice = np.concatenate([points, points[:20]]), np.concatenate([targets, targets[:20]])
    ours = fit(points, targets, weights / weights.mean(), 0.05)
    theirs = fit(*twice, np.ones(len(twice[0])), 0.05)
    np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=2 * 1e-6 * np.sqrt(18) / 0.05)


def test_soft_targets_are_a_mixture_of_hard_ones():
    """H is linear in p: an example of p = (.3, .7) counts as two hard ones of these weights."""
    points, _, _, targets = problem(1, classes=2)
    soft = 0.3 * targets + 0.7 * targets[:, ::-1]
    double = np.concatenate([points, points]), np.concatenate([targets, targets[:, ::-1]])
    weights = np.repeat([0.6, 1.4], len(points))
    ours, theirs = fit(points, soft, np.ones(len(points)), 0.05), fit(*double, weights, 0.05)
    np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=2 * 1e-6 * np.sqrt(12) / 0.05)


def test_separable_classes_have_a_minimum_too():
    points = np.array([[-1.0], [1.0]])
    found = fit(points, np.eye(2), np.ones(2), 1e-4)
    assert found.gradient <= 1e-6
    assert np.isfinite(found.matrix).all()
    assert found.logits(points).argmax(1).tolist() == [0, 1]
