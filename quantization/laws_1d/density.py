"""Laws with a density on the line, standardized: what the quadrature needs to know of one."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray
from quantization.laws import FrozenLaw, GaussianMixture

Function = Callable[[FloatArray], FloatArray]
_BLOCK = 2**22  # numbers of a block of densities
_SLOW = 2e-4  # seconds per value of a density, from which a caller is warned
_LEVELS = (1e-6, 1e-4, 1e-2, *(i / 16 for i in range(1, 8)))


@dataclass(frozen=True, eq=False)
class Density:
    r"""The law of $T = (X - m)/s$ for location m and scale s: density f, distribution function F and support [low, high].

    landmarks: some finite points of the support, in order, between which f may have kinks, modes and tails but no narrow peak
    that nodes could miss; the median is among them. dispersion: the scale of T itself, as the interquartile range.
    """

    pdf: Function
    cdf: Function
    low: float
    high: float
    landmarks: FloatArray
    median: float
    dispersion: float
    loc: float = 0.0
    scale: float = 1.0

    def finite_pdf(self, t: FloatArray) -> FloatArray:
        """f(t), 0 at a pole, or at a node that round-off puts on one."""
        f = self.pdf(t)
        return np.where(np.isfinite(f), f, 0.0)

    def standardize(self, codes: FloatArray) -> FloatArray:
        """Codes (K, 1) as standardized ones (K,)."""
        return (codes[:, 0] - self.loc) / self.scale

    def unstandardize(self, t: FloatArray) -> FloatArray:
        """Standardized codes (K,) as codes (K, 1)."""
        return (self.loc + self.scale * t)[:, None]


def frozen_density(law: FrozenLaw) -> Density:
    """The density of a frozen scipy.stats distribution, standardized by its loc and scale."""
    frozen: Any = law.distribution
    standard, loc, scale = _standard(frozen)
    with np.errstate(all="ignore"):
        low, high = (float(end) for end in standard.support())
        levels = np.array(_LEVELS)
        median = float(standard.ppf(0.5))
        quantiles = np.concatenate([standard.ppf(levels), [median], standard.isf(levels)])
        dispersion = float(standard.isf(0.25) - standard.ppf(0.25))
    if not (np.isfinite([loc, scale, median, dispersion]).all() and scale > 0 and dispersion > 0):
        raise ValueError(
            f"a frozen distribution needs finite loc, scale > 0 and quantiles; received {_name(frozen)} with loc = {loc:g}, "
            f"scale = {scale:g}, median {median:g} and interquartile range {dispersion:g}"
        )
    # Standard densities have their kinks and poles at 0 more often than elsewhere.
    marks = np.append(quantiles, [0.0, low, high])
    marks = np.unique(marks[np.isfinite(marks) & (marks >= low) & (marks <= high)])
    pdf, cdf = _vector(standard.pdf, _name(frozen)), _vector(standard.cdf, _name(frozen))
    pace = min(_seconds(pdf, marks) for _ in range(2)) / len(marks)
    if pace > _SLOW:
        warnings.warn(
            f"the density of {_name(frozen)} takes {1e3 * pace:.2g} ms per value, and integrals need ten thousand of them, or "
            "many more where it is not smooth. If that is too long, quantize a sample of it, an array (n, 1)",
            stacklevel=2,
        )
    return Density(pdf, cdf, low, high, marks, median, dispersion, loc, scale)


def mixture_density(law: GaussianMixture) -> Density:
    """The density of a mixture of normal laws on the line, about its mean, in units of a power of two near its deviation."""
    present = law.weights > 0
    weights, loc = law.weights[present], float(law.mean[0])
    deviations = np.sqrt(law.covs[present, 0, 0])
    largest = max(float(deviations.max()), float(np.abs(law.means[present, 0] - loc).max()))
    scale = 2.0 ** round(math.log2(largest))
    means, deviations = (law.means[present, 0] - loc) / scale, deviations / scale
    heights = weights / (deviations * np.sqrt(2 * np.pi))

    def pdf(t: FloatArray) -> FloatArray:
        total = np.zeros_like(t)
        with np.errstate(under="ignore", over="ignore"):
            for height, mean, deviation in zip(heights, means, deviations, strict=True):
                total += height * np.exp(-0.5 * np.square((t - mean) / deviation))
        return total

    def cdf(t: FloatArray) -> FloatArray:
        rows = max(1, _BLOCK // len(means))
        below = np.empty(t.size)
        for part in (slice(start, start + rows) for start in range(0, t.size, rows)):
            below[part] = scipy.special.ndtr((t.ravel()[part, None] - means) / deviations) @ weights
        return below.reshape(t.shape)

    marks = np.unique(means[:, None] + deviations[:, None] * np.array([-9, -3, -1, 0, 1, 3, 9]))
    marks = _apart(marks, float(deviations.min()) / 2)
    order = np.argsort(means)
    median = float(means[order][np.searchsorted(np.cumsum(weights[order]), 0.5)])
    return Density(pdf, cdf, -np.inf, np.inf, marks, median, 1.0, loc, scale)


def _apart(marks: FloatArray, least: float) -> FloatArray:
    """Marks in order, without those so close to one that stays: the marks of thousands of components are few."""
    kept = [float(marks[-1])]
    while (i := int(np.searchsorted(marks, kept[-1] - least))) > 0:
        kept.append(float(marks[i - 1]))
    return np.array(kept[::-1])


def _standard(frozen: Any) -> tuple[Any, float, float]:
    """The distribution without its location and scale, and these: positional arguments are shapes, then loc, then scale."""
    shapes = getattr(getattr(frozen, "dist", None), "numargs", None)
    if shapes is None or not hasattr(frozen, "args"):
        return frozen, 0.0, 1.0
    named = dict(frozen.kwds)
    loc = named.pop("loc", frozen.args[shapes] if len(frozen.args) > shapes else 0.0)
    scale = named.pop("scale", frozen.args[shapes + 1] if len(frozen.args) > shapes + 1 else 1.0)
    return frozen.dist(*frozen.args[:shapes], **named), np.asarray(loc).item(), np.asarray(scale).item()


def _vector(function: Any, name: str) -> Function:
    """``function`` without warnings, NaN (of a density at the edge of overflow) read as 0."""

    def values(t: FloatArray) -> FloatArray:
        try:
            with np.errstate(all="ignore"):
                return np.nan_to_num(np.asarray(function(t), dtype=np.float64), nan=0.0, posinf=np.inf)
        except (ArithmeticError, ValueError) as error:
            raise ValueError(
                f"{name} can't be computed everywhere: its {function.__name__} raised {type(error).__name__}: {error}. "
                "Quantize a sample instead"
            ) from error

    return values


def _seconds(function: Function, t: FloatArray) -> float:
    start = perf_counter()
    function(t)
    return perf_counter() - start


def _name(frozen: Any) -> str:
    return str(getattr(getattr(frozen, "dist", frozen), "name", type(frozen).__name__))
