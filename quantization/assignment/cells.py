"""What the Voronoi cells of a codebook hold: the one result that every solver is built from, and the sums it is made of."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.r_means import Stiffness
from quantization.status import TooFewPoints

# Of a point: its coordinates, and the costs of some of the points where it is the only code.
Place = Callable[[int, IntArray], tuple[FloatArray, FloatArray]]
_CANDIDATES = 64  # at first, of the points that may be the costliest
_NEARLY = 0.9  # of the largest cost: those above are brought up to date together


@dataclass(frozen=True)
class Cells:
    r"""The Voronoi cells of a codebook under a law, order r.

    masses: (K,) the masses $\mu(V_k)$. means: (K, d) the centroids $E[X | X \in V_k]$, an empty cell's own code.
    gradient: (K, d), $\nabla_k D_r = r\, E[1_{V_k} |x_k - X|^{r-2} (x_k - X)]$. distortion: $D_r = E \min_k |X - x_k|^r$.
    variance: of $\min_k |X - x_k|^r$, for the standard error of a distortion; None where it was not measured.
    moved: (K, d) codes with which no cell costs more, steps towards the r-means of the cells; curvatures: (K,) by how much
    $\nabla_k D_r / r$ changes at most per length that a code moves. None where the centroids and the masses are that: for r = 2.
    """

    masses: FloatArray
    means: FloatArray
    gradient: FloatArray
    distortion: float
    stationarity: float
    variance: float | None = None
    moved: FloatArray | None = None
    curvatures: FloatArray | None = None


@dataclass(frozen=True)
class Sums:
    r"""Sums over the cells of some of the points, with weights w: parts of a law are added.

    masses: (K,), of w. shifts: (K, d), of $w (x - x_k)$. pulls: (K, d), of $w |x - x_k|^{r-2} (x - x_k)$, for r = 2 the shifts.
    cost: of $w |x - x_k|^r$. spread: of w times the squared deviation of the cost from its mean; None where not measured.
    stiffness: what steps towards r-means need, r ≠ 2.
    """

    masses: FloatArray
    shifts: FloatArray
    pulls: FloatArray
    cost: float
    mass: float
    spread: float | None
    stiffness: Stiffness | None = None

    def __add__(self, other: "Sums") -> "Sums":
        shifts = self.shifts + other.shifts
        pulls = shifts if self.pulls is self.shifts else self.pulls + other.pulls
        spread, mass = None, self.mass + other.mass
        if self.spread is not None and other.spread is not None:
            # Parts are merged about their own means, so nothing cancels.
            spread = self.spread + other.spread
            if self.mass > 0 and other.mass > 0:
                gap = other.cost / other.mass - self.cost / self.mass
                spread += gap * gap * self.mass * other.mass / mass
        stiffness = None if self.stiffness is None or other.stiffness is None else self.stiffness + other.stiffness
        return Sums(self.masses + other.masses, shifts, pulls, self.cost + other.cost, mass, spread, stiffness)

    def with_products(self, products: Callable[[FloatArray], FloatArray]) -> "Sums":
        """The same, with what multiplies second derivatives with vectors: see :class:`Stiffness`."""
        return replace(self, stiffness=self.stiffness and replace(self.stiffness, products=products))

    def normalized(self) -> "Sums":
        """The sums of a measure of mass 1."""
        mass, shifts = self.mass, self.shifts / self.mass
        pulls = shifts if self.pulls is self.shifts else self.pulls / mass
        stiffness = self.stiffness and self.stiffness.times(1 / mass, 1.0, 2.0)
        return Sums(self.masses / mass, shifts, pulls, self.cost / mass, 1.0, self.spread and self.spread / mass, stiffness)

    def times(self, scale: float, r: float) -> "Sums":
        """The sums of points and codes that are ``scale`` times as large."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shifts, high = self.shifts * scale, np.float64(scale) ** r
            pulls = shifts if self.pulls is self.shifts else self.pulls * np.float64(scale) ** (r - 1)
            spread = self.spread and float(self.spread * high * high)
            stiffness = self.stiffness and self.stiffness.times(1.0, scale, r)
            return Sums(self.masses, shifts, pulls, self.cost and float(self.cost * high), self.mass, spread, stiffness)

    def cells(self, codes: FloatArray, r: float) -> Cells:
        """The cells that the parts added up to."""
        nonempty = self.masses > 0
        means = codes + self.shifts / np.where(nonempty, self.masses, 1.0)[:, None]
        means[~nonempty] = codes[~nonempty]
        gradient, moved, curvatures = -r * self.pulls, None, None
        if self.stiffness is not None:
            gradient, curvatures = self.stiffness.gradient(self.pulls, codes, r), self.stiffness.curvatures(r)
            moved = codes + self.stiffness.moves(self.pulls, self.masses, r)
        variance = None if self.spread is None else self.spread / self.mass if self.mass > 0 else 0.0
        residual = stationarity(gradient, self.masses, self.cost, r)
        return Cells(self.masses, means, gradient, self.cost, residual, variance, moved, curvatures)


