r"""Delaunay triangulations of codes: the simplex that holds a point, its weights there, and what a law makes of them.

X in a simplex of vertices $x_j$ is $\sum_j \lambda_j x_j$ with $\lambda_j \ge 0$ of sum 1; among all ways to write X so, the
Delaunay simplex has the least $\sum_j \lambda_j |X - x_j|^2$ (rajan1994). On the line simplices are gaps between neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray

MOST_DIMENSIONS = 4  # simplices of K codes are of the order of K^(d/2), and Qhull's grow with d beside
_BLOCK = 2**17  # points located at once
_OUTSIDE = 1e-9  # of a simplex, how far outside of the hull rounding may put a point


@dataclass(frozen=True)
class DualMoments:
    r"""What a law makes of a grid: weights $w_k = E \lambda_k$, the dual distortion, its gradient (K, d), its cost's variance.

    On a fixed triangulation $D = \sum_k w_k |x_k|^2 - E|X|^2$, and as $\lambda$ is linear in X,
    $\nabla_k D = 2 E[\lambda_k (x_k - c)]$ with c the circumcentre of the simplex that holds X. Where X passes from one
    triangulation to the next as codes move, both have the same circumcentre, so that the gradient is continuous.
    """

    weights: FloatArray
    distortion: float
    gradient: FloatArray
    variance: float

    @property
    def steps(self) -> FloatArray:
        """From each code to the mean circumcentre about it, where it would be at rest, (K, d)."""
        return -self.gradient / np.where(self.weights > 0, 2 * self.weights, 1.0)[:, None]


class Triangulation:
    """The Delaunay triangulation of codes (K, d), 1 ≤ d ≤ 4; ``ValueError`` where their hull has no inside."""

    def __init__(self, codes: FloatArray) -> None:
        self.codes = codes
        self._origin = (codes.max(0) + codes.min(0)) / 2
        self._unit = float(np.ptp(codes, axis=0).max()) or 1.0
        self._vertices = (codes - self._origin) / self._unit
        if codes.shape[1] == 1:
            _, order = np.unique(codes[:, 0], return_index=True)
            if len(order) < 2:
                raise ValueError("a dual grid on the line needs two distinct codes; received one")
            self.simplices: IntArray = np.stack([order[:-1], order[1:]], axis=1)
            return
        try:
            self._delaunay: Any = scipy.spatial.Delaunay(self._vertices)
        except scipy.spatial.QhullError as error:
            raise ValueError(
                f"the codes of a dual grid must span all {codes.shape[1]} dimensions; {len(codes)} were received that lie in a "
                "plane of fewer, or nearly so. Leave out coordinates that others determine, or give a hull"
            ) from error
        self.simplices = np.asarray(self._delaunay.simplices, dtype=np.int64)

    def locate(self, x: FloatArray) -> tuple[IntArray, FloatArray]:
        """The simplices (n,) that hold points (n, d), and the weights (n, d + 1) of their vertices; -1 and NaN outside."""
        y = (x - self._origin) / self._unit
        if x.shape[1] == 1:
            return self._located_on_line(y[:, 0])
        simplex = np.asarray(self._delaunay.find_simplex(y), dtype=np.int64)
        missing = np.flatnonzero(simplex < 0)
        if len(missing):
            simplex[missing] = self._delaunay.find_simplex(y[missing], tol=_OUTSIDE)
        inverse, last = self._delaunay.transform[simplex, :-1], self._delaunay.transform[simplex, -1]
        first = np.einsum("nij,nj->ni", inverse, y - last)
        # The inverse of a thin simplex errs by its condition number; a second step from what is left takes that off.
        corners = self._vertices[self.simplices[simplex, :-1]] - last[:, None]
        first += np.einsum("nij,nj->ni", inverse, y - last - np.einsum("ni,nij->nj", first, corners))
        weights = np.concatenate([first, 1 - first.sum(1, keepdims=True)], axis=1).clip(0.0)
        weights /= weights.sum(1, keepdims=True)
        weights[simplex < 0] = np.nan
        return simplex, weights

    def _located_on_line(self, y: FloatArray) -> tuple[IntArray, FloatArray]:
        t = np.append(self._vertices[self.simplices[:, 0], 0], self._vertices[self.simplices[-1, 1], 0])
        simplex = (np.searchsorted(t, y, side="right") - 1).clip(0, len(t) - 2)
        above = (y - t[simplex]) / (t[simplex + 1] - t[simplex])
        outside = (above < -_OUTSIDE) | (above > 1 + _OUTSIDE)
        above = above.clip(0.0, 1.0)
        weights = np.stack([1 - above, above], axis=1)
        weights[outside] = np.nan
        return np.where(outside, -1, simplex), weights

    def moments(self, x: FloatArray, masses: FloatArray) -> DualMoments:
        """Of the finite measure of points (n, d) with masses (n,); ``ValueError`` where the hull does not contain all."""
        k, dim = self.codes.shape
        weights, pull, distortion, squares = np.zeros(k), np.zeros((k, dim)), 0.0, 0.0
        for start, simplex, shares in self.blocks(x):
            own, vertices = masses[start : start + len(simplex)], self.simplices[simplex]
            mass = own[:, None] * shares
            costs = (shares * np.square(x[start : start + len(simplex), None] - self.codes[vertices]).sum(2)).sum(1)
            distortion += float(own @ costs)
            squares += float(own @ np.square(costs))
            weights += np.bincount(vertices.ravel(), mass.ravel(), minlength=k)
            # Circumcentres are of simplices, so masses are summed over the points of each first.
            held, which = np.unique(simplex, return_inverse=True)
            total = np.stack([np.bincount(which, mass[:, j], minlength=len(held)) for j in range(dim + 1)], axis=1)
            away = 2 * total[:, :, None] * (self.codes[self.simplices[held]] - self._circumcentres(held)[:, None])
            np.add.at(pull, self.simplices[held].ravel(), away.reshape(-1, dim))
        return DualMoments(weights, distortion, pull, max(squares - distortion**2, 0.0))

    def blocks(self, x: FloatArray) -> Iterator[tuple[int, IntArray, FloatArray]]:
        """The places of points (n, d) in parts, each with where it begins; ``ValueError`` for points outside of the hull."""
        for start in range(0, len(x), _BLOCK):
            simplex, weights = self.locate(x[start : start + _BLOCK])
            outside = np.flatnonzero(simplex < 0)
            if len(outside):
                raise ValueError(
                    f"the hull of a dual grid must contain the law's support; {len(outside)} of {len(simplex)} points lie "
                    f"outside, {x[start + outside[0]].tolist()} among them. Make the grid with hull=..., points around all of it"
                )
            yield start, simplex, weights

    def _circumcentres(self, which: IntArray) -> FloatArray:
        if self.codes.shape[1] == 1:
            return self.codes[self.simplices[which]].mean(1)
        inverse, last = self._delaunay.transform[which, :-1], self._delaunay.transform[which, -1]
        squares = np.square(self._vertices[self.simplices[which, :-1]] - last[:, None]).sum(2)
        return self._origin + self._unit * (last + np.einsum("nij,ni->nj", inverse, squares) / 2)
