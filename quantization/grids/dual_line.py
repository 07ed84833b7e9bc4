r"""Optimal dual grids on the line: by Newton's method for a law with a density, by a dynamic programme for a finite measure.

$D(x) = \sum_k \int_{x_k}^{x_{k+1}} (z - x_k)(x_{k+1} - z) f(z)\,dz$. The first and the last code stay at the ends of the support.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING

import numpy as np

from quantization.arrays import FloatArray, IntArray, summed_by
from quantization.assignment.cells import Cells, stationarity
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.laws_1d.half_cell_moments import half_cell_moments
from quantization.laws_1d.levenberg_marquardt import FIRST_DAMPING, newton_step, tridiagonal
from quantization.laws_1d.point_density import PointDensity, search_codes

if TYPE_CHECKING:
    import scipy

_STEPS = 200
_RESIDUAL = 1e-10  # from which a step must lessen the residual at once
_WORK = 2**21  # points times codes of a dynamic programme, some two seconds
_MOST_CODES = 512  # of one programme with more work
_ALIKE = 1e-9  # of costs
_OUTWARD = 2.0**-52  # of the range, by which its ends are taken wider, so that a pole there is within a panel


class DualDensity:
    r"""The dual distortion of a law with a density f as a function of the K - 2 codes between the ends, in standard units.

    With masses $m_k$ of the gaps, $\partial_k D = \int_{x_{k-1}}^{x_k} (z - x_{k-1}) f - \int_{x_k}^{x_{k+1}} (x_{k+1} - z) f$,
    $\partial_{kk} D = (x_{k+1} - x_{k-1}) f(x_k)$ and $\partial_{k,k+1} D = -m_k$. Every integral is a sum of positive terms: of
    moments of half a gap about the code where it begins.
    """

    def __init__(self, law: DensityLaw1D, low: float, high: float) -> None:
        outward = _OUTWARD * (high - low)
        self._law, self._low, self._high = law, low - outward, high + outward

    def gaps(self, inner: FloatArray) -> "_Gaps":
        """What lies between the K codes of which these (K - 2,) are between the ends."""
        t = np.concatenate([[self._low], inner, [self._high]])
        m = half_cell_moments(self._law.panels, t, 2.0)
        (mass, other_mass), (near, far), (square, other_square) = ((i[1, :-1], i[0, 1:]) for i in (m.mass, m.first, m.cost))
        width = np.diff(t)
        above, below = near + width * other_mass - far, width * mass - near + far
        return _Gaps(t, mass + other_mass, above, below, width * (near + far) - square - other_square)

    def cells(self, codes: FloatArray) -> Cells:
        inner = codes[:, 0]
        if not (np.diff(inner, prepend=self._low, append=self._high) > 0).all():
            return Cells(np.zeros(len(inner)), codes, np.zeros_like(codes), np.inf, np.inf)
        gaps = self.gaps(inner)
        gradient, weights = (gaps.above[:-1] - gaps.below[1:])[:, None], gaps.weights[1:-1]
        distortion = float(gaps.costs.sum())
        return Cells(weights, codes, gradient, distortion, stationarity(gradient, weights, distortion, 2.0))

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        gaps, k = self.gaps(codes[:, 0]), len(codes)
        between = gaps.masses[1:-1]
        diagonal = (gaps.t[2:] - gaps.t[:-2]) * self._law.density.finite_pdf(codes[:, 0])
        diagonal += np.append(between, 0.0) + np.append(0.0, between)  # which the matrix takes off
        return tridiagonal(diagonal, -between, np.arange(k), k)

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        return codes, self.cells(codes)


@dataclass(frozen=True)
class _Gaps:
    """Codes t (K,) in order, and of the gaps between: masses, integrals of z - t_k and t_(k+1) - z, dual distortions."""

    t: FloatArray
    masses: FloatArray
    above: FloatArray
    below: FloatArray
    costs: FloatArray

    @property
    def weights(self) -> FloatArray:
        """Those of the codes, (K,)."""
        width = np.diff(self.t)
        return np.append(self.below / width, 0.0) + np.append(0.0, self.above / width)


def best_for_density(law: DensityLaw1D, k: int, low: float, high: float) -> FloatArray:
    """Codes (k, 1) between two ends that hold the support, a stationary point of the dual distortion.

    From the middles of k - 1 codes of a good Voronoi quantizer, as both have the same point density, by damped Newton steps.
    """
    density = law.density
    dual = DualDensity(law, *density.standardize(np.array([[low], [high]])))
    codes = np.empty((0, 1))
    if k > 2:
        point_density = PointDensity.of(law.panels, 2.0)
        codes = search_codes(law.panels, k - 1, 2.0, point_density, point_density.valleys(density))
        codes = ((codes[1:] + codes[:-1]) / 2)[:, None]
        c, damping = dual.cells(codes), FIRST_DAMPING
        for _ in range(_STEPS):
            step = newton_step(dual, 2.0, codes, c, damping, within=c.stationarity <= _RESIDUAL)
            if step is None:
                break
            codes, c, damping = step
    return np.concatenate([[[low]], density.unstandardize(codes[:, 0]), [[high]]])


def density_moments(law: DensityLaw1D, codes: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Of codes (k, 1) in rising order under a law with a density: weights, dual distortion, gradient (k, 1), at the ends 0."""
    t, scale = law.density.standardize(codes), law.density.scale
    gaps, gradient = DualDensity(law, float(t[0]), float(t[-1])).gaps(t[1:-1]), np.zeros((len(t), 1))
    gradient[1:-1, 0] = scale * (gaps.above[:-1] - gaps.below[1:])
    return gaps.weights, float(gaps.costs.sum()) * scale**2, gradient


