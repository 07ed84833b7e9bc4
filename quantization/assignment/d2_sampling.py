r"""Greedy k-means++: each code is drawn with probability ∝ $w_i \min_j |x_i - c_j|^2$, the best of some draws kept."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, IntArray, asarray_like, is_torch, namespace, range_exponent, to_host
from quantization.assignment import host_array, nearest, on_host
from quantization.assignment.blocks import squared_distances
from quantization.assignment.rows import Rows, read_only
from quantization.status import TooFewPoints
from quantization.threads import CACHE_LINES, limit_blas_threads, parallel_map

Report = Callable[[int, int], Any]

_WORTH_COMPILING = 2**21  # n K T (d + 8) from which compiled loops pay for being loaded
_FEW_DIMENSIONS = 8  # in which a tree pays for a copy of any number of points
_MORE_DIMENSIONS, _WORTH_A_TREE = 32, 2**28  # in which it does where the copy is small, and from n K T d on
_SORTING = 15  # codes to which all points' distances take as long as sorting them at one level of a tree
_LEAF = 32  # points of a leaf, at most
_STACK = 128  # nodes of a tree that wait to be visited: two for each of its levels at most, and there are fewer than 64
_BUDGET = 2**27  # coordinates that one compiled call visits: about 0.1 s
_PATIENCE, _MOST_VISITED = 32, 0.6  # codes from which a tree of more dimensions must leave out some of the points
_PART, _MOST_PARTS = 2**20, 64  # coordinates that a thread visits in a part, at least
_IN_CACHE = 2**15  # differences that numpy squares and sums at a time
_COPY_BYTES = 2**25  # of points in a tree of more dimensions, at most
_DECAY = 8  # factor by which the cost falls before a pool is drawn again
_POOL_PER_CODE = 100


def d2_sampling(
    points: Array,
    weights: Array,
    k: int,
    rng: np.random.Generator,
    *,
    pool: int = 50_000,
    on_progress: Report | None = None,
) -> IntArray:
    r"""The indices of k starting codes among weighted points, by greedy $D^2$ sampling.

    The first code is drawn with probability ∝ $w_i$. For each of the others, T = 2 + ⌊log k⌋ candidates are drawn independently,
    each with probability

    .. math:: p_i = w_i D_i / \textstyle\sum_j w_j D_j, \qquad D_i = \min_c |x_i - c|^2

    over the codes c chosen before, and the candidate that lowers $\sum_i w_i D_i$ the most is kept.

    Parameters
    ----------
    points : (n, d) array or tensor
        Of any floating dtype and memory layout, finite, on any device. Not modified.
    weights : (n,) array or tensor of float64
        Nonnegative, at least one positive; where the points live. They need not sum to 1.
    k : int
        The number of codes.
    rng : numpy.random.Generator
        The answer is a function of the arguments and of its state alone, not of the number of threads.
    pool : int, default 50,000
        Above this many points (at least 100 k), candidates are compared on a sample of so many.
    on_progress : callable, optional
        ``on_progress(done, k)`` is called now and then, in the calling thread.

    Returns
    -------
    (k,) int64 array
        Indices of points that are all different, in the order in which they were chosen.

    Raises
    ------
    TooFewPoints
        Where fewer than k distinct points have positive weight.

    Notes
    -----
    *What is drawn is exact for any number of points.* Also above ``pool`` points every candidate has the probability $p_i$
    above, with $D_i$ in float64 over all n points: a set of points that bears the share s of the cost, however few or far they
    are, is missed by all T candidates with probability $(1 - s)^T$. They are found by rejection: one pass over all points gives
    their costs $D_i^B$ to the codes B so far, proposals are drawn ∝ $w_i D_i^B$, and after more codes were added a proposal is
    accepted with probability $D_i / D_i^B \le 1$.

    *Which of the T candidates is kept* is decided, above ``pool`` points, by estimates of the costs from a pool of
    m = max(pool, 100 k) points. These are drawn with replacement (one from each of m strata of equal probability) with
    probability $q_i = \tfrac12 w_i / \sum_j w_j + \tfrac12 w_i D_i^B / \phi_B$, $\phi_B = \sum_j w_j D_j^B$, and weighted by
    $w_i / (m q_i)$. As $D_i \le D_i^B$, no point of the pool adds more than $2 \phi_B / m$ to the estimate of a cost φ, which
    is unbiased for any fixed codes that contain B, of standard deviation at most $(2 \phi_B \phi / m)^{1/2}$. Where the estimate
    falls below $\phi_B / 8$, or the proposals are used up, another pass over all points gives new costs, proposals and a new
    pool. So points that a sample drawn by weight would miss are in the pool in proportion to the cost that they bear.

    In few dimensions a k-d tree finds the points that a code can be nearer to than their own, and draws in O(log n).

    References
    ----------
    Arthur and Vassilvitskii (2007): a single draw for each code is within 8 (log k + 2) of the optimum in expectation.
    """
    if on_host(points):
        points, weights = host_array(points), np.asarray(weights)
    exponent = range_exponent(points)
    if exponent:
        points = points * 2.0**-exponent
    report: Report = on_progress or (lambda done, k: None)
    trials = 2 + int(np.log(k))
    first = _by_mass(weights, rng.random(1))
    costs = _squared_distances(points, int(first[0]))
    size = max(pool, _POOL_PER_CODE * k)
    if len(points) > size and k > 1:
        return _from_pools(points, weights, costs, first, k, trials, size, rng, report)
    if k == 1:
        return first
    costs = namespace(points).where(weights > 0, costs, 0.0)  # a tree need not visit what has no weight
    tables = _tables(points, weights, costs, k, trials)
    chosen = tables.choose(k - 1, trials, _Uniforms(rng.random((k - 1, trials))), 0.0, lambda done: report(done + 1, k))
    if len(chosen) < k - 1:
        raise TooFewPoints(k, len(chosen) + 1)
    return np.concatenate([first, chosen])


def _from_pools(
    points: Array, weights: Array, costs: Array, first: IntArray, k: int, trials: int, size: int,
    rng: np.random.Generator, report: Report
) -> IntArray:  # fmt: skip
    xp, chosen = namespace(points), first
    mass = weights / weights.sum()
    while True:
        shares = mass * costs
        total = float(shares.sum())
        if not total > 0:
            raise TooFewPoints(k, len(chosen))
        sampling = mass / 2 + shares / (2 * total)
        strata = (np.arange(size) + rng.random(size)) / size
        drawn = _by_mass(sampling, strata)  # in order, as the strata are
        starts = np.flatnonzero(np.diff(drawn, prepend=-1))
        members, counts = drawn[starts], np.diff(starts, append=size)
        count = k - len(chosen)
        proposed = _by_mass(shares, rng.random(4 * trials * count))
        rows = asarray_like(np.concatenate([members, proposed]), points, dtype=xp.int64)
        own = costs[rows]
        pool_weights = np.zeros(len(rows))
        of_pool = rows[: len(members)]
        pool_weights[: len(members)] = counts / size * to_host(mass[of_pool] / sampling[of_pool])
        tables = _tables(points[rows], asarray_like(pool_weights, own), own, k, trials)
        proposals = _Proposals(np.arange(len(members), len(rows)), rng.random(len(proposed)) * to_host(own[len(members) :]))
        done = len(chosen)
        new = tables.choose(count, trials, proposals, total / _DECAY, lambda more, done=done: report(done + more, k))
        picked = proposed[new - len(members)]
        chosen = np.concatenate([chosen, picked])
        if len(chosen) == k:
            return chosen
        report(len(chosen), k)
        squared = nearest(points, to_host(points[asarray_like(picked, points, dtype=xp.int64)])).squared
        costs = xp.minimum(costs, squared)


@dataclass(frozen=True)
class _Uniforms:
    """One for each candidate, (count, T): it's drawn by mass."""

    values: FloatArray

    def after(self, chosen: int, used: int) -> "_Uniforms":
        """What is left once so many codes have been chosen."""
        return _Uniforms(self.values[chosen:])


