r"""The optimal partition of consecutive bins on the line into K runs: a dynamic program with a price per run.

The cost of a run, $\min_c \sum_b m_b |y_b - c|^r$, satisfies the quadrangle inequality: of two runs that overlap the codes may
change places where that brings them nearer to what lies outside. So the least cost $g(k)$ of k runs is
convex in k, and each k is optimal at some price $\lambda$ for $\min_k g(k) + \lambda k$, a dynamic program without k that takes
O(B log B) time (aggarwal1994). Here: a search for the price whose optimum has k runs, in O(B log B) memory.

This module loads numba: import it inside the function that needs it.
"""

from dataclasses import dataclass

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import branching as _branching
from quantization.compiler import branching_part
from quantization.compiler import compiled as _compiled
from quantization.interval_r_means import run_cost, sum_moments_outward, table_cost

Whole = tuple[FloatArray, int] | None  # places and a whole order, whose table costs are computed from
Direct = tuple[FloatArray, FloatArray, float] | None  # places, masses and an order: costs are direct sums
_ATTEMPTS = 100  # prices tried at most; about ten are usual
_FURTHEST = 600.0  # largest change of the logarithm of a price
_ROUND_OFF = 1e-13  # of costs: sums of some thousand terms
_MOST_WHOLE = 8  # orders up to which moments take the place of direct sums
_WIDER, _MERGED = 8, 16  # bins are merged by so many at least, to so many per run at least, where the price is sought first


def optimal_runs(masses: FloatArray, means: FloatArray, k: int, *, price: float | None = None, r: float = 2.0) -> IntArray:
    r"""The edges $0 = e_0 < \dots < e_k = B$ that minimize $\sum_t \min_c \sum_{b=e_{t-1}}^{e_t - 1} m_b |y_b - c|^r$.

    masses: (B,) $m_b \ge 0$. means: (B,) $y_b$, nondecreasing where $m_b > 0$, of any magnitude. Returns (k + 1,) integers.
    price: a guess of what the last run saves, $-g'(k)$, at which the search begins.

    Costs are accurate relative to themselves, so clusters much narrower than their distances are resolved. Needs
    $24\, B \log_2 B$ bytes, for other whole r up to 8 $8 (r + 1) B \log_2 B$; of the rest a cost takes the time of its bins.
    Raises ``ValueError`` where fewer than k bins have mass.
    """
    bins, heavy = len(masses), np.flatnonzero(masses > 0)
    if not 1 <= k <= len(heavy):
        raise ValueError(f"k must lie between 1 and the number of bins with mass, {len(heavy)}; received {k}")
    inner = heavy[_WeightedBins(masses[heavy], means[heavy], r).optimal(k, price).edges[1:-1]]
    return np.concatenate([[0], inner, [bins]]).astype(np.int64)


@dataclass(frozen=True)
class _PricedPartition:
    """A partition, its cost, and a price per run at which it is optimal."""

    edges: IntArray
    cost: float
    price: float

    @property
    def runs(self) -> int:
        return len(self.edges) - 1

    def total(self, price: float) -> float:
        return self.cost + price * self.runs


