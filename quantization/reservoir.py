"""A weighted sample of all that has streamed by, whose weights are unbiased."""

import numpy as np

from quantization.arrays import FloatArray, IntArray


class PrioritySample:
    r"""At most ``size`` of the weighted points (n, d) that were added, and weights such that sums over them are unbiased.

    Priority sampling: a point of weight w has the priority w / u, u uniform on (0, 1]; those of the highest priorities are kept,
    with the weight max(w, τ), τ the highest priority that was dropped. So points that weigh more than their share are kept for
    certain, with their own weight, and as long as nothing was dropped the sample is all that was added.
    Source: Duffield, Lund and Thorup (2007).
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._points: FloatArray = np.empty((0, 0))
        self._weights: FloatArray = np.empty(0)
        self._priorities: FloatArray = np.empty(0)
        self._threshold = 0.0

    def candidates(self, weights: FloatArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """Which of new points of these weights have a chance, and the priorities of all of them."""
        priorities = weights / (1 - rng.random(len(weights)))
        chance = np.flatnonzero(priorities > self._threshold)
        if len(chance) > self._size + 1:  # one more than is kept, whose priority may be the threshold
            chance = np.sort(chance[np.argpartition(priorities[chance], -self._size - 1)[-self._size - 1 :]])
        return chance, priorities

    def add(self, points: FloatArray, weights: FloatArray, priorities: FloatArray) -> None:
        """New points, those of :meth:`candidates` alone, with their weights and priorities."""
        if not len(self._points):
            self._points = np.empty((0, points.shape[1]))
        points, weights = np.concatenate([self._points, points]), np.concatenate([self._weights, weights])
        priorities = np.concatenate([self._priorities, priorities])
        if len(points) > self._size:
            order = np.argpartition(priorities, -self._size)
            dropped, kept = order[: -self._size], np.sort(order[-self._size :])
            self._threshold = max(self._threshold, float(priorities[dropped].max()))
            points, weights, priorities = points[kept], weights[kept], priorities[kept]
        self._points, self._weights, self._priorities = points, weights, priorities

    @property
    def points(self) -> FloatArray:
        """The points, (m, d)."""
        return self._points

    @property
    def weights(self) -> FloatArray:
        """Their weights, (m,): the sum over any set of points is an unbiased estimate of that over all that was added."""
        return np.maximum(self._weights, self._threshold)
