r"""The assignment of samples to codes of prescribed masses: $\min_\pi \sum_{ik} \pi_{ik} |x_i - c_k|^2$, $\sum_i \pi_{ik} = w_k$.

The dual $\max_p \sum_i a_i \min_k (|x_i - c_k|^2 - p_k) + \sum_k w_k p_k$ has K unknowns, prices. Damped Newton steps, with the
mass near the borders of priced cells as second derivatives, leave few points too many or too few in a cell; shortest paths
between cells, along which points move at the least cost, finish exactly. A point is looked at with the codes alone that may be
its own: those whose priced costs lie within a window of the least one, which prices may use up before points are listed again.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, SparsePlan, summed_by
from quantization.assignment import capacity_kernels as kernels
from quantization.assignment.bounds import score_error
from quantization.assignment.capacity_prices import Candidates, centred, newton_step
from quantization.assignment.plan_cycles import without_cycles
from quantization.assignment.rows import read_only
from quantization.threads import parallel_map

_ALL = 2**22  # costs of points and codes up to which all codes are candidates of every point
_KEPT = 2**23  # coordinates that are kept once more, in float64
_BLOCK = 2**18  # scores, or coordinates, that are computed at a time
_PER_POINT = 3  # candidates of a point, on average, that make a window
_PROBES = 2**9  # points by which it is found
_PER_CODE, _FEWEST = 64, 2**12  # points, by which prices begin
_FEW, _FEW_PER_CODE = 2**10, 32  # points that have a choice in a narrow window
_AHEAD = 8  # times the last change of prices that a window is wide
_NEAR, _NEAR_PER_CODE = 2**14, 32  # points at borders that are enough for the exact end, as a rule
_ASCENTS, _FEW_ASCENTS, _HALVINGS = 40, 8, 5  # Newton steps of the dual, and where the codes move on anyway; halvings of each
_LISTINGS, _GROWTH = 24, 8  # of candidates, at most; of the window, where they did not do
_PATHS = 2000  # between which an interruption is answered
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


class CapacitatedAssignment:
    """Samples (n, d), numpy of any floating dtype, with positive weights (n,), and the masses (K,) of codes; both sum to 1."""

    def __init__(self, points: Any, weights: FloatArray, masses: FloatArray) -> None:
        dtype = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        self.points = read_only(np.ascontiguousarray(points, dtype))
        self._unit = float(weights.max())  # so that equal weights are whole numbers, whose sums are exact
        self._weights, self._masses = weights / self._unit, masses / self._unit
        self.masses, self._moved = masses, np.inf

    @cached_property
    def _centre(self) -> FloatArray:
        return self.points.mean(0, dtype=np.float64)

    @cached_property
    def _lengths(self) -> FloatArray:
        lengths = np.empty(len(self.points))

        def work(rows: slice) -> None:
            x = self.points[rows] - self._centre
            lengths[rows] = np.sqrt(np.einsum("id,id->i", x, x))

        self._over_blocks(work, 1)
        return lengths

    @property
    def small(self) -> bool:
        """Whether all costs fit in little memory, so that plans are exact at once."""
        return len(self.points) * len(self.masses) <= _ALL

    def approximate(self, codes: FloatArray, prices: FloatArray | None) -> CapacityPlan:
        """Every point to its least priced code, by prices at which the masses received are about right; of large problems."""
        prices, window = self._begin(codes, prices)
        listed, labels = self._listed(codes, prices, window)
        before, prices = prices, self._ascended(listed, prices, window, _FEW_ASCENTS)
        self._moved = float(np.ptp(prices - before))
        chosen, _, received, _, _ = listed.choose(prices, 0.0)
        labels[listed.rows] = listed.codes[chosen]
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0)
        return CapacityPlan(labels, self._weights * self._unit, nothing, received * self._unit, prices)

    def plan(self, codes: FloatArray, prices: FloatArray | None, certified: bool = False) -> CapacityPlan:
        """The optimal plan to codes (K, d), from prices of codes not far away; its certificate, where one is asked for."""
        prices, window = self._begin(codes, prices)
        before, attempt = prices, 0
        while True:
            attempt += 1
            listed, labels = self._listed(codes, prices, window)
            if certified:
                kernels.measure_candidates(self.points, listed.rows, listed.starts, codes, listed.codes, listed.costs)
            following = self._ascended(listed, prices, window, _ASCENTS)
            if float(np.ptp(following - prices)) > window / 2 and attempt < _LISTINGS / 2:
                prices, window = following, window * _GROWTH / 2
                continue
            flow, found, reached = self._completed(listed, following)
            held = reached and float(np.ptp(found - prices)) <= window
            if held or (reached and not certified) or attempt == _LISTINGS:
                break
            window, prices = window * _GROWTH, found
        self._moved = float(np.ptp(found - before))
        if not (certified and held):
            return self._as_plan(listed, flow, labels, found)
        found = centred(listed, flow, found, window - float(np.ptp(found - prices)))
        plan = self._as_plan(listed, flow, labels, found)
        return replace(plan, gap=self._gap(listed, flow, plan))

    def _begin(self, codes: FloatArray, prices: FloatArray | None) -> tuple[FloatArray, float]:
        """Prices to begin with, and the window of candidates: of all where nothing is known and there is space."""
        if prices is None:
            prices = np.zeros(len(codes)) if self.small else self._first_prices(codes)
            return prices, np.inf if self.small else self._windows(codes, prices)[1]
        least, most = self._windows(codes, prices)
        return prices, min(max(_AHEAD * self._moved, least), most)

    def sums(self, codes: FloatArray, plan: CapacityPlan) -> tuple[FloatArray, float]:
        r"""$\sum_i \pi_{ik} (x_i - c_k)$, (K, d), and the cost of the plan."""
        n = len(self.points)
        parts = max(1, min(16, self.points.size // 2**19))

        def work(part: int) -> tuple[float, FloatArray]:
            rows, sums = slice(part * n // parts, (part + 1) * n // parts), np.zeros(codes.shape)
            return kernels.add_rows(self.points[rows], plan.labels[rows], plan.parts[rows], codes, sums), sums

        found = parallel_map(work, parts)
        rows, columns, masses = plan.split
        sums = np.sum([s for _, s in found], 0)
        cost = sum(c for c, _ in found) + kernels.add_rows(self.points[rows], columns, masses, codes, sums)
        return sums, float(cost)

    def _over_blocks(self, work: Any, k: int) -> list[Any]:
        n, d = self.points.shape
        size = max(1, _BLOCK // (max(k, d) if self._kept is None else k))
        return parallel_map(lambda b: work(slice(b * size, min((b + 1) * size, n))), -(-n // size))

    @cached_property
    def _kept(self) -> FloatArray | None:
        """All points about their centre, where that takes little memory."""
        return self.points - self._centre if self.points.size <= _KEPT else None

    def _scores(self, rows: Any, scaled: FloatArray, squares: FloatArray) -> FloatArray:
        r"""$|c_k|^2 - p_k - 2 \langle x, c_k\rangle$ of some points; scaled: the codes times -2, as columns."""
        points = self.points[rows] - self._centre if self._kept is None else self._kept[rows]
        scores = points @ scaled
        scores += squares
        return scores

    def _scaled(self, codes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Codes about the centre, times -2 and as columns, and their squared lengths."""
        centred = codes - self._centre
        return np.ascontiguousarray(-2 * centred.T), np.square(centred).sum(1)

    def _listed(self, codes: FloatArray, prices: FloatArray, window: float) -> tuple[Candidates, Any]:
        """The candidates within a window of the least priced cost, and the labels of all points."""
        n, k = len(self.points), len(codes)
        gamma, (scaled, squares) = 2 * score_error(codes.shape[1], np.float64)[0], self._scaled(codes)
        reaches = np.sqrt(squares)
        slack = window + 8 * np.finfo(np.float64).eps * float(np.abs(prices).max())
        labels, counts = np.empty(n, np.int32), np.empty(n, np.int32)

        def work(rows: slice) -> tuple[Any, FloatArray]:
            scores = self._scores(rows, scaled, squares - prices)
            found, costs = np.empty(scores.size, np.int32), np.empty(scores.size)
            total = kernels.list_candidates(
                scores, self._lengths[rows], reaches, prices, gamma, slack, labels[rows], counts[rows], found, costs
            )
            return found[:total].copy(), costs[:total].copy()

        parts = self._over_blocks(work, k)
        rows = np.flatnonzero(counts)
        fixed = summed_by(labels, np.where(counts == 0, self._weights, 0.0), k)
        starts = np.concatenate([[0], np.cumsum(counts[rows], dtype=np.int64)])
        found, costs = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return Candidates(rows, starts, found, costs, self._weights[rows], fixed), labels

    def _first_prices(self, codes: FloatArray) -> FloatArray:
        """Those of a part of the points."""
        step = max(1, len(self.points) // max(_FEWEST, _PER_CODE * len(codes)))
        weights = self._weights[::step]
        few = CapacitatedAssignment(self.points[::step], weights / weights.sum(), self.masses)
        few.__dict__["_centre"] = self._centre
        listed, _ = few._listed(codes, np.zeros(len(codes)), np.inf)
        return few._completed(listed, few._ascended(listed, np.zeros(len(codes)), np.inf, _ASCENTS))[1]

    def _windows(self, codes: FloatArray, prices: FloatArray) -> tuple[float, float]:
        """A narrow one, within which few points have a choice, and one within which a point has so many candidates on average."""
        if len(codes) == 1:
            return np.inf, np.inf
        scaled, squares = self._scaled(codes)
        scores = self._scores(slice(None, None, max(1, len(self.points) // _PROBES)), scaled, squares - prices)
        scores -= scores.min(1, keepdims=True)
        count = len(scores)
        few = min(count * max(_FEW, _FEW_PER_CODE * len(codes)) // len(self.points), count - 1)
        seconds, behind = np.partition(np.partition(scores, 1, 1)[:, 1], few), scores.ravel()
        most = min(_PER_POINT * count, len(behind) - 1)
        return float(seconds[few]), float(np.partition(behind, most)[most])

    def _ascended(self, listed: Candidates, prices: FloatArray, most: float, steps: int) -> FloatArray:
        """Prices of a greater dual, by damped Newton steps; they change by no more than ``most`` from each other."""
        masses, start = self._masses, prices
        if not len(listed.rows):
            return prices
        width = float(np.median(listed.choose(prices, 0.0)[1]))
        if not 0 < width < np.inf:
            return prices
        _, _, got, borders, value = listed.choose(prices, width)
        value += float(masses @ prices)
        close = len(masses) * float(self._weights.max())
        for _ in range(steps):
            if np.abs(masses - got).sum() <= close:
                break
            step = newton_step(borders / (2 * width), masses - got, 4 * width)
            for _ in range(_HALVINGS):
                following, reach = prices + step, float(np.ptp(step))
                _, _, now, near, higher = listed.choose(following, reach / 2)
                higher += float(masses @ following)
                if higher > value and np.ptp(following - start) <= most:
                    break
                step = step / 2
            else:
                break
            prices, got, borders, value, width = following, now, near, higher, reach / 2
        return prices

    def _completed(self, listed: Candidates, prices: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
        """The flow of every candidate, exact, the prices, and whether masses could be met by these candidates."""
        chosen, margins = listed.choose(prices, 0.0)[:2]
        enough = max(_NEAR, _NEAR_PER_CODE * len(prices))
        if len(listed.rows) > 2 * enough:
            near = np.flatnonzero(margins <= np.partition(margins, enough)[enough])
            width = float(margins[near].max())
            part = listed.some(near, chosen)
            flow, found, reached = self._paths(part, prices.copy())
            if reached and np.ptp(found - prices) <= width:
                whole = np.zeros(len(listed.codes))
                whole[chosen] = listed.weights
                whole[listed.entries(near)[0]] = flow
                return whole, found, True
            if reached:
                prices = found
        return self._paths(listed, prices.copy())

    def _paths(self, listed: Candidates, prices: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
        k, size = len(prices), len(listed.codes)
        chosen, _, got, _, _ = listed.choose(prices, 0.0)
        flow = np.zeros(size)
        flow[chosen] = listed.weights
        excess, least = got - self._masses, float(self._masses.min())
        tolerance, dust = max(_TOLERANCE * least, _ULP * float(self._masses.max())), _DUST * min(least, 1.0)
        owners = np.repeat(np.arange(len(listed.rows)), np.diff(listed.starts))
        links, space = np.empty((3, max(size, k)), np.int64), (*np.empty((2, k, k)), np.empty(k), np.empty((2, k), np.int64))
        plan = listed.starts, listed.codes, listed.costs, owners, prices, excess, tolerance, dust, flow, links, *space, _PATHS
        paths = -2
        for _ in range(10 + 20 * (len(listed.rows) + k) // _PATHS):
            paths = kernels.complete(*plan)
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