class _WeightedBins:
    """Bins with mass, and a table that gives the cost of any run in constant time, where r is whole."""

    def __init__(self, masses: FloatArray, means: FloatArray, r: float) -> None:
        self._r, self._mass = r, float(masses.sum())
        self._masses = masses / self._mass
        # A power of two makes the range about 1: squares neither overflow nor lose digits to underflow.
        self._exponent = int(np.frexp(means[-1] / 2 - means[0] / 2)[1])
        self._means = np.ldexp(means, -self._exponent)
        bins, whole = len(means), int(r) if r == int(r) and r <= _MOST_WHOLE else 0
        levels = max(1, (bins - 1).bit_length())
        # What costs are computed from is said by what is not None, so that the rest need not be compiled.
        self._whole: Whole = (self._means, whole) if whole and r != 2 else None
        self._direct: Direct = (self._means, self._masses, float(r)) if not whole else None
        self._table = np.zeros((levels if r == 2 or whole else 1, bins, 3 if r == 2 else whole + 1))
        if r == 2:
            _sum_outward(self._masses, self._means, self._table)
        elif whole:
            sum_moments_outward(self._means, self._masses, self._table)

    def optimal(self, k: int, guess: float | None) -> _PricedPartition:
        bins = len(self._masses)
        few: IntArray = np.array([0, bins], dtype=np.int64)
        # An optimal partition into fewer than k runs and one into more, their costs, and prices at which they were found.
        below, above = (
            _PricedPartition(few, self._cost(few), np.inf),
            _PricedPartition(np.arange(bins + 1, dtype=np.int64), 0.0, 0.0),
        )
        if k in (1, bins):
            return below if k == 1 else above
        price = self._guess(k) if guess is None else guess / self._mass * 2.0 ** (-self._r * self._exponent)
        chord, stuck, repeated = False, 0, 0
        for _ in range(_ATTEMPTS):
            found = self._cheapest(price)
            if found.runs == k:
                return found
            # On the chord both known partitions cost the same. If nothing is cheaper there, g is linear between them.
            if chord and found.total(price) >= above.total(price) * (1 - _ROUND_OFF):
                break
            stuck = stuck + 1 if found.runs in (below.runs, above.runs) else 0
            side = 1 if found.runs > k else -1
            repeated = repeated + side if repeated * side > 0 else side
            if side < 0:
                below = found
            else:
                above = found
            chord = stuck > 1 or above.runs - below.runs <= 4
            if chord:
                price = (below.cost - above.cost) / (above.runs - below.runs)
            elif np.isfinite(below.price) and above.price > 0:
                # Between two prices that were tried: a power law through them, or bisection after two steps on one side.
                share = np.log(above.runs / k) / np.log(above.runs / below.runs) if abs(repeated) < 2 else 0.5
                price = above.price * (below.price / above.price) ** share
            else:  # g ∝ k^-r for many bins, so λ ∝ k^-(r+1); in growing steps until a price on the other side is found
                further = (self._r + 1) * 2 ** (abs(repeated) - 1) * np.log(found.runs / k)
                # At the cost of a single run the optimum has one run, so no higher price need be tried.
                price = min(price * float(np.exp(np.clip(further, -_FURTHEST, _FURTHEST))), self._cost(few))
        edges = _spliced(below.edges, above.edges, k)
        return _PricedPartition(edges, self._cost(edges), price)

    def _cheapest(self, price: float) -> _PricedPartition:
        bins = len(self._masses)
        best, (origin, starts, since, edges) = np.zeros(bins + 1), np.zeros((4, bins + 1), np.int64)
        edges = edges[_cheapest(self._table, self._whole, self._direct, price, best, origin, starts, since, edges) :].copy()
        return _PricedPartition(edges, self._cost(edges), price)

    def _cost(self, edges: IntArray) -> float:
        return float(_total_cost(self._table, self._whole, self._direct, edges))

    def _guess(self, k: int) -> float:
        r"""$-g'(k)$ as wider bins have it; of few bins by Zador's formula for their density f, $\|f\|_{1/3} / (12 k^2)$."""
        r, width = self._r, len(self._masses) // (_MERGED * max(k, _MERGED))
        if width >= _WIDER:
            starts = np.arange(0, len(self._masses), width)
            masses = np.add.reduceat(self._masses, starts)
            sums = np.add.reduceat(self._masses * self._means, starts)
            means = np.divide(sums, masses, out=self._means[starts], where=masses > 0)
            merged = _WeightedBins(masses, np.maximum.accumulate(means), r)
            price = merged.optimal(k, None).price * merged._mass * 2.0 ** (r * merged._exponent)
        elif r == 2:
            widths = np.gradient(self._means)
            price = float((np.cbrt(self._masses * widths * widths)).sum()) ** 3 / (6.0 * k**3)
        else:
            price = 0.0
        return price if price > 0 else self._cost(np.array([0, len(self._masses)], dtype=np.int64)) / k ** (r + 1)


def _spliced(few: IntArray, many: IntArray, k: int) -> IntArray:
    """k runs: the first of ``many``, then the last of ``few``, joined where a run of ``many`` lies inside a run of ``few``.

    Where both are optimal at one price, so is this one, by the quadrangle inequality.
    """
    ahead = k - (len(few) - 1)
    inside = int(np.argmax(many[ahead + 1 : ahead + len(few)] <= few[1:]))
    return np.concatenate([many[: inside + ahead + 1], few[inside + 1 :]])


