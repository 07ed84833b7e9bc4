r"""Gaussian mixtures in the plane and codes of prescribed masses: power cells whose prices are found by damped Newton.

$F(x) = W_2^2(\mu, \sum_k w_k \delta_{x_k}) = \max_p G(x, p)$, $G = \sum_k w_k p_k + E \min_k (|X - x_k|^2 - p_k)$, whose
derivatives are masses, moments of cells, and integrals along their edges e between codes $d = |x_j - x_k|$ apart:
$\partial_{p_k} G = w_k - \mu(V_k)$, $\nabla_k G = 2 \int_{V_k} (x_k - y) f$, and where an edge moves,
$\partial_{p_j} \mu(V_k) = -\frac{1}{2d} \int_e f$, $\partial_{x_j} \mu(V_k) = -\frac1d \int_e (y - x_j) f$,
$\partial_{x_j} \nabla_k G = \frac2d \int_e (y - x_k)(y - x_j)^T f$. Source: kitagawa2019.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells, stationarity
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D, outer

if TYPE_CHECKING:
    from quantization.laws_2d.voronoi_polygons import Diagram

_STEPS, _HALVINGS = 200, 60
_FAR, _CENTROIDS = 0.3, 20  # a residual at which codes are far from optimal, and steps to centroids that bring them near
_EXACT, _ROUND_OFF = 1e-9, 1e-14  # by how much masses may miss what is prescribed: of the least, or what computing them leaves


class _Priced(NamedTuple):
    """Codes and prices with the integrals of their cells, in internal units."""

    codes: FloatArray
    prices: FloatArray
    diagram: "Diagram"
    moments: FloatArray
    along: FloatArray

    @property
    def masses(self) -> FloatArray:
        return self.moments[:, 0]

    def edges(self) -> tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
        """Each edge once: both its codes, their distance, its line and the integrals along it."""
        owners = np.repeat(np.arange(len(self.codes)), np.diff(self.diagram.first))
        once = owners < self.diagram.neighbors
        i, j = owners[once], self.diagram.neighbors[once]
        return i, j, np.hypot(*(self.codes[j] - self.codes[i]).T), self.diagram.lines[once], self.along[once]


@dataclass(frozen=True, eq=False)
class BalancedMixture2D:
    r"""A Gaussian mixture in the plane whose cells have the masses w (K,): an exact law of $W_2^2(\mu, \sum_k w_k \delta_{x_k})$.

    The prices of the last codes are where the search for others begins.
    """

    law: GaussianMixture2D
    masses: FloatArray
    _last: list[_Priced] = field(default_factory=list[_Priced], repr=False)

    def cells(self, codes: FloatArray) -> Cells:
        """The power cells that have the masses w to 1e-9 of the least; where none are found, cells and an infinite distortion."""
        priced, unit, w = self._priced(codes), self.law.unit, self.masses
        masses, residuals = priced.masses, priced.moments[:, 1:3]
        distortion = float((priced.moments[:, 3] + priced.moments[:, 5]).sum())
        exact = bool(np.abs(masses - w).max() <= max(_EXACT * w.min(), _ROUND_OFF))
        means = codes + unit * np.divide(residuals, masses[:, None], out=np.zeros_like(residuals), where=masses[:, None] > 0)
        residual = stationarity(-2 * residuals, masses, distortion, 2.0)
        return Cells(
            w if exact else masses, means, -2 * unit * residuals, distortion * unit * unit if exact else np.inf, residual
        )  # fmt: skip

    def certificate(self, codes: FloatArray) -> tuple[FloatArray, float]:
        r"""The prices of the cells of ``codes``, of least entry 0, and the cost less the dual value, $\sum_k p_k (m_k - w_k)$."""
        priced, unit = self._priced(codes), self.law.unit
        prices = priced.prices - self.masses @ priced.prices
        gap = abs(float((priced.masses - self.masses) @ prices))
        return (prices - prices.min()) * unit * unit, gap * unit * unit

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes``, of equal ones all but one moved as free masses would have them, far ones to centroids; and their cells."""
        if len(np.unique(codes, axis=0)) < len(codes):
            codes, _ = self.law.relocate_empty_cells(codes)
        c = self.cells(codes)
        if not np.isfinite(c.distortion):
            codes, _ = self.law.relocate_empty_cells(codes)
            c = self.cells(codes)
        if not np.isfinite(c.distortion):
            raise ValueError(
                "no prices were found by which the cells of these codes have the masses asked for: the codes lie too far from "
                'the law, or too close together. Start from others, as by init="k-means++"'
            )
        for _ in range(_CENTROIDS):
            if c.stationarity <= _FAR or len(np.unique(c.means, axis=0)) < len(codes):
                break
            moved = self.cells(c.means)
            if not moved.distortion < c.distortion:
                break
            codes, c = c.means, moved
        return codes, c

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        r"""$\nabla^2 F = G_{xx} - G_{xp} G_{pp}^{-1} G_{px}$, dense for all that."""
        priced = self._priced(codes)
        k, w = len(codes), priced.masses
        i, j, d, lines, along = priced.edges()
        normals, h = lines[:, :2], lines[:, 2]
        tangents = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
        s0, s1, s2 = along.T / d
        from_i = normals * (h * s0)[:, None] + tangents * s1[:, None]  # (1/d) ∫ (y − x_i) f
        from_j = normals * ((h - d) * s0)[:, None] + tangents * s1[:, None]
        nn, nt, tn, tt = outer(normals, normals), outer(normals, tangents), outer(tangents, normals), outer(tangents, tangents)

        def second(a: FloatArray, b: FloatArray) -> FloatArray:
            """(2/d) ∫ (a n + s t)(b n + s t)^T f."""
            return 2 * (_times(a * b * s0, nn) + _times(a * s1, nt) + _times(b * s1, tn) + _times(s2, tt))

        add: Any = np.add.at
        xx = np.zeros((k, 2, k, 2))
        xx[np.arange(k), :, np.arange(k)] = 2 * w[:, None, None] * np.eye(2)
        blocks = ((i, i, -second(h, h)), (j, j, -second(h - d, h - d)), (i, j, second(h, h - d)), (j, i, second(h - d, h)))
        for row, column, block in blocks:
            add(xx, (row, slice(None), column), block)
        mx = np.zeros((k, k, 2))  # ∂ of the mass of a cell by codes
        for row, column, slope in ((i, i, from_i), (j, j, from_j), (i, j, -from_j), (j, i, -from_i)):
            add(mx, (row, column), slope)
        mx, xx = mx.reshape(k, 2 * k), xx.reshape(2 * k, 2 * k)
        if k > 1:  # prices matter but for a constant: the last stays
            response = np.asarray(np.linalg.solve(_slopes(priced).toarray()[:-1, :-1], mx[:-1]), dtype=np.float64)
            xx = xx + mx[:-1].T @ response
        return scipy.sparse.csc_array((xx + xx.T) / 2)

    def _priced(self, codes: FloatArray) -> _Priced:
        codes = np.ascontiguousarray(codes / self.law.unit)
        if self._last and np.array_equal(self._last[0].codes, codes):
            return self._last[0]
        self._last[:] = [self._balanced(codes)]
        return self._last[0]

    def _at(self, codes: FloatArray, prices: FloatArray) -> _Priced:
        return _Priced(codes, prices, *self.law.integrals(codes, prices))

    def _balanced(self, codes: FloatArray) -> _Priced:
        """Damped Newton on the prices, on which no cell falls below a share of its mass: kitagawa2019."""
        starts = [self._last[0].prices] if self._last else []
        now = self._at(codes, starts[0]) if starts else self._at(codes, np.zeros(len(codes)))
        for prices in (np.zeros(len(codes)), self._scaled(codes)):
            if now.masses.min() > 0.1 * self.masses.min():
                break
            other = self._at(codes, prices)
            now = other if other.masses.min() > now.masses.min() else now
        floor = min(now.masses.min(), self.masses.min()) / 2
        for _ in range(_STEPS if floor > 0 else 0):
            missing = self.masses - now.masses
            error = float(np.abs(missing).max())
            if error == 0:
                break
            move = np.zeros(len(codes))
            move[:-1] = scipy.sparse.linalg.spsolve(_slopes(now)[:-1, :-1].tocsc(), missing[:-1])
            following = self._shorter(now, move, floor, error)
            if following is None:
                break
            now = following
        return now

    def _shorter(self, now: _Priced, move: FloatArray, floor: float, error: float) -> _Priced | None:
        """The first of ever shorter steps that keeps all cells and brings masses nearer; None at round-off."""
        share = 1.0
        for _ in range(_HALVINGS):
            trial = self._at(now.codes, now.prices + share * move)
            if trial.masses.min() >= floor and np.abs(trial.masses - self.masses).max() <= (1 - share / 2) * error:
                return trial
            if error <= _ROUND_OFF:
                return None
            share /= 2
        return None

    def _scaled(self, codes: FloatArray) -> FloatArray:
        r"""Prices by which the cells are the Voronoi cells of the codes moved and scaled to the mean and the spread of the law.

        $|y - \beta x_k - b|^2 = \beta (|y - x_k|^2 - p_k)$ + what no k changes, at $p_k = |x_k|^2 - |\beta x_k + b|^2 / \beta$.
        """
        mixture, unit = self.law.mixture, self.law.unit
        mean, spread = mixture.mean / unit, (np.trace(mixture.cov)) ** 0.5 / unit
        centre = codes.mean(0)
        width = float(np.square(codes - centre).sum(1).mean()) ** 0.5
        beta = spread / width if width > 0 else 1.0
        x = codes - centre
        return np.asarray(np.square(codes - mean).sum(1) - beta * np.square(x).sum(1), dtype=np.float64)


def _slopes(priced: _Priced) -> Any:
    """∂ masses / ∂ prices (K, K), a weighted Laplacian."""
    k = len(priced.codes)
    i, j, d, _, along = priced.edges()
    slopes = along[:, 0] / (2 * d)
    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i])
    return scipy.sparse.csc_array((np.concatenate([slopes, slopes, -slopes, -slopes]), (rows, columns)), shape=(k, k))


def _times(factors: FloatArray, matrices: FloatArray) -> FloatArray:
    return factors[:, None, None] * matrices