def least_gradient(codes: FloatArray, gradient: FloatArray, x: FloatArray, w: FloatArray) -> FloatArray:
    """Of the derivatives (k, 1) of a finite measure's dual distortion to both sides of each code, which differ where a point
    lies at it, and of all between them the nearest to 0. gradient: to the left, with such points in the gap to the right."""
    place = np.searchsorted(codes[:, 0], x[:, 0])
    at = codes[place.clip(0, len(codes) - 1), 0] == x[:, 0]
    mass, gap = np.bincount(place[at], w[at], minlength=len(codes)), np.diff(codes[:, 0])
    jump = mass * (np.append(gap, 0.0) + np.append(0.0, gap))
    return (gradient[:, 0] - np.clip(gradient[:, 0], -jump, 0.0))[:, None]


def best_for_measure(points: FloatArray, masses: FloatArray, k: int, low: float, high: float) -> FloatArray:
    r"""Codes (k, 1) of least dual distortion for a finite measure between two ends, of which the others are points of it.

    In each code D is convex, and linear between neighbouring points, so that points are as good as any other codes. The cost of a
    gap, $\int (z - a)(b - z)\,\mu(dz)$ over [a, b], satisfies the quadrangle inequality: up to 2 million points times codes the
    optimum is found by a dynamic programme over gaps. Beyond, codes are chosen among fewer points, spread evenly, and then among
    those near the codes found, the denser the nearer, until nothing is gained; more than 512 codes between the codes of a coarser
    grid. Fewer codes where there are fewer points.
    """
    x, places = np.unique(np.append(points, [low, high]), return_inverse=True)
    sums = _Sums.of(x, summed_by(places[:-2], masses, len(x)))
    if k >= len(x):
        return x[:, None]
    return x[_places(sums, k)][:, None]


