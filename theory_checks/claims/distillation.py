r"""Training on a pushed-forward quantizer: the gradient of the weighted loss against the population's, and its rate in K."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import host
from theory_checks.claim import SLOW, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import FINITE, SMOOTH_TAILS
from theory_checks.limits import richardson, two_terms
from theory_checks.network import network
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$\bigl|E\,\partial_v \ell(g(Z)) - \sum_k w_k\,\partial_v \ell(g(z_k))\bigr| \le \tfrac12 L D_2(z)$ for "
    r"stationary codes, "
    r"$L = \operatorname{Lip} \nabla_z (\partial_v \ell \circ g)$",
    reference="pages2015",
    laws=FINITE,
)
def weighted_gradients_are_second_order(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The gradient of the weighted loss on pushed-forward codes against the population's, along each parameter; the worst.

    Taylor's formula in each cell: the first-order term vanishes where the code is its cell's mean. For tanh and logistic, and
    for $g(z) = z$ with $\ell = \tfrac12 \theta |x|^2$, L = 1, where it is an equality. Slack: at residual s the first-order
    terms are at most $s \sqrt{D}$ times the largest slope of $\partial_v \ell \circ g$; $\gamma_{2n+d+20}$ of the values.
    """
    net = network(law, np.random.default_rng(seed))
    sol = qz.quantize(law, k, rng=seed, solver=qz.Lloyd(), max_iter=2000).require()
    population, weighted = law.expect(net.gradients), sol.measure.expect(net.gradients)
    found = [_quadratic(law, sol, 0.5)]
    for i, along in enumerate(np.eye(3)):
        slack = sol.stationarity * sol.distortion**0.5 * net.steepness(along) + round_off(2 * law.size + law.dim + 20, 2.0)
        error = abs(float(population[i] - weighted[i]))
        found.append(Evidence(error, net.curvature(along) * sol.distortion / 2, slack))
    return worst(found)


@weighted_gradients_are_second_order.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The constant ¼ for ½, for the loss that attains it."""
    return _quadratic(law, qz.quantize(law, k, rng=seed, solver=qz.Lloyd(), max_iter=2000), 0.25)


def _quadratic(law: qz.DiscreteMeasure, sol: qz.Solution, constant: float) -> Evidence:
    def half_squares(z: FloatArray) -> FloatArray:
        return np.square(z - host(law)[0].mean(0)).sum(1) / 2

    population, weighted = (float(mu.expect(half_squares)) for mu in (law, sol.measure))
    reach = float(half_squares(host(law)[0]).max()) ** 0.5 * 2
    slack = sol.stationarity * sol.distortion**0.5 * reach + round_off(2 * law.size + law.dim + 20, 2 * population + 2 * weighted)
    return Evidence(abs(population - weighted), constant * sol.distortion, slack)


@claim(
    statement=r"$K^2 \bigl(E\,\ell'(g(Z)) - \sum_k w_k \ell'(g(z_k))\bigr) \to \tfrac1{24} \bigl(\int f^{1/3}\bigr)^2 \int "
    r"(\ell' \circ g)''"
    r" f^{1/3}$ on the line",
    reference="graf2000",
    laws=SMOOTH_TAILS,
    effort=SLOW,
)
def the_gradient_gap_falls_like_the_square_of_k(law: Any, k: int, seed: int) -> Evidence:
    r"""The gap times K², extrapolated from K = 32 to 256, against its limit: $\ell' \circ g = \sigma(\theta \tanh(a z)) \tanh(a
    z)$.

    A cell of width $1/(K \lambda)$, λ the point density, leaves $\tfrac{1}{24} (\ell' \circ g)'' / (K \lambda)^2$ of its
    mean. Slack: the first correction is of order 1/K and Richardson's step removes it; what is left is taken for two terms of
    order 1 and 2, which may cancel (:func:`~theory_checks.limits.two_terms`). 1e-7 of $\int |(\ell' \circ g)''| f^{1/3}$ for
    the limit's quadrature, $\gamma_{4000}$ for the population's, a sum of that many terms below 1.
    """
    return _gap(law, k, seed, weighted=True)


@the_gradient_gap_falls_like_the_square_of_k.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """The same codes with uniform weights, whose gap does not vanish."""
    return _gap(law, k, seed, weighted=False)


def _gap(law: Any, k: int, seed: int, *, weighted: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    loc, scale, theta, slope = float(law.median()), float(law.kwds["scale"]), float(rng.uniform(1, 2)), float(rng.uniform(0.5, 1))

    def gradient(z: FloatArray) -> FloatArray:
        t = np.tanh(slope * (z - loc) / scale + 0.5)
        return t / (1 + np.exp(-theta * t))

    def second(z: FloatArray) -> FloatArray:
        t = np.tanh(slope * (z - loc) / scale + 0.5)
        value = 1 / (1 + np.exp(-theta * t))
        first, curved = value * (1 - value), value * (1 - value) * (1 - 2 * value)
        by_t, by_tt = value + theta * t * first, 2 * theta * first + theta**2 * t * curved
        return (slope / scale) ** 2 * (by_tt * (1 - t * t) ** 2 - 2 * by_t * t * (1 - t * t))

    third = line.power_integral(law, 1 / 3)
    limit = third**2 * line.power_integral(law, 1 / 3, second) / 24
    size = third**2 * line.power_integral(law, 1 / 3, lambda z: np.abs(second(z))) / 24
    population = line.power_integral(law, 1.0, gradient)
    counts, scaled = [k // 8, k // 4, k // 2, k], list[float]()
    for count in counts:
        measure = qz.quantize(law, count, rng=0).require().measure
        weights = np.asarray(measure.weights) if weighted else np.full(count, 1 / count)
        scaled.append(count**2 * (population - float(weights @ gradient(np.asarray(measure.points)[:, 0]))))
    extrapolated = [richardson(a, b) for a, b in itertools.pairwise(scaled)]
    left = two_terms(*extrapolated[:-4:-1]) if weighted else 0.0
    curve = Curve(
        "K", "K² × gap / limit", tuple(map(float, counts)), {"weighted": tuple(a / limit for a in scaled)}, {"limit": 1.0}, "x"
    )
    return equal(extrapolated[-1], limit, left + 1e-7 * size + k**2 * round_off(4000, 1.0)).drawn(curve)
