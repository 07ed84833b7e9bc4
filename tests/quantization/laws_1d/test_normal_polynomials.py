"""Steps of diffusions: masses and moments of cells against quadrature, derivatives against differences."""

import numpy as np
import pytest
from scipy import integrate, stats

import quantization as qz
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.laws_1d.normal_polynomials import NormalPolynomials
from quantization.make_problem import make_problem

CODES = np.array([[-1.3], [0.2], [0.9], [2.5]])


def law_of(rng, n=5, bend=0.0):
    weights = rng.dirichlet(np.ones(n))
    return weights, rng.normal(size=n), 0.3 + rng.random(n), bend * rng.normal(size=n)


def test_without_a_square_it_is_the_mixture(rng):
    weights, a, b, c = law_of(rng)
    mine = NormalPolynomials(weights, a, b, c).cells(CODES)
    exact = make_problem(qz.GaussianMixture(weights, a[:, None], (b**2)[:, None, None]), 4, 2.0).exact
    assert isinstance(exact, DensityLaw1D)
    theirs = exact.cells(CODES)
    np.testing.assert_allclose(mine.masses, theirs.masses, rtol=1e-12)
    np.testing.assert_allclose(mine.means, theirs.means, rtol=1e-12)
    np.testing.assert_allclose(mine.gradient, theirs.gradient, atol=1e-14)
    assert mine.distortion == pytest.approx(theirs.distortion, rel=1e-12)
    hessian = exact.hessian(CODES).toarray()
    np.testing.assert_allclose(NormalPolynomials(weights, a, b, c).hessian(CODES).toarray(), hessian, atol=1e-13)


@pytest.mark.parametrize("bend", [0.2, 3.0])
def test_with_a_square_cells_are_those_of_quadrature(bend, rng):
    weights, a, b, c = law_of(rng, bend=bend)
    c[0] = 0.0  # and one component without
    law = NormalPolynomials(weights, a, b, c)
    cells = law.cells(CODES)
    ends = np.concatenate([[-np.inf], (CODES[1:, 0] + CODES[:-1, 0]) / 2, [np.inf]])
    x, w = np.polynomial.legendre.leggauss(60)
    z = np.linspace(-12, 12, 4001)  # fine panels: cells end inside some, of which few are left
    nodes = (z[:-1, None] + z[1:, None]) / 2 + np.diff(z)[0] / 2 * x
    density = (stats.norm.pdf(nodes) * w * np.diff(z)[0] / 2).ravel()
    y = a[:, None] + b[:, None] * nodes.ravel() + c[:, None] * nodes.ravel() ** 2
    cell = np.searchsorted(ends[1:-1], y)
    p = weights[:, None] * density
    masses = np.bincount(cell.ravel(), p.ravel(), minlength=4)
    np.testing.assert_allclose(cells.masses, masses, atol=2e-5)
    cost = p * (y - CODES[cell, 0]) ** 2
    assert cells.distortion == pytest.approx(cost.sum(), rel=1e-5)
    np.testing.assert_allclose(
        -cells.gradient[:, 0] / 2, np.bincount(cell.ravel(), (p * (y - CODES[cell, 0])).ravel()), atol=5e-5
    )
    assert (law.mean, law.deviation**2) == pytest.approx(((p * y).sum(), (p * (y - (p * y).sum()) ** 2).sum()), rel=1e-9)
    np.testing.assert_allclose(law.masses_by_component(CODES).sum(1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(weights @ law.masses_by_component(CODES), cells.masses, rtol=1e-13)


@pytest.mark.parametrize("bend", [0.0, 0.3, 3.0])
def test_derivatives_are_those_of_differences(bend, rng):
    law = NormalPolynomials(*law_of(rng, bend=bend))
    hessian, step = law.hessian(CODES).toarray(), 1e-5
    for k in range(len(CODES)):
        moved = [CODES + sign * step * np.eye(4)[:, [k]] for sign in (1, -1)]
        up, down = (law.cells(codes) for codes in moved)
        assert (up.distortion - down.distortion) / (2 * step) == pytest.approx(law.cells(CODES).gradient[k, 0], abs=1e-8)
        np.testing.assert_allclose((up.gradient - down.gradient)[:, 0] / (2 * step), hessian[k], atol=1e-6)


def test_a_tail_mass_keeps_its_digits():
    law = NormalPolynomials(np.ones(1), np.zeros(1), np.ones(1), np.zeros(1))
    tail = law.cells(np.array([[-14.0], [0.0]])).masses[0]
    assert tail == pytest.approx(stats.norm.cdf(-7.0), rel=1e-12)


def test_a_component_without_spread_is_an_atom():
    law = NormalPolynomials(np.array([0.25, 0.75]), np.array([0.0, 5.0]), np.array([0.0, 1.0]), np.zeros(2))
    np.testing.assert_allclose(law.masses_by_component(np.array([[0.0], [5.0]]))[0], [1.0, 0.0])
    cells = law.cells(np.array([[0.5], [5.0]]))
    assert cells.masses[0] == pytest.approx(0.25 + 0.75 * stats.norm.cdf(2.75 - 5), rel=1e-12)


def test_codes_of_empty_cells_move_to_where_there_is_mass():
    law = NormalPolynomials(np.ones(1), np.zeros(1), np.ones(1), np.zeros(1))
    codes, cells = law.relocate_empty_cells(np.array([[0.0], [100.0], [200.0]]))
    assert (cells.masses > 1e-6).all()
    assert cells.distortion < 1.0
    assert len(np.unique(codes)) == 3


def test_the_law_of_one_square_is_chi_squared():
    # Z² on [0, ∞): b = 0, c = 1, a = 0.
    law = NormalPolynomials(np.ones(1), np.zeros(1), np.zeros(1), np.ones(1))
    codes = np.array([[0.3], [1.1], [4.0]])
    cells = law.cells(codes)
    chi = stats.chi2(1)
    ends = [0.0, 0.7, 2.55, np.inf]
    np.testing.assert_allclose(cells.masses, np.diff(chi.cdf(ends)), rtol=1e-10)
    cost = sum(
        integrate.quad(lambda u, m=m: (u * u - m) ** 2 * 2 * stats.norm.pdf(u), np.sqrt(low), min(np.sqrt(high), 40.0))[0]
        for m, low, high in zip(codes[:, 0], ends, ends[1:], strict=False)
    )
    assert cells.distortion == pytest.approx(cost, rel=1e-10)
