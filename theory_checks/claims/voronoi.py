"""Voronoi cells: the gradient of the distortion, the cells themselves, and their masses as the weights that belong to a
codebook.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import codebook, coordinate_std, gap, host, largest_cost, partition
from theory_checks.chance import CONFIDENCE
from theory_checks.claim import MODERATE, Effort, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import ELEMENTARY, FINITE, MIXTURES
from theory_checks.rounding import round_off, transport_round_off

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
    step = min(gap(law, codes) / 4, coordinate_std(law)) * direction
    plus, minus = codes + step, codes - step
    d_plus, d_minus = (qz.distortion(law, x, rng=0).value for x in (plus, minus))
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

    Slack: that of the network simplex (:func:`~theory_checks.rounding.transport_round_off`), and $\gamma_{2n+d+8} D$ for the
    sum of n weighted squares and the renormalized weights.
    """
    return _cost_against_distortion(law, law.project(codebook(law, k, np.random.default_rng(seed))))


@distortion_is_a_transport_cost.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The same codes, all of weight 1/K."""
    return _cost_against_distortion(law, qz.DiscreteMeasure(codebook(law, k, np.random.default_rng(seed))))


def _cost_against_distortion(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure) -> Evidence:
    distortion = qz.distortion(law, nu.points, rng=0).value
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
    sol = qz.quantize(law, k, rng=seed, solver=qz.Lloyd(), max_iter=2000).require()
    return _second_moments(law, sol.measure, sol.stationarity)


@stationary_codebooks_split_the_second_moment.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A codebook in general position taken for stationary."""
    return _second_moments(law, law.project(codebook(law, k, np.random.default_rng(seed))), qz.Lloyd().rtol)


def _second_moments(law: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, residual: float) -> Evidence:
    distortion = qz.distortion(law, nu.points, rng=0).value
    whole, split = (float(weights @ np.square(points).sum(1)) for points, weights in map(host, (law, nu)))
    slack = 2 * residual * (distortion * split) ** 0.5 + round_off(2 * law.size + law.dim + 8, whole + split + distortion)
    return Evidence(abs(whole - split - distortion), 0.0, slack)


@claim(
    statement=r"$D_2(x) \le \min_k E|X - x_k|^2 = \operatorname{tr}\operatorname{Cov} X + \min_k |EX - x_k|^2$",
    reference="pages2015",
    laws=MIXTURES,
    effort=Effort(tests=2, quick=7, full=28),
    random=True,
)
def codes_do_no_worse_together(law: qz.GaussianMixture, k: int, seed: int) -> Evidence:
    r"""$D_2(x) \le \operatorname{tr}\operatorname{Cov} X + |EX - x_k|^2$ for every k, the left side sampled.

    Slack: how far its interval, corrected for the costs' skewness, reaches below the estimate at the level of 4.5 standard
    errors; nothing where the law is exact, on the line and in the plane.
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
    estimate = qz.distortion(law, codes, draws=2**14, confidence=CONFIDENCE, rng=seed)
    alone = variance + float(np.square(law.mean - codes).sum(1).min())
    return Evidence(estimate.value, alone, estimate.value - estimate.low + round_off(1000, alone))


@claim(
    statement=r"`project` gives each code the mass of the points nearest to it; the first of equally near ones has them",
    reference="graf2000",
    laws=FINITE,
)
def projection_gives_the_cell_masses(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """$\\max_k |w_k - \\mu(V_k)|$ against rational arithmetic, for codes in general position and for points of the law, ties
    and all.

    Slack: $\\gamma_{n+8}$ for the sum of masses; and the mass of points whose two least squared distances, not being equal,
    differ by less than $\\gamma_{2d+8}$ of them, which float64 may give to either.
    """
    rng = np.random.default_rng(seed)
    points = host(law)[0]
    books = [codebook(law, k, rng), points[rng.choice(law.size, k, replace=False)]]
    books.append(books[0][np.arange(k) % (k - 1)])  # the last code is the first one again
    return worst(_masses(law, codes, np.asarray(law.project(codes).weights)) for codes in books)


@projection_gives_the_cell_masses.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Each cell given the mass of the next one."""
    codes = codebook(law, k, np.random.default_rng(seed))
    return _masses(law, codes, np.roll(np.asarray(law.project(codes).weights), 1))


def _masses(law: qz.DiscreteMeasure, codes: FloatArray, found: FloatArray) -> Evidence:
    points, weights = host(law)
    # Distances that differ by more than round-off are compared in float64; the others exactly.
    squared = np.square(points[:, None] - codes).sum(2)
    relative_error = round_off(2 * law.dim + 8, 1.0)
    truth, unsure = np.zeros(len(codes)), 0.0
    for point, weight, row in zip(points, weights, squared, strict=True):
        near = np.flatnonzero(row <= row.min() * (1 + 4 * relative_error) + 1e-300)
        if len(near) > 1:
            exact = [sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(point, codes[j], strict=True)) for j in near]
            least = min(exact)
            unsure += float(weight) * any(least < e for e in exact)
            near = near[[e == least for e in exact]]
        truth[near[0]] += weight
    return Evidence(float(np.abs(found - truth).max()), 0.0, round_off(law.size + 8, 1.0) + unsure)


@claim(
    statement=r"the cells of a law on the line: $w_k = F(m_k) - F(m_{k-1})$, $D_2 = \sum_k \int_{m_{k-1}}^{m_k} (z - x_k)^2 "
    r"f(z)\,dz$, and "
    r"$\nabla D_2 = 0$ where Newton's method ends",
    reference="graf2000",
    laws=ELEMENTARY,
    effort=MODERATE,
)
def cells_on_the_line_are_exact(law: Any, k: int, seed: int) -> Evidence:
    r"""Masses, distortion and gradient of the answer against partial moments in closed form.

    Slack: partial moments up to $M = E|X|^2$ + the codes' squares, in units of the law, are right to $\gamma_{60}$, and so are
    the quadratures that the solver sums; the gradient, with the residual s, is at most $2 s \sqrt D$ beyond that.
    """
    sol = qz.quantize(law, k, rng=0).require()
    return _on_the_line(law, sol, line.ordered(sol.measure.points))


@cells_on_the_line_are_exact.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """The codes' own quantiles, $w_k = F(x_{k+1}) - F(x_k)$, taken for cells: as if boundaries were codes."""
    sol = qz.quantize(law, k, rng=0)
    codes = line.ordered(sol.measure.points)
    return _on_the_line(law, sol, codes + np.diff(codes, append=2 * codes[-1] - codes[-2]) / 2)


def _on_the_line(law: Any, sol: qz.Solution, codes: FloatArray) -> Evidence:
    masses = np.asarray(sol.measure.weights)[np.argsort(np.asarray(sol.measure.points)[:, 0])]
    scale, size = float(law.kwds["scale"]), float(law.moment(2)) + float(np.square(codes).max())
    rounding = round_off(60 * len(codes), size)
    return worst(
        [
            Evidence(float(np.abs(masses - line.masses(law, codes)).max()), 0.0, round_off(60 * len(codes), 1.0)),
            equal(sol.distortion, float(line.local_distortions(law, codes).sum()), rounding),
            Evidence(
                float(np.linalg.norm(line.gradient(law, codes))), 2 * sol.stationarity * sol.distortion**0.5, rounding / scale
            ),
        ]
    )
