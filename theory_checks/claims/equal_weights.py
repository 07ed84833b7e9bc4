r"""Masses against equal weights: bias and noise of a weighted gradient, and the number of codes from which masses win."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import codebook, coordinate_std, host
from theory_checks.claim import SLOW, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import FINITE, SMOOTH_TAILS
from theory_checks.limits import richardson, two_terms
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$E\bigl|\sum_k v_k \hat g_k - \sum_k w_k g_k\bigr|^2 = \bigl|\sum_k (v_k - w_k) g_k\bigr|^2 + \sum_k v_k^2 "
    r"s_k^2$ where label noise gives code k's gradient $g_k$ the variance $s_k^2$: $s^2/\mathrm{ESS}(v)$ at equal s, where "
    r"equal weights win just if $\bigl|\sum_k (\frac1K - w_k) g_k\bigr|^2 < s^2 \bigl(\frac1{\mathrm{ESS}(w)} - "
    r"\frac1K\bigr)$",
    reference="kish1965",
    laws=FINITE,
)
def equal_weights_trade_bias_for_noise(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""A linear and a logistic model on a random codebook, masses and equal weights, over all $2^K$ patterns of its labels.

    $\mathrm{ESS} = (\sum_k v_k)^2 / \sum_k v_k^2$. Linear: labels $\eta_k \pm \sigma$, features of length 1, so that s = σ;
    logistic: Bernoulli labels of probability $\eta_k$, $s_k^2 = \eta_k (1 - \eta_k) |x_k|^2$. At the σ where the inequality is an
    equality the risks are equal, and on either side of it they are ordered. Slack: sums over the patterns, codes and points,
    $\gamma_{2^K+2n+4K+40}$ of the largest squared error, twice.
    """
    return _risks(law, k, seed, masses_like_equal=False)


@equal_weights_trade_bias_for_noise.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The noise of the masses taken for that of K equal weights, as if all codes counted alike."""
    return _risks(law, k, seed, masses_like_equal=True)


def _risks(law: qz.DiscreteMeasure, k: int, seed: int, *, masses_like_equal: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    codes = codebook(law, k, rng)
    points, p = host(law)
    w, equally = host(law.project(codes))[1], np.full(k, 1 / k)
    target = np.bincount(np.asarray(qz.DiscreteMeasure(codes).assign(points)), p, minlength=k)  # the masses, summed here
    x = _features(law, codes)
    eta: FloatArray = rng.uniform(0.1, 0.9, k)
    linear = x.dot(rng.standard_normal(law.dim + 1))
    logistic = 1 / (1 + np.exp(-linear))
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=k)))
    roundings = 2**k + 2 * law.size + 4 * k + 40

    def risk(v: FloatArray, predicted: FloatArray, labels: FloatArray, chances: FloatArray) -> tuple[float, float]:
        """Of the weighted gradient for the square or logistic loss, over all labels; and the largest squared error."""
        errors = ((predicted - labels) * v) @ x - ((predicted - eta) * target) @ x
        squares = np.square(errors).sum(1)
        return float(chances @ squares), float(squares.max())

    def expected(v: FloatArray, predicted: FloatArray, variances: FloatArray) -> float:
        bias = ((predicted - eta) * (v - target)) @ x
        noisy = equally if masses_like_equal and v is w else v
        return float(bias @ bias) + float(np.square(noisy) @ variances)

    found = list[Evidence]()
    bernoulli = np.where(patterns > 0, eta, 1 - eta).prod(1)
    for v in (w, equally):
        value, largest = risk(v, logistic, patterns, bernoulli)
        found.append(equal(value, expected(v, logistic, eta * (1 - eta)), round_off(roundings, 2 * largest)))
    bias = x.T.dot((linear - eta) * (equally - target))
    level = (float(bias @ bias) / float(target @ target - 1 / k)) ** 0.5  # σ at which neither wins
    alike = np.full(len(patterns), 1 / len(patterns))
    for sigma in (level / 2**0.5, level, level * 2**0.5):
        labels = eta + sigma * (2 * patterns - 1)
        (ours, a), (theirs, b) = (risk(v, linear, labels, alike) for v in (w, equally))
        slack = round_off(roundings, 2 * (a + b))
        found += [equal(r, expected(v, linear, np.full(k, sigma**2)), slack) for r, v in ((ours, w), (theirs, equally))]
        if sigma == level:
            found.append(equal(ours, theirs, slack))
        else:  # masses win where labels are nearly clean
            found.append(Evidence(ours, theirs, slack) if sigma < level else Evidence(theirs, ours, slack))
    return worst(found)


def _features(law: qz.DiscreteMeasure, codes: FloatArray) -> FloatArray:
    """1 and the standardized coordinates of codes (K, d), scaled to length 1, (K, d + 1)."""
    points, p = host(law)
    rows = np.column_stack([np.ones(len(codes)), (codes - p @ points) / coordinate_std(law)])
    return rows / np.linalg.norm(rows, axis=1)[:, None]


@claim(
    statement=r"$K/\mathrm{ESS}(w) \to \int f^{1/3} \int f^{5/3}$ and $\sum_k (\frac1K - w_k) g(x_k) \to \int g f^{1/3} / \int "
    r"f^{1/3} - \int g f =: b$ on the line, so that equal weights win below $K^* = s^2 \bigl(\int f^{1/3} \int f^{5/3} - "
    r"1\bigr) / b^2$ codes, masses above",
    reference="graf2000",
    laws=SMOOTH_TAILS,
    effort=SLOW,
)
def masses_win_from_some_number_of_codes(law: Any, k: int, seed: int) -> Evidence:
    r"""Both limits, extrapolated from K = 32 to 256 optimal codes, for a logistic model's gradient g.

    The codes have the density $\lambda = f^{1/3} / \int f^{1/3}$ and the masses $w_k \approx f(x_k) / K \lambda(x_k)$, so that
    $K \sum_k w_k^2 \to \int f^2/\lambda$. In d dimensions $\lambda \propto f^{d/(d+2)}$; for a Gaussian $\int f^2/\lambda =
    (1 + \frac{4}{d (d+4)})^{d/2}$, 1.34 on the line and 1.02 at d = 100. Slack: the first correction is of order 1/K and
    Richardson's step removes it; what is left is taken for two terms of order 1 and 2, which may cancel
    (:func:`~theory_checks.limits.two_terms`); 3e-9 of the limits for their quadrature.
    """
    return _crossover(law, k, seed, power=1 / 3)


@masses_win_from_some_number_of_codes.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""Codes of the law's own density, $\lambda = f$, whose masses are equal and whose mean needs no weights."""
    return _crossover(law, k, seed, power=1.0)


