import numpy as np
import pytest

from distill.methods import METHODS
from distill.methods.weights import moded, sample_weights

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


@pytest.mark.parametrize("mode", ["mass", "uniform", "sqrt", "power(0.25)", "power(3)"])
@pytest.mark.parametrize("sizes", [[6] * 10, [1, 6, 3, 12]])
def test_every_class_has_the_same_total_and_the_set_the_mean_one(mode, sizes):
    rng = np.random.default_rng(5)
    classes = sample_weights([moded(rng.dirichlet(np.ones(size)), mode) for size in sizes])
    mean, n = sum(sizes) / len(sizes), max(sizes)
    # Σ K̄ w_k = K̄ with w of sum 1: K additions, a product and a quotient are rounded.
    np.testing.assert_allclose([each.sum() for each in classes], mean, rtol=3 * n * EPS)
    np.testing.assert_allclose(np.concatenate(classes).mean(), 1, rtol=(3 * n + sum(sizes)) * EPS)


def test_powers_run_from_equal_weights_to_the_masses(masses):
    np.testing.assert_array_equal(moded(masses, "power(0)"), moded(masses, "uniform"))
    np.testing.assert_array_equal(moded(masses, "power(1)"), moded(masses, "mass"))
    np.testing.assert_array_equal(moded(masses, "power(.5)"), moded(masses, "sqrt"))
    # √w_i/√w_j = (w_i/w_j)^½, a few roundings each.
    weights = moded(masses, "sqrt")
    np.testing.assert_allclose(weights[1:] / weights[0], np.sqrt(masses[1:] / masses[0]), rtol=8 * EPS)
    # The variance of w^a/Σ w^a rises with a: the derivative in a is a covariance of increasing functions of w.
    spread = [moded(masses, f"power({a})").var() for a in (0, 0.25, 0.5, 0.75, 1)]
    assert spread == sorted(spread)


def test_empty_cells_weigh_nothing_and_high_powers_do_not_vanish():
    assert moded(np.array([0.0, 0.5, 0.5]), "sqrt").tolist() == [0.0, 0.5, 0.5]
    assert moded(np.array([1e-200, 1e-200]), "power(9)").tolist() == [0.5, 0.5]


def test_one_code_weighs_one():
    assert sample_weights([moded(np.array([1.0]), "mass")])[0].tolist() == [1.0]


@pytest.mark.parametrize("mode", ["soft", "power", "power(-1)", "power(x)", "power()", "POWER(1)"])
def test_an_unknown_mode_is_named(mode):
    with pytest.raises(ValueError, match=r"uniform, mass, sqrt and power\(a\).*received"):
        moded(np.ones(2) / 2, mode)


def test_methods_of_other_weights_are_ddoq_under_another_name():
    assert METHODS["ddoq-sqrt"].weights == "sqrt"
    assert METHODS["ddoq-power(0.3)"].weights == "power(0.3)"
    assert (METHODS["ddoq-sqrt"].select, METHODS["ddoq-sqrt"].decode) == (METHODS["ddoq"].select, METHODS["ddoq"].decode)
    for name in ("ddoq-", "ddoq-soft", "random-sqrt", "sqrt", "ddoq-power(-1)"):
        assert name not in METHODS
