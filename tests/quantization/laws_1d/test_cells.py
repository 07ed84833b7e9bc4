"""What cells on the line hold, of laws of every kind and size; and which laws have none."""

import time
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

import quantization as qz
from quantization.exact_law import has_global_search, has_hessian
from quantization.laws import FrozenLaw
from quantization.laws_1d.density import frozen_density
from tests.quantization.laws_1d.lines import codes_of, line

KINDS = {
    "kink": stats.laplace(1, 2),
    "peak of a triangle": stats.triang(0.3),
    "jumps": stats.rv_histogram((np.array([1, 0, 3, 2]), np.array([0.0, 1.0, 1.5, 2.5, 4.0])), density=True)(),
    "pole at the left": stats.gamma(0.5),
    "strong pole at the left": stats.gamma(0.1),
    "poles at both ends": stats.beta(0.5, 0.5),
    "pole at the right": stats.beta(2, 0.3, loc=-3, scale=2),
    "pole within": stats.dweibull(0.5),
    "cusp": stats.gennorm(0.3),
    "algebraic tails": stats.t(3),
    "heavy tail": stats.lognorm(2),
    "slowest tail": stats.pareto(2.3),
    "far from 0": stats.gamma(1e4),
    "cut off far out": stats.truncnorm(5, 9),
}
FINICKY = {
    "a bin of width 1e-6": stats.rv_histogram((np.array([4, 1, 5]), np.array([0, 1, 1 + 1e-6, 2])), density=False)(),
    "a distribution function by quadrature": stats.geninvgauss(2.3, 1.5),
}


@pytest.mark.parametrize("kind", KINDS | FINICKY)
def test_one_code_is_the_mean_and_costs_the_variance(kind):
    law = (KINDS | FINICKY)[kind]
    sol = qz.quantize(law, 1, rng=0)
    # Next to a pole that is not at 0, numbers lie too sparsely for more digits; far from 0 the density of scipy holds ten.
    # Beside the narrow bin f jumps by 1e5, and the distribution function is trusted to 1e-9 at most.
    digits = {"pole at the right": 1e-12, "far from 0": 1e-10, "a bin of width 1e-6": 1e-11}.get(kind, 1e-13)
    assert sol.measure.points[0, 0] == pytest.approx(law.mean(), rel=digits)
    assert sol.distortion == pytest.approx(law.var(), rel=10 * digits)
    assert sol.require() is sol


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [1.0, 1.7])
def test_cells_are_integrals(kind, r):
    law = KINDS[kind]
    codes = law.ppf([0.2, 0.5, 0.93])
    cells = line(law, r).cells(codes[:, None])
    edges = np.concatenate([[law.support()[0]], (codes[1:] + codes[:-1]) / 2, [law.support()[1]]])
    slack = 1e-10 if kind == "far from 0" else 1e-12  # of scipy's density, whose logarithm has terms of 8e4 there
    np.testing.assert_allclose(cells.masses, np.diff(law.cdf(edges)), atol=slack)
    assert cells.masses.sum() == pytest.approx(1, abs=slack)
    heavy = kind in ("algebraic tails", "heavy tail", "slowest tail")
    total = sum((by_size if heavy else by_level)(law, x, a, b, r) for x, a, b in zip(codes, edges[:-1], edges[1:], strict=True))
    assert cells.distortion == pytest.approx(total, rel=1e-7)


def by_level(law, x, a, b, r):
    """∫_a^b |z - x|^r f in the variable u = F(z), where there are no poles."""
    levels = law.cdf(sorted({a, min(max(x, a), b), b}))
    cost = lambda u: abs(law.ppf(u) - x) ** r  # noqa: E731
    return sum(integrate.quad(cost, low, high, epsabs=1e-11, epsrel=1e-9, limit=300)[0] for low, high in pairwise(levels))


def by_size(law, x, a, b, r):
    """The same by Gauss' rule on decades of z, where tails are heavy."""
    marks = {m for m in (a, x, b, *(x + s * 10.0**j for j in range(-12, 45) for s in (-1, 1))) if a <= m <= b and np.isfinite(m)}
    marks = np.array(sorted(marks))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    z = marks[:-1, None] + np.diff(marks)[:, None] * (nodes + 1) / 2
    return np.sum(np.abs(z - x) ** r * law.pdf(z) * weights * np.diff(marks)[:, None] / 2)


