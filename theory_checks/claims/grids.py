r"""Grids built of others: products, whose distortions add up, and greedy sequences."""

import itertools
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.claim import MODERATE, SLOW, VERY_SLOW, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import FINITE, NORMALS, STRICTLY_LOG_CONCAVE
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
_SPACE = replace(FINITE, dims=(2, 3), sizes=(9, 14))


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
        {"Zador's constant": 3**0.5 * np.pi / 2},
        "x",
    )
    return worst(
        [
            *(Evidence(float(d), float(b), slack) for d, b in zip(distortions[1:], bounds[1:], strict=True)),
            *(Evidence(float(b), float(a - g), slack) for a, b, g in zip(distortions, distortions[1:], gains, strict=False)),
        ]
    ).drawn(curve)
