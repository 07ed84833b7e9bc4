"""The best partition of sorted samples into K intervals: a dynamic programme over bins, then over finer bins near its cuts."""

import numpy as np

from quantization.arrays import IntArray
from quantization.empirical.sorted_samples import SortedSamples
from quantization.interval_dp import optimal_runs
from quantization.status import TooFewPoints

_BINS, _BINS_PER_CODE, _MOST_BINS = 2**15, 64, 2**17  # in one programme, whose table takes 400 bytes a bin; 4 a code at least
_REACH, _STRIDE = 64, 512  # bins on either side of a cut; intervals that move together
_ROUNDS = 16  # some five are the rule
_WHOLE_BINS, _OTHER_BINS = 2**17, 10**4  # distinct points that bins never stand for: of other whole orders, and of the rest
_LEAST = 1e-300  # of the range: widths below are none


def best_cuts(line: SortedSamples, k: int, exhaustive: bool) -> IntArray:
    r"""The edges (k + 1,) of intervals whose $\sum_t \min_c \sum_i w_i (x_i - c)^2$ is least, as far as bins can tell.

    Up to 2^15 distinct points, and of any number if the search is ``exhaustive``, nothing is lower. Otherwise bins of about equal
    mass times squared width stand for the points at first. Then each cut may move to 64 places on either side, up to halfway to
    the next cut and the denser the nearer, all of them at once (512 neighbours at once, where there are more), until none moves.
    Measured on a million points: within 1e-6 of the least cost for k = 100, within 2e-5 for k = 10000. Raises ``ValueError``
    where there are fewer than k distinct points.
    """
    distinct = _greedy_bins(line, 0.0, len(line.x) if exhaustive else _BINS)
    if distinct is not None:
        if len(distinct) <= k:
            raise TooFewPoints(k, len(distinct) - 1)
        return distinct[optimal_runs(*line.moments(distinct)[:2], k)]
    bins = _bins(line, max(_BINS, min(_BINS_PER_CODE * k, _MOST_BINS), 4 * k))
    cuts = bins[optimal_runs(*line.moments(bins)[:2], k)]
    moved = np.ones((2, k + 1), dtype=np.bool_)  # whether a cut moved in each of the last two rounds
    for turn in range(_ROUNDS):
        before = cuts.copy()
        for first in range(-(turn % 2) * (_STRIDE // 2), k, _STRIDE) if k > _STRIDE else (0,):
            part = slice(max(first, 0), min(first + _STRIDE, k) + 1)
            if moved[:, part].any():
                cuts[part] = _improved(line, cuts[part])
        moved[turn % 2] = before != cuts
        if not moved.any():
            break
    return cuts


def best_cuts_of_order(line: SortedSamples, k: int, r: float, exhaustive: bool) -> IntArray:
    r"""The edges (k + 1,) of intervals whose $\sum_t \min_c \sum_i w_i |x_i - c|^r$ is least, r ≠ 2, as far as bins can tell.

    For whole r nothing is lower up to 2^17 distinct points, for others up to 10^4, and of any number if the search is
    ``exhaustive``. Otherwise the means of bins of about equal mass times squared width stand for the points. Raises
    ``ValueError`` where there are fewer than k distinct points.
    """
    bins = _bins(line, len(line.x) if exhaustive else max(_WHOLE_BINS if r == int(r) else _OTHER_BINS, 4 * k))
    if len(bins) <= k:
        raise TooFewPoints(k, len(bins) - 1)
    return bins[optimal_runs(*line.moments(bins)[:2], k, r=r)]


def _improved(line: SortedSamples, cuts: IntArray) -> IntArray:
    """The best partition with the same ends into as many intervals, of cuts near those given and those themselves."""
    k = len(cuts) - 1
    powers = np.linspace(0.0, 1.0, _REACH)
    reaches = (np.diff(cuts)[:, None] / 2) ** powers
    near = np.concatenate([cuts[1:-1, None] - reaches[:-1], cuts[1:-1, None] + reaches[1:]], axis=None).astype(np.int64)
    starts = np.searchsorted(line.x, line.x[np.minimum(near, len(line.x) - 1)])  # equal points stay together
    bins = np.sort(np.concatenate([cuts, starts.clip(cuts[0], cuts[-1])]))
    bins = bins[np.append(np.diff(bins) > 0, True)]
    # A k-th part of twice the cost is what the last run saves where the cost is ∝ k^-2.
    price = 2.0 * float(line.moments(cuts)[2].sum()) / k
    return bins[optimal_runs(*line.moments(bins)[:2], k, price=price)]


def _bins(line: SortedSamples, most: int) -> IntArray:
    """Edges of 0.4 ``most`` to ``most`` bins of about equal width times root of the mass, or of all distinct points."""
    bins = _greedy_bins(line, 0.0, most)
    if bins is not None:
        return bins
    limit, low, high = _limit(line, 0.7 * most), 0.0, np.inf
    # A bin over the limit by the last digit is two within it: so from one limit to the next the count at most doubles, and some
    # limit is met.
    while bins is None or (len(bins) - 1 < 0.4 * most and low < limit < high):
        bins = _greedy_bins(line, limit, most)
        if bins is None:
            low, count = limit, most
        else:
            high, count = limit, len(bins) - 1
        limit = max(limit * (count / (0.7 * most)) ** 1.5, _LEAST)
        if not low < limit < high:
            limit = low**0.5 * high**0.5
    return bins


def _greedy_bins(line: SortedSamples, limit: float, most: int) -> IntArray | None:
    edges = np.empty(most + 1, np.int64)
    bins: int = line.compiled.greedy_bins(line.x, line.weights, limit, line.scale, edges)
    return edges[: bins + 1].copy() if bins > 0 else None


def _limit(line: SortedSamples, wanted: float) -> float:
    """A guess of the bins' width times root of the mass, whose 2/3 powers add up, from points evenly spaced in rank."""
    few = line.x[:: max(1, len(line.x) // _MOST_BINS)] * line.scale
    mass = (float(line.weights.sum()) or len(line.x)) / len(few)
    return max((float(np.cbrt(mass * np.square(np.diff(few))).sum()) / wanted) ** 1.5, _LEAST)
