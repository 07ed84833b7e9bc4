r"""Codes of prescribed masses on the line: means of the quantile function over consecutive intervals of levels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, IntArray, rounded, summed_by
from quantization.exact_law import resolution
from quantization.laws_1d.quantile_function import (
    QuantileFunction,
    StepQuantiles,
    has_quantile_function,
    levels_of,
    quantile_function,
)
from quantization.laws_1d.quantile_integrals import transport_integral
from quantization.laws_1d.quantile_law import QuantileLaw1D
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.solvers.mass_order import Integrals, best_order, improved_order, subset_sums
from quantization.status import Status
from quantization.validation import checked_tolerance

_SUBSETS = 10  # masses up to which all orders are compared
_ROUND_OFF = 16 * np.finfo(np.float64).eps  # of the terms of a dual value: a smaller gap is none
_FINE = 2**15  # levels at which integrals of a law's quantiles are known while masses are exchanged


@dataclass(frozen=True)
class Balanced1D:
    r"""$\min_x W_2^2(\mu, \sum_k w_k \delta_{x_k})$ on the line: $x_k = \frac1{w_k} \int_{W_{k-1}}^{W_k} Q(u)\,du$.

    $W_k$ is the mass of the codes up to $x_k$, from left to right, and Q the quantile function.
    For samples, which are split where masses ask for it, and for laws with a quantile function: frozen scipy.stats laws and
    mixtures of Gaussians. For equal masses that is the optimum. Of others it must be known which lies left of which: up to 10
    masses the best order is found, by a dynamic programme over subsets. For more the order is improved by exchanges until none
    helps, and the status says that it is not proved to be the best.

    Parameters
    ----------
    fixed_order : bool, default False
        Whether the masses lie from left to right as they are given, of which the answer is the optimum.
    rtol : float, default 1e-5
        The residual to call CONVERGED; its square is the gap in the cost to do so, relative to it. Codes are means but for the
        rounding of their dtype, and the gap is round-off.

    Notes
    -----
    The cost of an interval of levels is $\int Q^2 - (\int Q)^2 / w$. To find the best order is NP-hard.

    References
    ----------
    santambrogio2015.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize([[0.0], [1.0], [2.0], [11.0]], 2, masses=[0.75, 0.25], rng=0)
    >>> solution.points[:, 0].tolist(), solution.weights.tolist(), solution.distortion
    ([1.0, 11.0], [0.75, 0.25], 0.5)
    """

    fixed_order: bool = False
    rtol: float = 1e-5
    exhausted: ClassVar[Status] = Status.STALLED
    takes_masses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)

    def incompatibility(self, problem: Problem) -> str | None:
        if problem.masses is None:
            return 'Balanced1D is for prescribed masses; received masses="free". Use Lloyd() or Newton(), or masses="uniform"'
        if not on_the_line(problem):
            return (
                "Balanced1D is for samples on the line and laws there with a quantile function; received "
                f"{problem.kind} in dimension {problem.dim}. Use Balanced(), or quantize a sample"
            )
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        quantiles = quantile_function(problem.measure or problem.law)
        assert quantiles is not None
        assert problem.masses is not None
        order, proved = self._order(quantiles, problem.masses, codes[:, 0])
        finite = isinstance(quantiles, StepQuantiles)
        state = _of_samples(quantiles, problem, order) if finite else _of_law(quantiles, problem, order)
        if not proved and state.within(self.rtol):
            state.ended = Status.UNPROVED_ORDER
        yield state

    def _order(self, quantiles: QuantileFunction, masses: FloatArray, codes: FloatArray) -> tuple[IntArray, bool]:
        """The masses from left to right, and whether no other order is better; exchanges begin with that of ``codes``."""
        k = len(masses)
        if self.fixed_order or (masses == masses[0]).all():
            return np.arange(k), True
        if k <= _SUBSETS:
            return best_order(masses, _integrals(quantiles, subset_sums(masses))), True
        integrals = _integrals(quantiles, np.linspace(0, 1, _FINE + 1))
        return improved_order(masses, np.argsort(codes, kind="stable"), integrals), False


def on_the_line(problem: Problem) -> bool:
    """Whether quantiles of the law are known."""
    return has_quantile_function(problem.measure or problem.law)


def _integrals(quantiles: QuantileFunction, levels: FloatArray) -> Integrals:
    r"""$\int_0^u Q$ and $\int_0^u Q^2$ as functions of u, of Q less its mean: exact for steps; of a law exact at ``levels``."""
    if isinstance(quantiles, StepQuantiles):
        at, mass, values, spread = quantiles.below, np.diff(quantiles.below), quantiles.x, 0.0
    else:
        at = np.unique(np.concatenate([[0.0], levels, [1.0]]))
        mass, middles = np.diff(at), at[:-1] / 2 + at[1:] / 2
        centres = quantiles.at(levels_of(middles, 1 - middles).clip(quantiles.low, quantiles.high))
        _, first, second = QuantileLaw1D(quantiles).interval_sums(levels_of(at, 1 - at), centres)
        values, spread = centres + first / mass, second - first * first / mass
    values = values - values @ mass
    first, second = (np.append(0.0, np.cumsum(part)) for part in (values * mass, values * values * mass + spread))
    return lambda u: (np.interp(u, at, first), np.interp(u, at, second))


def _of_samples(quantiles: StepQuantiles, problem: Problem, order: IntArray) -> State:
    """Pieces between the levels at which a sample or a code ends."""
    assert problem.masses is not None
    w, ends = problem.masses[order], _ends(problem.masses[order])
    levels = np.unique(np.concatenate([quantiles.below, ends]))
    masses = np.diff(levels)
    middles = levels[:-1] + masses / 2
    i, k = np.searchsorted(quantiles.below, middles) - 1, np.searchsorted(ends, middles) - 1
    x = quantiles.x[i]
    means = x[np.searchsorted(k, np.arange(len(w)))]  # some sample of each code, about which sums lose nothing
    means = means + summed_by(k, masses * (x - means[k]), len(w)) / summed_by(k, masses, len(w))
    codes = rounded(means[:, None], problem.like)[:, 0]
    cost = float(masses @ np.square(x - codes[k]))
    begins = np.searchsorted(k, np.arange(1, len(w)))
    borders = x[begins - 1] / 2 + x[begins] / 2
    prices = _prices(borders, codes)
    # On the line the cells are in order, so that neighbours tell which prices are exceeded.
    near = np.clip(k + np.arange(-1, 2)[:, None], 0, len(w) - 1)
    reduced = (np.square(x - codes[near]) - prices[near]).min(0)
    gap = cost - float(masses @ reduced + w @ prices)
    gap = gap if gap > _ROUND_OFF * float(cost + masses @ np.abs(reduced) + w @ np.abs(prices)) else 0.0
    return _state(problem, order, codes, means, cost, gap, prices, (quantiles.order[i], order[k], masses))


def _of_law(quantiles: QuantileFunction, problem: Problem, order: IntArray) -> State:
    assert problem.masses is not None
    w, ends = problem.masses[order], _ends(problem.masses[order])
    bounds = levels_of(ends, _ends(w[::-1])[::-1])
    law = QuantileLaw1D(quantiles)
    start = quantiles.at(levels_of(ends[:-1] + w / 2, 1 - ends[:-1] - w / 2))
    mass, first, _ = law.interval_sums(bounds, start)
    means = start + first / mass
    codes = rounded(means[:, None], problem.like)[:, 0]
    _, _, second = law.interval_sums(bounds, codes)
    cost = float(second.sum())
    again = transport_integral([quantiles], np.ones(1), StepQuantiles(DiscreteMeasure(codes[:, None], w)), 2.0)
    prices = _prices(quantiles.at(bounds[1:-1]), codes)
    gap = abs(cost - again.value) + again.error  # of the same plan, by another quadrature
    return _state(problem, order, codes, means, cost, gap, prices, None)


def _state(
    problem: Problem, order: IntArray, codes: FloatArray, means: FloatArray, cost: float, gap: float, prices: FloatArray,
    plan: tuple[IntArray, IntArray, FloatArray] | None,
) -> State:  # fmt: skip
    assert problem.masses is not None
    placed, priced = np.empty((len(order), 1)), np.empty(len(order))
    placed[order, 0], priced[order] = codes, prices - prices.min()
    residual = float(problem.masses[order] @ np.square(codes - means) / cost) ** 0.5 if cost > 0 else 0.0
    return State(
        placed, problem.masses, cost, residual, masses_gap=gap, prices=priced, sparse_plan=plan,
        resolution=partial(resolution, problem.like, placed, problem.masses, cost),
    )  # fmt: skip


def _ends(w: FloatArray) -> FloatArray:
    """The levels (K + 1,) at which codes of masses w end; multiples of 1/K where these are equal."""
    k = len(w)
    return np.arange(k + 1) / k if (w == w[0]).all() else np.append(np.minimum(np.append(0.0, np.cumsum(w[:-1])), 1.0), 1.0)


def _prices(borders: FloatArray, codes: FloatArray) -> FloatArray:
    """Prices p with |z - x_k|² - p_k equal on both sides of every border z."""
    return np.append(0.0, np.cumsum((codes[1:] - codes[:-1]) * (codes[1:] + codes[:-1] - 2 * borders)))
