r"""The assignment of samples to codes of prescribed masses: $\min_\pi \sum_{ik} \pi_{ik} |x_i - c_k|^2$, $\sum_i \pi_{ik} = w_k$.

The dual $\max_p \sum_i a_i \min_k (|x_i - c_k|^2 - p_k) + \sum_k w_k p_k$ has K unknowns, prices. Damped Newton steps, with the
mass near the borders of priced cells as second derivatives, leave few points too many or too few in a cell; shortest paths
between cells, along which points move at the least cost, finish exactly. A point is looked at with the codes alone that may be
its own: those whose priced costs lie within a window of the least one, which prices may use up before points are listed again.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, SparsePlan, summed_by
from quantization.assignment import capacity_kernels as kernels
from quantization.assignment.capacity_candidates import Candidates, CandidateSearch
from quantization.assignment.capacity_prices import ascended, bridged, centred, rooms_left, within
from quantization.assignment.plan_cycles import without_cycles
from quantization.assignment.rows import read_only
from quantization.threads import parallel_map

_ALL = 2**22  # costs of points and codes up to which plans are exact at every step
_FEW = 2**17  # up to which all codes are candidates of every point on the way, and paths alone find the plan
_PER_CODE, _FEWEST, _COARSER, _ROUNDS = 16, 2**12, 4, 4  # points, by which prices begin; of them each time; jumps of those
_AHEAD = 8  # times the last change of prices that a window is wide
_AMISS, _SLIGHT, _NOISE = 0.02, 0.05, 4  # of all mass, and of a code's: what may be amiss on the way; of its standard errors
_NEAR, _NEAR_PER_CODE, _NEAR_PER_AMISS = 2**14, 32, 8  # points at borders that are enough for the exact end, as a rule
_ASCENTS, _FEW_ASCENTS = 40, 8  # Newton steps of the dual, and where the codes move on anyway
_LISTINGS, _GROWTH, _USED = 24, 4, 0.1  # of candidates, at most; of the room of prices that left so much of it
_DEPTH, _DEEPER = 16, 2  # times as many points between two cells as tell what moves cost, for an exact plan; first attempts
_MANY, _BY_PATHS, _LESS = 4, 1 / 32, 0.8  # times the codes, and of all mass: too much for paths, if a listing leaves less
_PATHS, _PATH_WORK = 4000, 2**28  # between which an interruption is answered, at most
_MOVES, _MOVES_KEPT, _MORE = 16, 2**21, 4  # between two cells that are listed, and all; times the points, where they don't do
_SPREAD = 1e-6  # of all squared distances to the centre: a cost above it has digits enough by moments
_DUST = 1e-14  # of the least mass: no more is left behind where a point moves
_TOLERANCE, _ULP = 1e-11, 2.0**-52  # of the least mass that a code may have too much or lack, and of the greatest


@dataclass(frozen=True)
class CapacityPlan:
    r"""A plan between n samples and K codes, and prices.

    labels: (n,) the code of each, of which it gets ``parts`` (n,); the rest of the few that are split is in ``split``: rows,
    columns, masses. received: (K,) by the codes. gap: what the plan may cost more than the least; inf where that is not known.
    """

    labels: Any
    parts: FloatArray
    split: SparsePlan
    received: FloatArray
    prices: FloatArray
    gap: float = np.inf

    def joins(self, other: "CapacityPlan") -> bool:
        """Whether the same points go to the same codes, so that the centroids are the same."""
        pairs = zip((self.labels, *self.split[:2]), (other.labels, *other.split[:2]), strict=True)
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def _wider(spread: FloatArray, left: FloatArray) -> FloatArray:
    """More room between the codes whose prices have used theirs up."""
    return np.where(left < _USED * spread, np.maximum(_GROWTH * spread, -2 * left), spread)


class CapacitatedAssignment:
    """Samples (n, d), numpy of any floating dtype, with positive weights (n,), and the masses (K,) of codes; both sum to 1."""

    def __init__(self, points: Any, weights: FloatArray, masses: FloatArray) -> None:
        dtype = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        self.points = read_only(np.ascontiguousarray(points, dtype))
        self._unit = float(weights.max())  # so that equal weights are whole numbers, whose sums are exact
        self._weights, self._masses = weights / self._unit, masses / self._unit
        self._search = CandidateSearch(self.points, self._weights)
        self.masses, self._moved = masses, np.inf
        self._last: tuple[CapacityPlan, FloatArray, float] | None = None  # a plan, its sums about the centre, all spread
        self._dense = len(points) * len(masses) <= _FEW
        self._close = np.inf if self._dense else len(masses)  # points, of the largest weight, that may be amiss for paths

    @property
    def small(self) -> bool:
        """Whether all costs fit in little memory, so that plans are exact at once."""
        return len(self.points) * len(self.masses) <= _ALL

    def part(self, step: int) -> "CapacitatedAssignment":
        """That of every so many samples, about the same centre."""
        weights = self._weights[::step]
        few = CapacitatedAssignment(self.points[::step], weights / weights.sum(), self.masses)
        few._search.centre = self._search.centre
        return few

    def approximate(self, codes: FloatArray, prices: FloatArray | None) -> CapacityPlan:
        """Every point to its least priced code, by prices at which the masses received are about right; of large problems."""
        prices, window = self._begin(codes, prices)
        prices, rooms = self._bridged(codes, prices, window)
        listed, labels = self._search.listed(codes, prices, rooms)
        close = max(_AMISS * float(self._masses.sum()), self._close)
        before, (prices, _, _) = prices, ascended(listed, self._masses, prices, rooms, _FEW_ASCENTS, close)
        self._moved = float(np.ptp(prices - before))
        choice = listed.choose(prices)
        labels[listed.rows] = listed.codes[choice.chosen]
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0)
        return CapacityPlan(labels, self._weights * self._unit, nothing, choice.masses * self._unit, prices)

    def plan(self, codes: FloatArray, prices: FloatArray | None, certified: bool = False) -> CapacityPlan:
        """The optimal plan to codes (K, d), from prices of codes not far away; its certificate, where one is asked for."""
        prices, window = self._begin(codes, prices, self._dense and not certified)
        before, attempt, least, spread = prices, 0, np.inf, np.full((len(codes), len(codes)), window)
        known, depth = window == np.inf or self.small, _DEPTH
        many = max(_MANY * self._close, _BY_PATHS * float(self._masses.sum()))
        while True:
            attempt += 1
            prices, rooms = (prices, spread) if known else self._bridged(codes, prices, spread, depth)
            listed, labels = self._search.listed(codes, prices, rooms)
            if certified:
                listed.measure(self.points, codes)
            following, off, rest = ascended(listed, self._masses, prices, rooms, _ASCENTS, self._close)
            spread = _wider(spread, rest)
            if off > many and attempt <= _LISTINGS / 2 and off < _LESS * least:
                prices, least, known = following, off, window == np.inf
                continue
            flow, found, reached = self._completed(listed, following, off)
            left = rooms_left(found - prices, rooms)
            if (reached and (left.min() >= 0 or not certified)) or attempt == _LISTINGS:
                break
            depth = depth if reached else _GROWTH * depth
            prices = found if reached else prices + within(following - prices, rooms)
            if reached or attempt > _DEEPER:  # prices that no plan ends at tell little of the rooms that are needed
                spread = _wider(spread, left)
            least, known = np.inf, window == np.inf
        self._moved = float(np.ptp(found - before))
        if not (certified and reached and left.min() >= 0):
            return self._as_plan(listed, flow, labels, found)
        found = centred(listed, flow, found, left.min(0))
        plan = self._as_plan(listed, flow, labels, found)
        return replace(plan, gap=self._gap(listed, flow, plan))

    def _begin(self, codes: FloatArray, prices: FloatArray | None, dense: bool = False) -> tuple[FloatArray, float]:
        """Prices to begin with, and a window of candidates: of all where nothing is known and there is space."""
        if self.small and (prices is None or dense):
            return np.zeros(len(codes)) if prices is None else prices, np.inf
        if not self.small:
            prices = self._sampled(codes, np.zeros(len(codes)) if prices is None else prices)
        assert prices is not None
        least, most = self._search.windows(codes, prices)
        return prices, min(max(_AHEAD * self._moved, least), most)

    def _sampled(self, codes: FloatArray, prices: FloatArray) -> FloatArray:
        """Prices that are about right for more and more of the points."""
        step, rounds = len(self.points) // max(_FEWEST, _PER_CODE * len(codes)), _ROUNDS
        while step > 1:
            few, window = self.part(step), np.inf if rounds > 1 else self._search.windows(codes, prices)[1]
            close = _AMISS * float(few._masses.sum())
            for left in range(rounds, 0, -1):
                prices, rooms = few._bridged(codes, prices, window)
                listed, _ = few._search.listed(codes, prices, rooms)
                start, (prices, off, _) = prices, ascended(listed, few._masses, prices, rooms, _FEW_ASCENTS, close)
                if off <= close:
                    break
                if left == 1:
                    found = start + within(few._paths(listed, prices.copy(), exact=False)[1] - start, rooms)
                    prices = found if np.abs(listed.choose(found).masses - few._masses).sum() < off else prices
            step, rounds = step // _COARSER, 1
        return prices

    def _bridged(
        self, codes: FloatArray, prices: FloatArray, window: float | FloatArray, depth: int = 1
    ) -> tuple[FloatArray, FloatArray]:
        """Prices at which points lead from cells with too much to those that lack, and rooms with such points in a window.

        depth: how many times as many points are to be found between two cells as usual.
        """
        received, least = self._search.exchanges(codes, prices, depth)
        most, skipped = float(self._masses.max()), self._search.step(len(codes), depth) - 1
        tolerance = max(_SLIGHT * most, _NOISE * (skipped * most) ** 0.5, 1.0)
        found = bridged(least, received - self._masses, prices, tolerance)
        return found, rooms_left(found - prices, least) + window

    def following_sums(self, codes: FloatArray, plan: CapacityPlan) -> tuple[FloatArray, float]:
        """The same as :meth:`sums`, by the points that moved since it was last asked; the cost has round-off of the spread."""
        centre, last = np.tile(self._search.centre, (len(codes), 1)), self._last
        if last is None:
            sums, spread = self.sums(centre, plan)
        else:
            before, sums, spread = last
            moved = np.flatnonzero((before.labels != plan.labels) | (before.parts != plan.parts))
            for sign, p in ((-1.0, before), (1.0, plan)):
                rows, columns, masses = p.split
                rows, columns = np.concatenate([moved, rows]), np.concatenate([p.labels[moved], columns])
                masses = sign * np.concatenate([p.parts[moved], masses])
                kernels.add_rows(self.points[rows], columns, masses, centre, sums)
        self._last, away = (plan, sums, spread), codes - centre
        cost = spread + float(plan.received @ np.square(away).sum(1) - 2 * np.einsum("kd,kd->", away, sums))
        return (sums - plan.received[:, None] * away, cost) if cost > _SPREAD * spread else self.sums(codes, plan)

    def sums(self, codes: FloatArray, plan: CapacityPlan) -> tuple[FloatArray, float]:
        r"""$\sum_i \pi_{ik} (x_i - c_k)$, (K, d), and the cost of the plan."""
        n = len(self.points)
        parts = max(1, min(16, self.points.size // max(2**19, 4 * codes.size)))

        def work(part: int) -> tuple[float, FloatArray]:
            rows, sums = slice(part * n // parts, (part + 1) * n // parts), np.zeros(codes.shape)
            return kernels.add_rows(self.points[rows], plan.labels[rows], plan.parts[rows], codes, sums), sums

        found = parallel_map(work, parts)
        rows, columns, masses = plan.split
        sums = np.sum([s for _, s in found], 0)
        cost = sum(c for c, _ in found) + kernels.add_rows(self.points[rows], columns, masses, codes, sums)
        return sums, float(cost)

    def _completed(self, listed: Candidates, prices: FloatArray, off: float) -> tuple[FloatArray, FloatArray, bool]:
        """The flow of every candidate, exact, the prices, and whether masses could be met by these candidates.

        Of points near borders first, and of those that would move at the prices found then. off: what is amiss.
        """
        n = len(listed.rows)
        count = max(_NEAR, _NEAR_PER_CODE * len(prices), int(_NEAR_PER_AMISS * off))
        choice, moved = listed.choose(prices), np.zeros(n, bool)  # points that would move besides
        chosen, margins = choice.chosen, choice.margins
        while True:
            everything = 2 * count >= n
            if everything and off <= _MANY * len(prices):
                return self._paths(listed, prices.copy())
            near = np.arange(n) if everything else np.flatnonzero(moved | (margins <= np.partition(margins, count)[count]))
            near = near[np.argsort(listed.codes[chosen[near]], kind="stable")]  # what is looked at together lies together
            flow, found, reached = self._paths(listed.some(near, chosen), prices.copy())
            if reached and not everything:
                others = listed.choose(found).chosen != chosen
                others[near] = False
                moved |= others
                everything, count = not others.any(), count if _MORE * others.sum() < len(near) else _MORE * count
            elif not everything:
                count *= _MORE
            if everything:
                whole = np.zeros(len(listed.codes))
                whole[chosen] = listed.weights
                whole[listed.entries(near)[0]] = flow
                return whole, found, reached

    def _paths(self, listed: Candidates, prices: FloatArray, exact: bool = True) -> tuple[FloatArray, FloatArray, bool]:
        """From the cells at these prices: whole points first, as those that are split make paths of less, then what is left."""
        k, size = len(prices), len(listed.codes)
        choice = listed.choose(prices)
        flow = np.zeros(size)
        flow[choice.chosen] = listed.weights
        excess, least = choice.masses - self._masses, float(self._masses.min())
        tolerance, dust = max(_TOLERANCE * least, _ULP * float(self._masses.max())), _DUST * min(least, 1.0)
        owners = np.repeat(np.arange(len(listed.rows)), np.diff(listed.starts))
        kept = max(1, min(_MOVES, _MOVES_KEPT // k**2))
        moves = np.empty((2, k, k), np.int64), np.empty((k, k, kept)), np.empty((k, k, kept), np.int64), np.empty((k, k))
        space = np.empty((3, max(size, k)), np.int64), *moves, np.empty(k), np.empty((3, k), np.int64)
        limit, paths = max(1, min(_PATHS, _PATH_WORK // k**2)), 0
        first = [max(tolerance, 1.0)] if not exact or np.abs(excess).sum() > _MANY * k else []
        for allowed in [*first, tolerance] if exact else first:
            for _ in range((10 * _PATHS + 20 * (len(listed.rows) + k)) // limit):
                paths = kernels.complete(
                    listed.starts, listed.codes, listed.costs, owners, prices, excess, allowed, dust, flow, *space, limit
                )
                if paths != -2:
                    break
        return flow, prices, paths >= 0

    def _as_plan(self, listed: Candidates, flow: FloatArray, labels: Any, prices: FloatArray) -> CapacityPlan:
        parts, k = self._weights.copy(), len(prices)
        entries, owners = listed.taken(flow)
        several = np.bincount(owners, minlength=len(listed.rows))[owners] > 1
        if several.any():
            flow = flow.copy()
            flow[entries[several]] = without_cycles(owners[several], listed.codes[entries[several]], flow[entries[several]], k)
            entries, owners = entries[flow[entries] > 0], owners[flow[entries] > 0]
        order = np.lexsort((-flow[entries], owners))
        entries, owners = entries[order], owners[order]
        first = np.concatenate([[True], owners[1:] != owners[:-1]]) if len(owners) else np.zeros(0, bool)
        main, rows, others = entries[first], listed.rows[owners], entries[~first]
        labels[rows[first]], parts[rows[first]] = listed.codes[main], flow[main]
        split = rows[~first], listed.codes[others], flow[others] * self._unit
        received = summed_by(labels, parts, k) * self._unit + summed_by(split[1], split[2], k)
        return CapacityPlan(labels, parts * self._unit, split, received, prices - prices.min())

    def _gap(self, listed: Candidates, flow: FloatArray, plan: CapacityPlan) -> float:
        """What the plan costs beyond the dual value, on reduced costs."""
        priced = listed.costs - plan.prices[listed.codes]
        least = np.minimum.reduceat(priced, listed.starts[:-1]) if len(listed.rows) else priced
        entries, owners = listed.taken(flow)
        return float(flow[entries] @ (priced[entries] - least[owners])) * self._unit
