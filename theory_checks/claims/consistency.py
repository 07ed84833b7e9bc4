"""Consistency: the distortion of a codebook depends on the law no more than the Wasserstein distance does."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import codebook, coordinate_std, host, largest_cost
from theory_checks.chance import monte_carlo
from theory_checks.claim import Effort, claim
from theory_checks.evidence import Curve, Evidence, equal
from theory_checks.laws import ELEMENTARY, FINITE
from theory_checks.limits import remainder
from theory_checks.rounding import root_error, round_off, transport_round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$|e(\mu, x) - e(\nu, x)| \le W_2(\mu, \nu)$ for $e(\mu, x) = D_2(x)^{1/2}$, every codebook $x$",
    reference="liu2020",
    laws=FINITE,
)
def quantization_error_is_lipschitz_in_the_law(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|e(\mu, x) - e(\nu, x)| \le W_2(\mu, \nu)$ for ν the empirical measure of as many draws of μ.

    Slack: $\gamma_{2n+d+8}$ of either distortion and the network simplex's error of $W_2^2$, each carried through the root.
    """
    rng = np.random.default_rng(seed)
    return _compare(law, qz.DiscreteMeasure(law.sample(law.size, rng)), codebook(law, k, rng), constant=1.0)


@quantization_error_is_lipschitz_in_the_law.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The constant ½ in place of 1, for a translation towards a codebook far away: there $e$ falls by nearly all of $W_2$."""
    rng = np.random.default_rng(seed)
    points, weights = host(law)
    towards = rng.standard_normal(law.dim)
    towards *= coordinate_std(law) / np.linalg.norm(towards)
    return _compare(law, qz.DiscreteMeasure(points + towards, weights), codebook(law, k, rng) + 1e3 * towards, constant=0.5)


def _compare(mu: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, codes: FloatArray, *, constant: float) -> Evidence:
    of_mu, of_nu = (qz.distortion(law, codes, rng=0).value for law in (mu, nu))
    distance = qz.wasserstein(mu, nu)
    slack = root_error(distance**2, transport_round_off(mu.size, nu.size, largest_cost(mu, nu)))
    slack += sum(root_error(value, round_off(2 * mu.size + mu.dim + 8, value)) for value in (of_mu, of_nu))
    return Evidence(abs(of_mu**0.5 - of_nu**0.5), constant * distance, slack)


@claim(
    statement=r"$e(\mu, x_n) \le e(\mu, x^*) + 2 W_2(\mu_n, \mu)$ where $x_n$ does no worse than $x^*$ on $\mu_n$",
    reference="liu2020",
    laws=FINITE,
)
def empirical_codebooks_are_consistent(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$e(\mu, x_n) \le e(\mu, x^*) + 2 W_2(\mu_n, \mu)$, $\mu_n$ of as many draws, $x_n$ what Lloyd makes of $x^*$ on $\mu_n$.

    $e(\mu, x_n) \le e(\mu_n, x_n) + W_2 \le e(\mu_n, x^*) + W_2 \le e(\mu, x^*) + 2 W_2$. Slack: $\gamma_{2n+d+8}$ of either
    distortion and the network simplex's error of $W_2^2$, each carried through the root; $\gamma_{2n+d+8}$ of the descent.
    """
    best, empirical = _best_and_empirical(law, k, seed)
    found = qz.quantize(empirical, k, init=best, solver=qz.Lloyd(), max_iter=50, rng=0)
    return _excess(law, empirical, best, np.asarray(found.measure.points))


