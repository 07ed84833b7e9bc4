r"""Barycenters, $\min_\nu F(\nu) = \sum_j \lambda_j W_2^2(\mu_j, \nu)$ over ν on K points: what is known of them exactly."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host, largest_cost, partition
from theory_checks.claim import MODERATE, Effort, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.rounding import round_off, transport_round_off

FloatArray = NDArray[np.float64]
_MEASURES = 3
_SOME = Effort(tests=3, quick=9, full=72)


def _relatives(
    law: qz.DiscreteMeasure, rng: np.random.Generator
) -> tuple[list[qz.DiscreteMeasure], FloatArray, qz.DiscreteMeasure]:
    r"""Images $A_j{}_\# \mu$ under commuting positive definite maps, their shares λ, and their barycenter $(\sum_j \lambda_j
    A_j)_\# \mu$.

    Each $A_j (\sum_i \lambda_i A_i)^{-1}$ is the gradient of a convex function and they average to the identity, as for
    Gaussians with commuting covariances; source: agueh2011.
    """
    points, weights = host(law)
    basis = np.linalg.qr(rng.standard_normal((law.dim, law.dim)))[0]
    maps = [basis @ np.diag(rng.uniform(0.5, 2, law.dim)) @ basis.T for _ in range(_MEASURES)]
    shifts, shares = rng.standard_normal((_MEASURES, law.dim)), rng.dirichlet(np.ones(_MEASURES))
    images = [points @ a + b for a, b in zip(maps, shifts, strict=True)]
    mean = np.einsum("j,jnd->nd", shares, np.stack(images))
    return [qz.DiscreteMeasure(image, weights) for image in images], shares, qz.DiscreteMeasure(mean, weights)


def _objective(measures: list[qz.DiscreteMeasure], shares: FloatArray, nu: qz.DiscreteMeasure) -> float:
    return sum(float(share) * qz.transport(mu, nu).cost for mu, share in zip(measures, shares, strict=True))


def _rounding(measures: list[qz.DiscreteMeasure], nu: qz.DiscreteMeasure) -> float:
    return max(2 * transport_round_off(mu.size, nu.size, largest_cost(mu, nu)) for mu in measures)


@claim(
    statement=r"with one measure and free weights the barycenter is the quantizer: $F(\nu) = D_2(x)$, $w_k = \mu(V_k)$",
    reference="cuturi2014",
    laws=FINITE,
    effort=_SOME,
)
def one_measure_is_quantized(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""F of the answer, by exact transport, against D of its points; its weights against their cell masses; and $\|\nabla D\|$.

    Slack: the network simplex's, $\gamma_{2n+d+8} D$, and $\gamma_{n+8}$ for masses. Where the residual s that the solution
    reports is at most 1e-6, $\|\nabla D\| \le 2 s \sqrt D$; twice $\gamma_{n+8}$ of $2 \sqrt D$ for its sums (see
    :func:`~theory_checks.claims.lloyd.converged_codebooks_are_stationary`).
    """
    sol = qz.barycenter([law], k, atom_weights="free", solver=qz.Lloyd(rtol=1e-6), rng=seed, max_iter=2000).require()
    return _quantizer(law, sol.measure, sol.distortion)


@one_measure_is_quantized.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Uniform weights, which are those of a clustering into equal parts."""
    sol = qz.barycenter([law], k, atom_weights="uniform", rng=seed)
    return _quantizer(law, sol.measure, sol.distortion)


def _quantizer(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, value: float) -> Evidence:
    distortion = qz.distortion(law, nu.points, rng=0).value
    slack = _rounding([law], nu) + round_off(2 * law.size + law.dim + 8, distortion)
    masses = np.abs(host(law.project(nu.points))[1] - host(nu)[1]).max()
    gradient = float(np.linalg.norm(partition(law, host(nu)[0]).gradient))
    return worst(
        [
            equal(value, distortion, slack),
            equal(qz.transport(law, nu).cost, distortion, slack),
            Evidence(float(masses), 0.0, round_off(law.size + 8, 1.0)),
            Evidence(gradient, 2e-6 * distortion**0.5, 2 * round_off(law.size + 8, 2 * distortion**0.5)),
        ]
    )


@claim(
    statement=r"free weights do no worse than uniform ones, $F^{\text{free}}_K \le F^{\text{unif}}_K$, and `distortion` is "
    r"$F$ itself",
    reference="cuturi2014",
    laws=replace(FINITE, dims=(1, 2, 3, 6)),
    effort=_SOME,
)
def free_weights_do_no_worse(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The answer with free weights, from the uniform answer, against that; both objectives recomputed by exact transport.

    A run ends no higher than it starts. Slack: the network simplex's, for every measure and either answer.
    """
    return _free_and_uniform(law, k, seed, turned=False)