@dataclass(frozen=True)
class _Proposals:
    """Rows that become candidates in their turn, where their costs are above these bounds."""

    rows: IntArray
    bounds: FloatArray

    def after(self, chosen: int, used: int) -> "_Proposals":
        """What is left once so many have been used."""
        return _Proposals(self.rows[used:], self.bounds[used:])


class _Tables(Protocol):
    """Points with their weights and costs, which fall as codes are chosen."""

    def choose(
        self, count: int, trials: int, source: _Uniforms | _Proposals, least: float, report: Callable[[int], Any]
    ) -> IntArray:
        """The rows of so many further codes; fewer where no mass or too few proposals are left.

        Of proposals also fewer, but at least one, where the cost has fallen to ``least``.
        """
        ...


def _tables(points: Array, weights: Array, costs: Array, k: int, trials: int) -> _Tables:
    n, dim = points.shape
    if is_torch(points) or n * k * trials * (dim + 8) < _WORTH_COMPILING:
        return _Arrays(points, weights, costs)
    copies = n * dim * max(points.itemsize, 4) <= _COPY_BYTES
    worth = copies and n * k * trials * dim >= _WORTH_A_TREE and _sorting_pays(n, k, trials)
    few = dim <= _FEW_DIMENSIONS or (dim <= _MORE_DIMENSIONS and worth)
    return (_Tree if few else _Rows)(points, weights, costs, k, trials)


