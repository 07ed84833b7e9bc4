import numpy as np
import pytest

from distill.weights import moded, sample_weights

EPS = np.finfo(float).eps


@pytest.fixture
def masses():
    return np.random.default_rng(3).dirichlet(np.ones(7))


def test_mass_keeps_the_masses(masses):
    # One division by a sum that is 1 up to K rounded additions.
    np.testing.assert_allclose(moded(masses, "mass"), masses, rtol=(len(masses) + 1) * EPS, atol=0)


def test_mass_normalizes_what_does_not_sum_to_one(masses):
    np.testing.assert_allclose(moded(3 * masses, "mass").sum(), 1, rtol=2 * len(masses) * EPS)


def test_uniform_forgets_the_masses(masses):
    assert moded(masses, "uniform").tolist() == [1 / 7] * 7


@pytest.mark.parametrize("mode", ["mass", "uniform"])
def test_every_class_has_the_same_total_and_the_set_the_mean_one(mode):
    rng = np.random.default_rng(5)
    classes = [sample_weights(moded(rng.dirichlet(np.ones(6)), mode)) for _ in range(10)]
    # Σ K w_k = K with w of sum 1: K additions, a product and a quotient are rounded.
    np.testing.assert_allclose([each.sum() for each in classes], 6, rtol=3 * 6 * EPS)
    np.testing.assert_allclose(np.concatenate(classes).mean(), 1, rtol=(3 * 6 + 60) * EPS)


def test_one_code_weighs_one():
    assert sample_weights(moded(np.array([1.0]), "mass")).tolist() == [1.0]


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match=r"uniform and mass; received 'soft'"):
        moded(np.ones(2) / 2, "soft")