@free_weights_do_no_worse.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Codes at random with weights at random, taken to do no worse than either."""
    return _free_and_uniform(law, k, seed, turned=True)


def _free_and_uniform(law: qz.DiscreteMeasure, k: int, seed: int, *, turned: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    measures, shares, middle = _relatives(law, rng)
    uniform = qz.barycenter(measures, k, mixing=shares, atom_weights="uniform", rng=seed)
    free = qz.barycenter(measures, k, mixing=shares, atom_weights="free", init=uniform, rng=seed)
    slack = _rounding(measures, uniform.measure)
    if turned:
        rival = qz.DiscreteMeasure(codebook(middle, k, rng), rng.dirichlet(np.ones(k)))
        return Evidence(_objective(measures, shares, rival), free.distortion, slack)
    values = [_objective(measures, shares, sol.measure) for sol in (free, uniform)]
    return worst(
        [
            Evidence(values[0], values[1], slack),
            *(equal(sol.distortion, value, slack) for sol, value in zip((free, uniform), values, strict=True)),
        ]
    )


@claim(
    statement=r"$F_\infty \le F_K \le F_\infty + D_K(\nu^*)$ for images of one law under commuting positive definite maps; "
    r"on the line "
    r"$F_K = F_\infty + D_K(\nu^*)$",
    reference="agueh2011",
    laws=replace(FINITE, dims=(1, 2, 3, 6)),
    effort=_SOME,
)
def barycenters_lie_between_their_bounds(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""F of an answer of its own, and with the best weights on the codes of the quantizer of ν*; $F_\infty$ and ν* in closed
    form.

    $F_\infty = \sum_j \lambda_j E|A_j X - \bar A X|^2 \le F$ for either. The quantizer x of ν* has $F \le F_\infty + D(x;
    \nu^*)$ with its cell masses (send what ν* sends to $x_k$), and the best weights do no worse. On the line, where quantiles
    are averaged, no codes at all have less than $F_\infty + D_K(\nu^*)$. Slack: the network simplex's and $\gamma_{2n+d+20}$ of
    $F_\infty$; the gap in the weights that the solution certifies; on the line, where the optimum of ν* is known to Lloyd's
    residual s, $K^2 s^2 D$, K² bounding the inverse curvature.
    """
    return _between(law, k, seed, true=True)


@barycenters_lie_between_their_bounds.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$F_K \le \tfrac12 F_\infty$, as if codes could bring the measures nearer to each other."""
    return _between(law, k, seed, true=False)


def _between(law: qz.DiscreteMeasure, k: int, seed: int, *, true: bool) -> Evidence:
    measures, shares, middle = _relatives(law, np.random.default_rng(seed))
    limit = sum(
        float(s) * float(host(law)[1] @ np.square(host(mu)[0] - host(middle)[0]).sum(1))
        for mu, s in zip(measures, shares, strict=True)
    )
    quantizer = qz.quantize(middle, k, rng=seed)
    answer = qz.barycenter(measures, k, mixing=shares, rng=seed)
    weighted = qz.barycenter(measures, mixing=shares, points=quantizer.measure.points, rng=seed)
    own, value = (_objective(measures, shares, sol.measure) for sol in (answer, weighted))
    slack = _rounding(measures, weighted.measure) + round_off(2 * law.size + law.dim + 20, 2 * limit + 2 * value)
    bound = limit + quantizer.distortion if true else limit / 2
    found = [Evidence(limit, min(own, value), slack), Evidence(value, bound, slack + weighted.masses_gap)]
    if law.dim == 1 and true:
        found.append(Evidence(bound, min(own, value), slack + (k * quantizer.stationarity) ** 2 * quantizer.distortion))
    return worst(found)


@claim(
    statement=r"the best weights on given points p between two measures are one transport, of costs "
    r"$\min_k (\lambda_1 |x_i - p_k|^2 + \lambda_2 |y_l - p_k|^2)$, whatever the masses",
    reference="agueh2011",
    laws=FINITE,
    effort=_SOME,
)
def two_measures_on_given_points_are_one_transport(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""F of the answer against that transport's cost, between a law and its image with masses that span many decades.

    A plan of the transport sends each pair (i, l) by way of one point, and plans with a common marginal glue to one. Slack: the
    gap in the weights that the solution reports, and the network simplex's for either.
    """
    return _glued(law, k, seed, true=True)


