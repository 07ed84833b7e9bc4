"""Laws on the line that several files of tests take, and what they ask of them."""

import numpy as np

import quantization as qz
from quantization.laws import FrozenLaw
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.make_problem import exact_law

ORDERS = (1.0, 1.5, 2.0, 4.0)


def line(law, r=2.0) -> DensityLaw1D:
    """The law as one whose cells are computed exactly."""
    found = exact_law(law if isinstance(law, qz.GaussianMixture) else FrozenLaw(law), r)
    assert isinstance(found, DensityLaw1D)
    return found


def mixture(weights, means, deviations):
    """A mixture of normal laws."""
    return qz.GaussianMixture(weights, np.array(means)[:, None], np.square(deviations)[:, None, None])


def codes_of(solution):
    """The codes in rising order, (K,)."""
    return np.sort(solution.measure.points[:, 0])


THREE = mixture([0.2, 0.3, 0.5], [0.0, 8.0, 30.0], [1.0, 0.5, 4.0])
