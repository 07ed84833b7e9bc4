r"""Good dual grids in space: stochastic gradient and descent of the codes that a fixed hull holds.

The gradient of the dual distortion is $2 w_k (x_k - c_k)$, c_k the mean circumcentre about code k: $x_k \leftarrow c_k$ is for
dual grids what Lloyd's step is for Voronoi cells (chen2004), and gradient descent in the metric of the weights. On mini-batches
it goes a share $(1 + n/10)^{-0.6}$ of the way at step n, and the answer is the mean of the iterates, weighted by $n^2$: noise
takes codes out of poor optima in which a descent ends.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray, to_host
from quantization.grids.delaunay import Triangulation
from quantization.iteration import solve_tasks
from quantization.measure import DiscreteMeasure
from quantization.solvers.lloyd import Lloyd
from quantization.task import make_task

_START_STEPS = 10  # of Lloyd's algorithm, from which codes begin
_BATCH, _BATCH_PER_CODE = 1024, 16  # points of a mini-batch
_DELAY, _POWER, _MEMORY = 10, 0.6, 2 / 3  # of steps, and of the mean of weights
_LEAST = 1e-3  # of 1/K, below which a weight is not taken to be: its code would leap
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
        steps, held = steps.copy(), self._held(x)
        for i in np.flatnonzero(held.any(1)):
            _, sizes, directions = np.linalg.svd(self._normals[held[i]], full_matrices=False)
            across = directions[sizes > _ALIKE]
            steps[i] -= across.T @ (across @ steps[i])
        return steps

    def onto(self, x: FloatArray, sides: FloatArray) -> FloatArray:
        """Points (n, d), brought to those sides of the hull on which the points ``sides`` (n, d) lie."""
        x, held = x.copy(), self._held(sides)
        for i in np.flatnonzero(held.any(1)):
            normals = self._normals[held[i]]
            x[i] += np.linalg.lstsq(normals, self._levels[held[i]] - normals @ x[i], rcond=_ALIKE)[0]
        return self.nearest(x)

    def _held(self, x: FloatArray) -> NDArray[np.bool_]:
        """Which half-spaces' boundaries each point lies on, (n, m)."""
        return np.abs(x @ self._normals.T - self._levels) <= self._touching


def first_codes(measure: DiscreteMeasure, k: int, hull: Hull, rng: np.random.Generator) -> FloatArray:
    """Codes (k, d): the hull's corners, and a quantizer's that Lloyd's algorithm finds in a few steps."""
    fixed = len(hull.corners)
    if k == fixed:
        return hull.corners
    (start,) = solve_tasks([make_task(measure, k - fixed, 2.0, Lloyd(), None, 1, rng, _START_STEPS)])
    return np.concatenate([hull.corners, hull.nearest(to_host(start.points).astype(np.float64))])


def learn(draw: Callable[[int], FloatArray], codes: FloatArray, hull: Hull, steps: int) -> FloatArray:
    """Codes (k, d) after a stochastic gradient from these on mini-batches; the hull's corners stay. draw: n points (n, d)."""
    k, fixed = len(codes), len(hull.corners)
    size = max(_BATCH, _BATCH_PER_CODE * k)
    equal, weights, total, share = np.full(size, 1.0 / size), np.zeros(k), np.zeros_like(codes), 0
    for step in range(1, steps + 1 if k > fixed else 1):
        found = Triangulation(codes).moments(draw(size), equal)
        weights += (found.weights - weights) / step**_MEMORY
        ways = -found.gradient / (2 * np.maximum(weights, _LEAST / k))[:, None]
        moves = _within_reach(codes, ways, hull) * (1 + step / _DELAY) ** -_POWER
        codes = np.concatenate([hull.corners, hull.nearest(codes[fixed:] + moves)])
        total, share = total + step**2 * codes, share + step**2
    return np.concatenate([hull.corners, hull.onto(total[fixed:] / share, codes[fixed:])]) if share else codes


def descend(x: FloatArray, w: FloatArray, codes: FloatArray, hull: Hull, max_iter: int, rtol: float) -> FloatArray:
    """Codes (k, d) that cost points (n, d) of weights (n,) less, until three steps in a row gain less than rtol."""
    fixed, now, part, idle = len(hull.corners), Triangulation(codes).moments(x, w), 1.0, 0
    for _ in range(max_iter if len(codes) > fixed else 0):
        moves = hull.nearest(codes[fixed:] + _within_reach(codes, now.steps, hull)) - codes[fixed:]
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


def _within_reach(codes: FloatArray, ways: FloatArray, hull: Hull) -> FloatArray:
    """Ways (k, d) of the codes that are no corners, along the hull's boundary and no longer than to the next code.

    A thin simplex has a circumcentre far off.
    """
    fixed = len(hull.corners)
    steps = hull.along(codes[fixed:], ways[fixed:])
    apart = cast(Any, scipy.spatial.KDTree)(codes).query(codes[fixed:], 2)[0][:, 1]
    lengths: FloatArray = np.linalg.norm(steps, axis=1)
    return steps * np.minimum(1.0, apart / lengths.clip(1e-300))[:, None]
