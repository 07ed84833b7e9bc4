"""Starts on the line: empty cells are filled, and the search finds the global optimum."""

import itertools

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.laws_1d.point_density import PointDensity
from quantization.problem import Problem
from tests.quantization.laws_1d.lines import ORDERS, THREE, codes_of, line, mixture


@pytest.mark.parametrize("law", [stats.uniform(2, 3), stats.gamma(0.5), THREE])
@pytest.mark.parametrize("codes", [[-500.0, -600.0, -700.0], [3.0, 3.0, 3.0], [1e200, 2.5, -1e200], [2.2, 1e9, 2.2]])
def test_empty_cells_are_filled(law, codes):
    exact, codes = line(law), np.array(codes)[:, None]
    before = exact.cells(codes)
    moved, after = exact.relocate_empty_cells(codes)
    assert (before.masses == 0).any()
    assert (after.masses > 0).all()
    assert after.distortion < before.distortion
    if codes.max() > 0:  # a code that has a cell within the law keeps its place
        np.testing.assert_array_equal(moved[before.masses > 0], codes[before.masses > 0])
    again, _ = exact.relocate_empty_cells(moved)
    np.testing.assert_array_equal(again, moved)
    assert qz.quantize(law, 3, init=codes, rng=0).require().distortion <= after.distortion


def best_of_many(law, k, r, runs):
    """The least distortion of Newton's method from many samples of the law."""
    rng, exact = np.random.default_rng(0), line(law, r)
    problem = Problem(k, r, np.zeros((k, 1)), 1)
    problem.__dict__["exact"] = exact
    best = np.inf
    for _ in range(runs):
        start = law.rvs(size=(k, 1), random_state=rng) if hasattr(law, "rvs") else law.sample(k, rng)
        *_, last = qz.Newton().solve(problem, start, rng)
        best = min(best, last.distortion)
    return best


TWO = mixture([0.5, 0.5], [-5.0, 5.0], [1.0, 1.0])
UNEQUAL = mixture([0.05, 0.95], [0.0, 100.0], [1.0, 1.0])
FOUR = mixture([0.25] * 4, [0.0, 10.0, 20.0, 30.0], [1.0] * 4)
SCALES = mixture([0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 5.0, 20.0], [0.1, 0.3, 1.0, 0.5])


@pytest.mark.parametrize(
    ("law", "k", "r"),
    [
        *[(law, k, 2.0) for law in (TWO, UNEQUAL, FOUR, SCALES, stats.beta(0.5, 0.5)) for k in (2, 5, 9)],
        *[(law, 5, r) for law in (FOUR, SCALES) for r in (1.0, 1.5, 4.0)],
    ],
)
def test_the_search_finds_the_global_optimum(law, k, r):
    assert qz.quantize(law, k, r=r, rng=0).distortion <= best_of_many(law, k, r, 10) * (1 + 1e-12)


@pytest.mark.parametrize("r", [1.0, 1.5, 4.0, 7.0])
@pytest.mark.parametrize("seed", range(4))
def test_codes_are_shared_out_among_far_components_as_the_best_of_all_shares(seed, r):
    """Runs of bins that span a gap of the law once cost less than nothing, where r is large."""
    rng = np.random.default_rng(seed)
    laws = [mixture([0.7, 0.3], [0.0, 40.0], [2.0, 0.5])]
    m = int(rng.integers(2, 4))
    laws += [mixture(rng.dirichlet(np.ones(m)), np.cumsum(rng.uniform(20, 40, m)), np.exp(rng.uniform(-1.5, 1.5, m)))]
    for law in laws:
        means, deviations = law.means[:, 0], np.sqrt(law.covs[:, 0, 0])
        for k in (5, 8):
            best = np.inf
            for shares in itertools.product(range(1, k), repeat=len(means) - 1):
                counts = [*shares, k - sum(shares)]
                if min(counts) > 0:
                    spans = [np.linspace(-1, 1, n + 2)[1:-1] for n in counts]
                    start = np.concatenate([a + 2 * s * t for a, s, t in zip(means, deviations, spans, strict=True)])
                    best = min(best, qz.quantize(law, k, r=r, init=start[:, None], rng=0).distortion)
            assert qz.quantize(law, k, r=r, rng=0).distortion <= best * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize("seed", range(6))
def test_the_search_finds_the_global_optimum_of_any_mixture(seed, r):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 6))
    law = mixture(rng.dirichlet(np.ones(m)), rng.normal(size=m) * 10, rng.uniform(0.2, 2, m))
    for k in (2, 3, 6, 13, 40):
        assert qz.quantize(law, k, r=r, rng=0).distortion <= best_of_many(law, k, r, 20) * (1 + 1e-12)


@pytest.mark.parametrize(("law", "k", "worse"), [(TWO, 3, 1.4), (FOUR, 5, 1.1), (THREE, 4, 2.9), (SCALES, 6, 1.1)])
def test_lloyd_from_the_companion_start_is_stuck(law, k, worse):
    exact = line(law)
    quantiles = exact._density.unstandardize(PointDensity.of(exact._panels, 2.0).quantiles(k))
    stuck = qz.quantize(law, k, init=quantiles, solver=qz.Lloyd(rtol=1e-7), max_iter=2000, rng=0).require()
    assert stuck.distortion > worse * qz.quantize(law, k, rng=0).distortion


@pytest.mark.parametrize("k", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_many_codes_are_shared_out_among_modes(k):
    """No code moved from one mode to another does better: that would be a different local optimum."""
    found = qz.quantize(THREE, k, rng=0)
    borders = [4.0, 16.0]
    counts = np.bincount(np.searchsorted(borders, codes_of(found)), minlength=3)
    modes = [qz.Gaussian(m, c) for m, c in zip(THREE.means, THREE.covs, strict=True)]
    for giver, taker in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]:
        other = counts.copy()
        other[giver], other[taker] = other[giver] - 1, other[taker] + 1
        start = np.concatenate([codes_of(qz.quantize(mode, int(n), rng=0)) for mode, n in zip(modes, other, strict=True)])
        assert found.distortion <= qz.quantize(THREE, k, init=start[:, None], rng=0).distortion * (1 + 1e-12)


def test_a_spike_between_unequal_gaps_leaves_no_cost_below_zero():
    weights = np.array([9.269364849739398e-06, 0.9999303191745481, 6.041146060218762e-05])
    law = mixture(weights / weights.sum(), [-0.8144416627643136, 0.0, 0.8707485853444425], [4.3966e-3, 7.5716e-9, 1.0e-2])
    start = np.array([[-0.8144], [0.0], [0.8707]])
    assert qz.quantize(law, 3, r=3.5, rng=0).distortion <= qz.quantize(law, 3, r=3.5, init=start, rng=0).distortion * (1 + 1e-9)
