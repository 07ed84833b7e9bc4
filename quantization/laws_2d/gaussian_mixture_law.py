r"""Gaussian mixtures in the plane: their Voronoi cells by integrals along edges, r = 2."""

from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells, stationarity
from quantization.laws import GaussianMixture

if TYPE_CHECKING:
    from quantization.laws_2d.voronoi_polygons import Diagram

_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class GaussianMixture2D:
    r"""A mixture of Gaussians in the plane with definite covariances, r = 2.

    Masses are accurate to 1e-15, in far tails relative to themselves; D to 1e-13 relatively at K = 1000. Of equal codes the first
    has the cell. The first use compiles the integrals, which takes some seconds, and caches them on disk.

    What certifies a codebook: a residual of round-off (1e-13 at K = 1000) and a positive definite Hessian make it a strict local
    minimum; where the law is isotropic, but for one eigenvalue of zero, that of rotation (and at K = 4 of N(0, I) a second, along
    which D rises at the fourth order). That it is the global one is not proved but searched for: see ``search``.
    """

    mixture: GaussianMixture

    def cells(self, codes: FloatArray) -> Cells:
        moments, unit = self._moments(codes), self.unit
        masses, residuals = moments[:, 0], moments[:, 1:3]  # residuals: weighted by the masses
        gradient, distortion = -2 * residuals, float((moments[:, 3] + moments[:, 5]).sum())
        residual = stationarity(gradient, masses, distortion, 2.0)
        means = codes + unit * np.divide(residuals, masses[:, None], out=np.zeros_like(residuals), where=masses[:, None] > 0)
        return Cells(masses, means, gradient * unit, distortion * unit * unit, residual)

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes`` with those of empty cells moved into the costliest cells, one each, a standard deviation from its code.

        A cell is empty where its code repeats an earlier one, or lies so far out that its mass underflows. It has no share in the
        distortion, which therefore cannot rise.
        """
        for attempt in range(_ROUNDS):
            moments = self._moments(codes)
            empty = np.flatnonzero(moments[:, 0] == 0)
            if not len(empty):
                break
            offsets, costs = _axes(moments)
            costliest = np.argsort(-costs, kind="stable")[: min(len(empty), len(codes) - len(empty))]
            codes, empty = codes.copy(), empty[: len(costliest)]
            side = 1.0 if attempt % 2 == 0 else -0.5  # where nothing lies on one side, try the other
            codes[empty] = codes[costliest] + side * self.unit * offsets[costliest]
        return codes, self.cells(codes)

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        r"""$\nabla^2 D_2$, sparse: a block (k, j) for each edge between cells k and j.

        $\partial_k \nabla_k = 2 w_k I - \sum_j \frac{2}{|x_j - x_k|} \int_{e_{kj}} (x - x_k)(x - x_k)^T f\,ds$ and
        $\partial_j \nabla_k = \frac{2}{|x_j - x_k|} \int_{e_{kj}} (x - x_k)(x - x_j)^T f\,ds$.
        """
        codes = np.ascontiguousarray(codes / self.unit)
        diagram, moments, along = self._integrals(codes)
        owners = np.repeat(np.arange(len(codes)), np.diff(diagram.first))
        once = owners < diagram.neighbors
        i, j, lines = owners[once], diagram.neighbors[once], diagram.lines[once]
        s0, s1, s2 = along[once].T[:, :, None, None]
        normals, h = lines[:, :2], lines[:, 2, None, None]
        tangents = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
        nn, nt, tt = outer(normals, normals) * h * s0, outer(normals, tangents) * s1, outer(tangents, tangents) * s2 / h
        tn, along = nt.transpose(0, 2, 1), nn + tt
        diagonal = 2 * moments[:, :1, None] * np.eye(2)
        np.subtract.at(diagonal, i, along + (nt + tn))
        np.subtract.at(diagonal, j, along - (nt + tn))
        return _from_blocks(diagonal, i, j, tt - nn + nt - tn)

    def search(self, k: int, rng: np.random.Generator, *, exhaustive: bool = False) -> FloatArray:
        """The best codes of several chains of descents and hops: see :class:`quantization.laws_2d.basin_hopping.BasinHopping`."""
        from quantization.laws_2d.basin_hopping import BasinHopping

        return self.unit * BasinHopping(self._integrated, lambda: self._draw_point_density(k, rng), rng).best()

    def _draw_point_density(self, k: int, rng: np.random.Generator) -> FloatArray:
        r"""k draws from the point density $\propto f^{1/2}$, that of optimal codes as K → ∞, in internal units.

        By rejection: $f^{1/2} \le \sum_i (\pi_i \varphi_i)^{1/2}$, and $\varphi_i^{1/2} \propto (\det C_i)^{1/4} N(m_i, 2 C_i)$.
        """
        weights, means, roots, inverses = self._components
        determinants = roots[:, 0, 0] * roots[:, 1, 1]
        shares = np.sqrt(weights * determinants)
        codes = np.empty((0, 2))
        while len(codes) < k:
            component = rng.choice(len(weights), size=2 * k, p=shares / shares.sum())
            noise = np.sqrt(2) * rng.standard_normal((2 * k, 2))
            draws = means[component] + np.einsum("nij,nj->ni", roots[component], noise)
            whitened = np.einsum("mij,nmj->nmi", inverses, draws[:, None] - means)
            terms = np.exp(-np.square(whitened).sum(2) / 2) * (weights / determinants)
            accepted = rng.random(2 * k) * np.sqrt(terms).sum(1) <= np.sqrt(terms.sum(1))
            codes = np.concatenate([codes, draws[accepted]])
        return codes[:k]

    @cached_property
    def unit(self) -> float:
        """The internal unit of length, a power of two near the largest standard deviation."""
        variance = float(np.diagonal(self.mixture.covs, axis1=1, axis2=2).max())
        return 2.0 ** round(log2(variance) / 2)

    @cached_property
    def _components(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Weights, means, roots L of the covariances and their inverses, in internal units; components of weight 0 left out."""
        present = self.mixture.weights > 0
        roots = np.asarray(np.linalg.cholesky(self.mixture.covs[present] / self.unit / self.unit), dtype=np.float64)
        inverses = np.asarray(np.linalg.inv(roots), dtype=np.float64)
        return self.mixture.weights[present], self.mixture.means[present] / self.unit, roots, inverses

    def _moments(self, codes: FloatArray) -> FloatArray:
        """Masses, first and second moments of the cells about their codes (K, 6), in internal units; NaN for infinite codes."""
        codes = np.ascontiguousarray(codes / self.unit)
        if not np.isfinite(codes).all():
            return np.full((len(codes), 6), np.nan)
        return self._integrated(codes)[1]

    def _integrated(self, codes: FloatArray) -> "tuple[Diagram, FloatArray]":
        return self._integrals(codes)[:2]

    def _integrals(self, codes: FloatArray) -> "tuple[Diagram, FloatArray, FloatArray]":
        return self.integrals(codes, np.zeros(len(codes)))

    def integrals(self, codes: FloatArray, prices: FloatArray) -> "tuple[Diagram, FloatArray, FloatArray]":
        """The power cells, their moments, and those along their edges; all in internal units."""
        from quantization.laws_2d.gaussian_cell_integrals import cell_moments
        from quantization.laws_2d.voronoi_polygons import power_diagram

        diagram = power_diagram(codes, prices)
        moments, along = cell_moments(diagram.first, diagram.lines, codes, *self._components)
        return diagram, np.where(diagram.owned[:, None], moments, 0.0), along


