r"""How many codes each of several independent coordinates gets: $\min \sum_i s_i D_i(n_i)$ over $\prod_i n_i \le N$, complete."""

from collections.abc import Iterable, Sequence
from math import isqrt
from typing import Protocol

import numpy as np

from quantization.arrays import FloatArray, IntArray

MOST_CODES = 10**9  # a search takes time and memory of the order of the root of their number
_ROWS = 64  # of a block of a step of the programme


class Curve(Protocol):
    """The least distortions D(n) of a law by n codes, nonincreasing in n, each computed when it is first asked for."""

    def bounds(self, counts: IntArray) -> FloatArray:
        """D(n) for every count n for which it is known, else a lower bound."""
        ...

    def distortion(self, n: int) -> float:
        """D(n), known from now on."""
        ...


def best_shares(n: int, curves: Sequence[Curve], scales: FloatArray) -> tuple[int, ...]:
    r"""The $n_i \ge 1$ of least $\sum_i s_i D_i(n_i)$ with $\prod_i n_i \le n$, one for every curve.

    A dynamic programme over coordinates: $f_j(M) = \min_m s_j D_j(m) + f_{j-1}(\lfloor M/m \rfloor)$. Only the $2 \sqrt n$ values
    $\lfloor n/m \rfloor$ occur, of M and of the best m, as D is nonincreasing. It runs on lower bounds; distortions that its
    answer uses are computed until all of them are known, and then no other shares can be better. Shares that Lagrange's
    relaxation excludes, by $\sum_i \min_m (s_i D_i(m) + \theta \log m) - \theta \log n$ with one m fixed, are left out.
    """
    root = isqrt(n)
    counts = np.unique(np.concatenate([np.arange(1, root + 1), n // np.arange(1, root + 1)]))
    upper = np.inf

    def total(chosen: Iterable[int]) -> float:
        parts = [scale * curve.distortion(int(counts[i])) for curve, scale, i in zip(curves, scales, chosen, strict=True)]
        return float(np.sum(parts))

    while True:
        bounds = {curve: curve.bounds(counts) for curve in curves}
        costs = np.stack([scale * bounds[curve] for curve, scale in zip(curves, scales, strict=True)])
        relaxed, excess = _relaxation(costs, np.log(counts), np.log(n))
        upper = min(upper, total(relaxed))
        kept = [np.flatnonzero(row <= upper + 1e-12 * costs[:, 0].sum()) for row in excess]
        chosen = _programme(kept, costs, counts, n)
        reached = total(chosen)
        if reached <= np.sum(costs[np.arange(len(chosen)), chosen]):  # no bound below what is known
            return tuple(int(counts[i]) for i in chosen)
        upper = min(upper, reached)


def _relaxation(costs: FloatArray, logs: FloatArray, log_n: float) -> tuple[IntArray, FloatArray]:
    """Shares that fit, the best for some multiplier of their logarithms' sum, and by share the bound on all totals with it.

    costs: (d, C). Returns the shares' indices (d,) and the bounds (d, C).
    """
    low, high = 0.0, float(costs[:, 0].sum()) / np.log(2) + np.finfo(np.float64).tiny  # from here on one code each is best
    for _ in range(60):
        theta = (low + high) / 2
        if logs[(costs + theta * logs).argmin(1)].sum() <= log_n + 1e-9:
            high = theta
        else:
            low = theta
    totals = costs + high * logs
    least = totals.min(1)
    return totals.argmin(1), totals - least[:, None] + (least.sum() - high * log_n)


def _programme(kept: list[IntArray], costs: FloatArray, counts: IntArray, n: int) -> list[int]:
    """The indices of the counts, one of those kept for each coordinate, of least total cost."""
    root, size = isqrt(n), len(counts)

    def rest(rows: IntArray) -> IntArray:
        """The index of M // m for m in rows and every count M; where M < m one past the end."""
        quotient = counts // counts[rows, None]
        at = np.where(quotient <= root, quotient - 1, size - n // np.maximum(quotient, 1))
        return np.where(quotient == 0, size, at)

    least, choices = np.append(np.zeros(size), np.inf), list[IntArray]()
    for rows, cost in zip(kept, costs, strict=True):
        value, choice = np.full(size, np.inf), np.zeros(size, dtype=np.int64)
        for block in np.split(rows, range(_ROWS, len(rows), _ROWS)):
            totals = cost[block, None] + least[rest(block)]
            best = totals.argmin(0)
            lowest = totals[best, np.arange(size)]
            choice = np.where(lowest < value, block[best], choice)
            value = np.minimum(value, lowest)
        least[:-1] = value
        choices.append(choice)
    at, chosen = size - 1, list[int]()
    for choice in reversed(choices):
        chosen.append(int(choice[at]))
        at = int(rest(np.array(chosen[-1:]))[0, at])
    return chosen[::-1]
