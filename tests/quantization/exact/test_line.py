"""Laws on the line with a density, against closed forms and 60-digit arithmetic."""

from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.linalg import solve_banded

import quantization as qz
from quantization.exact.choice import exact_law
from quantization.exact.companion import companion_quantiles
from quantization.exact.line import Line
from quantization.exact.protocol import Searchable, Smooth
from quantization.laws import FrozenLaw
from quantization.problem import Problem

EPS = np.finfo(np.float64).eps
ORDERS = (1.0, 1.5, 2.0, 4.0)


def line(law, r=2.0) -> Line:
    found = exact_law(law if isinstance(law, qz.GaussianMixture) else FrozenLaw(law), r)
    assert isinstance(found, Line)
    return found


def mixture(weights, means, deviations):
    return qz.GaussianMixture(weights, np.array(means)[:, None], np.square(deviations)[:, None, None])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def codes_of(solution):
    return np.sort(solution.measure.points[:, 0])


# ---- the exponential law: it has no memory, so a codebook is known by its half gaps, from the right


@pytest.fixture(scope="module")
def exponential():
    """Half gaps d_1..d_K (of cell k to the left of its code), codes and distortion of the optimal codebook, to 30 digits.

    A cell [x - d, x + e] is stationary where the integrals of s^(r-1) e^s over [0, d] and of s^(r-1) e^-s over [0, e] agree. The
    last has e = ∞; then e is the half gap found before.
    """

    def up(d, p):  # ∫_0^d s^p e^s ds
        term, total, n = mp.mpf(1), mp.mpf(0), 0
        while n < 3 or abs(term) > mp.mpf(10) ** -35 * total:
            total += term / (n + p + 1)
            n += 1
            term *= d / n
        return total * d ** (p + 1)

    def down(e, p):
        return mp.gamma(p + 1) if e == mp.inf else mp.gammainc(p + 1, 0, e) if e > 1 else abs(up_negative(e, p))

    def up_negative(e, p):
        term, total, n = mp.mpf(1), mp.mpf(0), 0
        while n < 3 or abs(term) > mp.mpf(10) ** -35 * abs(total):
            total += term / (n + p + 1)
            n += 1
            term *= -e / n
        return total * e ** (p + 1)

    def optimum(k, r):
        with mp.workdps(30):
            r, gaps, e = mp.mpf(r), [], mp.inf
            for _ in range(k):
                d, wanted = mp.mpf(1) if e == mp.inf else e, down(e, r - 1)
                for _ in range(50):
                    step = (up(d, r - 1) - wanted) / (d ** (r - 1) * mp.exp(d))
                    d -= step
                    if abs(step) < mp.mpf(10) ** -28 * d:
                        break
                gaps.append(d)
                e = d
            gaps = gaps[::-1]
            codes = [gaps[0]]
            for d in gaps[1:]:
                codes.append(codes[-1] + 2 * d)
            ends = [*gaps[1:], mp.inf]
            costs = [mp.exp(-x) * (up(d, r) + down(e, r)) for x, d, e in zip(codes, gaps, ends, strict=True)]
            return gaps, codes, mp.fsum(costs), down

    return optimum


def errors(solution, codes, distortion):
    found = codes_of(solution)
    return (
        max(abs(float(mp.mpf(float(x)) - y)) for x, y in zip(found, codes, strict=True)),
        abs(float(mp.mpf(solution.distortion) / distortion - 1)),
    )


@pytest.mark.parametrize(("k", "r"), [(1, 2), (2, 2), (7, 1), (7, 1.5), (7, 4), (100, 1), (100, 1.5), (100, 4), (1000, 2)])
def test_exponential(exponential, k, r):
    _, codes, distortion, _ = exponential(k, r)
    sol = qz.quantize(stats.expon(), k, r=r)
    assert sol.status is qz.Status.CONVERGED
    code_error, relative = errors(sol, codes, distortion)
    assert code_error <= 1e-12
    assert relative <= 1e-12
    assert (sol.distortion_se, sol.solver) == (0, qz.Newton())


