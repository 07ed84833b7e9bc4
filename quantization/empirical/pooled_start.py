r"""Greedy k-means++ for points larger than memory: on a pool of few points, to which passes add those that it missed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, asarray_like, namespace, to_host
from quantization.assignment import nearest
from quantization.assignment.d2_sampling import d2_sampling
from quantization.empirical.out_of_core import OutOfCoreSamples
from quantization.empirical.readers import Blocks
from quantization.status import TooFewPoints

_DRAWN, _DRAWN_PER_CODE = 2**10, 2  # points that a pass adds to the pool
_DECAY = 8  # factor by which the cost falls before another pass adds to the pool
_MOST_PASSES = 16


def pooled_codes(
    samples: OutOfCoreSamples, k: int, wanted: int, rng: np.random.Generator, report: Callable[[int, int], Any] | None
) -> FloatArray:
    r"""k starting codes (k, d), by greedy $D^2$ sampling on a pool of the points.

    The pool begins with m = ``wanted`` points drawn in proportion to their weights. With the codes $B_t$ that are chosen on it
    one pass measures the cost of all points, $\phi_t = \sum_i w_i D_i^t$, $D_i^t = \min_{c \in B_t} |x_i - c|^2$, and draws l
    further points independently, each with probability $w_i D_i^t / \phi_t$, l = max(1024, 2 k). So a set that bears the share s
    of that cost, however few or far they are, is missed by the pool with probability $(1 - s)^l$ at most. Of all these
    draws together, a point has the weight $w_i / (m w_i + \sum_t l\, w_i D_i^t / \phi_t)$ (the $w_i$ of sum 1), with which sums
    over the pool are unbiased. All codes are chosen on it once more; where it says that their cost is below $\phi_t / 8$, another
    pass follows, 16 at most: what bears a small share of each $\phi_t$ may be missed.

    Raises ``TooFewPoints`` where there are fewer than k distinct points of positive weight.
    """
    pilot, whole = samples.reader.pilot(wanted, rng)
    points, xp = pilot.points, namespace(pilot.points)
    if whole or k == 1:
        chosen = d2_sampling(points, pilot.weights_float64, k, rng, pool=len(points), on_progress=report)
        return _rows(points, chosen)
    many, shares, cost, passes = max(_DRAWN, _DRAWN_PER_CODE * k), np.zeros(len(points)), np.inf, 0
    rounds = list[tuple[FloatArray, float]]()
    while True:
        weights = asarray_like(1 / (wanted + many * shares), points, dtype=xp.float64)
        try:
            codes = _rows(points, d2_sampling(points, weights, k, rng, pool=len(points), on_progress=report))
        except TooFewPoints:  # in the pool
            codes: FloatArray = np.unique(to_host(points), axis=0)
            if len(codes) >= k:
                raise
        if len(codes) == k and (passes == _MOST_PASSES or float(weights @ nearest(points, codes).squared) * _DECAY > cost):
            return codes
        seed = int(2**53 * rng.random())
        answers = samples.reader.map(_DrawByCost(codes, many, seed), 8 * many * (codes.shape[1] + 1))
        drawn: _Drawn = reduce(lambda one, other: one.merged(other, rng), answers)
        if not drawn.cost > 0:
            if len(codes) == k:
                return codes
            raise TooFewPoints(k, len(codes))
        passes, cost = passes + (len(codes) == k), drawn.cost / drawn.mass
        rounds.append((codes, cost))
        points = xp.concatenate([points, asarray_like(drawn.points, points)])
        shares = np.sum([to_host(nearest(points, before).squared) / mean for before, mean in rounds], axis=0)


def _rows(points: Array, rows: IntArray) -> FloatArray:
    return to_host(points[asarray_like(rows, points, dtype=namespace(points).int64)])


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Points (l, d), each drawn with probability ∝ its cost, independently of the others; the total cost and weight."""

    points: FloatArray
    cost: float
    mass: float

    def merged(self, other: "_Drawn", rng: np.random.Generator) -> "_Drawn":
        """Of the points of both: each place goes to the other's with its share of the cost."""
        cost = self.cost + other.cost
        taken = rng.random(len(self.points)) * cost < other.cost
        return _Drawn(np.where(taken[:, None], other.points, self.points), cost, self.mass + other.mass)


@dataclass(frozen=True, eq=False)
class _DrawByCost:
    """So many points, each with probability ∝ w |x − c|², c the nearest of the codes."""

    codes: FloatArray
    many: int
    seed: int

    def __call__(self, blocks: Blocks, number: int) -> _Drawn:
        rng = np.random.default_rng([self.seed, number])
        found = _Drawn(np.zeros((self.many, self.codes.shape[1])), 0.0, 0.0)
        for points, weights in blocks:
            host = to_host(weights)
            costs: FloatArray = np.cumsum(host * to_host(nearest(points, self.codes).squared))
            last = int(np.searchsorted(costs, float(costs[-1])))  # of positive cost: round-off must not lead beyond it
            rows = np.searchsorted(costs, rng.random(self.many) * float(costs[-1]), side="right").clip(max=last)
            found = found.merged(_Drawn(_rows(points, rows), float(costs[-1]), float(host.sum())), rng)
        return found
