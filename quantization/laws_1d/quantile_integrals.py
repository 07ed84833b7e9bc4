r"""Integrals over (0, 1) of functions of quantiles, by adaptive quadrature with a bound on what it misses.

In the levels t of :mod:`~quantization.laws_1d.quantile_function`, $\int_0^1 h\,du = \int h\,\frac12 e^{-|t|}\,dt$: tails are
exponentials of t, also those of powers of x. Panels are bisected until two of Gauss' rules agree, one nested in the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray
from quantization.laws_1d.quantile_function import FARTHEST, QuantileFunction, level_masses, tail_levels

Integrand = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
_RTOL = 1e-12  # of the integral
_ROUNDS = 80
_MOST_PANELS = 2**23
_BLOCK = 2**16  # panels evaluated at once
_RESOLVED = 1e-9  # the last Legendre coefficients relative to the largest value; the rule errs by about the square of that
_NEGLIGIBLE = 1e-20  # of E|X|²
_EPS = float(np.finfo(np.float64).eps)
_FLATTEST = 2e-3  # an integrand that falls like a smaller power of e^-t has no integral, as far as float64 can tell
_TRUSTED = 1e-10  # of the tail that is extrapolated
_LARGEST = 1e290  # of powers of quantiles
_NEARER = 0.97 ** np.arange(146)  # down to levels of 1e-4


@cache
def _rules() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gauss' 15 nodes on [0, 1] and weights, and weights on every other of these nodes that integrate what 7 can."""
    x, w = scipy.special.roots_legendre(15)
    some = np.polynomial.legendre.legvander(x[1::2], 6).T
    coarse = np.zeros(15)
    coarse[1::2] = np.linalg.solve(some, np.eye(7)[0])
    return (1 + x) / 2, w / 2, coarse


@cache
def _last_coefficients() -> FloatArray:
    """(15, 2), what makes of values at the nodes the last two coefficients of their Legendre series."""
    s, w, _ = _rules()
    return (np.polynomial.legendre.legvander(2 * s - 1, 14) * w[:, None] * (2 * np.arange(15) + 1))[:, -2:]


@dataclass(frozen=True)
class Integral:
    """value, and how far it may be off: ``error`` by quadrature, tails and quantiles that miss, ``rounding`` beside."""

    value: float
    error: float
    rounding: float


def transport_integral(parts: Sequence[QuantileFunction], shares: FloatArray, centre: QuantileFunction, r: float) -> Integral:
    r"""$\int_0^1 \sum_j \lambda_j |Q_j(u) - C(u)|^r\,du$, that is $\sum_j \lambda_j W_r^r(\mu_j, \gamma)$ for the law γ of C.

    Raises ``ValueError`` where the integral is infinite.
    """

    def integrand(t: FloatArray) -> tuple[FloatArray, FloatArray]:
        c = centre.at(t)
        value, rounding = np.zeros_like(t), np.zeros_like(t)
        for part, share in zip(parts, shares, strict=True):
            x = part.at(t)
            cost, slack = _power(x - c, 4 * _EPS * (np.abs(x) + np.abs(c)), r)
            value, rounding = value + share * cost, rounding + share * slack
        return value, rounding

    def misses(t: FloatArray) -> FloatArray:
        c = centre.at(t)
        off = centre.errors(t, c)
        total = np.zeros_like(t)
        for part, share in zip(parts, shares, strict=True):
            x = part.at(t)
            total = total + share * _power(x - c, part.errors(t, x) + off, r)[1]
        return total

    functions = [*parts, centre]
    jumps = np.concatenate([f.jumps for f in functions])
    low, high = _reach(functions, r)
    return _adaptive(integrand, misses, np.unique(np.concatenate([standard_edges(low, high), jumps])), low, high)


def standard_edges(low: float, high: float) -> FloatArray:
    """Where panels begin: at distances from the median that double."""
    edges = np.exp2(np.arange(11.0)) - 1
    edges = np.concatenate([-edges[::-1], edges[1:]])
    return np.concatenate([[low], edges[(edges > low) & (edges < high)], [high]])