@pytest.mark.parametrize(("k", "r"), [(1, 2), (3, 2), (3, 1.5), (101, 1), (101, 4), slow(999, 2)])
def test_laplace_odd(exponential, k, r):
    """A code at 0 with the cell [-d, d], and beyond it the exponential law's (K-1)/2 codes."""
    if k == 1:
        half, codes, distortion = mp.inf, [mp.mpf(0)], mp.gamma(r + 1)
    else:
        gaps, tail, beyond, down = exponential(k // 2, r)
        half = gaps[0]
        codes = [-half - x for x in tail[::-1]] + [mp.mpf(0)] + [half + x for x in tail]
        with mp.workdps(30):
            distortion = down(half, mp.mpf(r)) + mp.exp(-half) * beyond
    sol = qz.quantize(stats.laplace(), k, r=r)
    code_error, relative = errors(sol, codes, distortion)
    assert code_error <= 1e-12 * np.sqrt(2)
    assert relative <= 1e-12
    assert sol.require() is sol


@pytest.mark.parametrize(("k", "r"), [(2, 2), (2, 1.5), (8, 2), (8, 4), (100, 1), (100, 2), slow(1000, 2)])
def test_laplace_even_is_singular_and_honest(exponential, k, r):
    """The mirrored exponential codes. Along the singular direction the gradient grows like the square, so codes reach √eps."""
    _, codes, distortion, _ = exponential(k // 2, r)
    sol = qz.quantize(stats.laplace(), k, r=r)
    code_error, relative = errors(sol, [-x for x in codes[::-1]] + codes, distortion)
    assert code_error <= 1e-7 * np.sqrt(2)
    assert relative <= 1e-12
    assert (sol.status is qz.Status.CONVERGED) == (sol.stationarity <= sol.solver.rtol)
    # The residual again, in 60 digits at the very codes that were returned.
    if r == 2:
        with mp.workdps(60):
            truth = residual(laplace_moment, codes_of(sol), r)
        assert sol.stationarity == pytest.approx(truth, rel=1e-3, abs=1e-15 * k)


def laplace_moment(x, a, b, p):
    """∫_a^b |z - x|^p e^-|z| / 2 dz for integer p, on one side of x."""
    total = mp.mpf(0)
    for low, high, sign in ((a, min(b, mp.mpf(0)), 1), (max(a, mp.mpf(0)), b, -1)):
        if low < high:
            # The antiderivative of (z - x)^p e^(sign z) is e^(sign z) Σ_j (-sign)^j p!/(p-j)! (z - x)^(p-j) sign.
            def primitive(z, sign=sign):
                if abs(z) == mp.inf:
                    return mp.mpf(0)
                terms = [(-sign) ** j * mp.factorial(p) / mp.factorial(p - j) * (z - x) ** (p - j) for j in range(p + 1)]
                return sign * mp.exp(sign * z) * mp.fsum(terms) / 2

            total += primitive(high) - primitive(low)
    return abs(total)


def residual(moment, found, r):
    x = [mp.mpf(float(t)) for t in found]
    mids = [-mp.inf, *((a + b) / 2 for a, b in pairwise(x)), mp.inf]
    square, distortion = mp.mpf(0), mp.mpf(0)
    for t, a, b in zip(x, mids[:-1], mids[1:], strict=True):
        pull = moment(t, a, t, r - 1) - moment(t, t, b, r - 1)
        mass = moment(t, a, t, 0) + moment(t, t, b, 0)
        distortion += moment(t, a, t, r) + moment(t, t, b, r)
        square += pull**2 / mass
    return float(mp.sqrt(square) / distortion ** (mp.mpf(r - 1) / r))


@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize("k", [1, 2, 3, 100, 1000])
def test_uniform(k, r):
    sol = qz.quantize(stats.uniform(-1, 4), k, r=r)
    np.testing.assert_allclose(codes_of(sol), -1 + 4 * (2 * np.arange(k) + 1) / (2 * k), atol=1e-12 * 4 / np.sqrt(12))
    assert sol.distortion == pytest.approx(4**r / ((r + 1) * (2 * k) ** r), rel=1e-12)
    np.testing.assert_allclose(sol.measure.weights, 1 / k, rtol=1e-9)
    assert sol.require() is sol


# ---- normal laws and mixtures, by moments in 60 digits


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


THREE = mixture([0.2, 0.3, 0.5], [0.0, 8.0, 30.0], [1.0, 0.5, 4.0])
SKEWED = mixture([0.7, 0.3], [-1.0, 1.5], [1.0, 0.4])


@pytest.mark.parametrize(
    ("law", "k", "r"),
    [
        *[(qz.Gaussian([0.0], [[1.0]]), k, r) for k, r in [(2, 1), (5, 4), (100, 1), (100, 4), (1000, 2)]],
        *[(THREE, k, r) for k, r in [(1, 2), (6, 1), (12, 4), (40, 2)]],
        *[(SKEWED, k, r) for k, r in [(3, 2), (25, 1), (25, 4)]],
    ],
)
def test_normal_laws_and_mixtures(law, k, r):
    sol = qz.quantize(law, k, r=r)
    error, distortion = newton_correction(law, codes_of(sol), r)
    assert error <= 1e-12 * np.sqrt(law.cov[0, 0])
    assert sol.distortion == pytest.approx(float(distortion), rel=1e-12)
    assert sol.require() is sol


@pytest.mark.slow
@pytest.mark.parametrize("law", [qz.Gaussian([3.0], [[0.25]]), THREE, SKEWED])
@pytest.mark.parametrize("r", [1, 2, 4])
def test_a_thousand_codes_of_any_order(law, r):
    sol = qz.quantize(law, 1000, r=r)
    error, distortion = newton_correction(law, codes_of(sol), r)
    assert error <= 1e-12 * np.sqrt(law.cov[0, 0])
    assert sol.distortion == pytest.approx(float(distortion), rel=1e-12)


def test_printed_truths():
    normal = {2: 1 - 2 / np.pi, 4: 0.117481847829329, 8: 0.034547760788504}
    for k, truth in normal.items():
        assert qz.quantize(stats.norm(), k).distortion == pytest.approx(truth, abs=6e-16)
    codes = codes_of(qz.quantize(stats.norm(), 4))
    np.testing.assert_allclose(codes, [-1.510417608499095, -0.452780034636492, 0.452780034636492, 1.510417608499095], atol=1e-15)
    assert qz.quantize(stats.expon(), 2).distortion == pytest.approx(0.352389762108085, abs=6e-16)


def test_zadors_constant_is_approached():
    for law, constant in ((stats.norm(), np.sqrt(3) * np.pi / 2), (stats.expon(), 9 / 4), (stats.laplace(), 9)):
        half, whole = (k**2 * qz.quantize(law, k).distortion for k in (128, 256))
        assert 2 * whole - half == pytest.approx(constant, rel=1e-3)


# ---- what cells hold, of every kind of law


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
    sol = qz.quantize(law, 1)
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
    assert isinstance(exact, Smooth)
    assert isinstance(exact, Searchable)
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


@settings(deadline=None, max_examples=8, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30), st.sampled_from(ORDERS))
def test_a_solve_of_any_mixture(seed, m, k, r):
    rng = np.random.default_rng(seed)
    law = mixture(rng.dirichlet(np.ones(m)), rng.normal(size=m) * 10, rng.uniform(0.2, 2, m))
    sol = qz.quantize(law, k, r=r)
    assert sol.require() is sol
    assert (sol.measure.weights > 0).all()
    assert (np.diff(sol.measure.points[:, 0]) > 0).all()
    assert sol.distortion == qz.distortion(law, sol.measure.points, r=r).value
    trace = sol.trace.distortion
    assert (np.diff(trace) <= 1e-12 * trace[:-1]).all()
    if r == 2:  # E|X|² = Σ w x² + D for a stationary codebook, in units where |x| is about 30
        x, w = sol.measure.points[:, 0], sol.measure.weights
        assert w @ x**2 + sol.distortion == pytest.approx(law.cov[0, 0] + law.mean[0] ** 2, rel=1e-12)


# ---- scales


@pytest.mark.parametrize(("scale", "r"), [(1e-150, 2), (1e150, 2), (1e300, 1), (1e-300, 1), (1e75, 4), (1e-75, 4), (1e-60, 1.5)])
def test_huge_and_tiny_scales(scale, r):
    unit, scaled = qz.quantize(stats.norm(), 5, r=r), qz.quantize(stats.norm(scale=scale), 5, r=r)
    np.testing.assert_allclose(codes_of(scaled) / scale, codes_of(unit), atol=1e-12)
    assert scaled.distortion / scale**r == pytest.approx(unit.distortion, rel=1e-12)
    assert scaled.require() is scaled


def test_mixtures_of_any_scale():
    unit = qz.quantize(SKEWED, 5)
    for power in (-480, 480):
        factor = 2.0**power
        scaled = qz.quantize(qz.GaussianMixture(SKEWED.weights, SKEWED.means * factor, SKEWED.covs * factor * factor), 5)
        np.testing.assert_array_equal(scaled.measure.points, unit.measure.points * factor)
        assert scaled.distortion == unit.distortion * factor * factor


def test_location_costs_no_digits_of_the_distortion():
    # Codes near 1e6 are multiples of 1.2e-10, so they err by that; the distortion by its square.
    sol = qz.quantize(stats.norm(loc=1e6), 8)
    assert sol.distortion == pytest.approx(0.034547760788504, abs=1e-15)
    np.testing.assert_allclose(codes_of(sol) - 1e6, codes_of(qz.quantize(stats.norm(), 8)), atol=2e-10)


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
        (stats.poisson(3), 2, "received rv_discrete_frozen"),
        (stats.norm(scale=0), 2, "scale = 0"),
    ],
)
def test_refuses_laws_without_the_moment(law, r, hint):
    for solver in (None, qz.Newton(), qz.CLVQ()):
        with pytest.raises(ValueError, match=hint):
            qz.quantize(law, 2, r=r, solver=solver)


