r"""Stratified weights: one point drawn from each cell and weighted by the cell's mass, and draws in proportion to the masses."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, coordinate_std, host
from theory_checks.claim import MODERATE, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.network import network
from theory_checks.rounding import round_off, transport_round_off

FloatArray = NDArray[np.float64]
_FEW = replace(FINITE, sizes=(11, 23))  # so few that all draws of a point from each cell can be enumerated
_POPULATIONS = replace(FINITE, words="finite populations in R^d", sizes=(23,), codes=(2, 3, 4))


def _losses(law: qz.DiscreteMeasure, rng: np.random.Generator) -> FloatArray:
    """A network's gradient along one parameter at the points of a law, moved to the origin: |ℓ| ≤ 1, and hardly constant."""
    points, weights = host(law)
    centred = (points - weights @ points) / coordinate_std(law)
    return network(law, rng).gradients(centred)[:, 0]


def _moments(values: FloatArray, masses: FloatArray) -> tuple[float, float]:
    """Mean and variance of values under probabilities."""
    mean = float(masses @ values)
    return mean, float(masses @ np.square(values - mean))


@claim(
    statement=r"$E \sum_k w_k \ell(X_k) = E\,\ell(X)$ and $\operatorname{Var} \sum_k w_k \ell(X_k) = \sum_k w_k^2 "
    r"\operatorname{Var}(\ell \mid V_k)$ for one draw $X_k$ from each cell $V_k$ of mass $w_k$",
    reference="cochran1977",
    laws=_FEW,
)
def stratified_weights_are_unbiased(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Mean and variance over all ways to draw a point from each cell of a random codebook, each with its probability.

    The mean is the tower property, the variance that of a sum of independent draws; cells without mass have no draw. Slack:
    either is a sum over the ways and over n points, $\gamma_{m+2n+20}$ for m ways, of terms that are at most 1 in size.
    """
    return _enumerated(law, k, seed, uniform=False)


@stratified_weights_are_unbiased.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Equal weights for the draws, whatever the masses of the cells."""
    return _enumerated(law, k, seed, uniform=True)


def _enumerated(law: qz.DiscreteMeasure, k: int, seed: int, *, uniform: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    codes, losses = codebook(law, k, rng), _losses(law, rng)
    points, p = host(law)
    labels, masses = np.asarray(qz.DiscreteMeasure(codes).assign(points)), host(law.project(codes))[1]
    cells = [np.flatnonzero(labels == j) for j in np.flatnonzero(masses)]
    masses = masses[masses > 0]
    weights = np.full(len(cells), 1 / k) if uniform else masses
    sums, chances, variance = np.zeros(1), np.ones(1), 0.0
    for cell, mass, weight in zip(cells, masses, weights, strict=True):
        own = p[cell] / mass
        sums = np.add.outer(sums, weight * losses[cell]).ravel()
        chances = np.multiply.outer(chances, own).ravel()
        variance += float(weight**2) * _moments(losses[cell], own)[1]
    mean, found = _moments(sums, chances)
    slack = round_off(len(sums) + 2 * law.size + 20, 2.0)
    return worst([equal(mean, float(p @ losses), slack), equal(found, variance, slack)])


@claim(
    statement=r"$\operatorname{Var} \frac1K \sum_k \ell(X_k) = \frac1K \operatorname{Var} \ell - \frac1K \operatorname{Var} "
    r"E[\ell \mid V] \le \frac1K \operatorname{Var} \ell$ for one draw from each of K cells of equal masses: no more than "
    r"that of K independent draws",
    reference="cochran1977",
    laws=FINITE,
    effort=MODERATE,
)
def equal_strata_do_no_worse_than_draws(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The cells of the best codes of equal masses, points on their boundaries split as an optimal plan splits them.

    With unequal masses $\sum_k w_k^2 \operatorname{Var}(\ell \mid V_k)$ may exceed $\frac1K \operatorname{Var} \ell$. Slack: the
    plan's marginals are right to the round-off of the network simplex, and |ℓ| ≤ 1.
    """
    codes = qz.quantize(law, k, masses="uniform", max_iter=10, rng=seed).measure
    return _strata(law, seed, np.asarray(qz.transport(law, codes).plan, dtype=np.float64))


@equal_strata_do_no_worse_than_draws.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Masses (.9, .1/(K − 1), ...), and cells that tell nothing: for K = 3, .815 Var ℓ against ⅓ Var ℓ."""
    masses = np.array([0.9, *[0.1 / (k - 1)] * (k - 1)])
    return _strata(law, seed, np.outer(host(law)[1], masses))


def _strata(law: qz.DiscreteMeasure, seed: int, plan: FloatArray) -> Evidence:
    """plan: (n, K), column k the part of the law in cell k."""
    losses, masses = _losses(law, np.random.default_rng(seed)), plan.sum(0)
    n, k = plan.shape
    means, variances = np.array([_moments(losses, column / column.sum()) for column in plan.T]).T
    whole = _moments(losses, host(law)[1])[1]
    found = float(np.square(masses) @ variances)
    slack = transport_round_off(n, k, 1.0)
    return worst([Evidence(found, whole / k, slack), equal(found, (whole - _moments(means, masses)[1]) / k, slack)])


@claim(
    statement=r"$\frac1n \sum_k w_k \operatorname{Var}_k \le \frac1n \operatorname{Var}$ for $n_k = n w_k$ draws from each "
    r"cell; without "
    r"replacement, $N_k$ of N points in cell k and $f = n/N$, $\frac{1-f}n \sum_k w_k S_k^2 \le \max_k \frac{N_k (N-1)}{(N_k-1) "
    r"N}\,\frac{1-f}n S^2$",
    reference="cochran1977",
    laws=_POPULATIONS,
    effort=MODERATE,
)
def proportional_strata_do_no_worse(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Both variances without replacement over all samples, by strata and of the whole population, one point in three.

    $S^2 = \frac{N}{N-1} \operatorname{Var}$; from $\sum_k w_k \operatorname{Var}_k \le \operatorname{Var}$ the factor follows,
    which is near 1 for large cells. The cells are those of codes of the masses $n_k/n$. Slack: $\gamma_{m+2N+20}$ of sums over m
    samples, of terms that are at most 1 in size.
    """
    return _proportional(law, k, seed, alike=False)


@proportional_strata_do_no_worse.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The factor left out, where all cells have the same mean: strata without replacement do worse there."""
    return _proportional(law, k, seed, alike=True)


def _proportional(law: qz.DiscreteMeasure, k: int, seed: int, *, alike: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    draws = np.ones(k, np.int64)
    draws[: rng.integers(3)] += 1  # at most six in all
    n, sizes = int(draws.sum()), 3 * draws
    population = qz.DiscreteMeasure(host(law)[0][: 3 * n])
    codes = qz.quantize(population, k, masses=draws / n, max_iter=10, rng=seed).measure
    labels = np.asarray(qz.transport(population, codes).plan).argmax(1)
    if (np.bincount(labels, minlength=k) != sizes).any():
        raise RuntimeError(f"cells of {sizes} points were asked for; received {np.bincount(labels, minlength=k)}")
    losses = _losses(law, rng)[: 3 * n]
    if alike:
        losses = losses - (np.bincount(labels, losses) / sizes)[labels]
    cells = [losses[labels == j] for j in range(k)]
    parts = [count / n * _means(cell, count) for cell, count in zip(cells, draws.tolist(), strict=True)]
    by_strata = np.zeros(1)
    for part in parts:
        by_strata = np.add.outer(by_strata, part).ravel()
    at_random = _means(losses, n)
    shares, rest = draws / n, (1 - n / len(losses)) / n
    squares = np.array([cell.var(ddof=1) for cell in cells])
    factor = 1.0 if alike else float((sizes / (sizes - 1)).max()) * (len(losses) - 1) / len(losses)
    slack = round_off(len(at_random) + 2 * len(losses) + 20, 2.0)
    return worst(
        [
            equal(float(at_random.var()), rest * float(losses.var(ddof=1)), slack),
            equal(float(by_strata.var()), rest * float(shares @ squares), slack),
            Evidence(float(by_strata.var()), factor * float(at_random.var()), slack),
            Evidence(
                sum(float(s) * float(c.var()) for s, c in zip(shares, cells, strict=True)) / n, float(losses.var()) / n, slack
            ),
        ]
    )


def _means(values: FloatArray | Sequence[float], count: int) -> FloatArray:
    """The means of all samples of so many values without replacement."""
    return np.asarray(values)[np.array(list(itertools.combinations(range(len(values)), count)))].mean(1)
