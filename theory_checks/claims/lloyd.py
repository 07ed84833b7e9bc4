"""Lloyd's algorithm: it descends, what it converges to is stationary, and for log-concave laws on the line it is the optimum."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import codebook, host, partition
from theory_checks.claim import MODERATE, SLOW, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE, LAPLACE, STRICTLY_LOG_CONCAVE
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
_STEPS = 20
_SPACE = replace(FINITE, dims=(2, 3, 4, 5, 6, 64))


@claim(
    statement=r"$D_2(T(x)) \le D_2(x) - \sum_k \mu(V_k)\,|x_k - T(x)_k|^2$ for the Lloyd map $T(x)_k = E[X \mid X \in V_k(x)]$",
    reference="lloyd1982",
    laws=FINITE,
)
def lloyd_descends(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$D(x_{n+1}) + \sum_k w_k |x_{n,k} - E[X|V_k]|^2 \le D(x_n)$ at each of the first 20 steps; the worst of them.

    D and the centroids are computed again from the snapshots, not read from the solver's trace. Slack: three sums over n
    points, at most $D(x_n) + D(x_{n+1})$ together where the claim holds, $\gamma_{2n+d+8}$ relative. A centroid is rounded to
    within $\rho = \gamma_2 \sqrt{d} \max |x|$; with P the middle sum that moves P by $2 \rho \sqrt{P}$, by Cauchy and Schwarz,
    and $D(x_{n+1})$, near its minimum over codes with these cells, by $\rho^2$.
    """
    start = codebook(law, k, np.random.default_rng(seed))
    snapshots = qz.iterate(law, k, init=start, solver=qz.Lloyd(rtol=0.0), max_iter=_STEPS, rng=seed)
    return _worst_step(law, (np.asarray(s.measure.points, dtype=np.float64) for s in snapshots))


@lloyd_descends.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The step with its sign reversed: codes move away from their centroids."""
    return _worst_step(law, _fleeing(law, codebook(law, k, np.random.default_rng(seed))))


def _fleeing(law: qz.DiscreteMeasure, codes: FloatArray) -> Iterator[FloatArray]:
    for _ in range(_STEPS):
        yield codes
        codes = 2 * codes - partition(law, codes).centroids


def _worst_step(law: qz.DiscreteMeasure, codebooks: Iterable[FloatArray]) -> Evidence:
    return worst(_step(law, here, there) for here, there in pairwise(codebooks))


def _step(law: qz.DiscreteMeasure, here: FloatArray, there: FloatArray) -> Evidence:
    before, after = (qz.distortion(law, x, rng=0).value for x in (here, there))
    cells = partition(law, here)
    promised = float(cells.masses @ np.square(cells.centroids - here).sum(1))
    rounding = round_off(2, law.dim**0.5 * max(float(np.abs(x).max()) for x in (here, there)))
    slack = round_off(2 * law.size + law.dim + 8, before + after) + 2 * rounding * promised**0.5 + 2 * rounding**2
    return Evidence(after + promised, before, slack)


@claim(
    statement=r"$D_r(x_{n+1}) \le D_r(x_n)$ where Lloyd's steps go towards the r-means of cells, r = 1, 3/2, 5/2 and 4",
    reference="weiszfeld2009",
    laws=FINITE,
)
def steps_of_any_order_descend(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$D_r(x_{n+1}) \le D_r(x_n)$ at each of the first 20 steps; the worst of them, each relative to $D_r(x_n)$.

    D is computed again from the snapshots. Slack: sums over n points, $\gamma_{2n+d+8+r}$ of both; codes are rounded, by
    $\rho = \gamma_4 \sqrt{d} \max |x|$ at most, which moves $D^{1/r}$ by $\rho$, as that is a distance in $L^r$.
    """
    start = codebook(law, k, np.random.default_rng(seed))

    def codebooks(r: float) -> Iterator[FloatArray]:
        snapshots = qz.iterate(law, k, r=r, init=start, solver=qz.Lloyd(rtol=0.0), max_iter=_STEPS, rng=seed)
        return (np.asarray(s.measure.points, dtype=np.float64) for s in snapshots)

    return worst(_worst_fall(law, codebooks(r), r) for r in (1.0, 1.5, 2.5, 4.0))


