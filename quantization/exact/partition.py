r"""The optimal partition of consecutive bins on the line into K runs: a dynamic programme with a price on each run.

The cost of a run, $\sum_b m_b (y_b - \bar y)^2$, satisfies the quadrangle inequality. So the least cost $g(k)$ of k runs is
convex in k, and each k is optimal at some price $\lambda$ for $\min_k g(k) + \lambda k$, a programme without k in it that takes
O(B log B) time (Aggarwal, Schieber and Tokuyama 1994). Here: a search for the price that buys k runs, in O(B log B) memory.

This module loads numba: import it inside the function that needs it.
"""

from typing import Any

import numba
import numpy as np

from quantization.arrays import FloatArray, IntArray

_compiled: Any = numba.njit(nogil=True, cache=True)
_ATTEMPTS = 100  # prices tried at most; some ten are the rule
_ROUND_OFF = 1e-13  # of costs: sums of some thousand terms


def partition(masses: FloatArray, first: FloatArray, second: FloatArray, k: int) -> IntArray:
    r"""The edges $0 = e_0 < \dots < e_k = B$ of runs of bins that minimize $\sum_t \min_c \int_{\mathrm{run}\ t} (x - c)^2$.

    masses, first, second: (B + 1,) cumulative sums of 1, x and $x^2$ over B consecutive bins, their first entries 0 (or any
    number). Returns (k + 1,) integers. Bins without mass count as bins, but no run is without mass.

    The second moments within the bins are paid by every partition, so ``second`` decides nothing; means that are much closer
    than their magnitude lose digits in cumulative sums: :func:`optimal_runs` takes the bins themselves. Raises ``ValueError``
    where fewer than k bins have mass.
    """
    del second
    mass = np.diff(masses)
    with np.errstate(invalid="ignore", divide="ignore"):
        return optimal_runs(mass, np.where(mass > 0, np.diff(first) / mass, 0.0), k)


def optimal_runs(masses: FloatArray, means: FloatArray, k: int) -> IntArray:
    r"""The edges $0 = e_0 < \dots < e_k = B$ that minimize $\sum_t \min_c \sum_{b=e_{t-1}}^{e_t - 1} m_b (y_b - c)^2$.

    masses: (B,) $m_b \ge 0$. means: (B,) $y_b$, nondecreasing where $m_b > 0$, of any magnitude. Returns (k + 1,) integers. Costs
    are to round-off of themselves, so clusters whose spread is far below their distance are told apart. Needs
    $24\, B \log_2 B$ bytes. Raises ``ValueError`` where fewer than k bins have mass. Source: aggarwal1994.
    """
    heavy = np.flatnonzero(masses > 0)
    if not 1 <= k <= len(heavy):
        raise ValueError(f"k must lie between 1 and the number of bins with mass, {len(heavy)}; received {k}")
    edges = _Runs(masses[heavy], means[heavy]).optimal(k)
    inner = heavy[edges[1:-1]]
    return np.concatenate([[0], inner, [len(masses)]]).astype(np.int64)


class _Runs:
    """Bins with mass, made ready for costs of runs in constant time."""

    def __init__(self, masses: FloatArray, means: FloatArray) -> None:
        self._masses = masses / masses.sum()
        # A power of two makes the spread about 1: squares neither overflow nor lose digits to underflow.
        exponent = int(np.frexp(means[-1] / 2 - means[0] / 2)[1])
        self._means = np.ldexp(means, -exponent)
        self._table: FloatArray = _outward_moments(self._masses, self._means)

    def optimal(self, k: int) -> IntArray:
        bins = len(self._masses)
        if k == bins:
            return np.arange(bins + 1, dtype=np.int64)
        few: IntArray = np.array([0, bins], dtype=np.int64)  # an optimal partition into less than k runs, and one into more
        many: IntArray = np.arange(bins + 1, dtype=np.int64)
        if k == 1:
            return few
        few_price = few_cost = self._cost(few)
        many_price = many_cost = 0.0
        price, chord = self._guess(k), False
        for _ in range(_ATTEMPTS):
            edges, cost = self._cheapest(price)
            runs = len(edges) - 1
            if runs == k:
                return edges
            # On the chord both known partitions cost the same. If nothing is cheaper there, g is straight between them.
            if chord and cost + price * runs >= (many_cost + price * (len(many) - 1)) * (1 - _ROUND_OFF):
                break
            stuck = len(edges) in (len(few), len(many))
            if runs < k:
                few, few_cost, few_price = edges, cost, price
            else:
                many, many_cost, many_price = edges, cost, price
            p, q = len(few) - 1, len(many) - 1
            chord = stuck or q - p <= 4
            if chord:
                price = (few_cost - many_cost) / (q - p)
            elif p > 1 and many_price > 0:  # between two prices that were tried: a power law through them
                price = many_price * (few_price / many_price) ** (np.log(q / k) / np.log(q / p))
            else:  # g ∝ k^-2 for bins that are many: λ ∝ k^-3
                price *= (runs / k) ** 3
        return _spliced(few, many, k)

    def _cheapest(self, price: float) -> tuple[IntArray, float]:
        r"""The partition that is optimal at ``price``, and its cost without the price.

        Where runs cost so much more than they save that the sum of both hides the saving, the same number of runs is bought at
        a lower price: $g(k) - g(k + 1) \le g(k)$, so k runs are still optimal at twice g(k).
        """
        edges: IntArray = _cheapest(self._table, price)
        cost = self._cost(edges)
        while len(edges) > 2 and price > 2 * cost > 0:
            price = 2 * cost
            nearer: IntArray = _cheapest(self._table, price)
            if len(nearer) != len(edges) or self._cost(nearer) >= cost:
                break
            edges, cost = nearer, self._cost(nearer)
        return edges, cost

    def _cost(self, edges: IntArray) -> float:
        return float(_total_cost(self._table, edges))

    def _guess(self, k: int) -> float:
        r"""$-g'(k)$ for $g(k) = \|f\|_{1/3} / (12 k^2)$, Zador's formula for the density f of the bins."""
        widths = np.gradient(self._means)
        price = float((np.cbrt(self._masses * widths * widths)).sum()) ** 3 / (6.0 * k**3)
        return price if price > 0 else self._cost(np.array([0, len(self._masses)], dtype=np.int64)) / k**3