def _levels(n: int) -> int:
    """The height of a tree whose leaves hold ``_LEAF`` of n points at most."""
    return (max(1, -(-n // _LEAF)) - 1).bit_length()


def _leaf_ranks(n: int, leaves: int) -> tuple[IntArray, NDArray[np.bool_]]:
    """The ranks of the points in each leaf, and which of these count: a leaf's first point fills it up; (leaves, size) each."""
    starts = [leaf * n // leaves for leaf in range(leaves + 1)]
    first, end = np.array(starts[:-1])[:, None], np.array(starts[1:])[:, None]
    ranks = first + np.arange(-(-n // leaves))
    there = ranks < end
    return np.where(there, ranks, first), there


def _sorting_pays(n: int, k: int, trials: int) -> bool:
    return k * (trials + 1) > _SORTING * _levels(n)


class _InTurn:
    """Code by code, from steps that the classes below take in different ways."""

    def choose(
        self, count: int, trials: int, source: _Uniforms | _Proposals, least: float, report: Callable[[int], Any]
    ) -> IntArray:
        chosen: list[int] = []
        used = 0
        while len(chosen) < count:
            if isinstance(source, _Uniforms):
                candidates = self.drawn(source.values[len(chosen)])
            else:
                candidates = np.empty(0, np.int64)
                if not chosen or self.total() > least:
                    candidates, used = self._accepted(source, used, trials)
            if len(candidates) < trials:
                break
            best = int(np.argmin(self.after(candidates)))
            self.take(candidates, best)
            chosen.append(int(candidates[best]))
            report(len(chosen))
        return np.array(chosen, dtype=np.int64)

    def _accepted(self, source: _Proposals, used: int, trials: int) -> tuple[IntArray, int]:
        some = 4 * trials
        while True:
            rows = source.rows[used : used + some]
            accepted = np.flatnonzero(source.bounds[used : used + some] < self.costs_of(rows))[:trials]
            if len(accepted) == trials:
                return rows[accepted], used + int(accepted[-1]) + 1
            if used + some >= len(source.rows):
                return rows[accepted], used + len(rows)
            some *= 4

    def drawn(self, uniforms: FloatArray) -> IntArray:
        """Rows drawn by mass, one for each; none where there is no mass."""
        raise NotImplementedError

    def total(self) -> float:
        raise NotImplementedError

    def costs_of(self, rows: IntArray) -> FloatArray:
        raise NotImplementedError

    def after(self, candidates: IntArray) -> FloatArray:
        """The total cost, were each of the candidates (T,) chosen next, but for a constant; (T,)."""
        raise NotImplementedError

    def take(self, candidates: IntArray, best: int) -> None:
        raise NotImplementedError


class _Arrays(_InTurn):
    """By array operations alone: small work, and tensors on a GPU."""

    def __init__(self, points: Array, weights: Array, costs: Array) -> None:
        self._points, self._weights, self._costs = points, weights, costs
        self._columns: Any = None if is_torch(points) else np.ascontiguousarray(points.T, np.float64)
        self._reached: Any = None

    def drawn(self, uniforms: FloatArray) -> IntArray:
        return _by_mass(self._weights * self._costs, uniforms)

    def total(self) -> float:
        return float(self._weights @ self._costs)

    def costs_of(self, rows: IntArray) -> FloatArray:
        return to_host(self._costs[asarray_like(rows, self._points, dtype=namespace(self._points).int64)])

    def after(self, candidates: IntArray) -> FloatArray:
        if is_torch(self._points):
            torch = namespace(self._points)
            squared = torch.stack([squared_distances(self._points, self._points[i]) for i in candidates])
            self._reached = torch.minimum(squared, self._costs)
            return to_host(self._reached @ self._weights)
        difference = self._columns[:, None] - self._columns[:, candidates, None]
        squared = np.einsum("dtn,dtn->tn", difference, difference)
        self._reached = np.minimum(squared, self._costs, out=squared)
        return self._reached @ self._weights

    def take(self, candidates: IntArray, best: int) -> None:
        self._costs = self._reached[best]


class _Tree:
    """A k-d tree that knows the greatest cost and the mass in each of its nodes.

    In more than a few dimensions it pays where points lie in clusters; where it visits most of them all the same, :class:`_Rows`
    goes on, which has less to do for each.
    """

    def __init__(self, points: Any, weights: FloatArray, costs: FloatArray, k: int, trials: int) -> None:
        self._kernels: Any = import_module("quantization.assignment.d2_kernels")
        dtype: Any = np.float64 if points.dtype == np.float64 else np.float32
        n, dim = int(points.shape[0]), int(points.shape[1])
        self._given, self._k = (points, weights), k
        points = np.asarray(points, dtype)
        order = np.arange(n, dtype=np.int64)
        levels = _levels(n)
        leaves = 2**levels
        if _sorting_pays(n, k, trials):
            for level in range(levels):
                self._kernels.halve_nodes(points, 2**level, order, np.empty(n, dtype))
        ranks, there = _leaf_ranks(n, leaves)
        self._rows = order[ranks]
        self._places = np.empty(n, np.int64)
        self._places[order] = np.flatnonzero(there)
        self._weights = np.where(there, weights[self._rows], 0.0)
        self._costs = costs[self._rows]
        self._blocks = np.ascontiguousarray(points[self._rows].transpose(0, 2, 1))
        # Nodes are numbered as in a heap, 1 the root, and the leaves follow one another.
        self._boxes = np.empty((2 * leaves, 2, dim))
        self._boxes[leaves:, 0], self._boxes[leaves:, 1] = self._blocks.min(2), self._blocks.max(2)
        self._masses, self._tops = np.empty((2, 2 * leaves))
        self._masses[leaves:], self._tops[leaves:] = (self._weights * self._costs).sum(1), self._costs.max(1)
        while leaves > 1:
            children, leaves = slice(leaves, 2 * leaves), leaves // 2
            parents = slice(leaves, 2 * leaves)
            lows, highs = self._boxes[children, 0].reshape(-1, 2, dim), self._boxes[children, 1].reshape(-1, 2, dim)
            self._boxes[parents, 0], self._boxes[parents, 1] = lows.min(1), highs.max(1)
            self._masses[parents] = self._masses[children].reshape(-1, 2).sum(1)
            self._tops[parents] = self._tops[children].reshape(-1, 2).max(1)

    def choose(
        self, count: int, trials: int, source: _Uniforms | _Proposals, least: float, report: Callable[[int], Any]
    ) -> IntArray:
        uniforms, proposals, bounds = np.empty((0, trials)), np.empty(0, np.int64), np.empty(0)
        if isinstance(source, _Uniforms):
            uniforms = source.values
        else:
            proposals, bounds = self._places[source.rows], source.bounds
        candidates, gains = np.zeros(trials, np.int64), np.zeros(trials)
        chosen, state = np.zeros(count, np.int64), np.zeros(3, np.int64)
        space = np.empty(self._blocks.shape[1]), np.empty(self._blocks.shape[2]), np.empty(_STACK, np.int64)
        kernels, goal, visits = self._kernels, count, 0  # visits: of the whole tree
        status = kernels.RUNNING
        while status == kernels.RUNNING:
            status = kernels.choose_codes(
                self._blocks, self._weights, self._costs, self._boxes, self._tops, self._masses, uniforms,
                proposals, bounds, least, candidates, gains, chosen[:goal], state, *space, _BUDGET
            )  # fmt: skip
            before, done = visits, int(state[0])
            report(done)
            visits = done * (trials + 1) + int(state[1])
            useless = self._blocks.shape[1] > _FEW_DIMENSIONS and done >= _PATIENCE
            if useless and _MOST_VISITED * (visits - before) * self._blocks.size < _BUDGET:
                goal = min(goal, done + 1)  # the code whose candidates are being tried is its last
        found = self._rows.reshape(-1)[chosen[: state[0]]]
        if status == kernels.FINISHED and goal < count:
            rows = _Rows(*self._given, self._costs.reshape(-1)[self._places], self._k, trials)
            rest = source.after(goal, int(state[2]))
            found = np.concatenate([found, rows.choose(count - goal, trials, rest, least, lambda more: report(goal + more))])
        return found


class _Rows(_InTurn):
    """Many dimensions: differences of points and candidates, but for points that a candidate is too far from."""

    def __init__(self, points: Any, weights: FloatArray, costs: FloatArray, k: int, trials: int) -> None:
        self._kernels: Any = import_module("quantization.assignment.d2_kernels")
        n, dim = points.shape
        self._rows, self._weights, self._costs = Rows(points), weights, np.array(costs)
        self._parts = min(_MOST_PARTS, max(1, n * dim * trials // _PART))
        self._labels = np.zeros(n, np.int32)  # of the codes chosen here, from 1 on; 0 is one that is not known
        self._codes, self._count = np.empty((k, dim), self._rows.dtype), 0
        self._near, self._squared = np.empty(0), np.empty((0, 0))

    def choose(
        self, count: int, trials: int, source: _Uniforms | _Proposals, least: float, report: Callable[[int], Any]
    ) -> IntArray:
        with limit_blas_threads():
            return super().choose(count, trials, source, least, report)

    def drawn(self, uniforms: FloatArray) -> IntArray:
        return _by_mass(self._weights * self._costs, uniforms)

    def total(self) -> float:
        return float((self._weights * self._costs).sum())

    def costs_of(self, rows: IntArray) -> FloatArray:
        return self._costs[rows]

    def after(self, candidates: IntArray) -> FloatArray:
        n, count = len(self._costs), len(candidates)
        codes = self._rows.points[candidates].astype(np.float64)
        if len(self._squared) == 0:
            self._squared = np.empty((n, count))
        self._near = self._gaps(codes)
        gains = np.zeros((self._parts, count + CACHE_LINES))[:, :count]

        def part(number: int) -> None:
            for first, points in self._rows.chunks(number * n // self._parts, (number + 1) * n // self._parts):
                rows = slice(first, first + len(points))
                self._kernels.try_codes(
                    points, codes, self._near, self._labels[rows], self._costs[rows], self._weights[rows], self._squared[rows],
                    gains[number],
                )  # fmt: skip

        parallel_map(part, self._parts)
        return -gains.sum(0)

    def take(self, candidates: IntArray, best: int) -> None:
        self._codes[self._count] = self._rows.points[candidates[best]]
        self._count += 1
        self._kernels.take_code(self._squared, self._near, best, self._count, self._labels, self._costs)

    def _gaps(self, candidates: FloatArray) -> FloatArray:
        """For each label the least squared distance of its code to a candidate; for the label 0 less than any."""
        known, ignored = self._count, np.zeros(self._count)
        squared = np.empty((known, len(candidates)))
        labels, near = np.zeros(known, np.int32), np.array([-1.0])
        codes, gains = read_only(self._codes[:known]), np.zeros(len(candidates))
        self._kernels.try_codes(codes, candidates, near, labels, ignored, ignored, squared, gains)
        return np.concatenate([near, squared.min(1)])


def _squared_distances(points: Array, code: int) -> Array:
    """To one of the points, in float64; (n,)."""
    if is_torch(points):
        return squared_distances(points, points[code])
    costs, rows = np.empty(len(points)), max(1, _IN_CACHE // points.shape[1])
    for start in range(0, len(points), rows):
        difference = np.subtract(points[start : start + rows], points[code], dtype=np.float64)
        np.einsum("nd,nd->n", difference, difference, out=costs[start : start + rows])
    return costs


def _by_mass(mass: Array, uniforms: FloatArray) -> IntArray:
    """Indices drawn with probability ∝ mass, never one of mass zero; none where all are zero."""
    xp = namespace(mass)
    cumulative = xp.cumsum(mass, 0)
    if not bool(cumulative[-1] > 0):
        return np.empty(0, np.int64)
    levels = asarray_like(uniforms, mass) * cumulative[-1]
    # The first point at which everything is reached is the last of positive mass: round-off must not lead beyond it.
    last = xp.searchsorted(cumulative, cumulative[-1:])
    drawn = xp.minimum(xp.searchsorted(cumulative, levels, side="right"), last)
    return drawn.cpu().numpy() if is_torch(drawn) else drawn
