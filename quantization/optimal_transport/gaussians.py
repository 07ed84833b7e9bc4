r"""Gaussian against Gaussian: the closed form of Bures, by an orthogonal matrix that certifies itself.

For factors $C_1 = F F^T$ and $C_2 = G G^T$ and any orthogonal matrices P and R

$$\Vert F P - G R \Vert^2 \ge W_2^2 - |m_1 - m_2|^2 \ge \Vert F P - G R \Vert^2
- 2 \sum_i (|M^T p_i| - p_i^T M r_i), \quad M = F^T G,$$

on the left as $x = F P z,\ y = G R z$ is a coupling, on the right by the potentials $x^T (I - X) x$ and
$y^T (I - X^{-1}) y$ with $X = F^{-T} P S P^T F^{-1}$ and $s_i = |M^T p_i|$; where a covariance is singular, by their limit. Both
are equal where $P S R^T$ is the singular value decomposition of M. Nothing is subtracted that could cancel.
Sources: dowson1982, gelbrich1990.
"""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray
from quantization.laws import Gaussian, GaussianMixture, scipys_mixture


def as_gaussian(law: object) -> Gaussian | None:
    """``law`` as a Gaussian, if it is one: ours, a mixture with one component of positive weight, scipy's; else None."""
    mixture = law if isinstance(law, GaussianMixture) else scipys_mixture(law)
    if mixture is None or np.count_nonzero(mixture.weights) != 1:
        return None
    i = int(np.argmax(mixture.weights))
    return Gaussian(mixture.means[i], mixture.covs[i])


def gaussian_cost(mu: Gaussian, nu: Gaussian, r: float) -> tuple[float, float]:
    r"""$W_r^r$ between Gaussians of one dimension, and by how much it may exceed the least cost.

    For r = 2 that of Bures; for equal covariances $|m_1 - m_2|^r$ of any order. ``ValueError`` for others.
    """
    shift = float(np.linalg.norm(mu.mean - nu.mean))
    if np.array_equal(mu.cov, nu.cov):
        return shift**r, 0.0
    if r != 2:
        raise ValueError(f"two Gaussians of unequal covariances have a closed form for r = 2 only; received r = {r:g}. Use draws")
    cost, gap = bures(factor(mu.cov), factor(nu.cov))
    return cost + shift * shift, gap


def bures(f: FloatArray, g: FloatArray) -> tuple[float, float]:
    r"""$\min_R \Vert F - G R \Vert^2 = W_2^2$ of N(0, F F^T) and N(0, G G^T) as an upper value, and its gap to a lower bound."""
    m = f.T @ g
    p, _, rt = np.linalg.svd(m)
    pulled = m.T @ p
    gap = 2 * float(np.linalg.norm(pulled, axis=0).sum() - np.einsum("ki,ik->", pulled, rt))
    return float(np.square(f @ p - g @ rt.T).sum()), max(gap, 0.0)


def factor(cov: FloatArray) -> FloatArray:
    r"""F (d, d) with F F^T = C for a positive semidefinite C, to round-off relative to $(C_{ii} C_{jj})^{1/2}$.

    By Cholesky's method with pivots on the correlations: pivots that are round-off beside their variance are zeros, so that a
    singular covariance has a factor of its rank, whatever units the coordinates have.
    """
    d = len(cov)
    scales = np.sqrt(np.maximum(np.diag(cov), 0.0))
    unit = np.where(scales > 0, scales, 1.0)
    lower, order, rank, _ = cast(Any, scipy.linalg.lapack.dpstrf)(cov / unit[:, None] / unit, lower=1)
    found = np.zeros((d, d))
    found[order - 1, :rank] = np.tril(lower)[:, :rank]
    return scales[:, None] * found