def resolved_panels(f: QuantileFunction) -> tuple[FloatArray, FloatArray]:
    r"""Where panels begin and end, in order, on each of which Q is a polynomial to round-off, as far as E|X|² can tell.

    Raises ``ValueError`` where E|X|² is infinite, or tails are so heavy that it can't be computed.
    """
    low, high = _reach([f], 2.0)
    median = float(f.at(np.zeros(1))[0])
    begin = np.unique(np.concatenate([standard_edges(low, high), f.jumps]))
    begin = begin[(begin >= low) & (begin <= high)]
    begin, end = begin[:-1], begin[1:]
    done: list[FloatArray] = []
    unit = 0.0
    while len(begin):
        t, fine, _ = panel_nodes(begin, end)
        q = f.at(t)
        if not unit:
            unit = float((np.square(q - median) * fine).sum())
            left = sum(_tail(lambda t: (np.square(f.at(t) - median), t), place)[0] for place in (low, high))
            if left > _RTOL * unit:
                share = left / (left + unit)
                raise ValueError(f"the tails of a law hold {share:.1g} of E|X|^2 beyond what float64 reaches. Truncate it")
        middle = q[:, 7:8]
        spread = np.abs(q[:, [0, -1]] - middle).max(1)
        # What the rounding of quantiles, and of their levels, leaves.
        level, noise = tail_levels(t), 32 * _EPS * (np.abs(q).max(1) + spread * np.maximum(np.abs(t[:, 7]), 1) / (end - begin))
        peak = level.max(1)
        resolved = (spread <= 2 * noise) | (spread**2 * fine.sum(1) <= _NEGLIGIBLE * unit)
        resolved |= _smooth((q - middle) * level, noise * peak) & _smooth(np.square(q - middle) * level, noise * spread * peak)
        resolved |= end - begin <= 8 * _EPS * np.maximum(np.abs(begin), 1.0)
        done.append(np.stack([begin[resolved], end[resolved]]))
        begin, end = begin[~resolved], end[~resolved]
        middle = begin / 2 + end / 2
        begin, end = np.concatenate([begin, middle]), np.concatenate([middle, end])
        if len(begin) > _MOST_PANELS:
            raise ValueError("the quantile function of a law is rough on every scale. Give samples of it instead")
    panels = np.concatenate(done, axis=1)
    panels = panels[:, np.argsort(panels[0])]
    return panels[0], panels[1]


def _smooth(values: FloatArray, noise: FloatArray) -> NDArray[np.bool]:
    """Whether values (P, 15) at the nodes are those of a polynomial to round-off, which is ``noise`` (P,)."""
    return np.abs(values @ _last_coefficients()).max(1) <= _RESOLVED * np.abs(values).max(1) + noise


