r"""Gaussians, whose distances and barycenters are known in closed form, and laws against points of prescribed masses."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from quantization.priced_cells import transport_bounds
from theory_checks.cells import codebook, host, largest_cost
from theory_checks.chance import LEVEL
from theory_checks.claim import CHEAP, Effort, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE, MIXTURES
from theory_checks.laws.mixtures import MIXTURE_KINDS
from theory_checks.rounding import round_off, transport_round_off

FloatArray = NDArray[np.float64]
_ONE = "one Gaussian"
_GAUSSIANS = replace(MIXTURES, words="Gaussians on R^d", kinds={_ONE: MIXTURE_KINDS[_ONE]}, sizes=(1,))
_PLANAR = replace(MIXTURES, words="Gaussian mixtures in the plane", dims=(2,))
_SOME = Effort(tests=2, quick=6, full=24)


def _definite(rng: np.random.Generator, d: int, low: float, high: float) -> FloatArray:
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (basis * rng.uniform(low, high, d)) @ basis.T


def _rounding(magnitude: float) -> float:
    r"""$\gamma_{2000}$: integrals over cells and products of matrices are sums of some hundreds of terms, at most 64 twice."""
    return round_off(2000, magnitude)


@claim(
    statement=r"$W_2^2(N(m, C), N(Tm + b, TCT)) = |(T - I) m + b|^2 + \operatorname{tr} (T - I) C (T - I)$ for $T$ positive "
    r"definite",
    reference="gelbrich1990",
    laws=_GAUSSIANS,
    effort=CHEAP,
)
def linear_maps_of_gaussians_are_optimal(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""The closed form against the cost of the map $x \mapsto Tx + b$, the gradient of a convex function.

    Slack: entries of TCT are off by $\gamma_{2d+8}$ of $|T|^2 \operatorname{tr} C$, and $\partial W_2^2 / \partial C_2 = I -
    T^{-1}$ has norm at most 3 for eigenvalues of T from ½ to 2: $3 d\,\gamma_{2d+8}\,4 \operatorname{tr} C$ and the rounding of
    either side, all below $\gamma_{2000 d}$ of what is added.
    """
    return _mapped(law, seed, sign=1.0)