def _spliced(few: IntArray, many: IntArray, k: int) -> IntArray:
    """k runs: the first of ``many``, then the last of ``few``, joined where a run of ``many`` lies inside a run of ``few``.

    Where both are optimal at one price, so is this one, by the quadrangle inequality.
    """
    ahead = k - (len(few) - 1)
    inside = int(np.argmax(many[ahead + 1 : ahead + len(few)] <= few[1:]))
    return np.concatenate([many[: inside + ahead + 1], few[inside + 1 :]])


@_compiled
def _outward_moments(masses: Any, means: Any) -> Any:
    """Mass, mean less y_c and sum of squares about the mean, from the middle c of each block of 2^(l+1) bins out to a bin.

    At [l, bin]. Two bins share a block of each size from some size on, and lie on the two sides of the middle of the smallest:
    so the run between them is two of these put together, and as nothing of other sign is added, nothing cancels.
    """
    bins = len(masses)
    levels = 1
    while 2**levels < bins:
        levels += 1
    table = np.zeros((levels, bins, 3))
    for level in range(levels):
        half = 2**level
        for middle in range(half, bins, 2 * half):
            for side in range(2):
                mass = mean = second = 0.0
                for step in range(half if side == 0 else min(half, bins - middle)):
                    b = middle - 1 - step if side == 0 else middle + step
                    offset = means[b] - means[middle] - mean
                    mass += masses[b]
                    share = offset * (masses[b] / mass)
                    mean += share
                    second += masses[b] * offset * (offset - share)
                    table[level, b, 0], table[level, b, 1], table[level, b, 2] = mass, mean, second
    return table


@_compiled
def _run_cost(table: Any, start: int, stop: int) -> float:
    last = stop - 1
    apart = start ^ last
    if apart == 0:
        return 0.0
    level = 0
    if apart >= 65536:
        level += 16
        apart >>= 16
    if apart >= 256:
        level += 8
        apart >>= 8
    if apart >= 16:
        level += 4
        apart >>= 4
    if apart >= 4:
        level += 2
        apart >>= 2
    if apart >= 2:
        level += 1
    left, right = table[level, start], table[level, last]
    gap = right[1] - left[1]
    return left[2] + right[2] + left[0] * (right[0] / (left[0] + right[0])) * gap * gap


@_compiled
def _total_cost(table: Any, edges: Any) -> float:
    total = 0.0
    for t in range(len(edges) - 1):
        total += _run_cost(table, edges[t], edges[t + 1])
    return total


@_compiled
def _cheapest(table: Any, price: float) -> Any:
    """The edges of the partition, of any number of runs, whose cost plus ``price`` a run is least.

    best[j] is that of the first j bins, and the last run of it starts at origin[j]. A later start overtakes an earlier one
    once and for good as j grows, so the starts that lead somewhere beyond j form a queue, each with the j from which it leads.
    """
    bins = table.shape[1]
    best, origin = np.zeros(bins + 1), np.zeros(bins + 1, np.int64)
    starts, since = np.zeros(bins + 1, np.int64), np.zeros(bins + 1, np.int64)
    head, tail = 0, 1  # the queue is starts[head:tail]
    since[0] = 1
    for j in range(1, bins + 1):
        while head + 1 < tail and since[head + 1] <= j:
            head += 1
        origin[j] = starts[head]
        best[j] = best[starts[head]] + _run_cost(table, starts[head], j) + price
        if j == bins:
            break
        leads = j + 1
        while tail > head:
            rival = starts[tail - 1]
            low = max(since[tail - 1], j + 1)
            # The first place in [low, bins] where j beats the last of the queue, found by strides that double, then halve.
            if best[j] + _run_cost(table, j, low) < best[rival] + _run_cost(table, rival, low):
                tail -= 1
                leads = low
                continue
            stride, high = 1, bins + 1
            while low + stride <= bins:
                reach = low + stride
                if best[j] + _run_cost(table, j, reach) < best[rival] + _run_cost(table, rival, reach):
                    high = reach
                    break
                low = reach
                stride *= 2
            if high > bins and low < bins:
                if best[j] + _run_cost(table, j, bins) < best[rival] + _run_cost(table, rival, bins):
                    high = bins
                else:
                    low = bins
            while high - low > 1:
                middle = (low + high) // 2
                if best[j] + _run_cost(table, j, middle) < best[rival] + _run_cost(table, rival, middle):
                    high = middle
                else:
                    low = middle
            leads = high
            break
        if leads <= bins:
            starts[tail], since[tail] = j, leads
            tail += 1
    runs, j = 0, bins
    while j > 0:
        j = origin[j]
        runs += 1
    edges = np.zeros(runs + 1, np.int64)
    j = bins
    for t in range(runs, 0, -1):
        edges[t] = j
        j = origin[j]
    return edges
