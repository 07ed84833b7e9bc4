r"""Quantile functions $Q(u) = \inf\{x : F(x) \ge u\}$ of measures and laws on the line, and their means.

Levels are given by t on the whole line, $u = \frac12 e^t$ for t < 0 and $1 - u = \frac12 e^{-t}$ for t > 0: so no end of (0, 1)
loses digits, and tails of every usual kind are smooth in t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, to_host
from quantization.laws import FrozenLaw, GaussianMixture
from quantization.measure import DiscreteMeasure

FARTHEST = 690.0  # ½ e^-690 is 5e-301
_EPS = float(np.finfo(np.float64).eps)
_ROUND_OFF = 256 * _EPS  # of a level that scipy's distribution functions give back, relative to it
_BROKEN = 1e-2  # relative error of a quantile, from which its level lies beyond what scipy resolves
_NEAREST = 8.0  # ½ e^-8 is 2e-4: levels that must be resolved
_PROBES = np.concatenate([np.arange(1.0, 24.0, 2.0), np.arange(24.0, FARTHEST, 16.0), [FARTHEST]])
_HALVINGS = 200
_TABLE = np.sinh(np.linspace(-1.0, 1.0, 1025) * np.arcsinh(FARTHEST))
_ULPS = 4 * _EPS


class QuantileFunction(Protocol):
    """Q at levels t of the two-sided scale above.

    jumps: levels (j,), rising, between which Q is smooth or nearly so. low, high: beyond these levels Q is not known.
    """

    @property
    def jumps(self) -> FloatArray: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...

    def at(self, t: FloatArray) -> FloatArray:
        """Q(t)."""
        ...

    def slopes(self, t: FloatArray, x: FloatArray) -> FloatArray:
        r"""$Q'(u)$ at levels t, where Q is x."""
        ...

    def errors(self, t: FloatArray, x: FloatArray) -> FloatArray:
        """How far x = Q(t) may be off, beyond some units of its rounding."""
        ...


def tail_levels(t: FloatArray) -> FloatArray:
    """u below the median, 1 − u above."""
    return 0.5 * np.exp(-np.abs(t))


def level_masses(low: FloatArray, high: FloatArray) -> FloatArray:
    """The mass between two levels, low ≤ high."""
    same = (low < 0) == (high < 0)
    near, far = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore"):
        beside = -tail_levels(near) * np.expm1(near - far)
    return np.where(low == high, 0.0, np.where(same, beside, -(np.expm1(-near) + np.expm1(-far)) / 2))


def levels_of(below: FloatArray, above: FloatArray) -> FloatArray:
    """t for levels u, given as u and as 1 − u, of which the smaller one counts; −∞ and ∞ at the ends."""
    with np.errstate(divide="ignore"):
        return np.where(below <= above, np.log(2 * np.minimum(below, 0.5)), -np.log(2 * np.minimum(above, 0.5)))


class StepQuantiles:
    """Of a finite measure: steps x (n,), in rising order, of masses ``weights``, and their places in the measure, ``order``.

    below: (n + 1,) the masses left of each, and 1.
    """

    def __init__(self, measure: DiscreteMeasure) -> None:
        weights, x = to_host(measure.weights_float64), to_host(measure.points)[:, 0]
        order = np.argsort(x, kind="stable")
        order = order[weights[order] > 0]
        self.order, self.x, self.weights = order, x[order], weights[order]
        n = len(order)
        if (self.weights == self.weights[0]).all():  # multiples of 1/n without a sum's rounding
            self.below, above = np.arange(n + 1) / n, np.arange(n, -1, -1) / n
        else:
            self.below, above = np.append(0.0, np.cumsum(self.weights)), np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
            self.below = np.append(np.minimum(self.below[:-1], 1.0), 1.0)
        self.jumps = np.maximum.accumulate(levels_of(self.below, above)[1:-1])
        self.low, self.high = -np.inf, np.inf

    def at(self, t: FloatArray) -> FloatArray:
        return self.x[np.searchsorted(self.jumps, t)]

    def slopes(self, t: FloatArray, x: FloatArray) -> FloatArray:
        return np.zeros_like(t)

    def errors(self, t: FloatArray, x: FloatArray) -> FloatArray:
        return np.zeros_like(t)


