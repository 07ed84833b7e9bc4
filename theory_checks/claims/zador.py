"""Asymptotics on the line: Zador's constants, where the codes lie, and a law whose tails are too heavy for either."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.claim import MODERATE, SLOW, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import COMPANIONS, SMOOTH_TAILS, UNIFORM_GRID, heavy
from theory_checks.limits import richardson, two_terms
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$\min_x D_2(x) = \frac{1}{12 K^2}$ for $U[0, 1]$, hence Zador's constant $Q_2(1) = \frac1{12}$",
    reference="graf2000",
    laws=UNIFORM_GRID,
)
def uniform_law_on_the_line(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|D(x) - 1/12K^2| = 0$ for the Lloyd fixed point x on a grid of n equal masses, from a random start.

    Slack: a cell of $m_i$ grid points costs $(m_i^3 - m_i)/12 n^3$. At a fixed point the sizes of neighbouring cells differ by
    at most 2 (a boundary lies within half a grid step of the midpoint of two centroids), so $|m_i - n/K| \le \delta = 2(K - 1)$
    and, the $m_i$ adding up to n, $|D - 1/12K^2| \le (3 n \delta^2 + K \delta^3) / 12 n^3 + 1/12 n^2$; and $\gamma_{2n+9}$ of
    D.
    """
    start = np.sort(np.random.default_rng(seed).random(k))[:, None]
    sol = qz.quantize(law, k, init=start, solver=qz.Lloyd(rtol=1e-12), max_iter=5000, rng=0).require()
    return _against_the_constant(law, np.asarray(sol.measure.points, dtype=np.float64))


@uniform_law_on_the_line.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Codes equally spaced from end to end, 0 and 1 among them."""
    return _against_the_constant(law, np.linspace(0, 1, k)[:, None])


def _against_the_constant(law: qz.DiscreteMeasure, codes: FloatArray) -> Evidence:
    k, n = len(codes), law.size
    value, constant, uneven = qz.distortion(law, codes, rng=0).value, 1 / (12 * k**2), 2 * (k - 1)
    slack = (3 * n * uneven**2 + k * uneven**3) / (12 * n**3) + 1 / (12 * n**2)
    return Evidence(abs(value - constant), 0.0, slack + round_off(2 * n + 9, value + constant))


@claim(
    statement=r"$\min_x D_r(x) = \frac{2^{-r}}{(1 + r) K^r}$ for $U[0, 1]$, hence $Q_1(1) = \frac14$ and $Q_4(1) = \frac1{80}$",
    reference="graf2000",
    laws=UNIFORM_GRID,
)
def uniform_law_of_other_orders(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|D_r - 2^{-r} / (1 + r) K^r| = 0$ at the best codes of samples, r = 1 and 4, on a grid of n equal masses.

    Slack: m grid points cost $\lfloor m^2 / 4 \rfloor / n^2$ for r = 1 and $m (m^2 - 1)(3 m^2 - 7) / 240 n^5$ for r = 4, convex
    in m, so that the least is where numbers differ by one at most: how far that is from the constant; and $\gamma_{2n+9}$.
    """
    return worst(_against_its_constant(law, np.asarray(qz.quantize(law, k, r=r, rng=0).require().points), r) for r in (1, 4))


@uniform_law_of_other_orders.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Codes equally spaced from end to end, 0 and 1 among them."""
    return worst(_against_its_constant(law, np.linspace(0, 1, k)[:, None], r) for r in (1, 4))


def _against_its_constant(law: qz.DiscreteMeasure, codes: FloatArray, r: int) -> Evidence:
    k, n = len(codes), law.size
    value, constant = qz.distortion(law, codes, r=r, rng=0).value, 2.0**-r / ((1 + r) * k**r)
    sizes = [n // k + (i < n % k) for i in range(k)]
    grid = sum(m * m // 4 / n**2 if r == 1 else m * (m * m - 1) * (3 * m * m - 7) / (240 * n**5) for m in sizes)
    return Evidence(abs(value - constant), 0.0, abs(grid - constant) + round_off(2 * n + 9, value + constant))


@claim(
    statement=r"$K^2 \min_x D_2(x) \to \frac1{12} \|f\|_{1/3} = \frac1{12} \bigl(\int f^{1/3}\bigr)^3$ on the line",
    reference="zador1982",
    laws=SMOOTH_TAILS,
    effort=SLOW,
)
def zador_constant_on_the_line(law: Any, k: int, seed: int) -> Evidence:
    r"""$|2 a_{2K} - a_K| / Q = 1$ for $a_K = K^2 D_K$, K = 256, Q by quadrature of $f^{1/3}$.

    Slack: $a_K = Q(1 - c/K + o(1/K))$, whose first term Richardson's step removes; what is left is taken for two terms of order
    1 and 2, which may cancel (:func:`~theory_checks.limits.two_terms`), and never more than the 1e-3 that we ask for; 3e-9 for
    the quadrature's 1e-9 of the integral, cubed.
    """
    return _zador(law, k, moment=1 / 12)


@zador_constant_on_the_line.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""A hexagon's $\frac{5}{18\sqrt3}$ in place of an interval's $\frac1{12}$."""
    return _zador(law, k, moment=5 / (18 * 3**0.5))


