r"""Voronoi diagrams in the plane: every cell as the list of its edges, unbounded cells and rays included.

An edge between codes $x_k$ and $x_j$ lies on their bisector, $\{x_k + h n + s t : a \le s \le b\}$ with $h = |x_j - x_k|/2$,
n the direction of $x_j - x_k$ and t a quarter turn of it. On each bisector the half-planes of the other codes cut out an
interval, so edges are found one by one. No incidence is ever decided: where four cells meet in a point, as they do at symmetric
optima, an edge has a length of zero or of round-off, and either does no harm. Loaded on use, as it loads numba.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from quantization.arrays import FloatArray, IntArray
from quantization.compiler import compiled, part

_SMALL, _NEAR = 40, 17  # up to _SMALL codes all pairs are tried; beyond, the _NEAR nearest come first and mostly settle a cell
_LONG = 1e6  # edges that much longer than their distance from the code may be parallel, by round-off, and meet nowhere
_EQUAL = 1e-140  # codes closer than this count as equal: products of such differences underflow
_TRIED = 2**21  # codes that one compiled call tries at most, so that an interrupt need not wait for it


@dataclass(frozen=True)
class Diagram:
    """The edges of the cells of K codes, cell by cell: those of cell k are ``first[k]:first[k + 1]``, in no order.

    Every edge stands twice, once for either side. neighbors: (E,) the code beyond. lines: (E, 5), rows $(n_1, n_2, h, a, b)$, the
    outward normal, the distance from the cell's code, and the interval along $t = (-n_2, n_1)$, infinite for rays and lines.
    owned: (K,) whether the cell is the code's own: of equal codes the first owns it, and the others have no edges.
    """

    first: IntArray
    neighbors: IntArray
    lines: FloatArray
    owned: Any


def voronoi_diagram(codes: FloatArray) -> Diagram:
    """The Voronoi diagram of codes (K, 2); O(K log K) but for cells that a few neighbours do not close, O(K) each."""
    k = len(codes)
    codes, near = np.ascontiguousarray(codes), np.empty((k, 0), dtype=np.int64)
    if k > _SMALL:
        near = np.asarray(KDTree(codes).query(codes, _NEAR)[1], dtype=np.int64)
    first, owner = np.zeros(k + 1, np.int64), np.arange(k)
    neighbors, lines = np.empty(8 * k, np.int64), np.empty((8 * k, 5))
    ids, cell = np.empty(k, np.int64), np.empty((k, 7))
    done, cells = 0, max(1, _TRIED // k)
    while done < k:
        end = min(done + cells, k)
        done = _add_cells(codes, near, done, end, first, owner, neighbors, lines, ids, cell)
        if done < end:
            neighbors = np.concatenate([neighbors, np.empty(len(neighbors) + k, np.int64)])
            lines = np.concatenate([lines, np.empty((len(lines) + k, 5))])
    count = int(first[k])
    return Diagram(first, owner[neighbors[:count]], lines[:count].copy(), owner == np.arange(k))


@part
def _clipped(e0: float, e1: float, length: float, o0: float, o1: float, low: float, high: float) -> tuple[float, float]:
    r"""The part of [low, high] on a bisector, the points $e/2 + s t$ about the code, that is nearer to it than to another code.

    e, o: the vectors from the code to those beyond the bisector and to the other. Nearer means $s\, w \cdot t \le o \cdot w / 2$
    with $w = o - e$, and $w \cdot t = o \cdot t$: the shorter keeps intersections right where codes lie close together.
    """
    w0, w1 = o0 - e0, o1 - e1
    shorter = w0 * w0 + w1 * w1 < o0 * o0 + o1 * o1
    slope = e0 * (w1 if shorter else o1) - e1 * (w0 if shorter else o0)
    room = (o0 * w0 + o1 * w1) * length / 2
    if slope > 0:
        high = min(high, room / slope)
    elif slope < 0:
        low = max(low, room / slope)
    elif not room > 0:
        low, high = np.inf, -np.inf
    return low, high


@part
def _add(e0: float, e1: float, j: int, ids: IntArray, cell: FloatArray, count: int) -> int:
    """Cut a cell, so far ``cell[:count]``, by the bisector of code j at e; its new number of edges.

    A row of ``cell`` is a line of :class:`Diagram` and the vector to the code beyond, whose number is in ids.
    """
    length = np.hypot(e0, e1)
    low, high = -np.inf, np.inf
    for i in range(count):
        o0, o1 = cell[i, 5], cell[i, 6]
        if abs(o0 - e0) < _EQUAL and abs(o1 - e1) < _EQUAL:
            return count
        low, high = _clipped(e0, e1, length, o0, o1, low, high)
        if low >= high:
            return count
    kept = 0
    for i in range(count):
        a, b = _clipped(cell[i, 5], cell[i, 6], 2 * cell[i, 2], e0, e1, cell[i, 3], cell[i, 4])
        if a < b:
            ids[kept] = ids[i]
            for t in range(7):
                cell[kept, t] = cell[i, t]
            cell[kept, 3], cell[kept, 4] = a, b
            kept += 1
    ids[kept] = j
    cell[kept, 0], cell[kept, 1], cell[kept, 2] = e0 / length, e1 / length, length / 2
    cell[kept, 3], cell[kept, 4], cell[kept, 5], cell[kept, 6] = low, high, e0, e1
    return kept + 1


@part
def _cuts(e0: float, e1: float, cell: FloatArray, count: int) -> bool:
    """Whether the bisector of the code at e may cut the cell; else it leaves the cell as it is.

    It does where it cuts an edge, rays to their infinite ends, or a whole half-plane or strip without meeting its edges.
    """
    half, facing, closed = (e0 * e0 + e1 * e1) / 2, 0.0, count > 1
    for i in range(count):
        n0, n1, h, a, b = cell[i, 0], cell[i, 1], cell[i, 2], cell[i, 3], cell[i, 4]
        along, slope = e0 * n0 + e1 * n1, e1 * n0 - e0 * n1
        room = half - h * along
        if (slope > 0 and slope * b > room) or (slope < 0 and slope * a > room) or (slope == 0 and room < 0):
            return True
        if b > _LONG * h or -a > _LONG * h:
            closed = False
            facing += along
    return not closed and not (count > 1 and facing > 0)


@compiled
def _add_cells(
    codes: FloatArray, near: IntArray, begin: int, end: int, first: IntArray, owner: IntArray, neighbors: IntArray,
    lines: FloatArray, ids: IntArray, cell: FloatArray,
) -> int:  # fmt: skip
    """Cells from ``begin`` to ``end``, as far as there is room for their edges; the next one.

    Each is cut by the bisectors of the codes that can reach it: those near it, then, unless these settle it, all of them.
    owner: of equal codes the first. ids (K,), cell (K, 7): space for one cell.
    """
    k, few = len(codes), near.shape[1]
    for i in range(begin, end):
        # No code twice as far away as the furthest point of the cell shares an edge with it.
        count, reach, settled = np.int64(0), np.inf, False  # a plain 0 is a type of its own, for which parts compile twice
        for c in range(few + k):
            if settled:
                break
            j = near[i, c] if c < few else c - few
            e0, e1 = codes[j, 0] - codes[i, 0], codes[j, 1] - codes[i, 1]
            if j != i and abs(e0) < _EQUAL and abs(e1) < _EQUAL:
                if j < i:
                    owner[i], count, settled = owner[j], 0, True
            elif j != i and abs(e0) <= 2 * reach and abs(e1) <= 2 * reach and _cuts(e0, e1, cell, count):
                count, reach = _add(e0, e1, j, ids, cell, count), 0.0
                for m in range(count):
                    long = cell[m, 4] if cell[m, 4] > -cell[m, 3] else -cell[m, 3]
                    far = np.hypot(cell[m, 2], long)
                    reach = far if far > reach else reach
            if c == few - 1:
                settled = settled or np.hypot(e0, e1) > 2 * reach
        start = first[i]
        if start + count > len(neighbors):
            return i
        for m in range(count):
            neighbors[start + m] = ids[m]
            for t in range(5):
                lines[start + m, t] = cell[m, t]
        first[i + 1] = start + count
    return end
