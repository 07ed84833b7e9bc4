r"""The optimal partition of consecutive bins on the line into K runs: a dynamic program with a price per run.

The cost of a run, $\min_c \sum_b m_b |y_b - c|^r$, satisfies the quadrangle inequality: of two runs that overlap the codes may
change places where that brings them nearer to what lies outside. So the least cost $g(k)$ of k runs is
convex in k, and each k is optimal at some price $\lambda$ for $\min_k g(k) + \lambda k$, a dynamic program without k that takes
O(B log B) time (aggarwal1994). Here: a search for the price whose optimum has k runs.

This module loads numba: import it inside the function that needs it.
"""

from dataclasses import dataclass

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import branching as _branching
from quantization.compiler import branching_part
from quantization.compiler import compiled as _compiled
from quantization.interval_moment_kernels import run_cost as whole_run_cost
from quantization.interval_moment_kernels import sum_moments_outward, workspace
from quantization.interval_tree_kernels import expansions
from quantization.interval_tree_kernels import run_cost as tree_run_cost

Bins = tuple[FloatArray, FloatArray, int]  # masses, means, and how many bits of a bin's number are its place in a block
# What costs are computed from is said by what is not None, so that the rest need not be compiled; trees where moments cancel.
Moments = tuple[int, FloatArray, FloatArray] | None  # a whole order, a workspace, and where the last code was
Tree = (
    tuple[float, FloatArray, IntArray, FloatArray, float, FloatArray] | None
)  # an order, its expansions, where the last code was
_ATTEMPTS = 100  # prices tried at most; about ten are usual
_FURTHEST = 600.0  # largest change of the logarithm of a price
_ROUND_OFF = 1e-13  # of costs: sums of some thousand terms
_MOST_WHOLE = 8  # orders up to which moments are kept from middles out, as their powers cancel
_SPREADS, _MOMENTS = 2**29, 2**27  # bytes of a table at most: of r = 2 and of others, which may be of blocks of bins
_SPAN = 2**12  # bins between two looks at whether somebody interrupts
_WIDER, _MERGED = 8, 16  # bins are merged by so many at least, to so many per run at least, where the price is sought first