@_compiled
def _sum_outward(masses: FloatArray, means: FloatArray, table: FloatArray) -> None:
    """Mass, mean less y_c and sum of squares about the mean, from the middle c of each block of 2^(l+1) bins out to a bin.

    Written to table[l, bin]. Two bins share a block of each size from some size on, and lie on the two sides of the middle of
    the smallest: so the run between them is the union of two of these, and as all terms are positive, nothing cancels.
    """
    bins = len(masses)
    for level in range(len(table)):
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


@branching_part
def _run_cost(table: FloatArray, whole: Whole, direct: Direct, start: int, stop: int) -> float:
    """The cost of a run: by the table of r = 2, of places and a ``whole`` order, or ``direct``, by places, masses and r."""
    last = stop - 1
    apart = start ^ last
    if apart == 0:
        return 0.0
    if direct is not None:
        return run_cost(direct[0], direct[1], start, stop, direct[2])
    level = np.int64(0)  # ⌊log₂ apart⌋
    for shift in (16, 8, 4, 2, 1):
        if apart >> shift:
            apart >>= shift
            level += shift
    if whole is not None:
        return table_cost(table, whole[0], whole[1], start, last, level)
    mass, other = table[level, start, 0], table[level, last, 0]
    gap = table[level, last, 1] - table[level, start, 1]
    return table[level, start, 2] + table[level, last, 2] + mass * (other / (mass + other)) * gap * gap


@_branching
def _total_cost(table: FloatArray, whole: Whole, direct: Direct, edges: IntArray) -> float:
    total = 0.0
    for t in range(len(edges) - 1):
        total += _run_cost(table, whole, direct, edges[t], edges[t + 1])
    return total


@branching_part
def _beats(table: FloatArray, whole: Whole, direct: Direct, best: FloatArray, j: int, rival: int, stop: int) -> bool:
    return best[j] + _run_cost(table, whole, direct, j, stop) < best[rival] + _run_cost(table, whole, direct, rival, stop)


@_branching
def _cheapest(
    table: FloatArray,
    whole: Whole,
    direct: Direct,
    price: float,
    best: FloatArray,
    origin: IntArray,
    starts: IntArray,
    since: IntArray,
    edges: IntArray,
) -> int:
    """Writes the edges of the partition, of any number of runs, whose cost plus ``price`` a run is least; where the first stands.

    They are the last of ``edges``. All arrays are (B + 1,), zeros at first. best[j] is the least for the first j bins, and the
    last run of it starts at origin[j]. A later start overtakes an earlier one once and for good as j grows, so the starts that
    lead somewhere beyond j form a queue, each with the j from which it leads.
    """
    bins = table.shape[1]
    head, tail = 0, 1  # the queue is starts[head:tail]
    since[0] = 1
    for j in range(1, bins + 1):
        while head + 1 < tail and since[head + 1] <= j:
            head += 1
        origin[j] = starts[head]
        best[j] = best[starts[head]] + _run_cost(table, whole, direct, starts[head], j) + price
        if j == bins:
            break
        leads = j + 1
        while tail > head:
            rival = starts[tail - 1]
            low = max(since[tail - 1], j + 1)
            # The first place in [low, bins] where j beats the last of the queue, found by strides that double, then halve.
            if _beats(table, whole, direct, best, j, rival, low):
                tail -= 1
                leads = low
                continue
            stride, high = 1, bins + 1
            while low + stride <= bins:
                reach = low + stride
                if _beats(table, whole, direct, best, j, rival, reach):
                    high = reach
                    break
                low = reach
                stride *= 2
            if high > bins and low < bins:
                if _beats(table, whole, direct, best, j, rival, bins):
                    high = bins
                else:
                    low = bins
            while high - low > 1:
                middle = (low + high) // 2
                if _beats(table, whole, direct, best, j, rival, middle):
                    high = middle
                else:
                    low = middle
            leads = high
            break
        if leads <= bins:
            starts[tail], since[tail] = j, leads
            tail += 1
    place, j = bins, bins
    while j > 0:
        edges[place] = j
        place, j = place - 1, origin[j]
    return place