@pytest.mark.parametrize("r", [1.0, 1.2, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize(
    "law", [stats.norm(1, 2), stats.gamma(2.5), stats.logistic(), stats.beta(2, 3, loc=5)], ids=lambda law: law.dist.name
)
def test_gradient_and_hessian_are_derivatives(law, r):
    exact = line(law, r)
    assert has_hessian(exact)
    assert has_global_search(exact)
    codes = law.ppf([0.6, 0.1, 0.25, 0.95, 0.5])[:, None]  # in no order
    h = 1e-4 * law.std()
    steps = h * np.eye(len(codes))[:, :, None]
    c, hessian = exact.cells(codes), exact.hessian(codes).toarray()
    slopes = [(exact.cells(codes + e).distortion - exact.cells(codes - e).distortion) / (2 * h) for e in steps]
    bends = [(exact.cells(codes + e).gradient - exact.cells(codes - e).gradient)[:, 0] / (2 * h) for e in steps]
    # Central differences err by h²/6 times third derivatives of f-sized numbers, and by round-off over h; for r < 2 a code's
    # own |z - x|^(r-1) is smooth only after integration, all the same.
    np.testing.assert_allclose(c.gradient[:, 0], slopes, atol=1e-6 * np.abs(c.gradient).max())
    np.testing.assert_allclose(hessian, bends, atol=1e-6 * np.abs(hessian).max())
    np.testing.assert_array_equal(hessian, hessian.T)


def test_order_of_codes_is_kept():
    exact, codes = line(stats.norm()), np.array([[1.0], [-2.0], [0.3]])
    shuffled, ordered = exact.cells(codes), exact.cells(np.sort(codes, axis=0))
    order = np.argsort(codes[:, 0])
    for name in ("masses", "means", "gradient"):
        np.testing.assert_array_equal(getattr(shuffled, name)[order], getattr(ordered, name))
    assert shuffled.distortion == ordered.distortion
    # Of equal codes the first has the cell.
    doubled = exact.cells(np.array([[0.0], [0.0], [0.0], [1.0]]))
    assert doubled.masses[1:3].tolist() == [0, 0]
    np.testing.assert_array_equal(doubled.means[1:3], 0)
    assert doubled.distortion == exact.cells(np.array([[0.0], [1.0]])).distortion


@pytest.mark.parametrize(("scale", "r"), [(1e-150, 2), (1e150, 2), (1e300, 1), (1e-300, 1), (1e75, 4), (1e-75, 4), (1e-60, 1.5)])
def test_huge_and_tiny_scales(scale, r):
    unit, scaled = qz.quantize(stats.norm(), 5, r=r, rng=0), qz.quantize(stats.norm(scale=scale), 5, r=r, rng=0)
    np.testing.assert_allclose(codes_of(scaled) / scale, codes_of(unit), atol=1e-12)
    assert scaled.distortion / scale**r == pytest.approx(unit.distortion, rel=1e-12)
    assert scaled.require() is scaled


def test_location_costs_no_digits_of_the_distortion():
    # Codes near 1e6 are multiples of 1.2e-10, so they err by that; the distortion by its square.
    sol = qz.quantize(stats.norm(loc=1e6), 8, rng=0)
    assert sol.distortion == pytest.approx(0.034547760788504, abs=1e-15)
    np.testing.assert_allclose(codes_of(sol) - 1e6, codes_of(qz.quantize(stats.norm(), 8, rng=0)), atol=2e-10)


@pytest.mark.parametrize(
    ("law", "r", "hint"),
    [
        (stats.cauchy(), 1, r"order r = 1 needs a law with a finite moment.*falls like \|x\|\^-2 far out"),
        (stats.t(2), 2, r"falls like \|x\|\^-3"),
        (stats.pareto(1.5), 2, "order r = 2 needs"),
        (stats.pareto(4), 4, "order r = 4 needs"),
        (stats.levy(), 1, "finite moment"),
        (stats.vonmises(2), 2, "does not fall"),
        (stats.norm(scale=1e160), 2, "within 1e±300; received a scale of 1.3.*e.160 and r = 2. Rescale"),
        (stats.norm(scale=1e-80), 4, "Rescale"),
        (stats.norm(scale=0), 2, "scale = 0"),
        (stats.norm, 2, r"received norm_gen. Freeze it by a call, as in scipy.stats.norm\(\)"),
        (stats.norm.__class__, 2, "received the class norm_gen. Make one of it"),
        (stats.beta(0.01, 0.01), 2, "beta can't be computed everywhere: its pdf raised OverflowError.*Quantize a sample"),
    ],
)
def test_refuses_laws_without_the_moment(law, r, hint):
    for solver in (None, qz.Newton(), qz.CLVQ()):
        with pytest.raises(ValueError, match=hint):
            qz.quantize(law, 2, r=r, solver=solver, rng=0)


def test_refuses_a_density_that_is_none():
    class Wrong(stats.rv_continuous):
        def _pdf(self, x):
            return np.exp(-x * x)  # not normalized

        def _cdf(self, x):
            return stats.norm.cdf(x)

        def _ppf(self, q):
            return stats.norm.ppf(q)

    with pytest.raises(ValueError, match="not the derivative of the distribution function"):
        qz.quantize(Wrong()(), 2, rng=0)


@pytest.mark.skipif(not hasattr(stats, "Normal"), reason="scipy < 1.15 has none of these objects")
def test_newer_objects_of_scipy_are_the_older_ones(rng):
    for new, old in (
        (stats.Normal(mu=1.0, sigma=2.0), stats.norm(1, 2)),
        (stats.make_distribution(stats.gamma)(a=2.0), stats.gamma(2)),
    ):
        ours, theirs = qz.quantize(new, 5, rng=0), qz.quantize(old, 5, rng=0)
        assert ours.status is qz.Status.CONVERGED
        assert ours.distortion == pytest.approx(theirs.distortion, rel=1e-12)
        np.testing.assert_allclose(codes_of(ours), codes_of(theirs), atol=1e-9)
        assert qz.distortion(new, theirs, rng=0).value == pytest.approx(theirs.distortion, rel=1e-12)
        assert qz.QuasiMonteCarlo(new).sample(8, rng).shape == (8, 1)
        assert qz.quantize(new, 5, solver=qz.CLVQ(), rng=0).distortion < 1.02 * theirs.distortion
    with pytest.raises(ValueError, match="received Normal with arrays"):
        qz.quantize(stats.Normal(mu=[0.0, 1.0]), 2, rng=0)


@pytest.mark.skipif(not hasattr(stats, "truncate"), reason="scipy < 1.15 has none of these objects")
def test_laws_made_of_scipys_newer_objects():
    for new, old in (
        (stats.truncate(stats.Normal(), 0, 2), stats.truncnorm(0, 2)),
        (abs(stats.Normal()), stats.halfnorm()),
        (stats.exp(stats.Normal()), stats.lognorm(1)),
        (2 * stats.Normal() + 3, stats.norm(3, 2)),
    ):
        assert qz.quantize(new, 3, rng=0).distortion == pytest.approx(qz.quantize(old, 3, rng=0).distortion, rel=1e-8)


def test_a_law_of_ones_own_is_sampled_whatever_else_it_can_do():
    class Square:
        """On the plane, and with all that scipy's newer objects have."""

        dim = 2

        def sample(self, n, rng):
            return rng.random((n, 2))

    for name in ("icdf", "iccdf", "pdf", "pmf", "cdf", "support"):
        setattr(Square, name, lambda self, *arguments: pytest.fail("asked for"))
    assert qz.quantize(Square(), 4, max_iter=5, rng=0).measure.dim == 2


def test_parameters_of_one_entry_are_numbers():
    one = qz.quantize(stats.norm(loc=np.array([2.0]), scale=np.array([3.0])), 5, rng=0)
    np.testing.assert_array_equal(one.measure.points, qz.quantize(stats.norm(2, 3), 5, rng=0).measure.points)


def test_a_slow_density_is_announced():
    class Slow(stats.rv_continuous):
        def _pdf(self, x):
            time.sleep(3e-4 * x.size)
            return stats.norm.pdf(x)

        def _cdf(self, x):
            return stats.norm.cdf(x)

        def _ppf(self, q):
            return stats.norm.ppf(q)

    with pytest.warns(UserWarning, match=r"the density of slow takes 0.\d+ ms per value.*quantize a sample"):
        frozen_density(FrozenLaw(Slow(name="slow")()))