def optimal_runs(masses: FloatArray, means: FloatArray, k: int, *, price: float | None = None, r: float = 2.0) -> IntArray:
    r"""The edges $0 = e_0 < \dots < e_k = B$ that minimize $\sum_t \min_c \sum_{b=e_{t-1}}^{e_t - 1} m_b |y_b - c|^r$.

    masses: (B,) $m_b \ge 0$. means: (B,) $y_b$, nondecreasing where $m_b > 0$, of any magnitude. Returns (k + 1,) integers.
    price: a guess of what the last run saves, $-g'(k)$, at which the search begins.

    Costs are accurate relative to themselves, so clusters much narrower than their distances are resolved: for r = 2 to a
    rounding times the width of the run over its standard deviation, for other whole r up to 8 to 1e-8 or so, and for the rest
    to 1e-11. A cost takes O(1) for r = 2, O(r) and a search for the code for other whole r up to 8, and $O(r \log B)$ terms
    of a series, that often, for the rest and where moments cancel, as in runs in which a far end has next to no mass. Needs
    up to 60 bytes a bin beside its table, which is of $24\, B \log_2 B$ bytes for r = 2 up to 512 MB (a million bins), from
    there on and for other whole r of 128 MB at most, and 100 bytes a bin for such series.
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
        # The code of the last run, near which that of the next one is sought.
        self._near: FloatArray = np.full(1, np.nan)
        self._moments: Moments = None
        self._tree: Tree = None
        bits = 0
        if r == 2 and 8 * np.prod(shape := _table_shape(bins, 0, 3)) <= _SPREADS:
            self._table = np.zeros(shape)
            _sum_outward(self._masses, self._means, self._table)
        elif whole:
            while 8 * np.prod(shape := _table_shape(bins, bits, whole + 1)) > _MOMENTS:
                bits += 1
            self._table, work = np.zeros(shape), workspace(whole)
            self._moments = whole, work, self._near
            sum_moments_outward(self._means, self._masses, bits, work, self._table)
        else:
            self._table = np.zeros((1, 1, 1))
        if r > 1 and (r != 2 or self._moments is not None):
            self._tree = float(r), *expansions(self._means, self._masses, r), self._near
        self._bins: Bins = self._masses, self._means, bits

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
        queue: IntArray = np.array([0, 1], dtype=np.int64)
        since[0], self._near[0] = 1, np.nan
        arrays = best, origin, starts, since, queue
        for first in range(1, bins + 1, _SPAN):
            last = min(first + _SPAN, bins + 1)
            _extend(self._table, self._bins, self._moments, self._tree, price, first, last, *arrays)
        edges = edges[_trace(origin, edges) :].copy()
        return _PricedPartition(edges, self._cost(edges), price)

    def _cost(self, edges: IntArray) -> float:
        self._near[0] = np.nan
        return float(_total_cost(self._table, self._bins, self._moments, self._tree, edges))

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


def _table_shape(bins: int, bits: int, orders: int) -> tuple[int, int, int]:
    """Of a table for blocks of 2^bits bins."""
    blocks = -(-bins // 2**bits)
    return max(1, (blocks - 1).bit_length()), blocks, orders


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
                    before, mass = mass, mass + masses[b]
                    mean += offset * (masses[b] / mass)
                    second += masses[b] * offset * offset * (before / mass)
                    table[level, b, 0], table[level, b, 1], table[level, b, 2] = mass, mean, second


@branching_part
def _run_cost(table: FloatArray, bins: Bins, moments: Moments, tree: Tree, start: int, stop: int) -> float:
    """The cost of a run: by the table of r = 2, by moments, or by expansions, also where moments cancel."""
    masses, means, bits = bins
    last = stop - 1
    if start == last:
        return 0.0
    level, apart = np.int64(-1), (start >> bits) ^ (last >> bits)
    if apart > 0:
        level += 1  # ⌊log₂ apart⌋
        for shift in (16, 8, 4, 2, 1):
            if apart >> shift:
                apart >>= shift
                level += shift
    if moments is not None:
        whole, work, near = moments
        cost = whole_run_cost(table, means, masses, bits, whole, start, last, level, work, near)
        if cost >= 0:
            return cost
    if tree is not None:
        r, blocks, starts, binomials, ratio, near = tree
        return tree_run_cost(blocks, starts, binomials, ratio, means, masses, r, start, stop, near)
    mass, other = table[level, start, 0], table[level, last, 0]
    gap = table[level, last, 1] - table[level, start, 1]
    return table[level, start, 2] + table[level, last, 2] + mass * (other / (mass + other)) * gap * gap


@branching_part
def _beats(table: FloatArray, bins: Bins, moments: Moments, tree: Tree, best: FloatArray, j: int, rival: int, stop: int) -> bool:
    """Whether a last run of the first ``stop`` bins had better begin at j than at a rival."""
    cost = best[j] + _run_cost(table, bins, moments, tree, j, stop)
    return cost < best[rival] + _run_cost(table, bins, moments, tree, rival, stop)


@_branching
def _total_cost(table: FloatArray, bins: Bins, moments: Moments, tree: Tree, edges: IntArray) -> float:
    total = 0.0
    for t in range(len(edges) - 1):
        total += _run_cost(table, bins, moments, tree, edges[t], edges[t + 1])
    return total


@_branching
def _extend(
    table: FloatArray, bins: Bins, moments: Moments, tree: Tree, price: float, first: int, end: int, best: FloatArray,
    origin: IntArray, starts: IntArray, since: IntArray, queue: IntArray,
) -> None:  # fmt: skip
    """Writes the least cost of the first j bins, ``price`` a run included, and where the last run starts, first ≤ j < end.

    best[j] is the least, and the last run of it starts at origin[j]: arrays (B + 1,). A later start overtakes an earlier one once
    and for good as j grows, so the starts that lead somewhere beyond j form a queue, each with the j from which it leads: from
    queue[0] to before queue[1] in ``starts`` and ``since``.
    """
    last, head, tail = len(best) - 1, queue[0], queue[1]
    for j in range(first, end):
        while head + 1 < tail and since[head + 1] <= j:
            head += 1
        origin[j] = starts[head]
        best[j] = best[starts[head]] + _run_cost(table, bins, moments, tree, starts[head], j) + price
        if j == last:
            break
        leads = j + 1
        while tail > head:
            rival = starts[tail - 1]
            low = since[tail - 1] if since[tail - 1] > j + 1 else j + 1
            if _beats(table, bins, moments, tree, best, j, rival, low):
                tail -= 1
                leads = low
                continue
            # The first place in (low, B] where j beats the last of the queue, found by strides that double, then halve.
            stride, leads = 1, last + 1
            while leads - low > 1:
                ahead = low + stride if stride > 0 and low + stride <= last else (low + leads) // 2
                if _beats(table, bins, moments, tree, best, j, rival, ahead):
                    leads, stride = ahead, 0
                else:
                    low, stride = ahead, 2 * stride
            break
        if leads <= last:
            starts[tail], since[tail] = j, leads
            tail += 1
    queue[0], queue[1] = head, tail


@_compiled
def _trace(origin: IntArray, edges: IntArray) -> int:
    """Writes the edges of the partition to the last of ``edges``, (B + 1,); where the first stands."""
    place = j = len(origin) - 1
    while j > 0:
        edges[place] = j
        place, j = place - 1, origin[j]
    edges[place] = 0
    return place
