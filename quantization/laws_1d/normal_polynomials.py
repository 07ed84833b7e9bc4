r"""Mixtures on the line of polynomials of a normal variable: the law of one step of a discretized diffusion."""

from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells, stationarity
from quantization.laws_1d.levenberg_marquardt import tridiagonal

_FAR = 40.0  # standard deviations beyond which a normal law has no mass in float64
_ALL = np.array([1.0, 0.0, 1.0, 0.0, 3.0])  # E Z^p
_LIGHT = 1e-18
_ROUNDS = 100


class NormalPolynomials:
    r"""$\sum_i p_i \mathcal L(a_i + b_i Z + c_i Z^2)$, Z of law N(0, 1), $b_i \ge 0$, for quadratic quantization.

    The event $a + bZ + cZ^2 \le y$ is that Z lies on one side of a root or between two, so masses and moments of cells are
    differences of $E[Z^p; Z \le z]$, which are closed forms of $\Phi$ and $\varphi$ for $p \le 4$.

    Parameters
    ----------
    weights, a, b, c : arrays (n,)
        Weights of sum 1. The steps of Euler's scheme have c = 0.
    """

    def __init__(self, weights: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> None:
        self._weights, self._a, self._b, self._c = weights, a, b, c
        self._powers = 5 if c.any() else 3
        self._cached: tuple[bytes, _CellMoments] | None = None

    @property
    def mean(self) -> float:
        """Of the law."""
        return float(self._weights @ (self._a + self._c))

    @property
    def deviation(self) -> float:
        """The standard deviation of the law."""
        away = self._a + self._c - self.mean
        return float(np.sqrt(self._weights @ (away * away + self._b**2 + 2 * self._c**2)))

    @property
    def size(self) -> int:
        """The number n of components."""
        return len(self._a)

    @property
    def uneven(self) -> float:
        """The least deviation of a component over the greatest, 1 where none has any."""
        largest = float(self._b.max())
        return float(self._b.min()) / largest if largest > 0 else 1.0

    def discretized(self, nodes: int) -> tuple[FloatArray, FloatArray]:
        """Weighted points in rising order near the law, so many of each component at equal levels; (n · nodes,) each."""
        z = scipy.special.ndtri((np.arange(nodes) + 0.5) / nodes)
        points = (self._a[:, None] + self._b[:, None] * z + self._c[:, None] * z * z).ravel()
        order = np.argsort(points, kind="stable")
        return np.repeat(self._weights / nodes, nodes)[order], points[order]

    def masses_by_component(self, codes: FloatArray) -> FloatArray:
        """The mass of each cell of codes (K, 1) under each component, (n, K)."""
        m = self._measured(codes)
        masses = np.zeros((len(self._a), len(codes)))
        masses[:, m.at] = m.masses
        return masses

    def cells(self, codes: FloatArray) -> Cells:
        m = self._measured(codes)
        masses, shift = np.zeros((2, len(codes)))
        masses[m.at], shift[m.at] = self._weights @ m.masses, self._weights @ m.first
        gradient, distortion = -2 * shift[:, None], float(self._weights @ m.costs.sum(1))
        means = codes + (shift / np.where(masses > 0, masses, 1.0))[:, None]
        return Cells(masses, means, gradient, distortion, stationarity(gradient, masses, distortion, 2.0))

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        m = self._measured(codes)
        between = -np.diff(m.t) / 2 * (self._weights @ m.densities)
        return tridiagonal(2 * (self._weights @ m.masses), between, m.at, len(codes))

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes`` with those of empty cells moved into the costliest, a standard deviation of that cell from its centroid."""
        c = self.cells(codes)
        for _ in range(_ROUNDS):
            spare = np.flatnonzero(c.masses <= _LIGHT)
            if not len(spare):
                break
            m, moved = self._measured(codes), codes.copy()
            costs, masses = self._weights @ m.costs, self._weights @ m.masses
            worst = np.argsort(-costs, kind="stable")[: len(spare)]
            away = np.sqrt(costs[worst] / np.where(masses[worst] > 0, masses[worst], 1.0))
            moved[spare[: len(worst)], 0] = m.t[worst] + away
            trial = self.cells(moved)
            if not trial.distortion < c.distortion:
                break
            codes, c = moved, trial
        return codes, c

    def _measured(self, codes: FloatArray) -> "_CellMoments":
        key = codes.tobytes()
        if self._cached is None or self._cached[0] != key:
            self._cached = key, self._measure(codes)
        return self._cached[1]

    def _measure(self, codes: FloatArray) -> "_CellMoments":
        t, at = np.unique(codes[:, 0], return_index=True)
        a, b, c = self._a[:, None], self._b[:, None], self._c[:, None]
        below = np.zeros((self._powers, len(a), len(t) + 1))
        below[:, :, -1] = _ALL[: self._powers, None]
        below[:, :, 1:-1], densities = self._partial(t[:-1] + np.diff(t) / 2)
        m = np.diff(below, axis=2)
        u = a - t  # distances are measured from the code, so that nothing cancels but round-off of the cell's own size
        first, costs = u * m[0] + b * m[1], u * u * m[0] + 2 * u * b * m[1] + b * b * m[2]
        if self._powers > 3:
            first += c * m[2]
            costs += 2 * u * c * m[2] + 2 * b * c * m[3] + c * c * m[4]
        return _CellMoments(t, at.astype(np.int64), m[0].clip(0.0), first, costs.clip(0.0), densities)

    def _partial(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """$E[Z^p; a + bZ + cZ^2 \\le y]$, (powers, n, K − 1), and the densities at y, (n, K − 1)."""
        a, b, c = self._a[:, None], self._b[:, None], self._c[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            discriminant = b * b - 4 * c * (a - y)
            root = np.sqrt(discriminant.clip(0.0))
            q = -(b + root) / 2
            near = _side(y - a, -q)  # the root that is (y − a) / b where c = 0
            moments = _moments(near, self._powers)
            densities = _phi(near)
            far = np.where(c == 0, -np.inf, q / c).clip(-_FAR, _FAR)
            if (far > -_FAR).any() or (discriminant < 0).any():
                other = _moments(far, self._powers)
                real, up = discriminant >= 0, c > 0
                between = np.where(real & (c != 0), np.where(up, moments - other, other - moments), 0.0)
                curved = np.where(up, between, _ALL[:, None, None] - between)
                moments = np.where(c == 0, moments, curved)
                densities = np.where(real, densities + np.where(c == 0, 0.0, _phi(far)), 0.0)
            return moments, np.where(root > 0, densities / root, 0.0)


@dataclass(frozen=True)
class _CellMoments:
    """The distinct codes t (K',) in order and their indices ``at``; of each component and cell, (n, K'), the mass and the first
    and second moment about the code; the densities at the ends of cells, (n, K' − 1)."""

    t: FloatArray
    at: IntArray
    masses: FloatArray
    first: FloatArray
    costs: FloatArray
    densities: FloatArray


def _side(away: FloatArray, scale: FloatArray) -> FloatArray:
    """``away / scale``, within what has mass; where both are zero, on the side that includes an atom."""
    z = away / scale
    return np.where(np.isnan(z), _FAR, z).clip(-_FAR, _FAR)


def _phi(z: FloatArray) -> FloatArray:
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def _moments(z: FloatArray, powers: int) -> FloatArray:
    r"""$E[Z^p; Z \le z]$ for p below ``powers``, 3 or 5."""
    below, phi = scipy.special.ndtr(z), _phi(z)
    moments = [below, -phi, below - z * phi]
    if powers > 3:
        moments += [-(z * z + 2) * phi, 3 * below - (z**3 + 3 * z) * phi]
    return np.stack(moments)


def normal_grid_start(k: int) -> FloatArray:
    r"""Near the optimal codes of N(0, 1): quantiles of N(0, 3), whose density is $\propto \varphi^{1/3}$ (zador1982)."""
    return np.sqrt(3.0) * scipy.special.ndtri((np.arange(k) + 0.5) / k)