@steps_of_any_order_descend.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Codes move away from the centroids of their cells."""
    start = codebook(law, k, np.random.default_rng(seed))
    return worst(_worst_fall(law, _fleeing(law, start), r) for r in (1.0, 1.5, 2.5, 4.0))


def _worst_fall(law: qz.DiscreteMeasure, codebooks: Iterable[FloatArray], r: float) -> Evidence:
    seen = list(codebooks)  # a start that is optimal takes no step, and does not rise
    return worst(_fall(law, here, there, r) for here, there in pairwise([*seen, seen[-1]]))


def _fall(law: qz.DiscreteMeasure, here: FloatArray, there: FloatArray, r: float) -> Evidence:
    before, after = (qz.distortion(law, x, r=r, rng=0).value for x in (here, there))
    if before == 0:
        return Evidence(after, 0.0, 0.0)
    reach = max(float(np.abs(x).max()) for x in (here, there, host(law)[0]))
    rounding = round_off(4, law.dim**0.5 * reach)
    slack = round_off(2 * law.size + law.dim + 12, before + after) + (before ** (1 / r) + rounding) ** r - before
    return Evidence(after / before, 1.0, slack / before)


@claim(
    statement=r"$D_r(T(x)) \le D_r(x) - \tfrac r2 \sum_k \langle R_k, T(x)_k - x_k \rangle$ for the safeguarded Newton step T, "
    r"r > 2, $R_k = E[1_{V_k} |X - x_k|^{r-2} (X - x_k)]$",
    reference="nesterov2006",
    laws=_SPACE,
)
def newton_steps_gain_half_their_slope(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""For r = 5/2 and 4 at each of the first 8 steps; the worst of them, each relative to $D_r(x)$.

    D and R are computed again from the snapshots. Slack: as for steps of any order; codes that are rounded by $\rho$ change
    the sum by $\tfrac r2 D^{(r-1)/r} \rho$ at most, which is less than what they change $D$ by; and sums of $w |v|^{r-1}$ times a
    step, of $D^{(r-1)/r}$ times the longest at most, $\gamma_{n+2d+16}$ relative.
    """
    return worst(_newton_steps(law, k, seed, r, 0.5) for r in (2.5, 4.0))


@newton_steps_gain_half_their_slope.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The whole slope, which no convex function has to give."""
    return worst(_newton_steps(law, k, seed, r, 1.0) for r in (2.5, 4.0))


def _newton_steps(law: qz.DiscreteMeasure, k: int, seed: int, r: float, share: float) -> Evidence:
    start = codebook(law, k, np.random.default_rng(seed))
    snapshots = qz.iterate(law, k, r=r, init=start, solver=qz.Lloyd(rtol=0.0), max_iter=8, rng=seed)
    seen = [np.asarray(s.measure.points, dtype=np.float64) for s in snapshots]
    return worst(_newton_step(law, here, there, r, share) for here, there in pairwise([*seen, seen[-1]]))


def _newton_step(law: qz.DiscreteMeasure, here: FloatArray, there: FloatArray, r: float, share: float) -> Evidence:
    fall, (x, w) = _fall(law, here, there, r), host(law)
    labels = np.asarray(qz.DiscreteMeasure(here).assign(x))
    away = x - here[labels]
    lengths = np.sqrt(np.square(away).sum(1))
    slopes = r * w * lengths ** (r - 2) * np.einsum("nd,nd->n", away, (there - here)[labels])
    before = float(w @ lengths**r)
    if before == 0:
        return fall
    reach = float(np.sqrt(np.square(there - here).sum(1).max()))
    slack = 2 * fall.slack + round_off(law.size + 2 * law.dim + 16, r * reach / before ** (1 / r))
    return Evidence(fall.observed + share * float(slopes.sum()) / before, fall.bound, slack)


@claim(
    statement=r"$D_2(x; \mu) = \sum_j m_j D_2(x; \mu_j)$ for $\mu = \sum_j m_j \mu_j$, the parts in shards",
    reference="lloyd1982",
    laws=FINITE,
)
def parts_add_up(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|D(\text{shards}) - D(\mu)|$ for the points cut at random into five shards, each with its own weights.

    Slack: both are sums of n terms of which each is a sum of d, at most D together: $\gamma_{n+d+8}$ of D, twice.
    """
    return _of_shards(law, k, seed, host(law)[1])


@parts_add_up.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Shards whose points all weigh the same, and the last of which is read twice."""
    points, weights = host(law)
    return _of_shards(law, k, seed, np.ones(len(weights)) + (np.arange(len(points)) >= len(points) // 2))


def _of_shards(law: qz.DiscreteMeasure, k: int, seed: int, weights: FloatArray) -> Evidence:
    rng, points = np.random.default_rng(seed), host(law)[0]
    cuts = np.sort(rng.integers(len(points), size=4))
    keep = [i for i, part in enumerate(np.split(weights, cuts)) if len(part)]
    shards = qz.Shards(*([np.split(array, cuts)[i] for i in keep] for array in (points, weights)))
    codes = codebook(law, k, rng)
    whole = qz.distortion(law, codes, rng=0).value
    return equal(qz.distortion(shards, codes).value, whole, 2 * round_off(law.size + law.dim + 8, whole))


@claim(
    statement=r"$T(x) = x \Rightarrow \nabla D_2(x) = 0$; at residual $s$, $\|\nabla D_2(x)\| \le 2 s D_2(x)^{1/2}$",
    reference="lloyd1982",
    laws=FINITE,
)
def converged_codebooks_are_stationary(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\|\nabla D(x)\| \le 2 \varepsilon \sqrt{D}$ where the solver says CONVERGED at the tolerance $\varepsilon$.

    $\|\nabla D\|^2 = 4 \sum_k w_k^2 |x_k - E[X|V_k]|^2 \le 4 s^2 D$, as $w_k \le 1$. Slack: the gradient's entries are sums of
    n terms, of which those of one code have absolute values adding up to at most $2 \sqrt{w_k D}$: $\gamma_{n+8}$ of $2
    \sqrt{D}$ over all of them, twice, for the solver's sums.
    """
    tolerance = 1e-6
    sol = qz.quantize(law, k, rng=seed, solver=qz.Lloyd(rtol=tolerance), max_iter=2000).require()
    return _gradient_norm(law, np.asarray(sol.measure.points, dtype=np.float64), tolerance)


