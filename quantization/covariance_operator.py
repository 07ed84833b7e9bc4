r"""Eigenvalues of a covariance operator on $L^2[0, T]$, $(Kf)(t) = \int_0^T K(s, t) f(s)\,ds$, by Galerkin's method.

Among polynomials of degree below p the operator is a matrix, whose eigenvectors are orthonormal functions along which the process
has uncorrelated coordinates, whatever p is; its eigenvalues are their variances, and lower bounds of those of the operator. The
double integrals split at the diagonal, where kernels have their kinks, and nodes crowd towards it and towards the ends.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray

Kernel = Callable[[FloatArray, FloatArray], FloatArray]

_LEAST_DEGREE = 48
_ASYMMETRY = 1e-10
_NEGATIVE = 1e-10  # an eigenvalue relative to the largest


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""The first m eigenvalues, and their eigenfunctions as coefficients (p, m) of normalized Legendre polynomials on [0, T].

    trace: $\int K(t, t)\,dt$. total: the sum of all p eigenvalues, at most the trace. errors: (m,) how far the eigenvalues lie
    below those of the operator, estimated from half the degree. quadrature_error: of the trace and of any eigenvalue of the
    matrix, from a second rule.
    """

    eigenvalues: FloatArray
    coefficients: FloatArray
    horizon: float
    trace: float
    total: float
    errors: FloatArray
    quadrature_error: float

    def functions(self, times: FloatArray) -> FloatArray:
        """The eigenfunctions at some times, (n, m)."""
        return _legendre(np.asarray(times, dtype=np.float64), self.horizon, len(self.coefficients)) @ self.coefficients


def spectrum(kernel: Kernel, horizon: float, m: int) -> Spectrum:
    """The first m eigenvalues of the operator of a kernel; ``ValueError`` for one that is no covariance."""
    degree = max(_LEAST_DEGREE, 4 * m)
    matrix, trace = _matrix(kernel, horizon, degree, 3 * degree)
    other, other_trace = _matrix(kernel, horizon, degree, 5 * degree // 2)
    quadrature_error = max(float(np.linalg.norm(matrix - other, 2)), abs(trace - other_trace))
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if eigenvalues[0] < -(_NEGATIVE * abs(eigenvalues[-1]) + 10 * quadrature_error) or not eigenvalues[-1] > 0:
        raise ValueError(
            f"the covariance must be positive semidefinite; received one whose operator has the eigenvalue {eigenvalues[0]:g}, "
            f"and {eigenvalues[-1]:g} as the largest. Give cov(X_s, X_t) of a process"
        )
    half = np.linalg.eigvalsh(matrix[: degree // 2, : degree // 2])[::-1]
    first = np.maximum(eigenvalues[::-1][:m], 0.0)
    vectors = vectors[:, ::-1][:, :m]
    vectors = vectors * np.where(_legendre(np.array([0.0, horizon]), horizon, degree)[1] @ vectors < 0, -1.0, 1.0)
    total = float(eigenvalues.sum())
    return Spectrum(first, vectors, horizon, trace, total, np.abs(first - half[:m]), quadrature_error)


def _matrix(kernel: Kernel, horizon: float, degree: int, nodes: int) -> tuple[FloatArray, float]:
    r"""The operator's matrix (p, p), $\int_0^T \int_0^1 t K(tu, t) f_i(tu) f_j(t)$ and its transpose, and $\int K(t, t)\,dt$."""
    u, w = _graded_rule(nodes)
    t = horizon * u
    s = t[:, None] * u
    values = _checked(kernel, s, np.broadcast_to(t[:, None], s.shape))
    inner = np.einsum("tu,tui->ti", values * t[:, None] * w, _legendre(s, horizon, degree))
    half = inner.T @ (_legendre(t, horizon, degree) * (horizon * w)[:, None])
    return half + half.T, float(horizon * w @ _checked(kernel, t, t))


def _graded_rule(n: int) -> tuple[FloatArray, FloatArray]:
    """Gauss' rule on [0, 1] after $v^3 (10 - 15 v + 6 v^2)$, by which powers at the ends become smooth."""
    x, weights = scipy.special.roots_legendre(n)
    v = (1 + np.asarray(x, dtype=np.float64)) / 2
    return v**3 * (10 + v * (6 * v - 15)), np.asarray(weights, dtype=np.float64) / 2 * 30 * np.square(v * (1 - v))


def _legendre(times: FloatArray, horizon: float, degree: int) -> FloatArray:
    """Legendre polynomials of degrees below ``degree``, orthonormal on [0, T]."""
    values = np.polynomial.legendre.legvander(2 * times / horizon - 1, degree - 1)
    return np.asarray(values * np.sqrt((2 * np.arange(degree) + 1) / horizon), dtype=np.float64)


def _checked(kernel: Kernel, s: FloatArray, t: FloatArray) -> FloatArray:
    """The kernel's values, of the right shape, finite and symmetric."""
    values, swapped = (np.asarray(kernel(*pair), dtype=np.float64) for pair in ((s, t), (t, s)))
    if values.shape != s.shape or not np.isfinite(values).all():
        raise ValueError(
            "covariance(s, t) must take two arrays of one shape and return finite values of that shape; received values of "
            f"shape {values.shape}{'' if np.isfinite(values).all() else ', not all finite,'} for times of shape {s.shape}"
        )
    gap = np.abs(values - swapped)
    if gap.max() > _ASYMMETRY * np.abs(values).max():
        at = np.unravel_index(int(gap.argmax()), gap.shape)
        raise ValueError(
            f"the covariance must be symmetric; received covariance({s[at]:g}, {t[at]:g}) = {values[at]:g} "
            f"and covariance({t[at]:g}, {s[at]:g}) = {swapped[at]:g}"
        )
    return values