def panel_nodes(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The nodes (P, 15) of panels, and the weights du of both rules there."""
    s, w, coarse = _rules()
    width = (high - low)[:, None]
    t = low[:, None] + width * s
    du = width * tail_levels(t)
    return t, du * w, du * coarse


def _power(d: FloatArray, slack: FloatArray, r: float) -> tuple[FloatArray, FloatArray]:
    """|d|^r, and how much more it is where d is off by ``slack``; ``ValueError`` where these overflow."""
    d = np.abs(d)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        cost = d * d if r == 2 else d if r == 1 else d**r
        more = slack if r == 1 else r * slack * (d + slack) ** (r - 1)
        more = np.where(slack == 0, 0.0, more)
    if not np.isfinite(cost).all():
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64. Scale the laws down")
    return cost, more


def _reach(functions: Sequence[QuantileFunction], r: float) -> tuple[float, float]:
    """The levels between which quantiles and their powers are known; ``ValueError`` where a law has no moment of order r."""
    ends = max(-FARTHEST, *(f.low for f in functions)), min(FARTHEST, *(f.high for f in functions))
    low, high = (next((t for t in end * _NEARER if all(_small(f, t, r) for f in functions)), 0.0) for end in ends)
    if not low < 0 < high:
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64: quantiles to this power do. Scale the laws down")
    for f in functions:
        median = f.at(np.zeros(1))
        for place in (low, high):
            try:
                _tail(lambda t, f=f, median=median: (np.abs(f.at(t) - median) ** r, t), place)
            except ValueError as error:
                raise ValueError(
                    f"a law has no finite moment of order r = {r:g}: its quantiles to this power grow as fast as its "
                    f"{'lower' if place < 0 else 'upper'} tail falls. Lower r, or truncate the law"
                ) from error
    return low, high


def _small(f: QuantileFunction, t: float, r: float) -> bool:
    return bool(np.abs(f.at(np.array([t]))[0]) < _LARGEST ** (1 / r))


def _adaptive(
    integrand: Integrand, misses: Callable[[FloatArray], FloatArray], edges: FloatArray, low: float, high: float
) -> Integral:
    edges = edges[(edges >= low) & (edges <= high)]
    begin, end = edges[:-1], edges[1:]
    panels = _evaluated(integrand, begin, end)
    tails = [_tail(integrand, place) for place in (low, high)]
    for _ in range(_ROUNDS):
        value, error, rounding = panels[2:].sum(1)
        allowed = max(_RTOL * value, rounding)
        worst = panels[3] > allowed / (2 * panels.shape[1])
        worst &= panels[1] - panels[0] > 8 * _EPS * np.maximum(np.abs(panels[0]), 1.0)
        if error <= allowed or not worst.any() or panels.shape[1] + int(worst.sum()) > _MOST_PANELS:
            break
        begin, end = panels[0, worst], panels[1, worst]
        middle = begin / 2 + end / 2
        halves = _evaluated(integrand, np.concatenate([begin, middle]), np.concatenate([middle, end]))
        panels = np.concatenate([panels[:, ~worst], halves], axis=1)
    value, error, rounding = panels[2:].sum(1)
    for remainder, doubt in tails:
        value, error = value + remainder, error + doubt
    middle = panels[0] / 2 + panels[1] / 2  # a single node stands for its panel, and is counted twice
    mass = level_masses(panels[0], panels[1])
    return Integral(float(value), float(error + 2 * misses(middle) @ mass), float(rounding))


def _evaluated(integrand: Integrand, begin: FloatArray, end: FloatArray) -> FloatArray:
    """Panels as columns: begin, end, integral, how far the two rules differ, rounding; (5, P)."""
    columns: list[FloatArray] = []
    for start in range(0, len(begin), _BLOCK):
        low, high = begin[start : start + _BLOCK], end[start : start + _BLOCK]
        t, fine, coarse = panel_nodes(low, high)
        value, slack = integrand(t)
        total = (value * fine).sum(1)
        columns.append(np.stack([low, high, total, np.abs(total - (value * coarse).sum(1)), (slack * fine).sum(1)]))
    return np.concatenate(columns, axis=1)


def _tail(integrand: Integrand, place: float) -> tuple[float, float]:
    r"""What lies beyond a level, and how far that may be off: $h/\kappa$, where the integrand h falls like $e^{-\kappa |t|}$."""
    t = place * np.array([14 / 16, 15 / 16, 1.0])
    h = integrand(t)[0] * tail_levels(t)
    if h[2] <= 0 or not h[:2].all():
        return 0.0, 0.0
    before, fall = np.log(h[:-1] / h[1:]) / (abs(place) / 16)
    if not fall > _FLATTEST:
        raise ValueError("the costs have no finite mean: they grow as fast as the mass falls. Lower r, or truncate the law")
    remainder = h[2] / fall
    # Where κ changes, so does what lies beyond, by κ'/κ² relative to itself.
    return remainder, remainder * min(1.0, 2 * abs(fall - before) / fall * (1 + 16 / abs(place * fall)) + _TRUSTED)
