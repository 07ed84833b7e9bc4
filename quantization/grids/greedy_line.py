"""The code that lowers the distortion of a law with a density on the line the most, gap by gap between its codes."""

from bisect import bisect_left

import numpy as np

from quantization.arrays import FloatArray
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.laws_1d.half_cell_moments import side_moments

_SCAN = 24  # places in a gap between codes
_SCALES = 90  # places in a gap at either end, at distances from its code that fall by the root of two
_STEPS = 60
_NEAR = 1e-11  # a last step relative to the bracket, far longer than the error it leaves
_EPS = float(np.finfo(np.float64).eps)
_PULL, _COST = 2, 3  # of the moments


class GapSearch:
    r"""Of every gap $(l, u)$ between neighbouring codes the best x in it, and its gain, in the density's standard units.

    x has the cell $((l+x)/2, (x+u)/2)$ and takes from l and u what is nearer to it; all integrals are of powers of distances to a
    code over an interval that begins there, so that nothing cancels.
    """

    def __init__(self, law: DensityLaw1D, r: float) -> None:
        self._density, self._panels, self._r = law.density, law.panels, r
        self._codes: list[float] = []  # in rising order, and between them:
        self._gaps = [self._solved(-np.inf, np.inf)]  # (cost, best code, cost with it)
        self.distortion = np.inf

    def add(self, code: FloatArray) -> None:
        x = float(self._density.standardize(code[None])[0])
        at = bisect_left(self._codes, x)
        if at < len(self._codes) and self._codes[at] == x:
            return
        low = self._codes[at - 1] if at else -np.inf
        high = self._codes[at] if at < len(self._codes) else np.inf
        self._codes.insert(at, x)
        self._gaps[at : at + 1] = [self._solved(low, x), self._solved(x, high)]
        self.distortion = float(np.sum([gap[0] for gap in self._gaps])) * self._density.scale**self._r

    def best(self) -> FloatArray:
        gains = [cost - rest for cost, _, rest in self._gaps]
        return self._density.unstandardize(np.array([self._gaps[int(np.argmax(gains))][1]]))[0]

    def _solved(self, low: float, high: float) -> tuple[float, float, float]:
        """The cost of a gap, the best code in it, and the cost with that code."""
        places = self._places(low, high)
        pull = self._pull(places, low, high)
        up = np.flatnonzero((pull[:-1] > 0) & (pull[1:] <= 0))  # where the cost has a minimum between two places
        if len(up):
            places = self._roots(places[up], places[up + 1], pull[up], pull[up + 1], low, high)
        costs = self._cost(places, low, high)
        best = int(costs.argmin())
        return self._own_cost(low, high), float(places[best]), float(costs[best])

    def _places(self, low: float, high: float) -> FloatArray:
        """Places in a gap, in rising order, denser where an unbounded one begins."""
        first, last = float(self._panels.edges[0]), float(self._panels.edges[-1])
        falling = np.exp2(-np.arange(_SCALES) / 2)
        if np.isfinite(low) and np.isfinite(high):
            return np.linspace(low, high, _SCAN + 2)[1:-1]
        if np.isfinite(low):
            return low + max(last - low, _EPS) * falling[::-1]
        if np.isfinite(high):
            return high - max(high - first, _EPS) * falling
        middle, width = self._density.median, self._density.dispersion * 2**8
        places = np.concatenate([middle - width * falling, [middle], middle + width * falling[::-1]])
        return np.concatenate([[first], places[(places > first) & (places < last)], [last]])

    def _roots(
        self, left: FloatArray, right: FloatArray, up: FloatArray, down: FloatArray, low: float, high: float
    ) -> FloatArray:
        """Zeros of the pull between brackets, by the Illinois rule."""
        x, near, rose = left, _NEAR * (right - left), np.full(len(left), -1)
        for _ in range(_STEPS):
            before, x = x, np.clip(right - down * (right - left) / (down - up), left, right)
            if (np.abs(x - before) <= near + 2 * _EPS * np.abs(x)).all():
                break
            pull = self._pull(x, low, high)
            rises = pull > 0
            again = np.where(rises == rose, 0.5, 1.0)  # an end that stays a second time counts half
            up, down, rose = np.where(rises, pull, again * up), np.where(rises, again * down, pull), rises
            left, right = np.where(rises, x, left), np.where(rises, right, x)
        return x

    def _pull(self, x: FloatArray, low: float, high: float) -> FloatArray:
        """By how much a code at x is pulled to the right by its cell."""
        left, right = self._sides(_PULL, (x, -1.0, (x - low) / 2), (x, 1.0, (high - x) / 2))
        return right - left

    def _cost(self, x: FloatArray, low: float, high: float) -> FloatArray:
        """What the gap costs with a code at x."""
        left, right = (x - low) / 2, (high - x) / 2
        sides = [(x, -1.0, left), (x, 1.0, right)]
        sides += [(np.full(len(x), low), 1.0, left)] if np.isfinite(low) else []
        sides += [(np.full(len(x), high), -1.0, right)] if np.isfinite(high) else []
        return np.sum(self._sides(_COST, *sides), axis=0)

    def _own_cost(self, low: float, high: float) -> float:
        """What the gap costs without a code in it."""
        reach = np.array([(high - low) / 2])
        sides = [(np.array([end]), sign, reach) for end, sign in ((low, 1.0), (high, -1.0)) if np.isfinite(end)]
        return float(np.sum(self._sides(_COST, *sides))) if sides else np.inf

    def _sides(self, moment: int, *sides: tuple[FloatArray, float, FloatArray]) -> FloatArray:
        """Integrals of |z − origin|^(r−1) or |z − origin|^r to one side of origins (n,) as far as they reach, (sides, n)."""
        origin, reach = (np.concatenate([side[i] for side in sides]) for i in (0, 2))
        sign = np.repeat([side[1] for side in sides], len(sides[0][0]))
        return side_moments(self._panels, origin, sign, reach, self._r)[moment].reshape(len(sides), -1)