def test_refuses_a_density_that_is_none():
    class Wrong(stats.rv_continuous):
        def _pdf(self, x):
            return np.exp(-x * x)  # not normalized

        def _cdf(self, x):
            return stats.norm.cdf(x)

        def _ppf(self, q):
            return stats.norm.ppf(q)

    with pytest.raises(ValueError, match="not the derivative of the distribution function"):
        qz.quantize(Wrong()(), 2)


def test_singular_mixtures_are_sampled():
    assert exact_law(qz.Gaussian([1.0], [[0.0]]), 2) is None
    # A component without weight does not count.
    assert isinstance(exact_law(qz.GaussianMixture([1.0, 0.0], [[0.0], [1.0]], [[[1.0]], [[0.0]]]), 2), Line)


# ---- starts


@pytest.mark.parametrize("law", [stats.uniform(2, 3), stats.gamma(0.5), THREE])
@pytest.mark.parametrize("codes", [[-500.0, -600.0, -700.0], [3.0, 3.0, 3.0], [1e200, 2.5, -1e200], [2.2, 1e9, 2.2]])
def test_empty_cells_are_filled(law, codes):
    exact, codes = line(law), np.array(codes)[:, None]
    before = exact.cells(codes)
    moved, after = exact.occupied(codes)
    assert (before.masses == 0).any()
    assert (after.masses > 0).all()
    assert after.distortion < before.distortion
    if codes.max() > 0:  # a code that has a cell within the law keeps its place
        np.testing.assert_array_equal(moved[before.masses > 0], codes[before.masses > 0])
    again, _ = exact.occupied(moved)
    np.testing.assert_array_equal(again, moved)
    assert qz.quantize(law, 3, start=codes).require().distortion <= after.distortion


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
    assert qz.quantize(law, k, r=r).distortion <= best_of_many(law, k, r, 10) * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("r", ORDERS)
