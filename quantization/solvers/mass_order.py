r"""In which order masses lie on the line: the best of all by a dynamic programme over subsets, or a local optimum of exchanges.

A code of mass w that begins at level a costs $\int_a^{a + w} Q^2 - (\int_a^{a + w} Q)^2 / w$. What has mass left of a is a set
of masses, whose sum is a, in whatever order: so the best order of a set is the best order of one with a code less, and that code.
"""

from collections.abc import Callable

import numpy as np

from quantization.arrays import FloatArray, IntArray

Integrals = Callable[[FloatArray], tuple[FloatArray, FloatArray]]  # of Q and of Q² from 0 to levels
_LESS = 1e-12  # by which an exchange must lower the cost, relative to it
_WORK = 2**24  # levels looked at in one round of exchanges, about
_ROUNDS = 100


def subset_sums(masses: FloatArray) -> FloatArray:
    """The sums of all sets of masses, (2^K,): place s is the set of the bits of s."""
    sums = np.zeros(1)
    for mass in masses:
        sums = np.concatenate([sums, sums + mass])
    return np.minimum(sums, 1.0)


def best_order(masses: FloatArray, integrals: Integrals) -> IntArray:
    """The order (K,) of least cost, for few masses: 2^K sets and K 2^(K - 1) codes that may come last in them."""
    k = len(masses)
    first, second = integrals(subset_sums(masses))
    best, last = np.full(2**k, np.inf), np.zeros(2**k, dtype=np.int64)
    best[0] = 0.0
    sets = np.arange(2**k, dtype=np.int64)
    sizes = np.bitwise_count(sets)
    for size in range(1, k + 1):
        of_size = sets[sizes == size]
        for code in range(k):
            some = of_size[(of_size >> code) & 1 == 1]
            before = some ^ (1 << code)
            cost = second[some] - second[before] - np.square(first[some] - first[before]) / masses[code]
            total = best[before] + cost
            less = total < best[some]
            best[some[less]], last[some[less]] = total[less], code
    order: list[int] = []
    whole = 2**k - 1
    while whole:
        order.append(int(last[whole]))
        whole ^= 1 << order[-1]
    return np.array(order[::-1], dtype=np.int64)


def improved_order(masses: FloatArray, order: IntArray, integrals: Integrals) -> IntArray:
    """``order`` after exchanges of two masses, as long as one of those tried lowers the cost; far ones are tried while few."""
    k = len(masses)
    reach = max(1, min(k - 1, _WORK // k**2))
    value = float(_costs(masses[order][None], integrals)[0])
    for _ in range(_ROUNDS):
        before = value
        for i in range(k - 1):
            others = np.arange(i + 1, min(i + reach, k - 1) + 1)
            trials = np.tile(order, (len(others), 1))
            trials[:, i], trials[np.arange(len(others)), others] = order[others], order[i]
            costs = _costs(masses[trials], integrals)
            j = int(costs.argmin())
            if costs[j] < value * (1 - _LESS):
                order, value = trials[j], float(costs[j])
        if not value < before:
            break
    return order


def _costs(w: FloatArray, integrals: Integrals) -> FloatArray:
    """The costs (T,) of masses (T, K) from left to right."""
    ends = np.concatenate([np.zeros((len(w), 1)), np.cumsum(w, axis=1)], axis=1)
    first, second = integrals(np.minimum(ends, 1.0))
    return (np.diff(second, axis=1) - np.square(np.diff(first, axis=1)) / w).sum(1)