def stationarity(gradient: FloatArray, masses: FloatArray, distortion: float, r: float) -> float:
    r"""$\big(\sum_k |\nabla_k D_r|^2 / (r^2 w_k)\big)^{1/2} / D_r^{(r-1)/r}$, free of units; 0/0 = 0.

    For r = 2 this is $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2}$. Cells without mass, which have no gradient, do not count.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares: Any = np.einsum("kd,kd->k", gradient, gradient)
        scale = 1.0
        if not 1e-280 < float(squares.max(initial=0.0)) < 1e280:  # squares vanish or overflow where the gradient does not
            scale = float(np.abs(gradient).max(initial=0.0))
            if not 0 < scale < np.inf:
                return 0.0 if scale == 0 else float("inf")
            squares = np.square(gradient / scale).sum(1)
        shares = squares / masses  # 0/0 or more is no number
        size = scale / r * float(shares.sum() if masses.all() else shares[masses > 0].sum()) ** 0.5
        if size == 0:
            return 0.0
        return float(size / np.float64(distortion) ** ((r - 1) / r)) if distortion > 0 else float("inf")


def relocated(codes: FloatArray, masses: FloatArray, costs: FloatArray, place: Place, others: float = 0.0) -> FloatArray:
    r"""``codes`` with those of empty cells moved to the points that cost the most, one after the other.

    Each move lowers the distortion, as an empty cell's code bears none of it.

    Parameters
    ----------
    codes : array (K, d)
    masses : array (K,)
        Of the cells.
    costs : array (n,)
        $w_i |x_i - c|^2$, c the nearest code.
    place : callable
        The coordinates (d,) of a point, and the costs of some of the points where it is the only code.
    others : float
        What points that are not among these cost at most: where one of them may be the costliest, the codes that are left stay.

    Raises
    ------
    TooFewPoints
        Where no point costs anything: then all are codes, and those that are not empty the distinct ones.
    """
    if not costs.max() > 0:
        raise TooFewPoints(len(codes), int((masses > 0).sum()))
    codes, chosen, many = codes.copy(), list[int](), _CANDIDATES
    candidates, left = costliest_of(costs, many)
    known = np.zeros(len(candidates), np.int64)  # of how many of the chosen a candidate's cost takes account; it can but fall
    for k in np.flatnonzero(masses == 0):
        while True:
            costliest = int(left.argmax())
            if known[costliest] < len(chosen):
                stale = np.flatnonzero((left >= _NEARLY * left[costliest]) & (known < len(chosen)))
                for point in chosen[known[stale].min() :]:
                    left[stale] = np.minimum(left[stale], place(point, candidates[stale])[1])
                known[stale] = len(chosen)
            elif len(candidates) < len(costs) and not left[costliest] > costs[candidates].min():  # others may cost more by now
                many, fewer = many * 8, (candidates, left, known)
                candidates, left = costliest_of(costs, many)
                known = np.zeros(len(candidates), np.int64)
                _, here, there = np.intersect1d(candidates, fewer[0], assume_unique=True, return_indices=True)
                left[here], known[here] = fewer[1][there], fewer[2][there]
            else:
                break
        if not left[costliest] > 0 or left[costliest] < others:
            break
        chosen.append(int(candidates[costliest]))
        codes[k] = place(chosen[-1], candidates[costliest : costliest + 1])[0]
    return codes


def costliest_of(costs: FloatArray, many: int) -> tuple[IntArray, FloatArray]:
    """The points that cost the most, in their order, so many of them; and their costs."""
    n = len(costs)
    found = np.sort(np.argpartition(costs, n - many)[n - many :]) if many < n else np.arange(n)
    return found, costs[found]