def definite(mixture: GaussianMixture) -> bool:
    """Whether every component of positive weight has a density."""
    kept = mixture.weights > 0
    if not kept.all():
        mixture = GaussianMixture(mixture.weights[kept], mixture.means[kept], mixture.covs[kept])
    try:
        mixture.log_density(mixture.means[:1])
    except ValueError:
        return False
    return True


def _axes(moments: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of each cell, its longest axis about its code, one root mean square long, and its cost."""
    matrices = moments[:, [3, 4, 4, 5]].reshape(-1, 2, 2)
    spectra, bases = np.linalg.eigh(matrices)
    masses = np.where(moments[:, 0] > 0, moments[:, 0], 1.0)
    return bases[:, :, 1] * np.sqrt(np.maximum(spectra[:, 1], 0) / masses)[:, None], moments[:, 3] + moments[:, 5]


def outer(a: FloatArray, b: FloatArray) -> FloatArray:
    """The matrices a b^T of vectors (n, 2): (n, 2, 2)."""
    return a[:, :, None] * b[:, None, :]


def _from_blocks(diagonal: FloatArray, i: IntArray, j: IntArray, across: FloatArray) -> "scipy.sparse.csc_array":
    """The symmetric matrix of these 2 × 2 blocks: on the diagonal, at (i, j) and, transposed, at (j, i)."""
    every = np.arange(len(diagonal))
    blocks = np.concatenate([diagonal, across, across.transpose(0, 2, 1)])
    rows, columns = np.concatenate([every, i, j]), np.concatenate([every, j, i])
    offsets = np.arange(2)
    at = np.broadcast_arrays(2 * rows[:, None, None] + offsets[:, None], 2 * columns[:, None, None] + offsets)
    size = 2 * len(diagonal)
    return scipy.sparse.csc_array((blocks.ravel(), (at[0].ravel(), at[1].ravel())), shape=(size, size))
