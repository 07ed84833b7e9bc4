"""Checks of what users pass in: each returns the form that is computed with, or says what was received and how to mend it."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from quantization.arrays import (
    Array,
    FloatArray,
    all_finite,
    as_floating,
    check_exact,
    epsilon,
    least_positive,
    namespace,
    to_host,
)
from quantization.status import TooFewPoints

_MOST = 2**62
_ROUND_OFF = 32 * np.finfo(np.float64).eps  # of numpy's pairwise sum of up to 1e9 weights that were divided by their sum
_DECADES = 300  # what costs may span, in powers of ten


def checked_points(given: Array) -> Array:
    """Points (n, d), n, d ≥ 1, real and finite; floating dtypes are kept, integers become float64."""
    points = as_floating(given)
    if points.ndim != 2 or 0 in points.shape:
        hints = {1: "; write x[:, None] for points on the line", 3: "; for a list of batches write Stream(batches)"}
        hint = "; write x.to_frame()" if points.ndim == 1 and hasattr(given, "to_frame") else hints.get(points.ndim, "")
        raise ValueError(f"points must have shape (n, d) with n, d ≥ 1; received shape {tuple(points.shape)}{hint}")
    if not all_finite(points):
        bad = int((~namespace(points).isfinite(points)).any(1).sum())
        raise ValueError(
            f"points must be finite; received {bad} of {points.shape[0]} rows with NaN or infinite entries. Drop or repair them"
        )
    check_exact(given, points)
    return points


def checked_weights(weights: Array, n: int, name: str = "weights", of: str = "point") -> FloatArray:
    """Weights (n,) ≥ 0, at least one of them positive, in float64 on the host; of any sum. name, of: theirs in errors."""
    host = to_host(as_floating(weights, name))
    if host.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one per {of}; received shape {host.shape}")
    if not np.isfinite(host).all():
        raise ValueError(f"{name} must be finite; received NaN or infinite entries")
    if (host < 0).any():
        raise ValueError(f"{name} must be nonnegative; received {int((host < 0).sum())} negative, the least {host.min():g}")
    if not (host > 0).any():
        raise ValueError(f"{name} must not all be zero; received {n} zeros")
    return host


def checked_probabilities(weights: Array, n: int, name: str = "weights", hint: str = "", of: str = "point") -> FloatArray:
    """Weights (n,) ≥ 0 whose sum is 1 but for round-off, in float64 on the host, renormalized. hint: ends the error."""
    host = checked_weights(weights, n, name, of)
    total, slack = host.sum(), sum_slack(weights)
    if not abs(total - 1.0) <= slack:
        raise ValueError(f"{name} must sum to 1 (within {slack:g}); received a sum of {total:.17g}{hint}")
    # Weights that were normalized before stay the same to the last bit.
    return host / total if abs(total - 1.0) > _ROUND_OFF else host.copy()


def checked_prices(prices: Array, k: int) -> FloatArray:
    """Prices (k,), finite, in float64 on the host."""
    host = to_host(as_floating(prices, "prices"))
    if host.shape != (k,) or not np.isfinite(host).all():
        raise ValueError(f"prices must be {k} finite numbers, one per code; received shape {host.shape}")
    return host


def checked_masses(masses: Array, k: int) -> FloatArray | None:
    """Prescribed masses (k,) > 0 of sum 1, in float64 on the host, or None for "free"."""
    if isinstance(masses, str):
        if masses not in ("free", "uniform"):
            raise ValueError(f'masses must be "free", "uniform" or an array (k,); received {masses!r}')
        return None if masses == "free" else np.full(k, 1.0 / k)
    host = checked_probabilities(masses, k, "masses", ". Divide them by it", "code")
    if not host.all():
        raise ValueError(f"masses must be positive; received {int((host == 0).sum())} zeros. Leave these codes out, and lower k")
    return host


def sum_slack(weights: Array) -> float:
    """How far from 1 the sum of honest weights of this dtype may lie: their rounding, and units for a sum made in it.

    2^22 units for float64, 2^10 for float32, 2^3 below, where tiny weights are also rounded to a fixed spacing each.
    """
    weights = as_floating(weights, "weights")
    eps = epsilon(weights)
    return eps * (2**22 if eps < 1e-12 else 2**10 if eps < 1e-5 else 2**3) + len(weights) * least_positive(weights) / 2


def checked_count(name: str, value: object, least: int = 1, most: float = _MOST) -> int:
    """``value`` as an int ≥ ``least``, and such that arrays can have so many entries."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer ≥ {least}; received {value!r}")
    if (number := int(value)) > most:
        raise ValueError(f"{name} must be at most {'2^62' if most == _MOST else most}; received {number}")
    return number