@empirical_codebooks_are_consistent.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""A codebook that does worse than $x^*$ on $\mu_n$, being a hundred spreads away."""
    best, empirical = _best_and_empirical(law, k, seed)
    return _excess(law, empirical, best, best + 100 * coordinate_std(law))


def _best_and_empirical(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[FloatArray, qz.DiscreteMeasure]:
    """A stationary codebook of the law, and the empirical measure of draws, of at least k points."""
    rng = np.random.default_rng(seed)
    best = np.asarray(qz.quantize(law, k, solver=qz.Lloyd(), rng=seed, max_iter=2000).measure.points)
    chosen = np.concatenate([np.arange(law.size), rng.choice(law.size, 4 * law.size, p=np.asarray(law.weights))])
    return best, qz.DiscreteMeasure(np.asarray(law.points)[chosen])


def _excess(mu: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, best: FloatArray, found: FloatArray) -> Evidence:
    values = [qz.distortion(mu, codes, rng=0).value for codes in (best, found)]
    distance = qz.wasserstein(mu, nu)
    slack = 2 * root_error(distance**2, transport_round_off(mu.size, nu.size, largest_cost(mu, nu)))
    slack += 2 * sum(root_error(value, round_off(2 * nu.size + mu.dim + 8, value)) for value in values)
    return Evidence(values[1] ** 0.5, values[0] ** 0.5 + 2 * distance, slack)


_SAMPLES = 600
_SIZES = (2000, 8000)


@claim(
    statement=r"$n\,E[D_2(x_n) - D_2^*] \to \operatorname{tr}(H^{-1} S)$ for the optimum $x_n$ of n draws on the line",
    reference="pollard1982",
    laws=replace(ELEMENTARY, codes=(3, 4)),
    effort=Effort(tests=1, quick=1, full=12),
    random=True,
)
def empirical_excess_is_of_order_one_over_n(law: Any, k: int, seed: int) -> Evidence:
    r"""$|n E[D(x_n) - D^*] / \operatorname{tr}(H^{-1} S) - 1| = 0$ at n = 8000 over 600 samples, $x_n$ the exact optimum of
    each.

    $\sqrt n (x_n - x^*) \to N(0, H^{-1} S H^{-1})$, $H = \tfrac12 \nabla^2 D$, $S_{kk} = E[\mathbf 1_{V_k}(x_k - X)^2]$ in
    closed form. Slack: the remainder falls at least like $n^{-1/2}$, so that it is at most the change from n = 2000 to 8000;
    the standard errors over the samples of the ratio and of that change, the level shared out over both.
    """
    return _order(law, k, seed, limit=1.0)


@empirical_excess_is_of_order_one_over_n.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""The limit $K \operatorname{tr}(H^{-1} S)$, as if each code had $n/K$ draws to itself."""
    return _order(law, k, seed, limit=float(k))


def _order(law: Any, k: int, seed: int, *, limit: float) -> Evidence:
    codes = line.ordered(qz.quantize(law, k, rng=0).require().measure.points)
    local = line.local_distortions(law, codes)
    constant = float(np.trace(np.linalg.solve(line.half_hessian(law, codes), np.diag(local))))
    few, many = (excesses / constant for excesses in _excesses(law, k, seed, float(local.sum())))
    slack = remainder(float(few.mean()), float(many.mean()), order=0.5, ratio=4)
    slack += monte_carlo(float(many.std() + np.hypot(many.std(), few.std())) / (_SAMPLES - 1) ** 0.5, among=2)
    curve = Curve(
        "n", "$n (D(x_n) - D^*) / tr(H^{-1}S)$", tuple(map(float, _SIZES)), {"mean": (float(few.mean()), float(many.mean()))}
    )
    return equal(float(many.mean()), limit, slack).drawn(curve)


@lru_cache(maxsize=4)
def _excesses(law: Any, k: int, seed: int, least: float) -> tuple[FloatArray, FloatArray]:
    """n (D(x_n) − D*) over the samples, for either n."""
    rng, found = np.random.default_rng([seed, 2]), list[FloatArray]()
    for n in _SIZES:
        samples = law.rvs((_SAMPLES, n, 1), random_state=rng)
        codes = np.array([line.ordered(qz.quantize(x, k, rng=0).measure.points) for x in samples])
        found.append(n * (line.local_distortions(law, codes).sum(-1) - least))
    return found[0], found[1]
