r"""Bounds on $W_2^2$ between a law known by its draws and weighted points: from the cells at given prices, on fresh draws."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from quantization.arrays import Array, FloatArray, to_host
from quantization.assignment import nearest_priced
from quantization.interval import Estimate, mean_interval
from quantization.laws import FrozenLaw, Law
from quantization.quasi_monte_carlo import Replicated

Draws = Callable[[np.random.Generator], Iterable[Array]]  # batches (n_i, d) of fresh draws


@dataclass(frozen=True)
class TransportBounds:
    r"""Intervals that bound $W_2^2(\mu, \sum_k w_k \delta_{y_k})$ by their lower and their upper end, on separate draws.

    dual: of $E \min_k (|X - y_k|^2 - p_k) + \sum_k w_k p_k \le W_2^2$. upper: of the cost of a coupling, to first order in
    what its shares miss w by: they are those of so many draws, and what is left out, as $W_2^2$ is convex in w, is of the order
    of K over that number. masses: (K,) of the cells on draws. targets: (K, d), the mean of what the coupling sends to each
    point.
    """

    dual: Estimate
    upper: Estimate
    masses: FloatArray
    targets: FloatArray


def transport_bounds(
    law: Law, draws: Draws, y: FloatArray, w: FloatArray, prices: FloatArray, rng: np.random.Generator, confidence: float
) -> TransportBounds:
    """Both bounds for points y (K, d) of weights w (K,) > 0, by prices (K,) that know nothing of these draws.

    In the coupling cells go to their own points, but for the shares that the optimal transport of the cells, of the masses that
    draws give them, to w sends on; what these still miss w by on further draws is paid at this transport's prices. There is no
    interval, but 0 and ∞, where E|X|⁴ is infinite, as far as scipy.stats or the draws tell.
    """
    from quantization.assignment.capacities import CapacitatedAssignment  # needs numba
    from quantization.assignment.capacity_kernels import add_rows

    first, second, third = rng.spawn(3)
    replicated = isinstance(law, Replicated)
    highest, level = float(prices.max()), float(w @ prices)
    dual = mean_interval(
        draws(first), lambda x: to_host(nearest_priced(x, y, prices).squared), confidence, replicated=replicated, strict=True
    )
    counts, sums = np.zeros(len(y)), np.zeros_like(y)
    for x in draws(second):
        labels, host = _labels(x, y, prices), to_host(x)
        counts += np.bincount(labels, minlength=len(y))
        add_rows(host, labels, np.ones(len(host)), y, sums)
    filled, masses = np.flatnonzero(counts), counts / counts.sum()
    means = y + sums / np.maximum(counts, 1)[:, None]
    plan = CapacitatedAssignment(means[filled], masses[filled], w).plan(y, prices)
    rows, columns, parts = plan.split
    rows, columns = np.concatenate([filled, filled[rows]]), np.concatenate([plan.labels, columns])
    parts = np.concatenate([plan.parts, parts])
    targets = np.zeros_like(y)
    np.add.at(targets, columns, parts[:, None] * means[rows])
    shares, moves = parts / masses[rows], y[rows] - y[columns]
    linear, constant = np.zeros_like(y), np.where(counts > 0, 0.0, -plan.prices)
    np.add.at(linear, rows, 2 * shares[:, None] * moves)
    np.add.at(constant, rows, shares * (np.square(moves).sum(1) - plan.prices[columns]))
    constant += plan.prices.max()

    def cost(x: Array) -> FloatArray:
        """That of a draw's coupling less the prices of where it goes, plus the highest."""
        labels = _labels(x, y, prices)
        steps = to_host(x) - y[labels]
        return np.maximum((steps * (steps + linear[labels])).sum(1) + constant[labels], 0.0)

    upper = mean_interval(draws(third), cost, confidence, replicated=replicated, strict=True)
    bounds = _lowered(dual, highest - level), _lowered(upper, float(plan.prices.max() - w @ plan.prices))
    if np.inf in (dual.high, upper.high) or not _has_fourth_moment(law):
        bounds = (Estimate(bounds[0].value, 0.0, np.inf, np.inf), Estimate(bounds[1].value, 0.0, np.inf, np.inf))
    return TransportBounds(*bounds, masses, targets / w[:, None])


def _has_fourth_moment(law: Law) -> bool:
    """False only where scipy.stats knows better: others are judged by their draws."""
    moment = getattr(law.distribution, "moment", None) if isinstance(law, FrozenLaw) else None
    if moment is None:
        return True
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(np.isfinite(moment(4)))


def _labels(x: Array, y: FloatArray, prices: FloatArray) -> np.ndarray:
    return np.asarray(to_host(nearest_priced(x, y, prices).labels), dtype=np.int64)


def _lowered(found: Estimate, shift: float) -> Estimate:
    """An interval of costs, of a mean that was found with a constant added so that nothing is negative."""
    value, low, high = (max(end - shift, 0.0) for end in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.standard_error)
