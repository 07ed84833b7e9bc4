r"""A law on the line known by its quantile function, r = 2: cells, gradients and Hessians to round-off.

$D_2(x) = \sum_k \int_{u_{k-1}}^{u_k} (Q(u) - x_k)^2\,du$, where $Q(u_k)$ is the middle of $x_k$ and $x_{k+1}$. So no density or
distribution function is needed, and gaps and atoms do no harm: the mean of the quantile functions of laws and samples is such.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray, summed_by
from quantization.assignment.cells import Cells, stationarity
from quantization.laws_1d.levenberg_marquardt import tridiagonal
from quantization.laws_1d.quantile_function import QuantileFunction, level_masses
from quantization.laws_1d.quantile_integrals import panel_nodes, resolved_panels

_TURNS = 200
_PER_PANEL = 256
_EPS = float(np.finfo(np.float64).eps)
_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class QuantileLaw1D:
    """The law of a quantile function with a finite variance, cut at levels between which Q is a polynomial to round-off."""

    quantiles: QuantileFunction

    def cells(self, codes: FloatArray) -> Cells:
        x, at = np.unique(codes[:, 0], return_index=True)
        bounds = self._bounds(x)
        mass, first, cost = self.interval_sums(bounds, x)
        masses, gradient, shift = np.zeros((3, len(codes)))
        masses[at], gradient[at] = mass, -2 * first
        shift[at] = first / np.where(mass > 0, mass, 1.0)
        distortion = float(cost.sum())
        residual = stationarity(gradient[:, None], masses, distortion, 2.0)
        return Cells(masses, codes + shift[:, None], gradient[:, None], distortion, residual)

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        x, at = np.unique(codes[:, 0], return_index=True)
        bounds = self._bounds(x)
        mass, _, _ = self.interval_sums(bounds, x)
        middles, half = x[:-1] / 2 + x[1:] / 2, np.diff(x) / 2
        q = self.quantiles.at(bounds[1:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            density = 1 / self.quantiles.slopes(bounds[1:-1], q)
        inside = np.abs(q - middles) <= 1e-6 * half  # else in a gap of the law
        between = -half * np.where(inside & np.isfinite(density), density, 0.0)
        return tridiagonal(2 * mass, between, at, len(codes))

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes`` with those of empty cells moved to one side of the costliest, one deviation from its code."""
        c = self.cells(codes)
        for _ in range(_ROUNDS):
            empty = np.flatnonzero(c.masses == 0)
            if not len(empty):
                break
            x, at = np.unique(codes[:, 0], return_index=True)
            _, _, cost = self.interval_sums(self._bounds(x), x)
            worst = int(cost.argmax())
            moved = codes.copy()
            moved[empty[0], 0] = x[worst] + (cost[worst] / c.masses[at[worst]]) ** 0.5
            m = self.cells(moved)
            if not m.distortion < c.distortion:
                break
            codes, c = moved, m
        return codes, c

    def search(self, k: int, rng: np.random.Generator, *, exhaustive: bool = False) -> FloatArray:
        """The centroids of the best partition of fine bins, equally many under the density $f^{1/3}$, into k runs."""
        from quantization.interval_dp import optimal_runs  # loads numba

        bins = max(min(256 * k, 2**15), 2**13, 16 * k)
        mass, means = self._bins(bins)
        starts = optimal_runs(mass, means, k)[:-1]
        return (np.add.reduceat(mass * means, starts) / np.add.reduceat(mass, starts))[:, None]

    def interval_sums(self, bounds: FloatArray, centres: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        r"""$\int 1,\ \int (Q - c_k)$ and $\int (Q - c_k)^2$ over levels from bounds[k] to bounds[k + 1], (K,) each."""
        low, high, _, du, q = self._panels
        k = len(centres)
        begin, end = np.maximum(bounds[:-1], low[0]), np.minimum(bounds[1:], high[-1])
        first, last = np.searchsorted(low, begin, "right") - 1, np.searchsorted(high, end, "left")
        # Whole panels strictly between, and what an interval has of its first and of its last.
        whole = np.maximum(last - first - 1, 0)
        owner = np.repeat(np.arange(k), whole)
        panel = first[owner] + 1 + np.arange(len(owner)) - np.searchsorted(owner, owner)
        cut = [(np.arange(k), begin, np.minimum(end, high[first])), (np.arange(k)[last > first], low[last], end)]
        cut[1] = (cut[1][0], low[last][last > first], end[last > first])
        sums = np.zeros((3, k))
        self._add(sums, owner, du[panel], q[panel], centres)
        for side, start, stop in cut:
            some = stop > start
            nodes, weights, _ = panel_nodes(start[some], stop[some])
            self._add(sums, side[some], weights, self.quantiles.at(nodes), centres)
        return sums[0], sums[1], sums[2]

    def _add(self, sums: FloatArray, owner: IntArray, du: FloatArray, q: FloatArray, centres: FloatArray) -> None:
        away = q - centres[owner, None]
        for i, value in enumerate((du, du * away, du * away * away)):
            sums[i] += summed_by(owner, value.sum(1), sums.shape[1])

    def _bounds(self, x: FloatArray) -> FloatArray:
        """The levels (K + 1,) of the middles between codes in rising order: the last at which Q is below, to an ulp."""
        return np.concatenate([[-np.inf], self._levels(x[:-1] / 2 + x[1:] / 2), [np.inf]])

    def _levels(self, middles: FloatArray) -> FloatArray:
        """The levels of places in rising order."""
        t, q = self._nodes
        place = np.searchsorted(q, middles).clip(1, len(q) - 1)
        left, right, under, over = t[place - 1], t[place], q[place - 1] - middles, q[place] - middles
        found, active = right.copy(), np.arange(len(middles))
        for turn in range(_TURNS):
            active = active[(right - left)[active] > 4 * _EPS * np.maximum(np.abs(right[active]), 1.0)]
            if not len(active):
                break
            a, b, f, g = left[active], right[active], under[active], over[active]
            with np.errstate(all="ignore"):
                here = np.where((g > f) & (turn % 3 < 2), a - f * (b - a) / (g - f), a / 2 + b / 2)
            here = np.where((here > a) & (here < b), here, a / 2 + b / 2)
            value = self.quantiles.at(here) - middles[active]
            below = value < 0
            # The end that stays counts half, as in the Illinois method, so that both ends move.
            left[active], right[active] = np.where(below, here, a), np.where(below, b, here)
            under[active], over[active] = np.where(below, value, f / 2), np.where(below, g / 2, value)
            found[active] = here
            done = (value == 0) | (np.abs(here - np.where(below, a, b)) <= 2 * _EPS * np.maximum(np.abs(here), 1.0))
            right[active[done]] = left[active[done]] = here[done]
        return np.maximum.accumulate(found)

    @cached_property
    def _nodes(self) -> tuple[FloatArray, FloatArray]:
        """Levels in order and Q there, ends of panels included."""
        low, high, t, _, q = self._panels
        t = np.concatenate([low[:, None], t, high[:, None]], axis=1).ravel()
        ends = self.quantiles.at(np.append(low, high[-1]))
        q = np.concatenate([ends[:-1, None], q, ends[1:, None]], axis=1).ravel()
        return t, np.maximum.accumulate(q)

    @cached_property
    def _panels(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Panels in order: where they begin and end, (P,), their nodes, the weights there and Q, (P, n)."""
        low, high = resolved_panels(self.quantiles)
        t, du, _ = panel_nodes(low, high)
        return low, high, t, du, self.quantiles.at(t)

    def _bins(self, bins: int) -> tuple[FloatArray, FloatArray]:
        """Masses and means of bins of equal shares of $f^{1/3}$, from levels so close that Q between them is nearly linear."""
        low, high, _, _, _ = self._panels
        each = min(_PER_PANEL, max(2, 8 * bins // len(low)))
        t = (low[:, None] + (high - low)[:, None] * (np.arange(each) + 0.5) / each).ravel()
        q, mass, places = np.maximum.accumulate(self.quantiles.at(t)), level_masses(t[:-1], t[1:]), np.arange(len(t))
        shares = np.concatenate([[0.0], np.cumsum(np.cbrt(np.diff(q) ** 2 * mass))])
        interp: Any = np.interp
        edges: FloatArray = interp(np.linspace(0, shares[-1], bins + 1), shares, places)
        # Sums up to each of the levels, and between two of them in proportion.
        sums = [np.concatenate([[0.0], np.cumsum(values)]) for values in (mass, mass * (q[1:] + q[:-1]) / 2)]
        masses, firsts = np.diff(np.asarray([interp(edges, places, values) for values in sums], dtype=np.float64))
        some = masses > 0
        return masses[some], np.maximum.accumulate(firsts[some] / masses[some])
