r"""Starting codes on the line: quantiles of the point density $\propto f^{1/(1+r)}$, or dynamic programming."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.laws_1d.density import Density
from quantization.laws_1d.half_cell_moments import half_cell_moments
from quantization.laws_1d.quadrature_panels import Panels, rule

_PROBES = 512
_MOST_PIECES = 32
_PER_BIN = 4
_ROUNDS = 20
_FEW = 16


@dataclass(frozen=True, eq=False)
class PointDensity:
    r"""The point density $\propto f^{1/(1+r)}$ of optimal codes as K → ∞: its cdf is ``below`` at ``places``."""

    places: FloatArray
    below: FloatArray

    @classmethod
    def of(cls, panels: Panels, r: float) -> "PointDensity":
        widths = (np.diff(panels.edges)[:, None] * rule(r)[1]).ravel()
        with np.errstate(all="ignore"):
            shares = np.nan_to_num(panels.masses.ravel() / widths, posinf=0.0) ** (1 / (1 + r)) * widths
        return cls(panels.nodes.ravel(), (np.cumsum(shares) - shares / 2) / shares.sum())

    def quantiles(self, k: int, low: float = 0.0, high: float = 1.0) -> FloatArray:
        r"""The quantiles $(i + \frac12)/k$, (k,), between two levels of the distribution function, by linear interpolation."""
        interp: Any = np.interp
        return interp(low + (np.arange(k) + 0.5) / k * (high - low), self.below, self.places)

    def valleys(self, density: Density) -> FloatArray:
        """Levels (P - 1,) that separate P pieces, on each of which f is log-concave but near its ends; none if it is everywhere.

        Between two pieces the slopes of log f rise, but for round-off; of more than 32 pieces the least separated are merged.
        """
        z, first = np.unique(self.quantiles(_PROBES), return_index=True)
        with np.errstate(all="ignore"):
            slopes = np.diff(np.log(density.pdf(z))) / np.diff(z)
            rises = np.diff(slopes)
            rising = np.append(~(rises <= 1e-6 * np.abs(slopes).max()), False)
        begins = np.flatnonzero(np.diff(rising, prepend=False) & rising)
        ends = np.flatnonzero(np.diff(rising, prepend=False) & ~rising)
        heights = np.array([np.nan_to_num(rises[a:b], nan=np.inf).sum() for a, b in zip(begins, ends, strict=True)])
        highest = np.sort(np.argsort(-heights, kind="stable")[: _MOST_PIECES - 1])
        return ((first[begins + 1] + first[ends]) / 2 + 0.5)[highest] / _PROBES


def search_codes(panels: Panels, k: int, r: float, point_density: PointDensity, valleys: FloatArray) -> FloatArray:
    r"""Codes (k,), in order and in the density's units, in the basin of the global optimum as far as bins resolve it.

    A log-concave density has one stationary codebook, and quantiles of the point density are near it.
    Otherwise an optimal partition of bins of equal mass under the point density: for r = 2 by :mod:`quantization.interval_dp`,
    with some hundred bins a code; for other r by :class:`_Bins`. Edges of runs are edges of bins, which costs 1e-5 of the
    distortion or 1e-3: see :mod:`quantization.laws_1d.code_reallocation` (trushkin1982, graf2000).
    """
    if k == 1 or not len(valleys):
        return point_density.quantiles(k)
    if r == 2:
        from quantization.interval_dp import optimal_runs  # loads numba

        masses, means = _fine_bins(panels, max(min(256 * k, 2**15), 2**13, 16 * k), point_density)
        starts = optimal_runs(masses, means, k)[:-1]
        return np.add.reduceat(masses * means, starts) / np.add.reduceat(masses, starts)
    bins = _Bins.of(panels, max(_PROBES, (32 if k <= 64 else 16 if k <= 256 else 8) * k), point_density)
    usual = -(-len(bins.centres) // k)
    longest = len(bins.centres) if k <= _FEW else min(len(bins.centres), int(usual * (3 + 6 * min(1, 64 / k))))
    costs, codes = bins.runs(longest, r)
    edges = _cheapest(costs, k, len(bins.centres) if k <= _FEW else 4 * usual)
    return np.array([codes[stop, stop - start - 1] for start, stop in pairwise(edges)])


def _fine_bins(panels: Panels, bins: int, point_density: PointDensity) -> tuple[FloatArray, FloatArray]:
    """Masses and means of the Voronoi cells of ``bins`` quantiles of the point density, less those that coincide."""
    z = np.unique(point_density.quantiles(bins))
    m = half_cell_moments(panels, z, 1.0)
    masses = m.mass.sum(0)
    return masses, z + (m.first[1] - m.first[0]) / np.where(masses > 0, masses, 1.0)


@dataclass(frozen=True)
class _Bins:
    """Bins in order, each of four points: points and masses (B, 4), and centres (B,) that a code may take.

    Up to 16 codes, all runs of bins and all their edges are tried. Beyond, runs of a few times the usual length, with edges a
    few codes off those of equal mass under the point density, and then about what was found until no edge lies at a limit.
    """

    points: FloatArray
    masses: FloatArray
    centres: FloatArray

    @classmethod
    def of(cls, panels: Panels, bins: int, point_density: PointDensity) -> "_Bins":
        masses, means = _fine_bins(panels, _PER_BIN * bins, point_density)
        short = -len(means) % _PER_BIN
        points = np.append(means, np.full(short, means[-1])).reshape(-1, _PER_BIN)
        return cls(points, np.append(masses, np.zeros(short)).reshape(-1, _PER_BIN), points.mean(1))

    def runs(self, longest: int, r: float) -> tuple[FloatArray, FloatArray]:
        r"""Least costs $\min_x \sum_i m_i |z_i - x|^r$ of runs of bins, and their codes x, at [stop, length - 1]; inf for none.

        The least over the bins' centres, found by bisection as the cost is convex in x, and a parabola through the norms there
        and at its neighbours: norms are 1-Lipschitz in x, where a parabola through the costs of a run that spans a gap of the
        law would fall far below zero.
        """
        count, z = len(self.centres), self.centres
        other = np.clip(np.arange(count)[:, None] + np.arange(-longest, longest), 0, count - 1)
        away = np.zeros(other.shape)
        with np.errstate(all="ignore"):
            for p in range(_PER_BIN):
                away += self.masses[other, p] * np.abs(self.points[other, p] - z[:, None]) ** r
        # below[b, j] is the cost of the bins from b - longest to b - longest + j - 1, for a code at b.
        below = np.concatenate([np.zeros((count, 1)), np.nan_to_num(np.cumsum(away, axis=1))], axis=1)
        stop, length = np.meshgrid(np.arange(count + 1), np.arange(1, longest + 1), indexing="ij")
        start = np.maximum(stop - length, 0)
        last = np.maximum(stop - 1, 0)

        def cost(b: IntArray) -> FloatArray:
            return below[b, stop - b + longest] - below[b, start - b + longest]

        low, high = start.copy(), last.copy()
        for _ in range(int(longest).bit_length()):
            middle = (low + high) // 2
            falls = cost(np.minimum(middle + 1, last)) < cost(middle)
            low, high = np.where(falls, np.minimum(middle + 1, last), low), np.where(falls, high, middle)
        before, after = np.maximum(low - 1, start), np.minimum(low + 1, last)
        at, left, right = (np.maximum(cost(b), 0.0) ** (1 / r) for b in (low, before, after))
        # The parabola through (0, at), (-g, left) and (h, right), where there are three, with no gap of the law between them.
        g, h = z[low] - z[before], z[after] - z[low]
        with np.errstate(all="ignore"):
            slope = ((right - at) * g / h - (left - at) * h / g) / (g + h)
            bend = ((right - at) / h + (left - at) / g) / (g + h)
            smooth = (g < 2 * h) & (h < 2 * g) & (bend > 0)
            move = np.clip(-slope / (2 * bend), -g, h)
            lower = at + move * (slope + bend * move)
            smooth &= lower > 0  # below zero beside a spike, where no parabola fits
            move, least = np.where(smooth, move, 0.0), np.where(smooth, lower, at) ** r
        return np.where(stop >= length, least, np.inf), z[low] + move


def _cheapest(costs: FloatArray, k: int, around: int) -> IntArray:
    """The edges (k + 1,) of the k runs of least total cost, each within ``around`` bins of where it was found before."""
    count = costs.shape[0] - 1
    edges = np.arange(k + 1) * count // k
    for _ in range(_ROUNDS):
        found = _within(costs, edges, around)
        free = (np.abs(found - edges) < around) | (found == 0) | (found == count)
        edges = found
        if free.all() or around >= count:
            break
    return edges


def _within(costs: FloatArray, edges: IntArray, around: int) -> IntArray:
    count, longest, k = costs.shape[0] - 1, costs.shape[1], len(edges) - 1
    # best[longest + j] is the least cost of the first j bins in t runs; the padding below is never chosen.
    best = np.full(longest + count + 1, np.inf)
    best[longest] = 0.0
    windows: list[tuple[int, IntArray]] = []
    for t in range(1, k + 1):
        low, high = max(int(edges[t]) - around, 0), min(int(edges[t]) + around, count)
        before = np.lib.stride_tricks.sliding_window_view(best, longest)[low : high + 1, ::-1]
        totals = before + costs[low : high + 1]
        chosen = totals.argmin(1)
        windows.append((low, chosen + 1))
        best = np.full(longest + count + 1, np.inf)
        best[longest + low : longest + high + 1] = totals[np.arange(len(chosen)), chosen]
    found = np.zeros(k + 1, np.int64)
    found[k] = count
    for t in range(k, 0, -1):
        low, lengths = windows[t - 1]
        found[t - 1] = found[t] - lengths[found[t] - low]
    return found