class FrozenQuantiles:
    """Of a frozen continuous distribution of scipy.stats: its ppf and isf, held against its cdf and sf."""

    def __init__(self, law: FrozenLaw) -> None:
        self._law: Any = law.distribution
        self.jumps = np.zeros(0)
        self.low, self.high = -self._reach(-_PROBES), self._reach(_PROBES)
        if min(-self.low, self.high) < _NEAREST:
            name = getattr(getattr(self._law, "dist", self._law), "name", type(self._law).__name__)
            raise ValueError(
                f"the quantiles of {name}, in float64, are not those of its distribution function. Give samples instead"
            )

    def at(self, t: FloatArray) -> FloatArray:
        return self._by_side(t, tail_levels(t), self._law.ppf, self._law.isf)

    def slopes(self, t: FloatArray, x: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            try:
                return 1 / np.asarray(self._law.pdf(x), dtype=np.float64)
            except ArithmeticError:  # scipy's beta law has one at a pole
                return np.array([self._slope(z) for z in x.flat]).reshape(x.shape)

    def _slope(self, x: float) -> float:
        try:
            return 1 / float(self._law.pdf(x))
        except OverflowError:
            return 0.0
        except ZeroDivisionError:
            return np.inf

    def errors(self, t: FloatArray, x: FloatArray) -> FloatArray:
        u = tail_levels(t)
        missed = np.maximum(np.abs(self._by_side(t, x, self._law.cdf, self._law.sf) - u) - _ROUND_OFF * u, 0.0)
        with np.errstate(invalid="ignore"):
            return np.where(missed == 0, 0.0, missed * self.slopes(t, x))

    def _by_side(self, t: FloatArray, argument: FloatArray, below: Any, above: Any) -> FloatArray:
        values, left = np.empty_like(t), t < 0
        with np.errstate(all="ignore"):
            values[left], values[~left] = below(argument[left]), above(argument[~left])
        return values

    def _reach(self, probes: FloatArray) -> float:
        """How far out, in |t|, quantiles are those of the distribution function."""
        x = self.at(probes)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(x) & (self.errors(probes, x) <= _BROKEN * np.abs(x - self.at(np.zeros(1))))
        return float(np.abs(probes[-1] if good.all() else probes[max(int(np.argmin(good)) - 1, 0)]))


class MixtureQuantiles:
    """Of a mixture of normal laws on the line: Newton's method on the logarithm of the distribution function, in a bracket."""

    def __init__(self, law: GaussianMixture) -> None:
        present = law.weights > 0
        self._weights, self._means = law.weights[present], law.means[present, 0]
        self._deviations = np.sqrt(law.covs[present, 0, 0])
        self.jumps, self.low, self.high = np.zeros(0), -FARTHEST, FARTHEST

    def at(self, t: FloatArray) -> FloatArray:
        sign, q, place = np.where(t < 0, 1.0, -1.0).ravel(), self._table, np.searchsorted(_TABLE, t.ravel())
        place = place.clip(1, len(_TABLE) - 1)
        ends = sign * np.stack([q[place - 1] - _ULPS * np.abs(q[place - 1]), q[place] + _ULPS * np.abs(q[place])])
        return self._between(t.ravel(), ends.min(0), ends.max(0)).reshape(t.shape)

    @cached_property
    def _table(self) -> FloatArray:
        """Q at many levels, each between the least and the largest quantile of a component."""
        z: FloatArray = scipy.special.ndtri(tail_levels(_TABLE))
        ends = np.where(_TABLE < 0, 1.0, -1.0) * self._means[:, None] + self._deviations[:, None] * z
        return self._between(_TABLE, ends.min(0), ends.max(0))

    def _between(self, t: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Q at levels t (n,), with bounds on Q, above the median on −Q, that are overwritten."""
        sign, u = np.where(t < 0, 1.0, -1.0), tail_levels(t)
        x = low / 2 + high / 2
        finest = float(self._deviations.min())
        active = np.flatnonzero(high - low > _ULPS * (np.abs(x) + finest))
        for _ in range(_HALVINGS):
            if not len(active):
                break
            here, side = x[active], sign[active]
            below, density = self._tail(side * here, side)
            under = below < u[active]
            low[active], high[active] = np.where(under, here, low[active]), np.where(under, high[active], here)
            with np.errstate(all="ignore"):
                step = here + (np.log(u[active]) - np.log(below)) * below / density
            middle = low[active] / 2 + high[active] / 2
            x[active] = np.where((step >= low[active]) & (step <= high[active]), step, middle)
            unit = _ULPS * (np.abs(here) + finest)
            met = np.abs(below - u[active]) <= _ULPS * u[active]  # all that rounding leaves, where the density is low
            active = active[~met & (np.abs(x[active] - here) > unit) & (high[active] - low[active] > unit)]
        return sign * x

    def slopes(self, t: FloatArray, x: FloatArray) -> FloatArray:
        _, density = self._tail(x.ravel(), np.where(t < 0, 1.0, -1.0).ravel())
        with np.errstate(divide="ignore"):
            return 1 / density.reshape(t.shape)

    def errors(self, t: FloatArray, x: FloatArray) -> FloatArray:
        u, (below, density) = tail_levels(t).ravel(), self._tail(x.ravel(), np.where(t < 0, 1.0, -1.0).ravel())
        missed = np.maximum(np.abs(below - u) - _ROUND_OFF * u, 0.0)
        with np.errstate(all="ignore"):
            return np.where(missed == 0, 0.0, missed / density).reshape(t.shape)

    def _tail(self, x: FloatArray, sign: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The distribution function at x, or for sign −1 the survival function, and the density."""
        below, density = np.zeros_like(x), np.zeros_like(x)
        with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
            for weight, mean, deviation in zip(self._weights, self._means, self._deviations, strict=True):
                z = (x - mean) / deviation if deviation > 0 else np.where(sign * (x - mean) >= 0, sign * np.inf, -sign * np.inf)
                below += weight * scipy.special.ndtr(sign * z)
                density += weight / deviation * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) if deviation > 0 else 0.0
        return below, density


@dataclass(frozen=True, eq=False)
class MeanQuantiles:
    r"""$\bar Q = \sum_j \lambda_j Q_j$, the quantile function of the barycenter."""

    parts: Sequence[QuantileFunction]
    shares: FloatArray

    @property
    def jumps(self) -> FloatArray:
        return np.unique(np.concatenate([part.jumps for part in self.parts]))

    @property
    def low(self) -> float:
        return max(part.low for part in self.parts)

    @property
    def high(self) -> float:
        return min(part.high for part in self.parts)

    def at(self, t: FloatArray) -> FloatArray:
        return self._mixed([part.at(t) for part in self.parts])

    def slopes(self, t: FloatArray, x: FloatArray) -> FloatArray:
        return self._mixed([part.slopes(t, part.at(t)) for part in self.parts])

    def errors(self, t: FloatArray, x: FloatArray) -> FloatArray:
        return self._mixed([part.errors(t, part.at(t)) for part in self.parts])

    def _mixed(self, values: list[FloatArray]) -> FloatArray:
        return np.asarray(sum(s * v for s, v in zip(self.shares, values, strict=True)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class QuantileLaw:
    """The law of a quantile function, on the line."""

    quantiles: QuantileFunction
    dim: int = 1

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        u = rng.random(n)
        return self.quantiles.at(levels_of(u, 1 - u).clip(-FARTHEST, FARTHEST))[:, None]


def has_quantile_function(law: object) -> bool:
    """Whether ``law`` is a finite measure, a frozen distribution or a mixture on the line."""
    return isinstance(law, DiscreteMeasure | FrozenLaw | GaussianMixture | QuantileLaw) and law.dim == 1


def quantile_function(law: object) -> QuantileFunction | None:
    """That of such a law; None for anything else."""
    if not has_quantile_function(law):
        return None
    if isinstance(law, DiscreteMeasure):
        return StepQuantiles(law)
    if isinstance(law, GaussianMixture):
        return MixtureQuantiles(law)
    return FrozenQuantiles(law) if isinstance(law, FrozenLaw) else law.quantiles if isinstance(law, QuantileLaw) else None