@linear_maps_of_gaussians_are_optimal.control
def _(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    """A negative definite T, whose map is the gradient of a concave function: the dearest way."""
    return _mapped(law, seed, sign=-1.0)


def _mapped(law: qz.GaussianMixture, seed: int, *, sign: float) -> Evidence:
    rng, d = np.random.default_rng(seed), law.dim
    mean, cov = law.means[0], law.covs[0]
    t, b = sign * _definite(rng, d, 0.5, 2.0), rng.standard_normal(d)
    image = t @ cov @ t.T
    found = qz.transport(qz.Gaussian(mean, cov), qz.Gaussian(t @ mean + b, (image + image.T) / 2))
    move = t - np.eye(d)
    cost = float(np.square(move @ mean + b).sum() + np.trace(move @ cov @ move.T))
    return equal(found.cost, cost, d * _rounding(16 * float(np.trace(cov) + mean @ mean + b @ b)) + found.gap)


@claim(
    statement=r"$W_2^2\bigl(\mu, \sum_k \mu(V_k)\,\delta_{x_k}\bigr) = \sum_k \int_{V_k} |y - x_k|^2\,d\mu$ for the power cells "
    r"$V_k$ of any codes and prices",
    reference="kitagawa2019",
    laws=FINITE,
)
def power_cells_are_transported_optimally(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The cost of $y \mapsto \arg\min_k |y - x_k|^2 - p_k$ against exact transport to the masses that this map sends.

    Slack: the network simplex's, twice, for the masses are sums too.
    """
    codes, costs, rng = *_costs(law, k, seed), np.random.default_rng([seed, 2])
    prices = float(costs.mean()) * rng.standard_normal(k)
    return _sent(law, codes, costs, (costs - prices).argmin(1))


@power_cells_are_transported_optimally.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Points sent to codes at random, as if every map were optimal between a law and its image."""
    codes, costs = _costs(law, k, seed)
    return _sent(law, codes, costs, np.random.default_rng([seed, 3]).integers(k, size=law.size))


def _costs(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[FloatArray, FloatArray]:
    codes = codebook(law, k, np.random.default_rng(seed))
    return codes, np.square(host(law)[0][:, None] - codes).sum(2)


def _sent(law: qz.DiscreteMeasure, codes: FloatArray, costs: FloatArray, labels: NDArray[np.intp]) -> Evidence:
    weights = host(law)[1]
    nu = qz.DiscreteMeasure.from_unnormalized(codes, np.bincount(labels, weights, minlength=len(codes)))
    cost = float(weights @ costs[np.arange(law.size), labels])
    return equal(qz.transport(law, nu).cost, cost, 2 * transport_round_off(law.size, len(codes), largest_cost(law, nu)))


@claim(
    statement=r"$D_2(x) \le W_2^2(\mu, \nu_w)$ for $\nu_w = \sum_k w_k \delta_{x_k}$ with any $w$, equal at $w_k = \mu(V_k)$; "
    r"and $|W_2(\mu, \nu_w) - W_2(\mu, \nu_{w'})| \le W_2(\nu_w, \nu_{w'})$",
    reference="graf2000",
    laws=_PLANAR,
    effort=_SOME,
)
def masses_that_are_prescribed_cost_more(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    """Random codes and masses in the plane, where cells are integrated exactly.

    Slack: $\\gamma_{2000}$ of either squared distance, and of the largest |y − x|² within eight deviations for the masses at
    hand, which are cells' to 1e-15; for distances through their roots.
    """
    return _prescribed(law, k, seed, true=True)


@masses_that_are_prescribed_cost_more.control
def _(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    """The costs of all masses taken to be equal."""
    return _prescribed(law, k, seed, true=False)


def _prescribed(law: qz.GaussianMixture, k: int, seed: int, *, true: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    codes = law.sample(k, rng)
    own = qz.quantize(law, k, init=codes, solver=qz.Lloyd(), max_iter=0, rng=0).measure
    given = [qz.DiscreteMeasure(own.points, rng.dirichlet(np.ones(k))) for _ in range(2)]
    distortion = qz.distortion(law, own.points).value
    costs = [qz.transport(law, nu).cost for nu in (own, *given)]
    slack = _rounding(64 * float(np.trace(law.cov)) + float(np.square(codes - law.mean).sum(1).max()))
    if not true:
        return equal(costs[1], distortion, slack)
    roots = np.sqrt(costs)
    apart = abs(float(roots[1] - roots[2]))
    return worst(
        [
            equal(costs[0], distortion, slack),
            *(Evidence(distortion, cost, slack) for cost in costs[1:]),
            Evidence(apart, qz.wasserstein(*given), 2 * slack / float(roots.min())),
        ]
    )


@claim(
    statement=r"$E \min_k (|X - x_k|^2 - p_k) + \sum_k w_k p_k \le W_2^2(\mu, \sum_k w_k \delta_{x_k}) \le$ the cost of sending "
    r"the cells of any prices $p$ on to their codes, by shares that give these the masses $w$",
    reference="kitagawa2019",
    laws=_PLANAR,
    effort=_SOME,
    random=True,
)
def draws_bound_the_transport_to_given_masses(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""The ends of both intervals, from draws, each of half the level of a comparison, around the exact cost by power cells.

    Random codes, prices and masses. Slack: that of the exact cost, and $2^{-10}$ of it for what the shares, known from as many
    draws, miss the masses by, which prices pay to first order alone.
    """
    return _bounded(law, k, seed, true=True)


@draws_bound_the_transport_to_given_masses.control
def _(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    """The other way round: as if no coupling cost less than these, and no prices gave more."""
    return _bounded(law, k, seed, true=False)


def _bounded(law: qz.GaussianMixture, k: int, seed: int, *, true: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    codes, masses = law.sample(k, rng), rng.dirichlet(np.ones(k))
    prices = 0.1 * float(np.trace(law.cov)) * rng.standard_normal(k)
    exact = qz.transport(law, qz.DiscreteMeasure(codes, masses)).cost

    def draws(rng: np.random.Generator) -> list[FloatArray]:
        return [law.sample(2**14, rng)]

    found = transport_bounds(law, draws, codes, masses, prices, rng, 1 - LEVEL / 2)
    slack = _rounding(64 * float(np.trace(law.cov)) + float(np.square(codes - law.mean).sum(1).max())) + 2.0**-10 * exact
    low, high = (found.dual.low, found.upper.high) if true else (found.upper.high, found.dual.low)
    return worst([Evidence(low, exact, slack), Evidence(exact, high, slack)])


@claim(
    statement=r"for Gaussians $T_j{}_\# N(m, S)$ with $\sum_j \lambda_j T_j = I$ the barycenter is $N(m, S)$, and $F_\infty \le "
    r"F(\nu) \le F_\infty + D_2(x)$ for its quantizer $\nu$",
    reference="alvarez2016",
    laws=replace(_GAUSSIANS, dims=(2,)),
    effort=_SOME,
)
def barycenters_of_gaussians_lie_between_their_bounds(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""$F_\infty = \sum_j \lambda_j \operatorname{tr} (T_j - I) S (T_j - I)$ and F of the answer, by power cells, both exact.

    The answer says the upper value, $F_\infty + D_2(x)$. Slack: the gap that the answer reports beyond $D_2(x)$, and
    $\gamma_{2000}$ of $F_\infty + D_2(x)$ and the second moments.
    """
    return _between(law, k, seed, bound=1.0)


@barycenters_of_gaussians_lie_between_their_bounds.control
def _(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""$F \le \tfrac12 F_\infty$, as if codes could bring the measures nearer to each other."""
    return _between(law, k, seed, bound=0.5)


def _between(law: qz.GaussianMixture, k: int, seed: int, *, bound: float) -> Evidence:
    rng, mean, cov = np.random.default_rng(seed), law.means[0], law.covs[0]
    share, one = rng.uniform(0.3, 0.7), _definite(rng, 2, 0.2, 1.2)
    maps, shares = [one, (np.eye(2) - share * one) / (1 - share)], np.array([share, 1 - share])
    laws = [qz.Gaussian(mean, t @ cov @ t) for t in maps]
    limit = float(sum(s * np.trace((t - np.eye(2)) @ cov @ (t - np.eye(2))) for s, t in zip(shares, maps, strict=True)))
    sol = qz.barycenter(laws, k, mixing=shares, init="k-means++", rng=seed)
    distortion = qz.distortion(qz.Gaussian(mean, cov), sol.points).value
    value = float(sum(s * qz.transport(mu, sol.measure).cost for s, mu in zip(shares, laws, strict=True)))
    slack = max(sol.distortion_gap - distortion, 0.0) + _rounding(limit + distortion + float(np.trace(cov) + mean @ mean))
    if bound < 1:
        return Evidence(value, bound * limit, slack)
    return worst(
        [
            Evidence(limit, value, slack),
            Evidence(value, limit + distortion, slack),
            equal(sol.distortion, limit + distortion, slack),
        ]
    )