@claim(
    statement=r"$K^r \min_x D_r(x) \to Q_r \bigl(\int f^{1/(1+r)}\bigr)^{1+r}$ on the line with $Q_r = \frac{2^{-r}}{1+r}$, "
    r"r = 1 and 4",
    reference="zador1982",
    laws=SMOOTH_TAILS,
    effort=SLOW,
)
def zador_constants_of_other_orders(law: Any, k: int, seed: int) -> Evidence:
    r"""$|2 a_{2K} - a_K| / Q = 1$ for $a_K = K^r D_K$, K = 256, Q by quadrature of $f^{1/(1 + r)}$; the worse of the two orders.

    Slack: as for r = 2, up to the same 1e-3 for r = 1 and 2e-3 for r = 4, whose codes reach further into the tails.
    """
    return worst(_zador(law, k, moment=2**-r / (1 + r), r=r, asked=asked) for r, asked in ((1, 1e-3), (4, 2e-3)))


@zador_constants_of_other_orders.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""The constant $\frac1{12}$ of r = 2 for every order."""
    return worst(_zador(law, k, moment=1 / 12, r=r, asked=asked) for r, asked in ((1, 1e-3), (4, 2e-3)))


def _zador(law: Any, k: int, *, moment: float, r: int = 2, asked: float = 1e-3) -> Evidence:
    constant = moment * line.power_integral(law, 1 / (1 + r)) ** (1 + r)
    counts = [k // 8, k // 4, k // 2, k, 2 * k]
    scaled = [n**r * qz.quantize(law, n, r=r, rng=0).require().distortion / constant for n in counts]
    extrapolated = [richardson(a, b) for a, b in itertools.pairwise(scaled)]
    slack = min(asked, two_terms(*extrapolated[:-4:-1])) + 3e-9
    curve = Curve(
        "K",
        "relative error",
        tuple(map(float, counts[1:])),
        {
            {1: "K", 2: "K²", 4: "K⁴"}[r] + " D_K": tuple(abs(a - 1) for a in scaled[1:]),
            "extrapolated": tuple(abs(r - 1) for r in extrapolated),
        },
        {"asked for": asked},
        "xy",
    )
    return equal(extrapolated[-1], 1.0, slack).drawn(curve)


@claim(
    statement=r"$\sup_k \bigl|F_{1/3}(x_k) - \frac{k - 1/2}{K}\bigr| \le \frac1K$, $F_{1/3}$ the law of density $\propto "
    r"f^{1/3}$",
    reference="graf2000",
    laws=COMPANIONS,
    effort=MODERATE,
)
def codes_have_the_companion_density(law: Any, k: int, seed: int) -> Evidence:
    r"""$\sup_k |F_{1/3}(x_k) - (k - \tfrac12)/K| \le 1/K$ at the optimum, $F_{1/3}$ in closed form: N(0, 3) for N(0, 1).

    The theorem is weak convergence; the rate 1/K is what is observed, and all that is asked for here. Slack: a code off by its
    round-off moves F by $\gamma_{1000}$ of its slope times its scale, below 1.
    """
    base, companion = law
    return _discrepancy(base, companion, k)


@codes_have_the_companion_density.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """Codes taken to lie like draws of the law itself."""
    base, _ = law
    return _discrepancy(base, base, k)


def _discrepancy(law: Any, companion: Any, k: int) -> Evidence:
    codes = line.ordered(qz.quantize(law, k, rng=0).require().measure.points)
    levels = (np.arange(k) + 0.5) / k
    return Evidence(float(np.abs(companion.cdf(codes) - levels).max()), 1 / k, round_off(1000, 1.0))


@claim(
    statement=r"$K^2 \min_x D_2(x) \to \infty$ where $E|X|^2 < \infty$ but $\int f^{1/3} = \infty$: $f \propto x^{-3} (1 + "
    r"\log x)^{-2}$",
    reference="graf2000",
    laws=heavy.TAILS,
    effort=SLOW,
)
def heavy_tails_defeat_the_rate(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$a_{4K} - a_{2K} \ge \tfrac34 (a_{2K} - a_K) > 0$ for $a_K = K^2 D_K$: increments that do not shrink like those of a
    limit.

    Where the limit is finite and $a_K = Q - c/K + \dots$, increments halve. Here they double: codes as far as $U = 1 + \log x =
    M$ cost $27 M / 12 K^2$ by Zador's formula and what lies beyond 1/M, so that M is of the order of K, and so is $a_K$. The
    line between the two is drawn at ¾. Slack: $\gamma_{2n+9}$ of either distortion, K² times that; and the variance within the
    n cells that stand for the law, $(K/n)^2 a_n$, with $a_n < 1000$ as U ends at 200.
    """
    return _increments(law, k)


@heavy_tails_defeat_the_rate.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A normal law, whose constant is finite."""
    return _increments(heavy.normal(law.size), k)


def _increments(law: qz.DiscreteMeasure, k: int) -> Evidence:
    counts = [k, 2 * k, 4 * k]
    a = [n * n * qz.quantize(law, n, max_iter=10, rng=0).distortion for n in counts]
    first, second = a[1] - a[0], a[2] - a[1]
    slack = round_off(2 * law.size + 9, 4 * sum(a)) + 2e3 * (4 * k / law.size) ** 2
    curve = Curve("K", "K² D_K", tuple(map(float, counts)), {"heavy tails": tuple(a)}, logs="x")
    return worst([Evidence(0.75 * first, second, slack), Evidence(0.0, first, slack)]).drawn(curve)
