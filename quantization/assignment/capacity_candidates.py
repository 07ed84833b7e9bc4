"""Points and the codes that they may go to: those of least priced cost as far as prices may change, found by products."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray, summed_by
from quantization.assignment import capacity_kernels as kernels
from quantization.assignment.bounds import score_error
from quantization.threads import parallel_map

_PART, _PARTS = 2**17, 16  # candidates of points that a thread takes at a time, and parts at most
_KEPT = 2**23  # coordinates that are kept once more, in float64
_BLOCK = 2**18  # scores, or coordinates, that are computed at a time
_WHOLE = 2**22  # products of all points and codes that are kept as long as codes stay
_PER_POINT = 4  # candidates of a point, on average, that make a window
_PROBES = 2**9  # points by which it is found
_FEW, _FEW_PER_CODE = 2**10, 32  # points that have a choice in a narrow window
_LOOKED_AT, _LOOKED_AT_PER_CODE, _FEWEST_PER_CODE = 2**16, 2**8, 2**4  # points that tell what moves between cells cost
_SINGLE = 1 / 8  # of a price's room, the round-off of products in float32 that it has room for
_DIM, _RANGE = 64, 2.0**40  # from which on products of points in float32 are kept in float32, if they are no larger or smaller
_ABOUT = 2**10  # points that make the centre


@dataclass(frozen=True)
class Choice:
    """The best candidate of each point (u,), the next, how far it is behind; masses of cells (K,), the dual but for constants."""

    chosen: Any
    seconds: Any
    margins: FloatArray
    masses: FloatArray
    value: float


@dataclass(frozen=True)
class Candidates:
    """Points (u,) by rows, each with the codes (starts, codes, costs) that it may go to; fixed: (K,) the mass of all others."""

    rows: Any
    starts: IntArray
    codes: Any
    costs: FloatArray
    weights: FloatArray
    fixed: FloatArray

    def choose(self, prices: FloatArray) -> Choice:
        """The least priced candidates."""
        n, k = len(self.rows), len(prices)
        chosen, seconds, margins = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)

        def work(some: slice) -> tuple[float, FloatArray]:
            starts, masses = self.starts[some.start : some.stop + 1], np.zeros(k)
            found = chosen[some], seconds[some], margins[some]
            return kernels.choose(starts, self.codes, self.costs, self.weights[some], prices, *found, masses), masses

        parts = self._over_points(work)
        masses = self.fixed + np.sum([m for _, m in parts], 0)
        return Choice(chosen, seconds, margins, masses, sum(total for total, _ in parts) + float(self.fixed @ -prices))

    def borders(self, choice: Choice, width: float) -> FloatArray:
        """The masses (K, K) of points whose two best candidates lie within a width of each other."""
        near, k = choice.margins <= width, len(self.fixed)
        pairs = self.codes[choice.chosen[near]].astype(np.int64) * k + self.codes[choice.seconds[near]]
        masses = summed_by(pairs, self.weights[near], k * k).reshape(k, k)
        return masses + masses.T

    def measure(self, points: Any, codebook: FloatArray) -> None:
        """Costs by direct differences."""
        self._over_points(
            lambda some: kernels.measure_candidates(
                points, self.rows[some], self.starts[some.start : some.stop + 1], codebook, self.codes, self.costs
            )
        )

    def _over_points(self, work: Callable[[slice], Any]) -> list[Any]:
        n, parts = len(self.rows), max(1, min(_PARTS, len(self.codes) // _PART))
        return parallel_map(lambda part: work(slice(part * n // parts, (part + 1) * n // parts)), parts)

    def entries(self, which: Any) -> tuple[Any, Any]:
        """The places of all candidates of some points, one point after the other, and where each of these begins."""
        sizes = np.diff(self.starts)[which]
        starts: Any = np.concatenate([[0], np.cumsum(sizes)])
        return np.add(np.repeat(self.starts[which] - starts[:-1], sizes), np.arange(int(starts[-1]))), starts

    def some(self, which: Any, chosen: Any) -> "Candidates":
        """Only these points; all others stay where they are."""
        entries, starts = self.entries(which)
        others = np.ones(len(self.rows), bool)
        others[which] = False
        fixed = self.fixed + summed_by(self.codes[chosen[others]], self.weights[others], len(self.fixed))
        return Candidates(self.rows[which], starts, self.codes[entries], self.costs[entries], self.weights[which], fixed)

    def taken(self, flow: FloatArray) -> tuple[Any, Any]:
        """The candidates that mass flows to, and the place of their point."""
        entries = np.asarray(np.flatnonzero(flow), dtype=np.int64)
        return entries, np.subtract(np.searchsorted(self.starts, entries, side="right"), 1)


class CandidateSearch:
    """Samples (n, d), numpy in float32 or float64, with weights (n,), from which candidates are listed."""

    def __init__(self, points: Any, weights: FloatArray) -> None:
        self.points, self.weights = points, weights
        self._codes = np.zeros((0, 0))
        self._products: FloatArray | None = None  # of points and these codes, as long as they stay

    @cached_property
    def centre(self) -> FloatArray:
        some = self.points[:: max(1, len(self.points) // _ABOUT)].mean(0, dtype=np.float64)
        return some.astype(self.points.dtype).astype(np.float64)  # so that differences can be taken in the points' dtype

    @cached_property
    def _lengths(self) -> FloatArray:
        lengths, kept = np.empty(len(self.points)), self._kept

        def work(rows: slice) -> None:
            x = self._about_centre(rows, np.float64) if kept is None else kept[rows]
            lengths[rows] = np.sqrt(np.einsum("id,id->i", x, x, dtype=np.float64))

        self._over_blocks(work, 1)
        return lengths

    @cached_property
    def _kept(self) -> FloatArray | None:
        """All points about their centre, where that takes little memory; in many dimensions in float32."""
        if self.points.size > _KEPT:
            return None
        if self.points.shape[1] >= _DIM and self.points.dtype == np.float32:
            single = self._about_centre(slice(None), np.float32)
            if 1 / _RANGE < max(-float(single.min()), float(single.max())) < _RANGE:
                return single
        return self._about_centre(slice(None), np.float64)

    def _about_centre(self, rows: slice, dtype: Any) -> FloatArray:
        x = self.points[rows]
        return x - self.centre.astype(dtype) if x.dtype == dtype else (x - self.centre).astype(dtype)

    def listed(self, codes: FloatArray, prices: FloatArray, rooms: FloatArray) -> tuple[Candidates, Any]:
        """The codes of least priced cost as prices change within their rooms, and the labels of all points.

        rooms: (K, K), by how much the price of each code may rise beside that of another, by rows.
        """
        n, k = len(self.points), len(codes)
        scaled, squares = self._scaled(codes)
        reaches = np.sqrt(squares)
        dtype, gamma = self._precision(reaches, prices, float(rooms.min(where=rooms > 0, initial=np.inf)))
        rooms = rooms + 8 * float(np.finfo(dtype).eps) * float(np.abs(prices).max())
        scaled, priced = scaled.astype(dtype, copy=False), (squares - prices).astype(dtype)
        labels, counts = np.empty(n, np.int32), np.empty(n, np.int32)

        def work(rows: slice) -> tuple[Any, FloatArray]:
            scores = self._scores(rows, scaled, priced)
            found, costs = np.empty(scores.size, np.int32), np.empty(scores.size)
            total = kernels.list_candidates(
                scores, self._lengths[rows], reaches, prices, gamma, rooms, labels[rows], counts[rows], found, costs
            )
            return found[:total].copy(), costs[:total].copy()

        parts = self._over_blocks(work, k)
        rows = np.flatnonzero(counts)
        fixed = summed_by(labels, np.where(counts == 0, self.weights, 0.0), k)
        starts = np.concatenate([[0], np.cumsum(counts[rows], dtype=np.int64)])
        found, costs = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return Candidates(rows, starts, found, costs, self.weights[rows], fixed), labels

    def step(self, k: int, depth: int) -> int:
        """One of how many points is looked at for what moves between k cells cost."""
        looked_at = max(_LOOKED_AT, _LOOKED_AT_PER_CODE * k)
        return max(1, min(len(self.points) * depth // looked_at, len(self.points) // (_FEWEST_PER_CODE * k)))

    def exchanges(self, codes: FloatArray, prices: FloatArray, depth: int) -> tuple[FloatArray, FloatArray]:
        """The masses of cells (K,), and what it costs to move a point from one to another, (K, K).

        By a part of large samples: what a move costs is what it costs the few cheapest.
        """
        k, step = len(codes), self.step(len(codes), depth)
        scaled, squares = self._scaled(codes)
        dtype, _ = self._precision(np.sqrt(squares), prices, np.inf)
        scaled, priced = scaled.astype(dtype, copy=False), (squares - prices).astype(dtype)
        size, weights = self._block(k), self.weights[::step]
        blocks = -(-len(weights) // size)
        parts = min(blocks, _PARTS)

        def work(part: int) -> tuple[FloatArray, FloatArray]:
            least, masses = np.full((k, k), np.inf, dtype), np.zeros(k)
            for b in range(part * blocks // parts, (part + 1) * blocks // parts):
                rows = slice(b * size * step, (b + 1) * size * step, step)
                kernels.exchange(self._scores(rows, scaled, priced), weights[b * size : (b + 1) * size], least, masses)
            return least, masses

        found = parallel_map(work, parts)
        least, masses = np.min([x for x, _ in found], 0), np.sum([m for _, m in found], 0)
        return np.asarray(masses * (self.weights.sum() / weights.sum()), np.float64), np.asarray(least, np.float64)

    def windows(self, codes: FloatArray, prices: FloatArray) -> tuple[float, float]:
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

    def _precision(self, reaches: FloatArray, prices: FloatArray, room: float) -> tuple[Any, float]:
        r"""That of products, and twice their $\gamma$: float32 where points are too many to be kept and round-off is little."""
        d, usual = self.points.shape[1], 2 * float(np.median(self._lengths)) + float(reaches.max())
        gamma = 2 * score_error(d, np.float32)[0]
        fits = gamma * usual * usual + 2.0**-20 * float(np.abs(prices).max()) <= _SINGLE * room
        kept, small = self._kept, float(reaches.max()) < _RANGE
        if small and (kept.dtype == np.float32 if kept is not None else fits and usual < _RANGE):
            return np.float32, gamma
        return np.float64, 2 * score_error(d, np.float64)[0]

    def _block(self, k: int) -> int:
        return max(1, _BLOCK // (max(k, self.points.shape[1]) if self._kept is None else k))

    def _over_blocks(self, work: Callable[[slice], Any], k: int) -> list[Any]:
        n, size = len(self.points), self._block(k)
        return parallel_map(lambda b: work(slice(b * size, min((b + 1) * size, n))), -(-n // size))

    def _scores(self, rows: slice, scaled: Any, priced: Any) -> Any:
        r"""$|c_k|^2 - p_k - 2 \langle x, c_k\rangle$ of some points; scaled: what the codes' _scaled gave last."""
        if self._products is not None and scaled.dtype == self._products.dtype:
            return self._products[rows] + priced
        kept = self._kept
        points = kept[rows] if kept is not None and kept.dtype == scaled.dtype else self._about_centre(rows, scaled.dtype)
        scores = points @ scaled
        scores += priced
        return scores

    def _scaled(self, codes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Codes about the centre, times -2 and as columns, and their squared lengths; products are kept where they are few."""
        centred, kept = codes - self.centre, self._kept
        scaled, squares = (-2 * centred).T, np.square(centred).sum(1)
        if kept is not None and squares.max() < _RANGE**2:
            scaled = scaled.astype(kept.dtype, copy=False)
        if kept is None or kept.dtype != scaled.dtype or len(self.points) * len(codes) > _WHOLE:
            self._products = None
            return scaled, squares
        if self._products is None:
            self._products, self._codes = np.empty((len(self.points), len(codes)), kept.dtype), np.full(codes.shape, np.nan)
        new = np.flatnonzero((codes != self._codes).any(1))
        if len(new):
            products, columns = self._products, scaled.T[new].T

            def multiply(rows: slice) -> None:
                products[rows, new] = kept[rows] @ columns

            self._over_blocks(multiply, len(codes))
            self._codes = codes.copy()
        return scaled, squares