@two_measures_on_given_points_are_one_transport.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Each pair by way of the point that costs the most."""
    return _glued(law, k, seed, true=False)


def _glued(law: qz.DiscreteMeasure, k: int, seed: int, *, true: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    x, a = host(law)
    y: FloatArray = x[::-1] + rng.standard_normal(law.dim)
    b = np.maximum(rng.dirichlet(np.full(law.size, 0.05)), 1e-300)
    points, share = codebook(law, k, rng), float(rng.uniform(0.2, 0.8))
    measures = [law, qz.DiscreteMeasure.from_unnormalized(y, b)]
    sol = qz.barycenter(measures, points=points, mixing=[share, 1 - share], rng=seed)
    to_x, to_y = (np.square(z[:, None, :] - points).sum(2) for z in (x, y))
    both: FloatArray = share * to_x[:, None, :] + (1 - share) * to_y[None, :, :]
    costs: FloatArray = both.min(2) if true else both.max(2)
    plan, _, _ = qz.NetworkSimplex().plan(a, host(measures[1])[1], costs)
    slack = 2 * _rounding(measures, sol.measure) + transport_round_off(law.size, law.size, float(costs.max()))
    return equal(sol.distortion, float(np.vdot(plan, costs)), slack + sol.masses_gap)


@claim(
    statement=r"$F(\nu) = F_\infty + W_2^2(\bar\nu, \nu)$ on the line for every ν, $\bar\nu$ of quantile function "
    r"$\sum_j \lambda_j Q_j$",
    reference="agueh2011",
    laws=replace(FINITE, dims=(1,)),
    effort=MODERATE,
)
def on_the_line_the_barycenter_is_projected(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""F of codes and weights at random by exact transports, against the sum; and the answer of ``barycenter`` against $F_\infty$
    and the quantizer of $\bar\nu$ alone.

    $L^2(0, 1)$ is a Hilbert space: $\sum_j \lambda_j \Vert Q_j - Q \Vert^2 = \sum_j \lambda_j \Vert Q_j - \bar Q \Vert^2 + \Vert
    \bar Q - Q \Vert^2$. Slack: the sorted transports', and $\gamma_{4N+40}$ of twice the largest cost for integrals of products
    of quantiles, N atoms in all.
    """
    return _projected(law, k, seed, quantiles=True)


