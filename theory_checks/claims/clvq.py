r"""Competitive learning: the step estimates $\tfrac12 \nabla D$ without bias, and the companion weights find the cell masses."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import line
from theory_checks.cells import codebook, coordinate_std, host, partition
from theory_checks.chance import bernoulli_error, monte_carlo
from theory_checks.claim import MODERATE, Effort, claim
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import ELEMENTARY, FINITE
from theory_checks.limits import remainder
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
_COMPANIONS = Effort(tests=3, quick=9, full=36)
_AVERAGES = Effort(tests=1, quick=1, full=6)


@claim(
    statement=r"$E\bigl[\mathbf{1}_{V_k(x)}(X)\,(x_k - X)\bigr] = \tfrac12 \nabla_k D_2(x)$: the competitive step is unbiased",
    reference="pages2015",
    laws=FINITE,
    effort=MODERATE,
)
def competitive_step_is_unbiased(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\sum_i w_i\,(x - x^{(i)}) / \gamma = \tfrac12 \nabla D(x)$, $x^{(i)}$ the codebook after a step on the one draw $X_i$.

    The expectation is an exact sum over the points, so there is no Monte-Carlo error. Slack: a coordinate of a step goes
    through five roundings, of numbers up to $|x| + |X|$, and γ = ½ doubles them exactly; sums of n terms add $\gamma_{n+8}$ on
    either side.
    """
    return _mean_step(law, k, seed, factor=0.5)


@competitive_step_is_unbiased.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The step taken to estimate $\nabla D$ itself."""
    return _mean_step(law, k, seed, factor=1.0)


def _mean_step(law: qz.DiscreteMeasure, k: int, seed: int, *, factor: float) -> Evidence:
    codes = codebook(law, k, np.random.default_rng(seed))
    points, weights = host(law)
    gamma = 0.5
    solver = qz.CLVQ(batch=1, epochs=1, schedule=qz.RobbinsMonro(scale=gamma), averaging=False)
    mean = np.zeros_like(codes)
    for point, weight in zip(points, weights, strict=True):
        one_draw = qz.Stream(lambda point=point: [point[None]])
        moved = qz.quantize(one_draw, k, init=codes, solver=solver, max_iter=1, rng=0).measure.points
        mean += weight * (codes - np.asarray(moved)) / gamma
    size = float(np.abs(codes).max() + np.abs(points).max())
    difference = np.abs(mean - factor * partition(law, codes).gradient).max()
    return Evidence(float(difference), 0.0, round_off(2 * (law.size + 8) + 10, size))


@claim(
    statement=r"$w^{(n)} = w^{(n-1)} - \gamma_n (w^{(n-1)} - e_{k(X_n)})$ approaches the cell masses $\mu(V_k(x^{(n)}))$",
    reference="pages2015",
    laws=FINITE,
    effort=_COMPANIONS,
    random=True,
)
def companion_weights_approach_the_masses(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|\bar w_k - \mu(V_k(x^{(N)}))|$, $\bar w$ the companion weights of a stream of draws; the code for which it is worst.

    $\bar w_k$ is the mean over all draws of $\mathbf{1}\{X_n \in V_k(x^{(n-1)})\}$, whose conditional expectation is $p_n =
    \mu(V_k(x^{(n-1)}))$. Slack: Freedman's inequality for the martingale part, with variances $p_n(1 - p_n)$ at their largest
    on the path and the level shared out over the K codes; $\max_n |p_n - p_N|$ over the path for the drift of the cells,
    measured exactly; $\gamma_{n+8}$ for summing the masses. One code lies far out and never wins: its weight must be 0.
    """
    path, weights = _companions(law, k, seed)
    return _approach(law, path, weights)


