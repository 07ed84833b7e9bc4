"""Cells whose points lie on one line in space, where a whole interval of points may be medians: its middle."""

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, epsilon, to_host

_OFF = 8  # how far off a line rounding puts points, in units of theirs
_EQUAL = 1e-12  # of a mass: halves that differ by this are one


def middles(points: Array, weights: FloatArray, labels: IntArray, cells: IntArray) -> tuple[IntArray, FloatArray]:
    """Those of some cells in which an interval of points are medians, and the middles of these intervals, (m,) and (m, d).

    weights, labels: (n,), on the host. Where the points of a cell lie on no line its median is the only one; a cell without mass
    has none.
    """
    masses = np.bincount(labels, weights, minlength=int(cells.max(initial=-1)) + 1)
    cells = cells[masses[cells] > 0]
    if not len(cells):
        return cells, np.empty((0, points.shape[1]))
    place = np.full(len(masses), -1)
    place[cells] = np.arange(len(cells))
    own = place[labels]
    rows = np.flatnonzero((own >= 0) & (weights > 0))
    own, shares, some = own[rows], weights[rows], points[rows]
    x = to_host(some).astype(np.float64, copy=False)
    shares = shares / np.bincount(own, shares)[own]

    def farthest(among: FloatArray) -> FloatArray:
        """Of each cell the point farthest from the cell's own among these, (K, d)."""
        order = np.lexsort((np.square(x - among[own]).sum(1), own))
        return x[order[np.cumsum(np.bincount(own)) - 1]]

    end = farthest(x[np.unique(own, return_index=True)[1]])
    way = farthest(end) - end
    squared = np.maximum(np.square(way).sum(1), np.finfo(np.float64).tiny)
    along = np.einsum("nd,nd->n", x - end[own], way[own]) / squared[own]
    off = np.abs(x - end[own] - along[:, None] * way[own]).max(1) > _OFF * epsilon(some) * np.abs(x).max(1)
    straight = np.bincount(own, off) == 0
    order = np.lexsort((along, own))
    own, x = own[order], x[order]
    below = np.cumsum(shares[order]) - own  # each cell has the mass 1
    last = np.flatnonzero((np.abs(below - 0.5) <= _EQUAL * len(cells)) & straight[own])
    return cells[own[last]], x[last] / 2 + x[last + 1] / 2
