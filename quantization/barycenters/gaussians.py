r"""The barycenter of Gaussians is Gaussian: its covariance by the fixed point of Álvarez-Esteban et al., with a dual lower bound.

Where $S = F F^T$, $C_j = G_j G_j^T$ and $H_j$ is the symmetric root of $M_j M_j^T$, $M_j = F^T G_j$, the optimal map from
N(0, S) to N(0, C_j) is $T_j = F^{-T} H_j F^{-1}$, and $F^+ = F^{-T} H$ with $H = \sum_j \lambda_j H_j$ is a factor of the next
S, at which

$$F_\infty(S) - F_\infty(S^+) \ge \Vert F - F^+ \Vert^2, \qquad
F_\infty(S) - \min F_\infty \le \sum_j \lambda_j \operatorname{tr} N_j^{-1} (H_j - N_j)^2$$

for any positive definite $N_j$ with $\sum_j \lambda_j N_j = F^T F$: they give potentials that sum to zero on the barycenter. The
bound is taken at $N_j = (1 - \delta)(H_j + F^T F - H) + \delta F^T F$ with the best of some δ. Source: alvarez2016.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray
from quantization.laws import Gaussian
from quantization.optimal_transport.gaussians import bures, factor

_RTOL = 1e-12  # of the gap, relative to the objective
_ROUNDS = 2000
_MIXED = (0.0, *10.0 ** np.arange(-14.0, 0.0))


def nonsingular(law: Gaussian) -> bool:
    """Whether its covariance has full rank: no pivot is round-off beside its variance."""
    return bool((np.abs(factor(law.cov)).sum(0) > 0).all())


def gaussian_barycenter(laws: Sequence[Gaussian], mixing: FloatArray) -> tuple[Gaussian, float, float]:
    r"""The barycenter of Gaussians of which one is nonsingular, $F_\infty$ there, and by how much that may be too large."""
    shares, roots = np.asarray(mixing), [factor(law.cov) for law in laws]
    means = np.array([law.mean for law in laws])
    mean = shares @ means
    shifts = float(shares @ np.square(means - mean).sum(1))
    if all(np.array_equal(law.cov, laws[0].cov) for law in laws[1:]):
        return Gaussian(mean, laws[0].cov), shifts, 0.0
    f = _mean(shares, [_symmetric_root(law.cov) for law in laws])
    best, best_gap, stalled = f, np.inf, 0
    for _ in range(_ROUNDS):
        h = [_root_of_gram(f.T @ g) for g in roots]
        gram, mixed = f.T @ f, _mean(shares, h)
        gap = _gap(h, shares, gram, mixed)
        stalled = 0 if gap < 0.9 * best_gap else stalled + 1
        if gap < best_gap:
            best, best_gap = f, gap
        if best_gap <= _RTOL * (shifts + float(np.trace(gram))) or stalled > 50:
            break
        f = np.asarray(np.linalg.solve(f.T, mixed), dtype=np.float64)
    costs = [bures(best, g) for g in roots]
    value = sum(s * cost for s, (cost, _) in zip(shares, costs, strict=True))
    return Gaussian(mean, best @ best.T), float(value) + shifts, best_gap


def _mean(shares: FloatArray, matrices: list[FloatArray]) -> FloatArray:
    return np.asarray(sum(s * m for s, m in zip(shares, matrices, strict=True)), dtype=np.float64)


def _symmetric_root(cov: FloatArray) -> FloatArray:
    spectrum, basis = np.linalg.eigh(cov)
    return (basis * np.sqrt(np.maximum(spectrum, 0.0))) @ basis.T


def _root_of_gram(m: FloatArray) -> FloatArray:
    """The symmetric root of M M^T."""
    p, s, _ = np.linalg.svd(m)
    return (p * s) @ p.T


def _gap(h: list[FloatArray], shares: FloatArray, gram: FloatArray, mixed: FloatArray) -> float:
    """The least of the bounds, ∞ where no δ makes all N_j positive definite."""
    least = np.inf
    for delta in _MIXED:
        bound = 0.0
        for own, share in zip(h, shares, strict=True):
            n = (1 - delta) * (own + (gram - mixed)) + delta * gram
            try:
                root = np.linalg.cholesky((n + n.T) / 2)
            except np.linalg.LinAlgError:
                bound = np.inf
                break
            bound += share * float(np.square(cast(Any, scipy.linalg.solve_triangular)(root, own - n, lower=True)).sum())
        least = min(least, bound)
        if bound < np.inf and bound > 2 * least:
            break
    return least
