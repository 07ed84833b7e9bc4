"""Lloyd's algorithm: it descends, and what it converges to is stationary."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import partition
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, round_off, worst
from theory_checks.laws import FINITE, codebook

FloatArray = NDArray[np.float64]
_STEPS = 20


@claim(
    statement=r"$D_2(T(x)) \le D_2(x) - \sum_k \mu(V_k)\,|x_k - T(x)_k|^2$ for the Lloyd map $T(x)_k = E[X \mid X \in V_k(x)]$",
    reference="lloyd1982",
    laws=FINITE,
)
def lloyd_descends(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$D(x_{n+1}) + \sum_k w_k |x_{n,k} - E[X|V_k]|^2 \le D(x_n)$ at each of the first 20 steps; the worst of them.

    D and the centroids are measured afresh from the snapshots, not read from the solver's trace. Slack: three sums over n points,
    at most $D(x_n) + D(x_{n+1})$ together where the claim holds, $\gamma_{2n+d+8}$ relative. A centroid is rounded to within
    $\rho = \gamma_2 \sqrt{d} \max |x|$; with P the middle sum that moves P by $2 \rho \sqrt{P}$, by Cauchy and Schwarz, and
    $D(x_{n+1})$, near its minimum over codes with these cells, by $\rho^2$.
    """
    start = codebook(law, k, np.random.default_rng(seed))
    snapshots = qz.iterate(law, k, start=start, solver=qz.Lloyd(rtol=0.0), max_steps=_STEPS, seed=seed)
    return _worst_step(law, (np.asarray(s.measure.points, dtype=np.float64) for s in snapshots))


@lloyd_descends.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The step with its sign wrong: codes flee their centroids."""
    return _worst_step(law, _fleeing(law, codebook(law, k, np.random.default_rng(seed))))


def _fleeing(law: qz.DiscreteMeasure, codes: FloatArray) -> Iterator[FloatArray]:
    for _ in range(_STEPS):
        yield codes
        codes = 2 * codes - partition(law, codes).centroids


def _worst_step(law: qz.DiscreteMeasure, codebooks: Iterable[FloatArray]) -> Evidence:
    return worst(_step(law, here, there) for here, there in pairwise(codebooks))


def _step(law: qz.DiscreteMeasure, here: FloatArray, there: FloatArray) -> Evidence:
    before, after = (qz.distortion(law, x).value for x in (here, there))
    cells = partition(law, here)
    promised = float(cells.masses @ np.square(cells.centroids - here).sum(1))
    rounding = round_off(2, law.dim**0.5 * max(float(np.abs(x).max()) for x in (here, there)))
    slack = round_off(2 * law.size + law.dim + 8, before + after) + 2 * rounding * promised**0.5 + 2 * rounding**2
    return Evidence(after + promised, before, slack)


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
    sol = qz.quantize(law, k, seed=seed, solver=qz.Lloyd(rtol=tolerance), max_steps=2000).require()
    return _gradient_norm(law, np.asarray(sol.measure.points, dtype=np.float64), tolerance)


@converged_codebooks_are_stationary.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A codebook in general position passed off as converged."""
    return _gradient_norm(law, codebook(law, k, np.random.default_rng(seed)), 1e-6)


def _gradient_norm(law: qz.DiscreteMeasure, codes: FloatArray, tolerance: float) -> Evidence:
    root = qz.distortion(law, codes).value ** 0.5
    slack = 2 * round_off(law.size + 8, 2 * root)
    return Evidence(float(np.linalg.norm(partition(law, codes).gradient)), 2 * tolerance * root, slack)
