r"""Grids built of others: products, whose distortions add up, paths of Gaussian processes, greedy sequences."""

import itertools
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.claim import CHEAP, MODERATE, SLOW, VERY_SLOW, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import FINITE, NORMALS, PROCESSES, STRICTLY_LOG_CONCAVE
from theory_checks.laws.processes import Closed
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
_SPACE = replace(FINITE, dims=(2, 3), sizes=(9, 14))
_TERMS = 1000
_MANY_PATHS = replace(PROCESSES, codes=(10, 40, 200, 1000))
_ZADOR = 3**0.5 * np.pi / 2  # the limit of n² d_n, of the distortion of N(0, 1) on n codes


@claim(
    statement=r"$E|X - \hat X|^2 = \sum_i E|X_i - \hat X_i|^2$ for a product grid and independent coordinates",
    reference="pages2015",
    laws=_SPACE,
    effort=MODERATE,
)
def distortions_of_a_product_add_up(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The grid's own distortion against that of its codes for the product of the law's marginals, all points of it.

    Slack: either is a sum of fewer than 2n terms, n the number of points of the product, of the order of its second moment
    about the codes, which coordinates far from the origin make as inexact as $|x|^2$ is: $\gamma_{2n}$ of $E|X|^2$.
    """
    return _against_all_points(law, k, summed=True)


@distortions_of_a_product_add_up.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The largest of the coordinates' distortions in place of their sum."""
    return _against_all_points(law, k, summed=False)


def _against_all_points(law: qz.DiscreteMeasure, k: int, *, summed: bool) -> Evidence:
    weights = law.weights_float64
    marginals = [qz.DiscreteMeasure(law.points[:, i : i + 1], weights) for i in range(law.dim)]
    # Each coordinate keeps an error, as the largest would else be the sum.
    shares = [max(1, min(round(k ** (1 / law.dim)), len(np.unique(m.points)) - 1)) for m in marginals]
    grid = qz.product_grid(marginals, shares)
    points = np.array(list(itertools.product(*[m.points[:, 0] for m in marginals])))
    masses = np.array([prod(w) for w in itertools.product(weights, repeat=law.dim)])
    measured = qz.distortion(qz.DiscreteMeasure.from_unnormalized(points, masses), grid.measure.points, rng=0).value
    own = grid.distortion if summed else float(grid.distortions.max())
    return equal(own, measured, round_off(2 * len(points), float(masses @ np.square(points).sum(1))))


@claim(
    statement=r"$\sum_i \lambda_i = \int_0^T \operatorname{Var} X_t\,dt$ for the eigenvalues of the covariance operator",
    reference="luschgy2002",
    laws=PROCESSES,
    effort=CHEAP,
)
def eigenvalues_sum_to_the_variance(law: Closed, k: int, seed: int) -> Evidence:
    r"""The first thousand eigenvalues, and bounds on the others, against Gauss' rule for the variance.

    All have $\lambda_i = \sigma^2 / (\omega_i^2 + \theta^2)$ with $(i - 1) \pi/T \le \omega_i \le i \pi/T$, so that
    $\int_{m+1}^\infty \le \sum_{i > m} \lambda_i \le \int_{m - 1}^\infty$ of $\sigma^2 / ((\pi x/T)^2 + \theta^2)$, which falls.
    Slack: $\gamma_{2000}$ of the variance, for a thousand sums and the rule's 64 nodes, of which an exponential needs fewer; the
    eigenvalues' roots are found to round-off.
    """
    return _trace(law, shift=0.0)


@eigenvalues_sum_to_the_variance.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    r"""Frequencies half a step too high, as of the bridge for Brownian motion."""
    return _trace(law, shift=0.5)


def _trace(law: Closed, *, shift: float) -> Evidence:
    x, w = np.polynomial.legendre.leggauss(64)
    times = law.horizon * (1 + x) / 2
    variance = float(law.horizon / 2 * w @ law.covariance(times, times))
    sigma, theta = (law.volatility, law.rate) if isinstance(law, qz.OrnsteinUhlenbeck) else (1.0, 0.0)
    first = law.karhunen_loeve(_TERMS).eigenvalues
    omega = np.sqrt(np.maximum(sigma**2 / first - theta**2, 0)) + shift * np.pi / law.horizon
    total = float((sigma**2 / (omega**2 + theta**2)).sum())

    def rest(start: int) -> float:
        angle = np.arctan2(theta * law.horizon, np.pi * start)  # π/2 − arctan of the inverse
        return sigma**2 * law.horizon / np.pi * (angle / theta if theta else law.horizon / (np.pi * start))

    slack = round_off(2000, variance)
    return worst([Evidence(total + rest(_TERMS + 1), variance, slack), Evidence(variance, total + rest(_TERMS - 1), slack)])


@claim(
    statement=r"$E \|X - \hat X\|^2 \ge \sum_i \min(\kappa, \lambda_i)$ for N paths, "
    r"$\sum_i \tfrac12 \log^+ (\lambda_i/\kappa) = \log N$",
    reference="luschgy2002",
    laws=PROCESSES,
    effort=MODERATE,
)
def no_grid_of_paths_beats_shannon(law: Closed, k: int, seed: int) -> Evidence:
    r"""Shannon's bound for the information log N that N codes can carry against the best product, whose rate is 1/log N too.

    Slack: $\gamma_{1000}$ of the variance, for sums of a few dozen eigenvalues.
    """
    return _shannon(law, k, nats=float(np.log(k)))


@no_grid_of_paths_beats_shannon.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    """A third of the information."""
    return _shannon(law, k, nats=float(np.log(k)) / 3)


def _shannon(law: Closed, k: int, *, nats: float) -> Evidence:
    expansion, grid = law.karhunen_loeve(64), qz.functional_grid(law, k)
    bound = _below(expansion, _water_level(expansion, nats))
    return Evidence(bound, grid.distortion, round_off(1000, expansion.trace))


def _water_level(expansion: qz.KarhunenLoeve, nats: float) -> float:
    r"""κ with $\sum_i \tfrac12 \log^+(\lambda_i/\kappa)$ = nats: of the first m, whose level lies above the next eigenvalue."""
    logs = np.log(expansion.eigenvalues)
    levels = (np.cumsum(logs) - 2 * nats) / np.arange(1, len(logs) + 1)
    return float(np.exp(levels[int(np.argmax(levels[:-1] >= logs[1:]))]))


def _below(expansion: qz.KarhunenLoeve, level: float) -> float:
    r"""$\sum_i \min(\lambda_i, \text{level})$."""
    return expansion.trace - float(np.maximum(expansion.eigenvalues - level, 0.0).sum())


@claim(
    statement=r"$E \|X - \hat X\|^2 \le \sum_i \min(4 C \kappa, \lambda_i)$, $C = \tfrac{\sqrt3 \pi}2$, of the best product of "
    r"N paths, κ as in Shannon's bound: never above 4C times that, which for Brownian motion is $\sim 2T^2 / \pi^2 \log N$",
    reference="luschgy2002",
    laws=_MANY_PATHS,
    effort=MODERATE,
)
def paths_are_quantized_at_the_rate_of_log_n(law: Closed, k: int, seed: int) -> Evidence:
    r"""The best product against shares that reach the rate, $n_i = \lfloor (\lambda_i/\kappa)^{1/2} \rfloor$.

    $\prod_i n_i \le N$, and $\lambda_i d_{n_i} \le C \lambda_i / n_i^2 \le 4 C \kappa$, as $n_i$ is more than half of what it is
    rounded from. That $n^2 d_n \le C$ is checked for these $n_i$. Slack: $\gamma_{1000}$ of the variance, for sums of a few
    dozen eigenvalues, and of C.
    """
    return _log_rate(law, k, paths=True)


@paths_are_quantized_at_the_rate_of_log_n.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    r"""The rate of one dimension, $C N^{-2} \int \operatorname{Var} X_t\,dt$."""
    return _log_rate(law, k, paths=False)


def _log_rate(law: Closed, k: int, *, paths: bool) -> Evidence:
    expansion, distortion = law.karhunen_loeve(256), qz.functional_grid(law, k).distortion
    slack = round_off(1000, expansion.trace)
    if not paths:
        return Evidence(distortion, _ZADOR * expansion.trace / k**2, slack)
    level = _water_level(expansion, float(np.log(k)))
    shares = np.unique(np.sqrt(expansion.eigenvalues[expansion.eigenvalues >= level] / level).astype(np.int64))
    normal = qz.Gaussian([0.0], [[1.0]])
    costs = [float(n**2) * qz.quantize(normal, int(n), rng=0).distortion for n in shares]
    return worst(
        [
            Evidence(distortion, _below(expansion, 4 * _ZADOR * level), slack),
            *(Evidence(cost, _ZADOR, round_off(1000, _ZADOR)) for cost in costs),
        ]
    )


@claim(
    statement=r"$D(x_1, \dots, x_{k+1}) \le D(x_1, \dots, x_k, y)$ for all y, of a greedy sequence",
    reference="luschgy2015",
    laws=STRICTLY_LOG_CONCAVE,
    effort=SLOW,
)
def greedy_codes_are_the_best_to_add(law: Any, k: int, seed: int) -> Evidence:
    r"""Against eight draws of the law as the last code, and the greedy one itself.

    Slack: $\gamma_{1000}$ of the distortion, for integrals over some dozen panels of twenty nodes.
    """
    return _last_code(law, k, seed, moved=0.0)


@greedy_codes_are_the_best_to_add.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """A last code that is moved a tenth of the way to the nearest of the others."""
    return _last_code(law, k, seed, moved=0.1)


def _last_code(law: Any, k: int, seed: int, *, moved: float) -> Evidence:
    codes = qz.greedy_grid(law, k).points
    before, last = codes[:-1], codes[-1]
    nearest = before[np.abs(before - last).argmin()]
    draws = np.append(law.rvs(8, random_state=seed), last)
    least = min(qz.distortion(law, np.vstack([before, [[y]]]), rng=0).value for y in draws)
    own = qz.distortion(law, np.vstack([before, [last + moved * (nearest - last)]]), rng=0).value
    return Evidence(own, least, round_off(1000, least))


@claim(
    statement=r"$D_{k+1} \le D_k - 2 \kappa s^{-1} D_k^{3/2}$, hence $D_k \le s^2 (1 + \kappa (k-1))^{-2}$, the optimal rate, "
    r"for greedy sequences of $N(m, s^2)$, κ = .061",
    reference="luschgy2015",
    laws=NORMALS,
    effort=VERY_SLOW,
)
def greedy_sequences_keep_the_rate(law: Any, k: int, seed: int) -> Evidence:
    r"""All steps of a sequence of k codes, and all its distortions.

    A code at random of $g = N(m, \tau^2 s^2)$ gains no more than the best one, at least $\int_{|u| \le c d} (d^2 - u^2)\,du\;
    g((1+c) |X|)$ of a point at distance d ≤ |X − m| from the codes; Hölder's inequality turns $E d^3 h$ into $D^{3/2}
    (E h^{-2})^{-1/2}$; $c = \tfrac45$ and $\tau^2 = 3 (1+c)^2$ are near the best. Slack: $\gamma_{1000}$ of the variance, for
    integrals over some dozen panels of twenty nodes.
    """
    return _greedy_rate(law, k, times=1.0)


@greedy_sequences_keep_the_rate.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""κ ten times as large, with which $K^2 D_K$ would fall below Zador's constant."""
    return _greedy_rate(law, k, times=10.0)


def _greedy_rate(law: Any, k: int, *, times: float) -> Evidence:
    c, scale = 0.8, float(law.kwds["scale"])
    kappa = times * (c - c**3 / 3) / ((1 + c) * (6 * 3**0.5 * np.pi) ** 0.5)
    distortions, counts = qz.greedy_grid(law, k).distortions, np.arange(1, k + 1)
    bounds = np.square(scale / (1 + kappa * (counts - 1)))
    gains = 2 * kappa / scale * distortions[:-1] ** 1.5
    slack = round_off(1000, scale**2)
    curve = Curve(
        "K",
        "K² × distortion / variance",
        tuple(map(float, counts)),
        {"greedy": tuple((counts**2 * distortions / scale**2).tolist())},
        {"Zador's constant": _ZADOR},
        "x",
    )
    return worst(
        [
            *(Evidence(float(d), float(b), slack) for d, b in zip(distortions[1:], bounds[1:], strict=True)),
            *(Evidence(float(b), float(a - g), slack) for a, b, g in zip(distortions, distortions[1:], gains, strict=False)),
        ]
    ).drawn(curve)