def _crossover(law: Any, k: int, seed: int, *, power: float) -> Evidence:
    rng = np.random.default_rng(seed)
    loc, scale, theta, slope = float(law.median()), float(law.kwds["scale"]), float(rng.uniform(1, 2)), float(rng.uniform(0.5, 1))

    def gradient(z: FloatArray) -> FloatArray:
        t = np.tanh(slope * (z - loc) / scale + 0.5)
        return t / (1 + np.exp(-theta * t))

    total, population = line.power_integral(law, power), line.power_integral(law, 1.0, gradient)
    spread = total * line.power_integral(law, 2 - power)
    bias = line.power_integral(law, power, gradient) / total - population
    counts, found, biases, errors = [k // 8, k // 4, k // 2, k], list[float](), list[float](), list[float]()
    for count in counts:
        measure = qz.quantize(law, count, rng=0).require().measure
        x, w = host(measure)
        found.append(count * float(w @ w))
        biases.append(float((1 / count - w) @ gradient(x[:, 0])))
        errors.append(float(w @ gradient(x[:, 0])) - population)
    noise = 64 * bias**2 / (spread - 1) if spread > 1 else 1.0  # s² for K* = 64
    curve = Curve(
        "K",
        "squared error, s² for K* = 64",
        tuple(map(float, counts)),
        {
            "masses": tuple(e * e + noise * a / n for e, a, n in zip(errors, found, counts, strict=True)),
            "equal weights": tuple((e + b) ** 2 + noise / n for e, b, n in zip(errors, biases, counts, strict=True)),
        },
        {},
        "xy",
    )
    return worst([_limit(found, spread), _limit(biases, bias)]).drawn(curve)


def _limit(values: list[float], limit: float) -> Evidence:
    extrapolated = [richardson(a, b) for a, b in itertools.pairwise(values)]
    return equal(extrapolated[-1], limit, two_terms(*extrapolated[::-1]) + 3e-9 * (1 + abs(limit)))