@converged_codebooks_are_stationary.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A codebook in general position taken for converged."""
    return _gradient_norm(law, codebook(law, k, np.random.default_rng(seed)), 1e-6)


def _gradient_norm(law: qz.DiscreteMeasure, codes: FloatArray, tolerance: float) -> Evidence:
    root = qz.distortion(law, codes, rng=0).value ** 0.5
    slack = 2 * round_off(law.size + 8, 2 * root)
    return Evidence(float(np.linalg.norm(partition(law, codes).gradient)), 2 * tolerance * root, slack)


@claim(
    statement=r"one stationary codebook, reached from any start, for strictly log-concave densities on the line",
    reference="trushkin1982",
    laws=STRICTLY_LOG_CONCAVE,
    effort=SLOW,
)
def one_optimum_from_any_start(law: Any, k: int, seed: int) -> Evidence:
    r"""$|x^A - x^B| = 0$ for the codebooks that Lloyd's algorithm reaches from two random starts, one of them far to one side.

    Slack: at residual s, $\|\tfrac12 \nabla D\| \le s \sqrt{D}$, so a codebook lies within $s \sqrt{D} / \lambda$ of the
    stationary one, to first order, λ the least eigenvalue of $\tfrac12 \nabla^2 D$ there (by the density at the midpoints);
    twice that, for what the second derivative may change over so short a way, for either codebook.
    """
    rng = np.random.default_rng(seed)
    near, far = law.ppf(rng.random(k)), law.ppf(rng.uniform(0.99, 1.0, k))
    return _same(law, law, [near, far], k)


@one_optimum_from_any_start.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """Three modes far apart, and starts that leave one code to the two on the left, or to the two on the right."""
    modes = qz.GaussianMixture(np.full(3, 1 / 3), np.array([[-20.0], [0.0], [20.0]]), np.ones((3, 1, 1)))
    left = np.concatenate([[-10.0], 20 + np.linspace(-1, 1, k - 1)])
    return _same(law, modes, [left, -left], k)


def _same(law: Any, quantized: Any, starts: list[FloatArray], k: int) -> Evidence:
    found = [
        qz.quantize(quantized, k, solver=qz.Lloyd(rtol=1e-7), init=np.sort(s)[:, None], max_iter=20_000, rng=0).require()
        for s in starts
    ]
    first, second = (line.ordered(sol.measure.points) for sol in found)
    if quantized is not law:  # the density is that of another law; the curvature of three normal modes, one code each, is 1/3
        return Evidence(float(np.linalg.norm(first - second)), 0.0, sum(6 * s.stationarity * s.distortion**0.5 for s in found))
    curvature = float(np.linalg.eigvalsh(line.half_hessian(law, first))[0])
    slack = sum(2 * sol.stationarity * sol.distortion**0.5 / curvature for sol in found)
    return Evidence(float(np.linalg.norm(first - second)), 0.0, slack)


@claim(
    statement=r"$\min D_2(\text{Laplace}, K) = \min D_2(\text{exponential}, K/2)$ for even $K$: the optimum is the mirrored one",
    reference="graf2000",
    laws=LAPLACE,
    effort=MODERATE,
)
def laplace_optimum_is_the_mirrored_exponential(law: Any, k: int, seed: int) -> Evidence:
    r"""$|D_K - s^2 D^{\exp}_{K/2}| = 0$, s the scale; Newton's method must say CONVERGED although its Hessian is singular.

    By symmetry a code boundary at the mode splits the law into two exponential ones. Slack: either distortion is a sum over 2K
    half-cells by 20 nodes, of terms that are products of five roundings and a density of 20: $\gamma_{40 K + 100}$ each. Codes
    err by the residual's root at most where the Hessian is singular, and D by the product of the two, below 1e-15 of it.
    """
    return _mirrored(law, k, k // 2)


@laplace_optimum_is_the_mirrored_exponential.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """One code more on each side."""
    return _mirrored(law, k, k // 2 + 1)


def _mirrored(law: Any, k: int, half: int) -> Evidence:
    from scipy import stats  # not at the top: it loads for half a second

    whole = qz.quantize(law, k, rng=0).require().distortion
    side = float(law.kwds["scale"]) ** 2 * qz.quantize(stats.expon(), half, rng=0).require().distortion
    return equal(whole, side, round_off(40 * k + 100, 2 * whole))
