r"""Moments $\int |z - x_k|^p f(z)\,dz$ over the two halves of every cell on the line, left and right of its code.

Centred moments, nothing expanded: a sum of positive terms errs by round-off relative to itself. Distances are measured from the
code, by halves of the gaps between codes, which floating point subtracts exactly; so boundaries are not rounded midpoints.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray, summed_by
from quantization.laws_1d.quadrature_panels import Panels, rule

_RATIO = 3.0
"""Gauss' rule integrates a non-integer power over [u, v], v <= 3u, to round-off: it is analytic in a wide enough ellipse."""


@dataclass(frozen=True)
class HalfCellMoments:
    r"""Moments (2, K) of the left and right halves of cells, in the density's units.

    mass, first, slope, cost, curvature: integrals of $|z - x|^p f$ with p = 0, 1, r - 1, r, r - 2 (zeros for r = 1).
    """

    mass: FloatArray
    first: FloatArray
    slope: FloatArray
    cost: FloatArray
    curvature: FloatArray


def half_cell_moments(panels: Panels, t: FloatArray, r: float) -> HalfCellMoments:
    """The half-cell moments of codes t (K,), strictly increasing, in the density's units."""
    half = np.diff(t) / 2
    reach = np.concatenate([[np.inf], half, half, [np.inf]])
    sums = side_moments(panels, np.tile(t, 2), np.repeat([-1.0, 1.0], len(t)), reach, r)
    return HalfCellMoments(*sums.reshape(5, 2, len(t)))


def side_moments(panels: Panels, origin: FloatArray, sign: FloatArray, reach: FloatArray, r: float) -> FloatArray:
    """The moments (5, n) of intervals from origins (n,) to the left or right (sign) as far as they reach, maybe to infinity."""
    edges = panels.edges
    low, high = np.where(sign < 0, origin - reach, origin), np.where(sign < 0, origin, origin + reach)
    first, end = np.searchsorted(edges, low, "right"), np.searchsorted(edges, high, "left")
    crossed = np.maximum(end - first, 0)

    def distance(edge: IntArray, side: IntArray) -> FloatArray:
        return np.maximum(sign[side] * (edges[edge] - origin[side]), 0.0)

    # A half-cell is a piece of a panel next to its code, whole panels, and a piece that ends at its boundary; or one piece.
    side = np.flatnonzero(crossed > 0)
    inner = distance(np.where(sign[side] < 0, end[side] - 1, first[side]), side)
    outer = distance(np.where(sign[side] < 0, first[side], end[side] - 1), side)
    whole = np.repeat(side, crossed[side] - 1)
    panel = first[whole] + np.arange(len(whole)) - np.searchsorted(whole, whole)
    alone = np.flatnonzero((crossed == 0) & np.isfinite(reach))
    bounded = np.isfinite(reach[side])
    piece = np.concatenate([alone, side, side[bounded]])
    start = np.concatenate([np.zeros(len(alone) + len(side)), outer[bounded]])
    stop = np.concatenate([reach[alone], inner, np.maximum(reach[side[bounded]], outer[bounded])])

    fractional = r != np.floor(r)
    if fractional:
        ends = np.stack([distance(panel, whole), distance(panel + 1, whole)])
        near, far = ends.min(0), ends.max(0)
        close = far > _RATIO * near
        piece, start, stop = _graded(
            np.concatenate([piece, whole[close]]), np.concatenate([start, near[close]]), np.concatenate([stop, far[close]])
        )
        whole, panel = whole[~close], panel[~close]

    sums = _Accumulator(len(origin), r)
    away = np.abs(panels.nodes[panel] - origin[whole, None])
    sums.add(whole, away, panels.masses[panel])
    s, w = rule(r)
    for which, power in ((~fractional | (start > 0), True), (fractional & (start == 0), False)):
        side, low, width = piece[which], start[which, None], (stop - start)[which, None]
        away = low + width * s
        sums.add(side, away, panels.density.finite_pdf(origin[side, None] + sign[side, None] * away) * (width * w), powers=power)
        if not power:
            sums.add_fractional(panels, side, origin, sign, width[:, 0])
    return sums.sums


class _Accumulator:
    """Sums over half-cells of the contributions of nodes at distances ``away`` (S, n) with masses (S, n).

    sums: (5, size), in the order of :class:`HalfCellMoments`.
    """

    def __init__(self, size: int, r: float) -> None:
        self.sums, self.r = np.zeros((5, size)), r

    def add(self, side: IntArray, away: FloatArray, masses: FloatArray, powers: bool = True) -> None:
        self._add(0, side, masses.sum(1))
        self._add(1, side, (away * masses).sum(1))
        if not powers:
            return
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            slope = masses
            if self.r != 1:
                bent = masses if self.r == 2 else masses * away ** (self.r - 2)
                slope = bent * away
                self._add(4, side, bent.sum(1))
            self._add(2, side, slope.sum(1))
            self._add(3, side, (slope * away).sum(1))

    def add_fractional(self, panels: Panels, side: IntArray, origin: FloatArray, sign: FloatArray, width: FloatArray) -> None:
        """Pieces [0, width] for a non-integer order r, by Gauss and Jacobi's rule for the weight s^(r - ceil r)."""
        s, w = _jacobi(self.r)
        f = panels.density.finite_pdf(origin[side, None] + sign[side, None] * width[:, None] * s)
        whole = int(np.ceil(self.r))
        for moment, p in ((3, 0), (2, 1), (4, 2)):
            self._add(moment, side, f @ (w * s ** (whole - p)) * width ** (self.r + 1 - p))

    def _add(self, moment: int, side: IntArray, values: FloatArray) -> None:
        self.sums[moment] += summed_by(side, values, self.sums.shape[1])


def _graded(piece: IntArray, start: FloatArray, stop: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Pieces [u, v] cut at u q, u q², ... so that v <= 3u; those with u = 0 stay whole."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log(stop / start) / np.log(_RATIO)
    count = np.where((start > 0) & (stop > start), np.ceil(np.where(np.isfinite(steps), steps, 1.0)), 1.0).astype(np.int64)
    count = np.maximum(count, 1)
    which = np.repeat(np.arange(len(piece)), count)
    step = np.arange(len(which)) - np.searchsorted(which, which)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(start > 0, stop / start, 1.0)[which]
    low = np.where(step == 0, start[which], start[which] * ratio ** (step / count[which]))
    high = np.where(step + 1 == count[which], stop[which], start[which] * ratio ** ((step + 1) / count[which]))
    return piece[which], low, high


@cache
def _jacobi(r: float) -> tuple[FloatArray, FloatArray]:
    r"""Nodes in [0, 1] and weights of the rule for $\int_0^1 s^{r - \lceil r \rceil} g(s)\,ds$."""
    power, n = r - float(np.ceil(r)), 20 + int(np.ceil(r)) // 2
    x, _ = scipy.special.roots_jacobi(n, 0.0, power)
    # scipy's weights are accurate to 6e-14 only; these integrate the orthogonal polynomials below degree n to round-off.
    polynomials = np.asarray(scipy.special.eval_jacobi(np.arange(n)[:, None], 0.0, power, x), dtype=np.float64)
    total = np.zeros(n)
    total[0] = 1 / (1 + power)
    weights: Any = np.linalg.solve(polynomials, total)
    return np.asarray((1 + x) / 2, dtype=np.float64), weights
