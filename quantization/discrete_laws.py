"""Discrete scipy.stats distributions as finite measures on the line."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from quantization.arrays import FloatArray
from quantization.laws import check_scalar_parameters, newer_kind
from quantization.measure import DiscreteMeasure

_MOST = 2**22  # values that a law may take
_FIRST = 64  # values looked at on either side of the median, then twice as many and so on
_CUT = 1e-15
_SLACK = 1e-9  # by which the masses may miss 1: some of scipy's are integrals


def discrete_measure(law: Any, r: float) -> DiscreteMeasure | None:
    r"""The measure of a frozen discrete ``scipy.stats`` distribution, of ``rv_discrete(values=...)`` or of a newer discrete one.

    None for anything else. Known by its members, so that scipy.stats need not be loaded. An infinite support is cut where
    twice as wide a window would add less than 1e-15 of the mass and of $E|X - \mathrm{median}|^r$. Raises ``ValueError`` where
    that takes more than 2^22 values, as for heavy tails, and for arrays of parameters.
    """
    table, name = getattr(law, "dist", law), _name(law)
    if hasattr(table, "xk") and hasattr(table, "pk") and callable(getattr(law, "rvs", None)):
        check_scalar_parameters(law)
        shift = np.ravel([*getattr(law, "args", ()), *getattr(law, "kwds", {}).values(), 0.0])[0]  # loc is all it takes
        return _measure(np.asarray(table.xk, dtype=np.float64) + float(shift), table.pk, name)
    if hasattr(law, "dist") and callable(getattr(law, "pmf", None)):
        check_scalar_parameters(law)
        return _measure(*_window(law.pmf, law.support(), float(law.ppf(0.5)), r, name), name)
    if newer_kind(law) == "discrete":
        try:
            return _measure(*_window(law.pmf, law.support(), float(law.icdf(0.5)), r, name), name)
        except NotImplementedError:
            raise ValueError(
                f"{name} is discrete, and scipy gives no masses of it; write DiscreteMeasure(x[:, None], masses) for its values, "
                "or quantize a sample"
            ) from None
    return None


def _window(
    pmf: Callable[[FloatArray], FloatArray], support: tuple[float, float], median: float, r: float, name: str
) -> tuple[FloatArray, FloatArray]:
    """The values about the median, whole numbers from it, and their masses."""
    low, high = (float(end) for end in support)
    if not abs(median) < 2.0**52:
        raise ValueError(f"{name} must take whole numbers below 2^52, from some place; its median is {median:g}")
    values, masses = np.array([median]), np.asarray(pmf(np.array([median])), dtype=np.float64)
    width, growing = _FIRST, {-1, 1}
    while growing and len(values) <= _MOST:
        for side in sorted(growing):
            more = (values.max() if side > 0 else values.min()) + side * np.arange(1.0, width + 1)
            more = more[(more >= low) & (more <= high)]
            with np.errstate(all="ignore"):
                added = np.asarray(pmf(more), dtype=np.float64)
            cost, total = float(np.abs(more - median) ** r @ added), float(np.abs(values - median) ** r @ masses)
            negligible = added.sum() <= _CUT and cost <= _CUT * max(total, float(masses.sum()))
            if not len(more) or (negligible and masses.sum() >= 1 - _SLACK):
                growing = growing - {side}
            values, masses = np.append(values, more), np.append(masses, added)
        width *= 2
    if growing:
        raise ValueError(
            f"{name} takes too many values: more than {_MOST:,} of them bear on E|X|^{r:g}, if that is finite at all. "
            "Quantize a sample of it, an array (n, 1)"
        )
    order = np.argsort(values)
    return values[order], masses[order]


def _measure(values: FloatArray, masses: ArrayLike, name: str) -> DiscreteMeasure:
    masses = np.asarray(masses, dtype=np.float64)
    there = masses > 0
    if not abs(float(masses.sum()) - 1) <= _SLACK:
        raise ValueError(f"the masses of {name} must sum to 1; their sum is {float(masses.sum()):.12g}")
    return DiscreteMeasure.from_unnormalized(values[there, None], masses[there])


def _name(law: Any) -> str:
    return str(getattr(getattr(law, "dist", law), "name", None) or type(law).__name__)