def checked_list(values: Array, name: str, kinds: str, one: str) -> list[Array]:
    """A list or other iterable of laws, or an array (m, n, d) of as many, as a list; an iterator is read once, here."""
    listable = type(values).__name__ not in ("str", "dict") and hasattr(values, "__iter__")
    if not listable or getattr(values, "ndim", 3) != 3:
        received = f"an array of shape {tuple(values.shape)}" if hasattr(values, "shape") else type(values).__name__
        raise ValueError(
            f"{name} must be a list of {kinds}, or an array (m, n, d), and [{one}] for a single one; received {received}"
        )
    return list(values)


def checked_each(name: str, value: Array, count: int, owner: str = "law") -> list[Any] | None:
    """A sequence of one value per problem as a list, of checked length; None for a single value."""
    if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return None
    values = list(value)
    if len(values) != count:
        raise ValueError(f"{name} must be one for all or one per {owner}, {count} of them; received {len(values)}")
    return values


def checked_number(value: object, what: str, *, least: float = 0.0, open_ends: bool = False, most: float = np.inf) -> float:
    """``value`` as a float in [least, most), or in (least, most); ``what`` says in errors what it must be."""
    number = float(value) if not isinstance(value, bool) and isinstance(value, Real) else np.nan
    if not (least < number if open_ends else least <= number) or not number < most:
        raise ValueError(f"{what}; received {value!r}")
    return number


def checked_values(name: str, values: object, points: FloatArray, of: str = "point") -> FloatArray:
    """What the function ``name`` returned for points (n, d): one finite number each, (n,); on the line (n, 1) is taken too."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape == (len(points), 1) and points.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.shape != (len(points),):
        raise ValueError(f"{name} must return one number a {of}, shape ({len(points)},); received shape {numbers.shape}")
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise ValueError(f"{name} must be finite; received {numbers[bad][0]} at {points[bad][0]}")
    return numbers


def checked_order(r: object) -> float:
    """``r`` as a float in [1, ∞)."""
    return checked_number(r, "the order r must be a finite number ≥ 1", least=1.0)


def checked_tolerance(rtol: object) -> float:
    """``rtol`` as a float in [0, ∞)."""
    return checked_number(rtol, "rtol must be a finite number ≥ 0")


def checked_confidence(confidence: object) -> float:
    """``confidence`` as a float in (0, 1)."""
    return checked_number(confidence, "confidence must lie strictly between 0 and 1", open_ends=True, most=1.0)


def checked_rng(rng: object) -> np.random.Generator:
    """``rng`` as a numpy Generator: itself, one made from an integer ≥ 0, or for None a fresh one (SPEC 7)."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    if isinstance(rng, bool) or not isinstance(rng, Integral) or rng < 0:
        raise ValueError(f"rng must be an integer ≥ 0, a numpy Generator or None; received {rng!r}")
    return np.random.default_rng(int(rng))


def check_magnitude(points: Array, r: float) -> None:
    """Refuses points (n, d) whose distances to the power r would leave the range of float64."""
    if epsilon(points) > 1e-10 and r < 7:
        return  # no power of these numbers does
    largest = max(float(points.max()), -float(points.min()))
    if largest > 0 and abs(r * float(np.log10(largest))) > _DECADES:
        raise ValueError(
            f"the points' magnitude to the power r must lie within 1e±{_DECADES}; received points up to {largest:g} in "
            f"absolute value and r = {r:g}. Rescale the points"
        )


def checked_distinct(points: Array, weights: Array, k: int) -> None:
    """Raises :class:`TooFewPoints` where fewer than k of the points (n, d) of positive weight are distinct.

    A few points from all over are looked at first, and of these one coordinate: almost always that tells.
    """
    n, some = len(points), np.empty((0, 1))
    for rows in (min(n, 2 * k + 8), min(n, 64 * k), n):
        step = n // rows
        some, positive = to_host(points[::step]), to_host(weights[::step]) > 0
        some = some if positive.all() else some[positive]
        column = some[:, int(np.argmax(np.ptp(some[:64], axis=0)))] if len(some) else some[:, 0]
        if len(np.unique(column)) >= k or (rows < n and len(np.unique(some, axis=0)) >= k):
            return
    distinct = len(np.unique(some, axis=0))
    if distinct < k:
        raise TooFewPoints(k, distinct)