@on_the_line_the_barycenter_is_projected.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The mixture $\sum_j \lambda_j \mu_j$ in the place of $\bar\nu$."""
    return _projected(law, k, seed, quantiles=False)


def _projected(law: qz.DiscreteMeasure, k: int, seed: int, *, quantiles: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    points, weights = host(law)
    shares = 0.1 + 0.7 * rng.dirichlet(np.ones(3))
    reach = float(np.ptp(points)) + 1.0  # apart, so that the mixture is not nearly the mean
    measures = [
        law,
        qz.DiscreteMeasure(2 * points[::-1] + reach, weights),
        qz.DiscreteMeasure(points - reach, rng.dirichlet(np.ones(law.size))),
    ]
    if quantiles:
        mean = _mean_of_quantiles(measures, shares)
    else:
        parts = [(host(mu)[0], share * host(mu)[1]) for mu, share in zip(measures, shares, strict=True)]
        mean = qz.DiscreteMeasure.from_unnormalized(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    limit = _objective(measures, shares, mean)
    nu = qz.DiscreteMeasure(codebook(law, k, rng), rng.dirichlet(np.ones(k)))
    slack = 2 * sum(_rounding([mu], nu) + _rounding([mu], mean) for mu in measures)
    slack += round_off(4 * 3 * law.size + 40, 2 * max(largest_cost(mu, nu) + largest_cost(mu, mean) for mu in measures))
    found = [equal(_objective(measures, shares, nu), limit + qz.transport(mean, nu).cost, slack)]
    if quantiles:
        sol = qz.barycenter(measures, k, mixing=shares, rng=seed)
        found.append(equal(sol.distortion, limit + qz.quantize(mean, k, rng=seed).distortion, slack))
    return worst(found)


def _mean_of_quantiles(measures: list[qz.DiscreteMeasure], shares: FloatArray) -> qz.DiscreteMeasure:
    """Atoms between all levels at which one of the quantile functions has a step."""
    ends = [np.append(np.cumsum(host(mu)[1][np.argsort(host(mu)[0][:, 0])])[:-1], 1.0) for mu in measures]
    levels = np.unique(np.append(0.0, np.concatenate(ends)))
    middles = (levels[1:] + levels[:-1]) / 2
    steps = [np.sort(host(mu)[0][:, 0])[np.searchsorted(end, middles)] for mu, end in zip(measures, ends, strict=True)]
    return qz.DiscreteMeasure.from_unnormalized((shares @ np.stack(steps))[:, None], np.diff(levels))


@claim(
    statement=r"on the line uniform weights give $x_k = K \int_{(k-1)/K}^{k/K} \bar Q$, $\bar Q = \sum_j \lambda_j Q_j$ the "
    r"average of "
    r"the quantile functions",
    reference="agueh2011",
    laws=replace(FINITE, dims=(1,)),
    effort=_SOME,
)
def quantiles_are_averaged_on_the_line(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\max_k |x_k - K \int \bar Q|$ for three unrelated measures on the line.

    $F(x) = \text{const} + \frac1K \sum_k |x_k - K \int \bar Q|^2$ for ordered codes, whose minimum is one, and where a
    fixed-point step lands. Slack: at the residual s that the solution reports, relative to the root of F, $|x_k - K \int \bar
    Q| \le s \sqrt{K F}$; a plan whose cost is off by the simplex's ε moves codes by at most $\sqrt{K \varepsilon}$; quantile
    integrals are sums of at most n + K terms, $\gamma_{2n+2K}$ of K times the largest point.
    """
    return _quantiles(law, k, seed, averaged=True)


@quantiles_are_averaged_on_the_line.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Distribution functions averaged in place of quantiles: the codes of the mixture."""
    return _quantiles(law, k, seed, averaged=False)


def _quantiles(law: qz.DiscreteMeasure, k: int, seed: int, *, averaged: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    points, weights = host(law)
    turned, drawn = 2 * points[::-1] + 1, rng.dirichlet(np.ones(law.size))
    measures = [law, qz.DiscreteMeasure(turned, weights), qz.DiscreteMeasure(points, drawn)]
    shares = 0.1 + 0.7 * rng.dirichlet(np.ones(3))
    sol = qz.barycenter(measures, k, mixing=shares, atom_weights="uniform", solver=qz.FixedPoint(rtol=1e-9), rng=seed)
    codes = np.sort(host(sol.measure)[0][:, 0])
    if averaged:
        expected = np.einsum("j,jk->k", shares, np.stack([_block_means(mu, k) for mu in measures]))
    else:
        parts = [(host(mu)[0], share * host(mu)[1]) for mu, share in zip(measures, shares, strict=True)]
        union = qz.DiscreteMeasure(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        expected = _block_means(union, k)
    largest = max(float(np.abs(host(mu)[0]).max()) for mu in measures)
    slack = round_off(2 * 3 * law.size + 2 * k, 4 * k * largest) + sol.stationarity * (k * sol.distortion) ** 0.5
    slack += (k * _rounding(measures, sol.measure)) ** 0.5
    return Evidence(float(np.abs(codes - expected).max()), 0.0, slack)


def _block_means(mu: qz.DiscreteMeasure, k: int) -> FloatArray:
    r"""$K \int_{(k-1)/K}^{k/K} Q$ for k = 1..K, Q the quantile function of a finite measure on the line."""
    points, weights = host(mu)
    order = np.argsort(points[:, 0], kind="stable")
    ends = np.concatenate([[0.0], np.cumsum(weights[order])])
    ends[-1] = 1.0
    integral = np.concatenate([[0.0], np.cumsum(np.diff(ends) * points[order, 0])])
    return k * np.diff(np.interp(np.arange(k + 1) / k, ends, integral))
