r"""Voronoi and power diagrams in the plane: every cell as the list of its edges, unbounded cells and rays included.

The cell of $x_k$ is where $|y - x_k|^2 - p_k$ is the least, with prices p. An edge between codes $x_k$ and $x_j$ lies on their
bisector, $\{x_k + h n + s t : a \le s \le b\}$ with $h = (|x_j - x_k|^2 + p_k - p_j)/2|x_j - x_k|$, n the direction of
$x_j - x_k$ and t a quarter turn of it. With prices h may be negative, a cell may lie apart from its code, or be empty. On each
bisector the half-planes of the other codes cut out an interval, so edges are found one by one. No incidence is ever decided:
where four cells meet in a point, as they do at symmetric optima, an edge has a length of zero or of round-off, and either does no
harm. Loaded on use, as it loads numba.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled, part

_SMALL, _NEAR = 40, 17  # up to _SMALL codes all pairs are tried; beyond, the _NEAR nearest come first and mostly complete a cell
_LONG = 1e6  # edges that much longer than their distance from the code may be parallel, by round-off, and meet nowhere
_EQUAL = 1e-140  # codes closer than this count as equal: products of such differences underflow
_TRIED = 2**21  # codes that one compiled call tries at most, so that an interrupt need not wait for it


@dataclass(frozen=True)
class Diagram:
    """The edges of the cells of K codes, cell by cell: those of cell k are ``first[k]:first[k + 1]``, in no order.

    Every edge stands twice, once for either side. neighbors: (E,) the code beyond. lines: (E, 5), rows $(n_1, n_2, h, a, b)$, the
    outward normal, the distance from the cell's code, and the interval along $t = (-n_2, n_1)$, infinite for rays and lines.
    owned: (K,) whether the code has a cell. Of equal codes the one of the highest price has it, the first of those; the others,
    and codes whose price is too low, have no edges.
    """

    first: IntArray
    neighbors: IntArray
    lines: FloatArray
    owned: Any


def voronoi_diagram(codes: FloatArray) -> Diagram:
    """The Voronoi diagram of codes (K, 2); O(K log K) but for cells that a few neighbours do not close, O(K) each."""
    return power_diagram(codes, np.zeros(len(codes)))


def power_diagram(codes: FloatArray, prices: FloatArray) -> Diagram:
    """The power diagram of codes (K, 2) with prices (K,), in the time of a Voronoi diagram where these do not differ much."""
    k = len(codes)
    codes, near = np.ascontiguousarray(codes), np.empty((k, 0), dtype=np.int64)
    if k > _SMALL:
        near = np.asarray(KDTree(codes).query(codes, _NEAR)[1], dtype=np.int64)
    first, owner = np.zeros(k + 1, np.int64), np.arange(k)
    neighbors, lines = np.empty(8 * k, np.int64), np.empty((8 * k, 5))
    ids, cell = np.empty(k, np.int64), np.empty((k, 9))
    highest = float(prices.max())
    done, cells = 0, max(1, _TRIED // k)
    while done < k:
        end = min(done + cells, k)
        done = _add_cells(codes, prices, highest, near, done, end, first, owner, neighbors, lines, ids, cell)
        if done < end:
            neighbors = np.concatenate([neighbors, np.empty(len(neighbors) + k, np.int64)])
            lines = np.concatenate([lines, np.empty((len(lines) + k, 5))])
    count = int(first[k])
    own = owner == np.arange(k)
    owner[owner == k] = 0  # which are nobody's neighbours
    return Diagram(first, owner[neighbors[:count]], lines[:count].copy(), own)


@part
def _clipped(
    e0: float, e1: float, length: float, e_price: float, o0: float, o1: float, o_price: float, low: float, high: float
) -> tuple[float, float]:
    r"""The part of [low, high] on a bisector, the points $h n + s t$ about the code, where the code is preferred to another.

    e, o: the vectors from the code to those beyond the bisector and to the other, with the code's price less theirs. Preferred is
    where $s\, w \cdot t \le (o \cdot w + p_o - p_e\, e \cdot o / |e|^2) / 2$ with $w = o - e$, and $w \cdot t = o \cdot t$: the
    shorter keeps intersections right where codes lie close together.
    """
    w0, w1 = o0 - e0, o1 - e1
    shorter = w0 * w0 + w1 * w1 < o0 * o0 + o1 * o1
    slope = e0 * (w1 if shorter else o1) - e1 * (w0 if shorter else o0)
    room = o0 * w0 + o1 * w1
    if o_price != 0 or e_price != 0:
        room += o_price - e_price * ((e0 * o0 + e1 * o1) / length / length)
    room = room * length / 2
    if slope > 0:
        high = min(high, room / slope)
    elif slope < 0:
        low = max(low, room / slope)
    elif not room > 0:
        low, high = np.inf, -np.inf
    return low, high


@part
def _add(e0: float, e1: float, price: float, j: int, ids: IntArray, cell: FloatArray, count: int) -> int:
    """Cut a cell, so far ``cell[:count]``, by the bisector of code j at e; its new number of edges, −1 if nothing is left of it.

    A row of ``cell`` is a line of :class:`Diagram`, the vector to the code beyond, whose number is in ids, the code's price less
    that one's, and the vector's length.
    """
    length = np.hypot(e0, e1)
    low, high = -np.inf, np.inf
    for i in range(count):
        o0, o1 = cell[i, 5], cell[i, 6]
        if abs(o0 - e0) < _EQUAL and abs(o1 - e1) < _EQUAL and cell[i, 7] <= price:
            return count
        low, high = _clipped(e0, e1, length, price, o0, o1, cell[i, 7], low, high)
        if low >= high:
            break
    kept = 0
    for i in range(count):
        a, b = _clipped(cell[i, 5], cell[i, 6], cell[i, 8], cell[i, 7], e0, e1, price, cell[i, 3], cell[i, 4])
        if a < b:
            if low >= high:  # the bisector passes by
                return count
            ids[kept] = ids[i]
            for t in range(9):
                cell[kept, t] = cell[i, t]
            cell[kept, 3], cell[kept, 4] = a, b
            kept += 1
    if low >= high:
        return -1
    ids[kept] = j
    cell[kept, 0], cell[kept, 1], cell[kept, 2] = e0 / length, e1 / length, (length + price / length) / 2
    cell[kept, 3], cell[kept, 4], cell[kept, 5], cell[kept, 6] = low, high, e0, e1
    cell[kept, 7], cell[kept, 8] = price, length
    return kept + 1


@part
def _cuts(e0: float, e1: float, price: float, cell: FloatArray, count: int) -> bool:
    """Whether the bisector of the code at e may cut the cell; else it leaves the cell as it is.

    It does where it cuts an edge, rays to their infinite ends, or a whole half-plane or strip without meeting its edges.
    """
    half, facing, closed = (e0 * e0 + e1 * e1 + price) / 2, 0.0, count > 1
    for i in range(count):
        n0, n1, h, a, b = cell[i, 0], cell[i, 1], cell[i, 2], cell[i, 3], cell[i, 4]
        along, slope = e0 * n0 + e1 * n1, e1 * n0 - e0 * n1
        room = half - h * along
        if (slope > 0 and slope * b > room) or (slope < 0 and slope * a > room) or (slope == 0 and room < 0):
            return True
        if b > _LONG * abs(h) or -a > _LONG * abs(h):
            closed = False
            facing += along
    return not closed and not (count > 1 and facing > 0)


@compiled
def _add_cells(
    codes: FloatArray, prices: FloatArray, highest: float, near: IntArray, begin: int, end: int, first: IntArray, owner: IntArray,
    neighbors: IntArray, lines: FloatArray, ids: IntArray, cell: FloatArray,
) -> int:  # fmt: skip
    """Cells from ``begin`` to ``end``, as far as there is room for their edges; the next one.

    Each is cut by the bisectors of the codes that can reach it: those near it, then, unless these complete it, all of them.
    owner: of equal codes the one that has the cell, K where the cell is empty. ids (K,), cell (K, 9): space for one cell.
    """
    k, few = len(codes), near.shape[1]
    for i in range(begin, end):
        # No code this far away shares an edge with a cell whose furthest point is at ``reach``: twice as far, where prices agree.
        count, limit, complete = np.int64(0), np.inf, False  # a plain 0 is a type of its own, for which parts compile twice
        for c in range(few + k):
            if complete:
                break
            j = near[i, c] if c < few else c - few
            e0, e1, price = codes[j, 0] - codes[i, 0], codes[j, 1] - codes[i, 1], prices[i] - prices[j]
            if j != i and abs(e0) < _EQUAL and abs(e1) < _EQUAL:
                if price < 0 or (price == 0 and j < i):
                    owner[i], count, complete = owner[j], 0, True
            elif j != i and abs(e0) <= limit and abs(e1) <= limit and _cuts(e0, e1, price, cell, count):
                count, reach = _add(e0, e1, price, j, ids, cell, count), 0.0
                if count < 0:
                    owner[i], count, complete = k, 0, True
                for m in range(count):
                    long = cell[m, 4] if cell[m, 4] > -cell[m, 3] else -cell[m, 3]
                    far = np.hypot(cell[m, 2], long)
                    reach = far if far > reach else reach
                limit = 2 * reach if highest == prices[i] else reach + np.sqrt(reach * reach + (highest - prices[i]))
            if c == few - 1:
                complete = complete or np.hypot(e0, e1) > limit
        start = first[i]
        if start + count > len(neighbors):
            return i
        for m in range(count):
            neighbors[start + m] = ids[m]
            for t in range(5):
                lines[start + m, t] = cell[m, t]
        first[i + 1] = start + count
    return end
