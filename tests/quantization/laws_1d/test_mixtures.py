"""Normal laws and mixtures of them on the line, by moments in 60 digits."""

from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_banded

import quantization as qz
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.make_problem import exact_law
from tests.quantization.laws_1d.lines import ORDERS, THREE, codes_of, mixture

SKEWED = mixture([0.7, 0.3], [-1.0, 1.5], [1.0, 0.4])


def mixture_moment(law):
    parts = [
        (mp.mpf(float(w)), mp.mpf(float(m)), mp.sqrt(mp.mpf(float(v))))
        for w, m, v in zip(law.weights, law.means[:, 0], law.covs[:, 0, 0], strict=True)
    ]

    def ends(u):
        if abs(u) == mp.inf:
            return (mp.mpf(1) if u > 0 else mp.mpf(0)), mp.mpf(0)
        return mp.ncdf(u), mp.npdf(u)

    def moment(x, a, b, p):
        """∫_a^b |z - x|^p f(z) dz for integer p, on one side of x, from ∫ u^j φ(u) du by parts."""
        total = mp.mpf(0)
        for w, m, s in parts:
            low, high = (a - m) / s, (b - m) / s
            (f0, d0), (f1, d1) = ends(low), ends(high)
            powers = [f1 - f0, d0 - d1]
            for j in range(2, p + 1):
                edge = (low ** (j - 1) * d0 if d0 else 0) - (high ** (j - 1) * d1 if d1 else 0)
                powers.append((j - 1) * powers[j - 2] + edge)
            total += w * mp.fsum(mp.binomial(p, j) * s**j * (m - x) ** (p - j) * powers[j] for j in range(p + 1))
        return abs(total)

    def density(z):
        return mp.fsum(w * mp.npdf((z - m) / s) / s for w, m, s in parts)

    return moment, density


def newton_correction(law, found, r):
    """What Newton's step in 60 digits would still change, and the distortion, at the codes that were found.

    The step's relative error is of the order of its size, so it is the codes' error.
    """
    moment, density = mixture_moment(law)
    with mp.workdps(60):
        x = [mp.mpf(float(t)) for t in found]
        k = len(x)
        mids = [(a + b) / 2 for a, b in pairwise(x)]
        edges = [-mp.inf, *mids, mp.inf]
        cells = list(zip(x, edges[:-1], edges[1:], strict=True))
        gradient = [r * (moment(t, a, t, r - 1) - moment(t, t, b, r - 1)) for t, a, b in cells]
        distortion = mp.fsum(moment(t, a, t, r) + moment(t, t, b, r) for t, a, b in cells)
        if r == 1:
            diagonal = [2 * density(t) for t in x]
        else:
            diagonal = [r * (r - 1) * (moment(t, a, t, r - 2) + moment(t, t, b, r - 2)) for t, a, b in cells]
        between = [-mp.mpf(r) / 2 * ((b - a) / 2) ** (r - 1) * density(m) for a, b, m in zip(x[:-1], x[1:], mids, strict=True)]
        for i, value in enumerate(between):
            diagonal[i] += value
            diagonal[i + 1] += value
        scale = max(abs(g) for g in gradient) or mp.mpf(1)
        banded = np.zeros((3, k))
        banded[1] = [float(value) for value in diagonal]
        banded[0, 1:] = banded[2, :-1] = [float(value) for value in between]
        step = solve_banded((1, 1), banded, [float(g / scale) for g in gradient]) * float(scale)
        return np.abs(step).max(), distortion


@pytest.mark.parametrize(
    ("law", "k", "r"),
    [
        *[(qz.Gaussian([0.0], [[1.0]]), k, r) for k, r in [(2, 1), (5, 4), (100, 1), (100, 4), (1000, 2)]],
        *[(THREE, k, r) for k, r in [(1, 2), (6, 1), (12, 4), (40, 2)]],
        *[(SKEWED, k, r) for k, r in [(3, 2), (25, 1), (25, 4)]],
    ],
)
def test_normal_laws_and_mixtures(law, k, r):
    sol = qz.quantize(law, k, r=r, rng=0)
    error, distortion = newton_correction(law, codes_of(sol), r)
    assert error <= 1e-12 * np.sqrt(law.cov[0, 0])
    assert sol.distortion == pytest.approx(float(distortion), rel=1e-12)
    assert sol.require() is sol


@pytest.mark.slow
@pytest.mark.parametrize("law", [qz.Gaussian([3.0], [[0.25]]), THREE, SKEWED])
@pytest.mark.parametrize("r", [1, 2, 4])
def test_a_thousand_codes_of_any_order(law, r):
    sol = qz.quantize(law, 1000, r=r, rng=0)
    error, distortion = newton_correction(law, codes_of(sol), r)
    assert error <= 1e-12 * np.sqrt(law.cov[0, 0])
    assert sol.distortion == pytest.approx(float(distortion), rel=1e-12)


@settings(deadline=None, max_examples=8, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30), st.sampled_from(ORDERS))
def test_a_solve_of_any_mixture(seed, m, k, r):
    rng = np.random.default_rng(seed)
    law = mixture(rng.dirichlet(np.ones(m)), rng.normal(size=m) * 10, rng.uniform(0.2, 2, m))
    sol = qz.quantize(law, k, r=r, rng=0)
    assert sol.require() is sol
    assert (sol.measure.weights > 0).all()
    assert (np.diff(sol.measure.points[:, 0]) > 0).all()
    assert sol.distortion == qz.distortion(law, sol.measure.points, r=r, rng=0).value
    trace = sol.trace.distortion
    assert (np.diff(trace) <= 1e-12 * trace[:-1]).all()
    if r == 2:  # E|X|² = Σ w x² + D for a stationary codebook, in units where |x| is about 30
        x, w = sol.measure.points[:, 0], sol.measure.weights
        assert w @ x**2 + sol.distortion == pytest.approx(law.cov[0, 0] + law.mean[0] ** 2, rel=1e-12)


def test_mixtures_of_any_scale():
    unit = qz.quantize(SKEWED, 5, rng=0)
    for power in (-480, 480):
        factor = 2.0**power
        scaled = qz.quantize(qz.GaussianMixture(SKEWED.weights, SKEWED.means * factor, SKEWED.covs * factor * factor), 5, rng=0)
        np.testing.assert_array_equal(scaled.measure.points, unit.measure.points * factor)
        assert scaled.distortion == unit.distortion * factor * factor


def test_singular_mixtures_are_sampled():
    assert exact_law(qz.Gaussian([1.0], [[0.0]]), 2) is None
    # A component without weight does not count.
    assert isinstance(exact_law(qz.GaussianMixture([1.0, 0.0], [[0.0], [1.0]], [[[1.0]], [[0.0]]]), 2), DensityLaw1D)
