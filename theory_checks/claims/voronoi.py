"""Voronoi cells: the gradient of the distortion, and the masses as the weights that belong to a codebook."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import gap, host, largest_cost, partition
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, monte_carlo, round_off, transport_round_off, worst
from theory_checks.laws import FINITE, MIXTURES, codebook, spread

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$\nabla_k D_2(x) = 2\,E[\mathbf{1}_{V_k(x)}(X)\,(x_k - X)]$ where $\mu$ does not charge the cells' boundaries",
    reference="graf2000",
    laws=FINITE,
)
def gradient_of_the_distortion(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$D(p) - D(m) = \langle \nabla D(\tfrac{p+m}{2}), p - m \rangle$ for codebooks m and p between which no cell changes.

    With cells fixed D is quadratic, so the central difference has no truncation error. Slack: D(p) and D(m) are sums of n
    squares of d differences, $\gamma_{n+d+8}$ relative; so is the product, at most $2 \sqrt{D}\,\max_k |p_k - m_k|$ by Cauchy
    and Schwarz; the rounding of the midpoint moves it by at most $2 u \max_k |x_k| \max_k |p_k - m_k|$.
    """
    return _central_difference(law, k, seed, factor=1.0)


@gradient_of_the_distortion.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The gradient of $\tfrac12 D_2$ taken for that of $D_2$."""
    return _central_difference(law, k, seed, factor=0.5)


def _central_difference(law: qz.DiscreteMeasure, k: int, seed: int, *, factor: float) -> Evidence:
    rng = np.random.default_rng(seed)
    codes = codebook(law, k, rng)
    gradient, noise = partition(law, codes).gradient, rng.standard_normal(codes.shape)
    direction = gradient / np.linalg.norm(gradient) + 0.5 * noise / np.linalg.norm(noise)
    step = min(gap(law, codes) / 4, spread(law)) * direction
    plus, minus = codes + step, codes - step
    d_plus, d_minus = (qz.distortion(law, x).value for x in (plus, minus))
    slope = factor * float((partition(law, (plus + minus) / 2).gradient * (plus - minus)).sum())
    reach = float(np.sqrt(np.square(plus - minus).sum(1).max()))
    size = 2 * max(d_plus, d_minus) ** 0.5 * reach
    midpoint = round_off(2, float(np.abs(codes).max()) * law.dim**0.5) * reach
    slack = round_off(law.size + law.dim + 8, d_plus + d_minus + size) + midpoint
    return Evidence(abs(d_plus - d_minus - slope), 0.0, slack)


@claim(
    statement=r"$W_2^2\bigl(\mu, \sum_k \mu(V_k)\,\delta_{x_k}\bigr) = D_2(x)$ for every codebook $x$",
    reference="graf2000",
    laws=FINITE,
)
def distortion_is_a_transport_cost(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|W_2^2(\mu, \mu\text{ projected on }x) - D_2(x)| = 0$, the left side by exact transport.

    Slack: that of the network simplex (:func:`~theory_checks.evidence.transport_round_off`), and $\gamma_{2n+d+8} D$ for the
    sum of n weighted squares and the renormalized weights.
    """
    return _cost_against_distortion(law, law.project(codebook(law, k, np.random.default_rng(seed))))


@distortion_is_a_transport_cost.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The same codes, all of weight 1/K."""
    return _cost_against_distortion(law, qz.DiscreteMeasure(codebook(law, k, np.random.default_rng(seed))))


def _cost_against_distortion(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure) -> Evidence:
    distortion = qz.distortion(law, nu.points).value
    slack = transport_round_off(law.size, nu.size, largest_cost(law, nu)) + round_off(2 * law.size + law.dim + 8, distortion)
    return Evidence(abs(qz.transport(law, nu).cost - distortion), 0.0, slack)


@claim(
    statement=r"$W_2(\mu, \sum_k \mu(V_k)\,\delta_{x_k}) \le W_2(\mu, \sum_k w_k\,\delta_{x_k})$ for all weights $w$",
    reference="graf2000",
    laws=FINITE,
)
def cell_masses_are_the_best_weights(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$W_2^2$ with the cell masses is at most $W_2^2$ with uniform weights, and with random ones.

    Slack: that of the network simplex, for either cost.
    """
    rng = np.random.default_rng(seed)
    masses = law.project(codebook(law, k, rng))
    rivals = (qz.DiscreteMeasure(masses.points, w) for w in (None, rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))))
    return worst(_no_worse(law, masses, rival) for rival in rivals)


