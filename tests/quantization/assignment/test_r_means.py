"""Steps towards r-means: second derivatives by differences, and that a step gains what is promised of it."""

import numpy as np
import pytest
import scipy

from quantization.assignment import sums_of_cells
from quantization.assignment.r_means import NEWTON_DIMENSIONS

ORDERS = [2.1, 2.5, 3.0, 3.7, 6.0, 12.0]


def cost(x, w, c, r):
    return float(w @ np.linalg.norm(x - c, axis=1) ** r)


def clouds(rng, d):
    """Round, long, with a point at the code, far from it, two points, and one heavy among light ones."""
    x = rng.normal(size=(40, d))
    yield x, np.zeros(d)
    yield x * np.logspace(0, -3, d), np.full(d, 0.3)
    yield x, x[0]
    yield x, np.full(d, 50.0)
    yield x[:2], x[0] / 3 + x[1] / 2
    yield np.concatenate([x * 1e-3, np.ones((1, d))]), np.zeros(d)


@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize("d", [1, 2, 5, NEWTON_DIMENSIONS])
def test_a_step_gains_what_is_promised(r, d, rng):
    """Half r times the pull along the step, and less than the quadratic model alone would have."""
    for x, c in clouds(rng, d):
        w = rng.random(len(x))
        sums = sums_of_cells(x, w, c[None], r)
        assert sums.stiffness is not None
        step = sums.stiffness.moves(sums.pulls, sums.masses, r)[0]
        gain, before = r / 2 * float(sums.pulls[0] @ step), cost(x, w, c, r)
        assert gain > 0
        assert cost(x, w, c + step, r) <= before - gain + 1e-12 * before


@pytest.mark.parametrize("r", ORDERS)
def test_second_derivatives(r, rng):
    x, w, c, h = rng.normal(size=(40, 3)), rng.random(40), np.array([0.3, -0.1, 0.2]), 1e-6

    def pulls(at):
        return sums_of_cells(x, w, at[None], r).pulls[0]

    found = sums_of_cells(x, w, c[None], r).stiffness
    hessian = found.total[0] * np.eye(3) + (r - 2) * found.tensors[0]
    differences = [(pulls(c - h * e) - pulls(c + h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(hessian, differences, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("r", ORDERS)
def test_steps_of_parts_and_of_other_units_are_the_same(r, rng):
    x, w, codes = rng.normal(size=(300, 4)), rng.random(300), rng.normal(size=(5, 4))
    whole = sums_of_cells(x, w, codes, r)
    parts = sums_of_cells(x[:100], w[:100], codes, r) + sums_of_cells(x[100:], w[100:], codes, r)
    scaled = sums_of_cells(1e20 * x, w, 1e20 * codes, r)
    moves = [s.stiffness.moves(s.pulls, s.masses, r) for s in (whole, parts, scaled)]
    np.testing.assert_allclose(moves[1], moves[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(moves[2] / 1e20, moves[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("r", [r for r in ORDERS if r >= 2.5])
def test_near_an_r_mean_steps_are_newtons(r, rng):
    """A tenth as far, what is left is less by ten to the order, min(2, r - 1): a wrong Hessian leaves a tenth."""
    x, w = rng.normal(size=(40, 3)), rng.random(40)

    def pull(c):
        return (w * np.linalg.norm(x - c, axis=1) ** (r - 2)) @ (x - c)

    mean = scipy.optimize.root(pull, x.mean(0), tol=1e-14).x
    left = []
    for distance in (1e-2, 1e-3):
        codes = mean[None] + distance * np.array([[2.0, -1.0, 2.0]]) / 3
        sums = sums_of_cells(x, w, codes, r)
        left.append(np.linalg.norm(codes + sums.stiffness.moves(sums.pulls, sums.masses, r) - mean))
    assert left[1] <= 1.5 * 10 ** -min(2, r - 1) * left[0]