@pytest.mark.parametrize("seed", range(6))
def test_the_search_finds_the_global_optimum_of_any_mixture(seed, r):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 6))
    law = mixture(rng.dirichlet(np.ones(m)), rng.normal(size=m) * 10, rng.uniform(0.2, 2, m))
    for k in (2, 3, 6, 13, 40):
        # For r ≠ 2 edges of runs lie on bins, 32 a code: starts cost 1e-4 more, and near ties are taken for each other.
        assert qz.quantize(law, k, r=r).distortion <= best_of_many(law, k, r, 20) * (1 + (1e-12 if r == 2 else 1e-4))


@pytest.mark.parametrize(("law", "k", "worse"), [(TWO, 3, 1.4), (FOUR, 5, 1.1), (THREE, 4, 2.9), (SCALES, 6, 1.1)])
def test_lloyd_from_the_companion_start_is_stuck(law, k, worse):
    exact = line(law)
    quantiles = exact._density.outward(companion_quantiles(exact._panels, k, 2.0))
    stuck = qz.quantize(law, k, start=quantiles, solver=qz.Lloyd(rtol=1e-7), max_steps=2000).require()
    assert stuck.distortion > worse * qz.quantize(law, k).distortion


@pytest.mark.parametrize("k", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_many_codes_are_shared_out_among_modes(k):
    """No code moved from one mode to another does better: that would be a different local optimum."""
    found = qz.quantize(THREE, k)
    borders = [4.0, 16.0]
    counts = np.bincount(np.searchsorted(borders, codes_of(found)), minlength=3)
    modes = [qz.Gaussian(m, c) for m, c in zip(THREE.means, THREE.covs, strict=True)]
    for giver, taker in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]:
        other = counts.copy()
        other[giver], other[taker] = other[giver] - 1, other[taker] + 1
        start = np.concatenate([codes_of(qz.quantize(mode, int(n))) for mode, n in zip(modes, other, strict=True)])
        assert found.distortion <= qz.quantize(THREE, k, start=start[:, None]).distortion * (1 + 1e-12)


