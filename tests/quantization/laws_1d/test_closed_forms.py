"""Laws on the line whose optima are known in closed form, in 30 digits or in print."""

from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from scipy import stats

import quantization as qz
from tests.quantization.laws_1d.lines import ORDERS, codes_of

EPS = np.finfo(np.float64).eps


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


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
    sol = qz.quantize(stats.expon(), k, r=r, rng=0)
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
    sol = qz.quantize(stats.laplace(), k, r=r, rng=0)
    code_error, relative = errors(sol, codes, distortion)
    assert code_error <= 1e-12 * np.sqrt(2)
    assert relative <= 1e-12
    assert sol.require() is sol


@pytest.mark.parametrize(("k", "r"), [(2, 2), (2, 1.5), (8, 2), (8, 4), (100, 1), (100, 2), slow(1000, 2)])
def test_laplace_even_is_singular_and_honest(exponential, k, r):
    """The mirrored exponential codes. Along the singular direction the gradient grows like the square, so codes reach √eps."""
    _, codes, distortion, _ = exponential(k // 2, r)
    sol = qz.quantize(stats.laplace(), k, r=r, rng=0)
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
    sol = qz.quantize(stats.uniform(-1, 4), k, r=r, rng=0)
    np.testing.assert_allclose(codes_of(sol), -1 + 4 * (2 * np.arange(k) + 1) / (2 * k), atol=1e-12 * 4 / np.sqrt(12))
    assert sol.distortion == pytest.approx(4**r / ((r + 1) * (2 * k) ** r), rel=1e-12)
    np.testing.assert_allclose(sol.measure.weights, 1 / k, rtol=1e-9)
    assert sol.require() is sol


def test_printed_truths():
    normal = {2: 1 - 2 / np.pi, 4: 0.117481847829329, 8: 0.034547760788504}
    for k, truth in normal.items():
        assert qz.quantize(stats.norm(), k, rng=0).distortion == pytest.approx(truth, abs=6e-16)
    codes = codes_of(qz.quantize(stats.norm(), 4, rng=0))
    np.testing.assert_allclose(codes, [-1.510417608499095, -0.452780034636492, 0.452780034636492, 1.510417608499095], atol=1e-15)
    assert qz.quantize(stats.expon(), 2, rng=0).distortion == pytest.approx(0.352389762108085, abs=6e-16)


def test_zadors_constant_is_approached():
    for law, constant in ((stats.norm(), np.sqrt(3) * np.pi / 2), (stats.expon(), 9 / 4), (stats.laplace(), 9)):
        half, whole = (k**2 * qz.quantize(law, k, rng=0).distortion for k in (128, 256))
        assert 2 * whole - half == pytest.approx(constant, rel=1e-3)


def test_distortion_is_exact():
    found = qz.distortion(stats.norm(), [[-np.sqrt(2 / np.pi)], [np.sqrt(2 / np.pi)]], rng=0)
    assert found.low == found.value == found.high == pytest.approx(1 - 2 / np.pi, abs=2 * EPS)
    assert qz.distortion(stats.expon(), [[0.0]], r=3, rng=0).value == pytest.approx(6, rel=4 * EPS)


def test_clvq_is_certified_exactly():
    sol = qz.quantize(stats.norm(), 8, solver=qz.CLVQ(), max_iter=200, rng=0)
    assert sol.distortion_se == 0
    assert sol.distortion == qz.distortion(stats.norm(), sol.measure.points, rng=0).value
    edges = (codes_of(sol)[1:] + codes_of(sol)[:-1]) / 2
    masses = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]])))
    np.testing.assert_allclose(sol.measure.weights[np.argsort(sol.measure.points[:, 0])], masses, atol=1e-14)


def test_lloyd_finds_the_same_optimum():
    ours, theirs = (
        qz.quantize(stats.norm(), 6, rng=0),
        qz.quantize(stats.norm(), 6, solver=qz.Lloyd(rtol=1e-7), max_iter=3000, rng=0),
    )
    # Errors are residuals times the inverse of the least eigenvalue of I - Lloyd', about 10/K².
    np.testing.assert_allclose(theirs.require().measure.points, ours.measure.points, atol=1e-6)


def test_the_tolerance_of_zero_ends_stalled():
    sol = qz.quantize(stats.norm(), 20, solver=qz.Newton(rtol=0), rng=0)
    assert sol.status is qz.Status.STALLED
    assert 0 < sol.stationarity < 1e-14
    assert qz.quantize(stats.norm(), 20, max_iter=1, rng=0).status is qz.Status.BUDGET_SPENT
