"""Points and the codes that they may go to at some prices: masses of priced cells, steps of prices, prices that fit a plan."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray, summed_by
from quantization.assignment import capacity_kernels as kernels
from quantization.threads import parallel_map

_PART = 2**17  # candidates of points that a thread takes at a time
_DAMPINGS = 40
_CENTRED = 1000  # codes, for which prices are moved to the middle of those that are optimal


@dataclass(frozen=True)
class Candidates:
    """Points (u,) by rows, each with the codes (starts, codes, costs) that it may go to; fixed: (K,) the mass of all others."""

    rows: Any
    starts: IntArray
    codes: Any
    costs: FloatArray
    weights: FloatArray
    fixed: FloatArray

    def choose(self, prices: FloatArray, width: float) -> tuple[Any, FloatArray, FloatArray, FloatArray, float]:
        """The candidate of each point, and its margin; masses of cells, and at their borders; the dual but for constants."""
        n, k = len(self.rows), len(prices)
        chosen, margins = np.empty(n, np.int64), np.empty(n)
        parts = max(1, min(16, len(self.codes) // _PART))

        def work(part: int) -> tuple[float, FloatArray, FloatArray]:
            some = slice(part * n // parts, (part + 1) * n // parts)
            starts, masses, borders = self.starts[some.start : some.stop + 1], np.zeros(k), np.zeros((k, k))
            total = kernels.choose(
                starts, self.codes, self.costs, self.weights[some], prices, width, chosen[some], margins[some], masses, borders
            )
            return total, masses, borders

        found = parallel_map(work, parts)
        masses = self.fixed + np.sum([m for _, m, _ in found], 0)
        value = sum(total for total, _, _ in found) + float(self.fixed @ -prices)
        return chosen, margins, masses, np.sum([b for _, _, b in found], 0), value

    def entries(self, which: Any) -> tuple[Any, Any]:
        """The places of all candidates of some points, one point after the other, and where each of these begins."""
        sizes = np.diff(self.starts)[which]
        starts: Any = np.concatenate([[0], np.cumsum(sizes)])
        return np.add(np.repeat(self.starts[which] - starts[:-1], sizes), np.arange(int(starts[-1]))), starts

    def some(self, which: Any, chosen: Any) -> "Candidates":
        """Only these points; all others stay where they are."""
        entries, starts = self.entries(which)
        others = np.ones(len(self.rows), bool)
        others[which] = False
        fixed = self.fixed + summed_by(self.codes[chosen[others]], self.weights[others], len(self.fixed))
        return Candidates(self.rows[which], starts, self.codes[entries], self.costs[entries], self.weights[which], fixed)

    def taken(self, flow: FloatArray) -> tuple[Any, Any]:
        """The candidates that mass flows to, and the place of their point."""
        entries = np.asarray(np.flatnonzero(flow), dtype=np.int64)
        return entries, np.subtract(np.searchsorted(self.starts, entries, side="right"), 1)


def newton_step(borders: FloatArray, lack: FloatArray, most: float) -> FloatArray:
    """Changes of prices that bring what lacks, by the masses that a unit of price moves; damped until none exceeds ``most``."""
    k, moved = len(lack), borders.sum(1)
    laplacian, damping = np.diag(moved) - borders, max(1e-6 * float(moved.mean()), 1e-300)
    for _ in range(_DAMPINGS):
        step: FloatArray = np.asarray(np.linalg.solve(laplacian + damping * np.eye(k), lack), dtype=np.float64)
        if np.ptp(step) <= most:
            return step
        damping = max(8 * damping, float(np.ptp(lack)) / (64 * most))
    return np.zeros(k)


def centred(listed: Candidates, flow: FloatArray, prices: FloatArray, left: float) -> FloatArray:
    """Prices in the middle of those that fit the plan, so that points at borders are told apart by more than round-off.

    They are the mean of all shortest distances between cells, to and from, where it takes so much to move mass from one to
    another. left: what codes that are no candidates may gain at most.
    """
    k = len(prices)
    if not 1 < k <= _CENTRED or not len(listed.rows):
        return prices
    entries, owners = listed.taken(flow)
    others, starts = listed.entries(owners)
    own = np.repeat(entries, np.diff(starts))
    priced = listed.costs - prices[listed.codes]
    steps = np.full((k, k), left)
    np.minimum.at(steps, (listed.codes[own], listed.codes[others]), np.maximum(priced[others] - priced[own], 0.0))
    for j in range(k):
        np.minimum(steps, steps[:, j : j + 1] + steps[j], out=steps)
    shift = (steps.mean(0) - steps.mean(1)) / 2
    return np.asarray(prices + shift, dtype=np.float64) if np.isfinite(shift).all() else prices