# ---- what follows from being exact


def test_distortion_is_exact():
    found = qz.distortion(stats.norm(), [[-np.sqrt(2 / np.pi)], [np.sqrt(2 / np.pi)]])
    assert found.low == found.value == found.high == pytest.approx(1 - 2 / np.pi, abs=2 * EPS)
    assert qz.distortion(stats.expon(), [[0.0]], r=3).value == pytest.approx(6, rel=4 * EPS)


def test_clvq_is_certified_exactly():
    sol = qz.quantize(stats.norm(), 8, solver=qz.CLVQ(), max_steps=200)
    assert sol.distortion_se == 0
    assert sol.distortion == qz.distortion(stats.norm(), sol.measure.points).value
    edges = (codes_of(sol)[1:] + codes_of(sol)[:-1]) / 2
    masses = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]])))
    np.testing.assert_allclose(sol.measure.weights[np.argsort(sol.measure.points[:, 0])], masses, atol=1e-14)


def test_lloyd_finds_the_same_optimum():
    ours, theirs = qz.quantize(stats.norm(), 6), qz.quantize(stats.norm(), 6, solver=qz.Lloyd(rtol=1e-7), max_steps=3000)
    # Errors are residuals times the inverse of the least eigenvalue of I - Lloyd', about 10/K².
    np.testing.assert_allclose(theirs.require().measure.points, ours.measure.points, atol=1e-6)


def test_the_tolerance_of_zero_ends_stalled():
    sol = qz.quantize(stats.norm(), 20, solver=qz.Newton(rtol=0))
    assert sol.status is qz.Status.STALLED
    assert 0 < sol.stationarity < 1e-14
    assert qz.quantize(stats.norm(), 20, max_steps=1).status is qz.Status.BUDGET_SPENT
