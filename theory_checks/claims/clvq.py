r"""Competitive learning: the step estimates $\tfrac12 \nabla D$ without bias, and the companion weights find the cell masses."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import host, partition
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, bernoulli_error, round_off, worst
from theory_checks.laws import FINITE, codebook, spread

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$E\bigl[\mathbf{1}_{V_k(x)}(X)\,(x_k - X)\bigr] = \tfrac12 \nabla_k D_2(x)$: the competitive step is unbiased",
    reference="pages2015",
    laws=FINITE,
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
        moved = qz.quantize(one_draw, k, start=codes, solver=solver, max_steps=1).measure.points
        mean += weight * (codes - np.asarray(moved)) / gamma
    size = float(np.abs(codes).max() + np.abs(points).max())
    difference = np.abs(mean - factor * partition(law, codes).gradient).max()
    return Evidence(float(difference), 0.0, round_off(2 * (law.size + 8) + 10, size))


@claim(
    statement=r"$w^{(n)} = w^{(n-1)} - \gamma_n (w^{(n-1)} - e_{k(X_n)})$ approaches the cell masses $\mu(V_k(x^{(n)}))$",
    reference="pages2015",
    laws=FINITE,
)
def companion_weights_approach_the_masses(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|\bar w_k - \mu(V_k(x^{(N)}))|$, $\bar w$ the companion weights of a stream of draws; the code for which it is worst.

    $\bar w_k$ is the mean over all draws of $\mathbf{1}\{X_n \in V_k(x^{(n-1)})\}$, whose conditional
    expectation is $p_n = \mu(V_k(x^{(n-1)}))$. Slack: Freedman's inequality for the martingale part, with variances $p_n(1 -
    p_n)$ at their largest on the path; $\max_n |p_n - p_N|$ over the path for the drift of the cells, measured exactly;
    $\gamma_{n+8}$ for summing the masses. One code lies far out and never wins: its weight must be 0.
    """
    path, weights = _companions(law, k, seed)
    return _approach(law, path, weights)


@companion_weights_approach_the_masses.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Weights that stay uniform, as of a method that throws the masses away."""
    path, weights = _companions(law, k, seed)
    return _approach(law, path, np.full_like(weights, 1 / k))


_BATCHES, _BATCH = 120, 64


def _companions(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[list[FloatArray], FloatArray]:
    """The codebooks that CLVQ passes through on a stream, and the companion weights at its end, all draws weighing the same."""
    rng = np.random.default_rng(seed)
    start = codebook(law, k, rng)
    start[-1] = host(law)[0].mean(0) + 1e3 * spread(law)
    solver = qz.CLVQ(schedule=qz.RobbinsMonro(scale=0.05), averaging=False, recency=0.0, revive=False)

    def draws() -> Iterator[FloatArray]:
        for _ in range(_BATCHES):
            yield law.sample(_BATCH, rng)

    snapshots = list(qz.iterate(qz.Stream(draws), k, start=start, solver=solver, max_steps=_BATCHES - 1))
    final = snapshots[-1].trace.companion
    if final is None:
        raise RuntimeError("CLVQ kept no companion weights")
    return [np.asarray(s.measure.points) for s in snapshots], final


def _approach(law: qz.DiscreteMeasure, path: list[FloatArray], weights: FloatArray) -> Evidence:
    masses = np.array([law.project(codes).weights for codes in path])
    variances, drifts = (masses * (1 - masses)).max(0), np.abs(masses - masses[-1]).max(0)
    draws = (_BATCHES - 1) * _BATCH
    return worst(
        Evidence(
            abs(float(weights[j] - masses[-1, j])),
            0.0,
            float(drifts[j]) + bernoulli_error(float(variances[j]), draws) + round_off(law.size + 8, 1.0),
        )
        for j in range(len(weights))
    )