@companion_weights_approach_the_masses.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Weights that stay uniform, as of a method that discards the masses."""
    path, weights = _companions(law, k, seed)
    return _approach(law, path, np.full_like(weights, 1 / k))


_BATCHES, _BATCH = 120, 64


def _companions(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[list[FloatArray], FloatArray]:
    """The codebooks that CLVQ passes through on a stream, and the companion weights at its end, all draws weighing the same."""
    rng = np.random.default_rng(seed)
    start = codebook(law, k, rng)
    start[-1] = host(law)[0].mean(0) + 1e3 * coordinate_std(law)
    solver = qz.CLVQ(schedule=qz.RobbinsMonro(scale=0.05), averaging=False, recency=0.0, relocate=False)

    def draws() -> Iterator[FloatArray]:
        for _ in range(_BATCHES):
            yield law.sample(_BATCH, rng)

    snapshots = list(qz.iterate(qz.Stream(draws), k, init=start, solver=solver, max_iter=_BATCHES - 1, rng=0))
    final = snapshots[-1].trace.companion
    if final is None:
        raise RuntimeError("CLVQ returned no companion weights")
    return [np.asarray(s.measure.points) for s in snapshots], final


def _approach(law: qz.DiscreteMeasure, path: list[FloatArray], weights: FloatArray) -> Evidence:
    masses = np.array([law.project(codes).weights for codes in path])
    variances, drifts = (masses * (1 - masses)).max(0), np.abs(masses - masses[-1]).max(0)
    draws = (_BATCHES - 1) * _BATCH
    return worst(
        Evidence(
            abs(float(weights[j] - masses[-1, j])),
            0.0,
            float(drifts[j]) + bernoulli_error(float(variances[j]), draws, among=len(weights)) + round_off(law.size + 8, 1.0),
        )
        for j in range(len(weights))
    )


@claim(
    statement=r"$n\,E\|\nabla D_2(\bar x_n)\|^2 \to 4 D_2^*$ and $n\,E[D_2(\bar x_n) - D_2^*] \to \operatorname{tr}(H^{-1} "
    r"S)$ for "
    r"averaged iterates, $x^*$ Lloyd's answer, $H = \tfrac12 \nabla^2 D_2$",
    reference="polyak1992",
    laws=ELEMENTARY,
    effort=_AVERAGES,
    random=True,
)
def averaged_iterates_are_as_good_as_any(law: Any, k: int, seed: int) -> Evidence:
    r"""Both limits, as ratios to 1, from independent runs of CLVQ of n = 2^15 draws; gradients, D and S in closed form.

    The competitive step has covariance $S = \operatorname{diag}(E[\mathbf 1_{V_k}(x_k - X)^2])$ with $\operatorname{tr} S =
    D^*$, and the mean of iterates the error $H^{-1} S H^{-1} / n$ (Polyak and Ruppert). Slack: the ratio's remainder falls at
    least like $n^{-1/2}$, so that it is at most the change from n/4 to n (:func:`~theory_checks.limits.remainder`); the
    standard errors over the runs of the ratio and of that change, by Student's law, the level shared out over both limits.
    """
    averaged = _runs(law, k, seed, qz.CLVQ(batch=_BATCHED, recency=0.0, relocate=False))
    slacks = averaged.slacks()
    curve = Curve(
        "draws",
        "$n E|\\nabla D|^2 / 4D^*$",
        tuple(map(float, _DRAWS)),
        {
            "averaged": tuple(float(r.mean()) for r in averaged.gradients),
            "step 1/count": tuple(float(r.mean()) for r in _runs(law, k, seed, _COUNTING).gradients),
        },
        {"theorem": 1.0},
        "xy",
    )
    ratios = (averaged.gradients[-1], averaged.excesses[-1])
    return worst(equal(float(r.mean()), 1.0, slack) for r, slack in zip(ratios, slacks, strict=True)).drawn(curve)


@averaged_iterates_are_as_good_as_any.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """The step 1/count of mini-batch k-means, without averaging, held to the same limits and the slack of the averaged runs."""
    slack = _runs(law, k, seed, qz.CLVQ(batch=_BATCHED, recency=0.0, relocate=False)).slacks()[0]
    return equal(float(_runs(law, k, seed, _COUNTING).gradients[-1].mean()), 1.0, slack)


_DRAWS = (2**13, 2**15)
_RUNS = 32
_BATCHED = 256
_COUNTING = qz.CLVQ(batch=_BATCHED, schedule=qz.CountPower(1.0), averaging=False, relocate=False)


@dataclass(frozen=True)
class _Ratios:
    """For each number of draws, over the runs: n‖∇D(x)‖²/4D* and n(D(x) − D*)/tr(H⁻¹S)."""

    gradients: list[FloatArray]
    excesses: list[FloatArray]

    def slacks(self) -> list[float]:
        """What the last mean of either may be off."""
        return [
            remainder(float(few.mean()), float(many.mean()), order=0.5, ratio=4)
            + monte_carlo(float(many.std() + (many - few).std()) / (_RUNS - 1) ** 0.5, degrees=_RUNS - 1, among=2)
            for few, many in (self.gradients, self.excesses)
        ]


@lru_cache(maxsize=8)
def _runs(law: Any, k: int, seed: int, solver: qz.CLVQ) -> _Ratios:
    """Independent runs from near Lloyd's solution, observed after either number of draws."""
    best = line.ordered(qz.quantize(law, k, solver=qz.Lloyd(rtol=1e-7), max_iter=20_000, rng=0).measure.points)
    local = line.local_distortions(law, best)
    whole = float(np.trace(np.linalg.solve(line.half_hessian(law, best), np.diag(local))))
    rng = np.random.default_rng([seed, 2])
    found = np.empty((len(_DRAWS), _RUNS, k))
    for run in range(_RUNS):
        sol: Any = best[:, None] + 0.25 * np.diff(best).min() * rng.standard_normal((k, 1))
        for i, draws in enumerate(np.diff([0, *_DRAWS])):
            stream = qz.Stream(lambda n=draws: law.rvs((n // _BATCHED, _BATCHED, 1), random_state=rng))
            sol = qz.quantize(stream, k, solver=solver, init=sol, rng=rng, max_iter=int(draws) // _BATCHED - 1)
            found[i, run] = line.ordered(sol.measure.points)
    sizes, least = np.array(_DRAWS)[:, None], local.sum()
    gradients = sizes * np.square(line.gradient(law, found)).sum(-1) / (4 * least)
    excesses = sizes * (line.local_distortions(law, found).sum(-1) - least) / whole
    return _Ratios(list(gradients), list(excesses))