@cell_masses_are_the_best_weights.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Uniform weights taken for the best."""
    masses = law.project(codebook(law, k, np.random.default_rng(seed)))
    return _no_worse(law, qz.DiscreteMeasure(masses.points), masses)


def _no_worse(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, rival: qz.DiscreteMeasure) -> Evidence:
    slack = 2 * transport_round_off(law.size, nu.size, largest_cost(law, nu))
    return Evidence(qz.transport(law, nu).cost, qz.transport(law, rival).cost, slack)


@claim(
    statement=r"$E|X|^2 = \sum_k \mu(V_k)\,|x_k|^2 + D_2(x)$ for a stationary codebook $x$",
    reference="pages2015",
    laws=FINITE,
)
def stationary_codebooks_split_the_second_moment(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|E|X|^2 - \sum_k w_k |x_k|^2 - D| = 0$ at the codebook that Lloyd's algorithm calls converged.

    Slack: for any codebook the difference is $2 \sum_k w_k \langle x_k, E[X|V_k] - x_k \rangle$, at most $2 s \sqrt{D \sum_k
    w_k |x_k|^2}$ by Cauchy and Schwarz, s the stationarity residual that the solver reports, at most its rtol; and
    $\gamma_{2n+d+8}$ of either side.
    """
    sol = qz.quantize(law, k, seed=seed, solver=qz.Lloyd(), max_steps=2000).require()
    return _second_moments(law, sol.measure, sol.stationarity)


@stationary_codebooks_split_the_second_moment.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A codebook in general position passed off as stationary."""
    return _second_moments(law, law.project(codebook(law, k, np.random.default_rng(seed))), qz.Lloyd().rtol)


def _second_moments(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, residual: float) -> Evidence:
    distortion = qz.distortion(law, nu.points).value
    whole, split = (float(weights @ np.square(points).sum(1)) for points, weights in map(host, (law, nu)))
    slack = 2 * residual * (distortion * split) ** 0.5 + round_off(2 * law.size + law.dim + 8, whole + split + distortion)
    return Evidence(abs(whole - split - distortion), 0.0, slack)


@claim(
    statement=r"$D_2(x) \le \min_k E|X - x_k|^2 = \operatorname{tr}\operatorname{Cov} X + \min_k |EX - x_k|^2$",
    reference="pages2015",
    laws=MIXTURES,
)
def codes_do_no_worse_together(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""$D_2(x) \le \operatorname{tr}\operatorname{Cov} X + |EX - x_k|^2$ for every k, the left side sampled.

    Slack: the estimate's 4.5 standard errors.
    """
    codes = law.sample(k, np.random.default_rng(seed))
    return _against_the_best_code(law, codes, float(np.trace(law.cov)), seed)


@codes_do_no_worse_together.control
def _(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    """The covariance left out, with the mean among the codes."""
    codes = law.sample(k, np.random.default_rng(seed))
    codes[0] = law.mean
    return _against_the_best_code(law, codes, 0.0, seed)


def _against_the_best_code(law: qz.GaussianMixture, codes: FloatArray, variance: float, seed: int) -> Evidence:
    estimate = qz.distortion(law, codes, draws=2**14, confidence=0.95, seed=seed)
    standard_error = (estimate.high - estimate.value) / NormalDist().inv_cdf(0.975)
    alone = variance + float(np.square(law.mean - codes).sum(1).min())
    return Evidence(estimate.value, alone, monte_carlo(standard_error))