def _places(sums: "_Sums", k: int) -> IntArray:
    """The places of k good codes, both ends among them, the best ones where points times codes are few."""
    n = len(sums.y)
    if n * k <= _WORK:
        return _best_places(sums, k)
    if k > _MOST_CODES:
        ends = _places(sums, _MOST_CODES)
        counts = _divided(sums.cost(ends[:-1], ends[1:]), np.diff(ends), k - 1)
        edges: list[int] = ends.tolist()
        gaps = zip(edges[:-1], edges[1:], counts, strict=True)
        return np.unique(np.concatenate([a + _places(sums.at(np.arange(a, b + 1)), m + 1) for a, b, m in gaps]))
    most = _WORK // k
    near = np.unique(np.linspace(0, n - 1, most).astype(np.int64))
    best, least = near[_best_places(sums.at(near), k)], np.inf
    powers = np.linspace(0.0, 1.0, most // (2 * k))
    while (cost := sums.total(best)) < least * (1 - _ALIKE):
        least, reaches = cost, (np.diff(best)[:, None] / 2) ** powers
        near = np.concatenate([best, best[:-1, None] + reaches, best[1:, None] - reaches], axis=None)
        near = np.unique(near.astype(np.int64).clip(0, n - 1))
        best = near[_best_places(sums.at(near), k)]
    return best


def _divided(costs: FloatArray, most: IntArray, total: int) -> list[int]:
    """Into how many gaps each gap is cut: its cost then falls like 1/m², and each cut goes where it gains the most."""
    counts = [1] * len(costs)
    heap = [(-3 * cost / 4, i) for i, cost in enumerate(costs.tolist()) if most[i] > 1]
    heapify(heap)
    for _ in range(total - len(counts)):
        _, i = heap[0]
        counts[i] += 1
        m = counts[i]
        if m < most[i]:
            heapreplace(heap, (float(costs[i]) * (1 / (m + 1) ** 2 - 1 / m**2), i))
        else:
            heappop(heap)
    return counts


@dataclass(frozen=True)
class _Sums:
    """Points y (n,) in order, and the sums (n, 3) of w, w y and w y² over those before each."""

    y: FloatArray
    before: FloatArray

    @classmethod
    def of(cls, x: FloatArray, w: FloatArray) -> "_Sums":
        """About the middle of the range, in units of it."""
        y = (x - (x[0] / 2 + x[-1] / 2)) / (x[-1] - x[0])
        terms = w[:, None] * y[:, None] ** np.arange(3)
        return cls(y, np.cumsum(terms, axis=0) - terms)

    def at(self, places: IntArray) -> "_Sums":
        """Of some points alone, with the sums over all."""
        return _Sums(self.y[places], self.before[places])

    def cost(self, i: IntArray, j: IntArray) -> FloatArray:
        """The dual distortion of the gaps between points i and j."""
        mass, first, second = (self.before[j] - self.before[i]).T  # of [i, j), as neither end costs anything
        return ((self.y[i] + self.y[j]) * first - second - self.y[i] * self.y[j] * mass).clip(0.0)

    def total(self, codes: IntArray) -> float:
        return float(self.cost(codes[:-1], codes[1:]).sum())


def _best_places(sums: _Sums, k: int) -> IntArray:
    r"""The places of the best k codes, both ends among them: $g_t(j) = \min_{i \le j} g_{t-1}(i) + c(i, j)$, layer by layer."""
    every = np.arange(len(sums.y))
    best, choices = sums.cost(np.zeros_like(every), every), list[IntArray]()
    for _ in range(k - 2):
        choice = _choices(best, sums)
        best = best[choice] + sums.cost(choice, every)
        choices.append(choice)
    at = [len(every) - 1]
    for choice in reversed(choices):
        at.append(int(choice[at[-1]]))
    found = np.unique([0, *at])
    spare = np.setdiff1d(every, found)[: k - len(found)]  # where fewer codes have no distortion
    return np.union1d(found, spare)


def _choices(best: FloatArray, sums: _Sums) -> IntArray:
    """For every j the first i ≤ j of least $g(i) + c(i, j)$; they rise with j, so that rows between two others lie between."""
    n = len(best)
    choice = np.zeros(n + 1, dtype=np.int64)
    choice[n] = n - 1
    step = 1 << (n - 1).bit_length()
    while step := step // 2:
        rows = np.arange(step, n, 2 * step)
        low, high = choice[rows - step], np.minimum(choice[np.minimum(rows + step, n)], rows)
        lengths = high - low + 1
        starts = np.cumsum(lengths) - lengths
        i = np.arange(int(lengths.sum())) - np.repeat(starts - low, lengths)
        totals = best[i] + sums.cost(i, np.repeat(rows, lengths))
        least = np.flatnonzero(totals == np.repeat(np.minimum.reduceat(totals, starts), lengths))
        choice[rows] = i[least[np.searchsorted(least, starts)]]
    return choice[:n]
