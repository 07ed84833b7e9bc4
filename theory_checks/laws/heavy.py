r"""A law with a second moment and no constant of Zador's, $f(x) \propto x^{-3} (1 + \log x)^{-2}$ on [1, ∞), cut into fine
cells.

With $U = 1 + \log X$ all is elementary: $P(X > x) = E_2(2U) / (U E_2(2))$ and $E[X; X > x] \propto E_2(U) / U$, $E_2$ the
exponential integral.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expn

from quantization import DiscreteMeasure
from theory_checks.laws.case import Family

FloatArray = NDArray[np.float64]
_LAST = 200.0  # of U: points up to e^199, whose squares are still far from overflow


def _above(u: FloatArray) -> FloatArray:
    return np.asarray(expn(2, 2 * u)) / u / float(expn(2, 2.0))


def _mean_above(u: FloatArray) -> FloatArray:
    return np.asarray(expn(2, u)) / u / (np.e * float(expn(2, 2.0)))


def _heavy(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """The conditional means and masses of n cells of equal mass under the point density, $\\propto U^{1/3}$."""
    ends = np.asarray(np.linspace(1.0, _LAST ** (1 / 3), n + 1) ** 3, dtype=np.float64)
    masses = -np.diff(_above(ends))
    return DiscreteMeasure.from_unnormalized((-np.diff(_mean_above(ends)) / masses)[:, None], masses)


def normal(n: int) -> DiscreteMeasure:
    """N(0, 1) in the same way: n cells of equal mass of N(0, 3)."""
    from scipy import stats  # not at the top: it loads for half a second

    ends = stats.norm(scale=3**0.5).ppf(np.linspace(0, 1, n + 1))
    masses = np.diff(stats.norm.cdf(ends))
    kept = masses > 1e-300
    means = -np.diff(stats.norm.pdf(ends))[kept] / masses[kept]
    return DiscreteMeasure.from_unnormalized(means[:, None], masses[kept])


TAILS = Family[DiscreteMeasure](
    "f ∝ x⁻³ (1 + log x)⁻² on [1, ∞), by the conditional means of n cells",
    {"heavy tail": _heavy},
    (1,),
    (40009,),
    "cells",
    (16, 18, 20),
)
