r"""Good dual grids for finite measures in space: descent of the codes that a fixed hull holds.

The gradient of the dual distortion is $2 w_k (x_k - c_k)$, c_k the mean circumcentre about code k: $x_k \leftarrow c_k$ is for
dual grids what Lloyd's step is for Voronoi cells (chen2004), and gradient descent in the metric of the weights.
"""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, to_host
from quantization.grids.delaunay import Triangulation
from quantization.iteration import solve_tasks
from quantization.measure import DiscreteMeasure
from quantization.solvers.lloyd import Lloyd
from quantization.task import make_task

_START_STEPS = 10  # of Lloyd's algorithm, from which codes begin
_SHORTEST = 1 / 256  # part of a step, below which none is tried
_INSIDE, _TOUCHING = 1e-12, 1e-9  # of the hull's extent: how far outside rounding may put a code, and what lies on its boundary
_ALIKE = 1e-6  # of normals
_PATIENCE = 3  # steps that gain little, one after the other
_PROJECTIONS = 20


class Hull:
    """The convex hull of points (m, d), d ≥ 2, as half-spaces $a \\cdot x \\le b$; ``ValueError`` where it has no inside."""

    def __init__(self, points: FloatArray) -> None:
        try:
            hull = scipy.spatial.ConvexHull(points)
        except scipy.spatial.QhullError as error:
            raise ValueError(
                f"the hull of a dual grid must have an inside; {len(points)} points were received that lie in a plane of fewer "
                f"than {points.shape[1]} dimensions, or nearly so. Leave out coordinates that others determine"
            ) from error
        self.corners: FloatArray = points[np.sort(hull.vertices)]
        self._normals, self._levels = hull.equations[:, :-1], -hull.equations[:, -1]
        self._middle = self.corners.mean(0)
        extent = float(np.ptp(points, axis=0).max())
        self._slack, self._touching = _INSIDE * extent, _TOUCHING * extent

    def nearest(self, x: FloatArray) -> FloatArray:
        """Points (n, d), those outside brought back to the boundary: from one half-space to the next, at last along a ray."""
        x = x.copy()
        for _ in range(_PROJECTIONS):
            over = x @ self._normals.T - self._levels
            worst = over.argmax(1)
            out = np.flatnonzero(over[np.arange(len(x)), worst] > self._slack)
            if not len(out):
                return x
            x[out] -= over[out, worst[out], None] * self._normals[worst[out]]
        reach = (x - self._middle) @ self._normals.T / (self._levels - self._normals @ self._middle)
        return self._middle + (x - self._middle) / np.maximum(reach.max(1), 1.0)[:, None]

    def along(self, x: FloatArray, steps: FloatArray) -> FloatArray:
        """Steps (n, d) from points (n, d), of those on the boundary what goes along it: to leave it costs more than D's slope."""
        steps = steps.copy()
        held = np.abs(x @ self._normals.T - self._levels) <= self._touching
        for i in np.flatnonzero(held.any(1)):
            _, sizes, directions = np.linalg.svd(self._normals[held[i]], full_matrices=False)
            across = directions[sizes > _ALIKE]
            steps[i] -= across.T @ (across @ steps[i])
        return steps


def descend(measure: DiscreteMeasure, k: int, hull: Hull, max_iter: int, rtol: float, rng: np.random.Generator) -> FloatArray:
    """Codes (k, d): the hull's corners, which stay, and others that move until three steps in a row gain less than rtol."""
    fixed = len(hull.corners)
    if k == fixed:
        return hull.corners
    x, w = to_host(measure.points).astype(np.float64, copy=False), to_host(measure.weights_float64)
    (start,) = solve_tasks([make_task(measure, k - fixed, 2.0, Lloyd(), None, 1, rng, _START_STEPS)])
    codes = np.concatenate([hull.corners, hull.nearest(to_host(start.points).astype(np.float64))])
    now, part, idle = Triangulation(codes).moments(x, w), 1.0, 0
    for _ in range(max_iter):
        steps = hull.along(codes[fixed:], now.steps[fixed:])
        # A thin simplex has a circumcentre far off, so no code goes farther than its neighbour is.
        apart = cast(Any, scipy.spatial.KDTree)(codes).query(codes[fixed:], 2)[0][:, 1]
        lengths: FloatArray = np.linalg.norm(steps, axis=1)
        steps = steps * np.minimum(1.0, apart / lengths.clip(1e-300))[:, None]
        moves = hull.nearest(codes[fixed:] + steps) - codes[fixed:]
        while part >= _SHORTEST:
            trial = np.concatenate([hull.corners, codes[fixed:] + part * moves])
            then = Triangulation(trial).moments(x, w)
            if then.distortion < now.distortion:
                break
            part /= 2
        else:
            break
        idle = idle + 1 if now.distortion - then.distortion <= rtol * now.distortion else 0
        codes, now, part = trial, then, min(1.0, 2 * part)
        if idle == _PATIENCE:
            break
    return codes
