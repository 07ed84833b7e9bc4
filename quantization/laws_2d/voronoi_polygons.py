r"""Voronoi diagrams in the plane: every cell as the list of its edges, unbounded cells and rays included.

An edge between codes $x_k$ and $x_j$ lies on their bisector, $\{x_k + h n + s t : a \le s \le b\}$ with $h = |x_j - x_k|/2$,
n the direction of $x_j - x_k$ and t a quarter turn of it. On each bisector the half-planes of the other codes cut out an
interval, so edges are found one by one. No incidence is ever decided: where four cells meet in a point, as they do at symmetric
optima, an edge has a length of zero or of round-off, and either is harmless. Imported where it is used, as it loads numba.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.spatial import KDTree

from quantization.arrays import FloatArray, IntArray

compiled: Any = njit(nogil=True, cache=True)

_SMALL, _NEAR = 40, 17  # up to _SMALL codes all pairs are tried; beyond, the _NEAR nearest come first and mostly complete a cell
_LONG = 1e6  # edges that much longer than their distance from the code may be parallel, by round-off, and meet nowhere
_EQUAL = 1e-140  # codes closer than this count as equal: products of such differences underflow


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
    near = np.empty((k, 0), dtype=np.int64)
    if k > _SMALL:
        near = np.asarray(KDTree(codes).query(codes, _NEAR)[1], dtype=np.int64)
    first, neighbors, lines, owned = _diagram(np.ascontiguousarray(codes), near)
    return Diagram(first, neighbors, lines, owned)


@compiled
def _clipped(e: Any, length: float, o: Any, low: float, high: float) -> tuple[float, float]:
    r"""The part of [low, high] on a bisector, the points $e/2 + s t$ about the code, that is nearer to it than to another code.

    e, o: the vectors from the code to those beyond the bisector and to the other. Nearer means $s\, w \cdot t \le o \cdot w / 2$
    with $w = o - e$, and $w \cdot t = o \cdot t$: the shorter keeps intersections accurate where codes lie close together.
    """
    w = (o[0] - e[0], o[1] - e[1])
    shorter = w if w[0] * w[0] + w[1] * w[1] < o[0] * o[0] + o[1] * o[1] else o
    slope, room = e[0] * shorter[1] - e[1] * shorter[0], (o[0] * w[0] + o[1] * w[1]) * length / 2
    if slope > 0:
        return low, min(high, room / slope)
    if slope < 0:
        return max(low, room / slope), high
    return (low, high) if room > 0 else (np.inf, -np.inf)


@compiled
def _add(e: Any, j: int, away: Any, ids: Any, lines: Any, count: int) -> int:
    """Cut a cell, so far ``lines[:count]``, by the bisector of code j at e; its new number of edges. away: the edges' codes."""
    length = np.hypot(e[0], e[1])
    low, high = -np.inf, np.inf
    for i in range(count):
        o = (away[i, 0], away[i, 1])
        if abs(o[0] - e[0]) < _EQUAL and abs(o[1] - e[1]) < _EQUAL:
            return count
        low, high = _clipped(e, length, o, low, high)
        if low >= high:
            return count
    remaining = 0
    for i in range(count):
        a, b = _clipped((away[i, 0], away[i, 1]), 2 * lines[i, 2], e, lines[i, 3], lines[i, 4])
        if a < b:
            if remaining < i:
                ids[remaining], away[remaining], lines[remaining] = ids[i], away[i], lines[i]
            lines[remaining, 3], lines[remaining, 4] = a, b
            remaining += 1
    ids[remaining] = j
    away[remaining, 0], away[remaining, 1] = e
    lines[remaining, 0], lines[remaining, 1], lines[remaining, 2] = e[0] / length, e[1] / length, length / 2
    lines[remaining, 3], lines[remaining, 4] = low, high
    return remaining + 1


@compiled
def _cuts(e0: float, e1: float, lines: Any, count: int) -> bool:
    """Whether the bisector of the code at e may cut the cell; else it leaves the cell as it is.

    It does where it cuts an edge, rays to their infinite ends, or a whole half-plane or strip without meeting its edges.
    """
    half, facing, closed = (e0 * e0 + e1 * e1) / 2, 0.0, count > 1
    for i in range(count):
        n0, n1, h, a, b = lines[i, 0], lines[i, 1], lines[i, 2], lines[i, 3], lines[i, 4]
        along, slope = e0 * n0 + e1 * n1, e1 * n0 - e0 * n1
        room = half - h * along
        if (slope > 0 and slope * b > room) or (slope < 0 and slope * a > room) or (slope == 0 and room < 0):
            return True
        if max(b, -a) > _LONG * h:
            closed = False
            facing += along
    return not closed and not (count > 1 and facing > 0)


@compiled
def _reach(lines: Any, count: int) -> float:
    """The largest distance from its code to a point of the cell: no code twice as far away shares an edge with it."""
    furthest = 0.0 if count else np.inf
    for i in range(count):
        furthest = max(furthest, np.hypot(lines[i, 2], max(-lines[i, 3], lines[i, 4])))
    return furthest


@compiled
def _cell(codes: Any, k: int, candidates: Any, away: Any, ids: Any, lines: Any, count: int) -> tuple[int, int]:
    """Cut the cell of k by the bisectors of the candidates that can reach it; its edges, and a code equal to k before it or k."""
    reach = _reach(lines, count)
    for j in candidates:
        if j == k:
            continue
        e0, e1 = codes[j, 0] - codes[k, 0], codes[j, 1] - codes[k, 1]
        if abs(e0) < _EQUAL and abs(e1) < _EQUAL:
            if j < k:
                return 0, j
        elif max(abs(e0), abs(e1)) <= 2 * reach and _cuts(e0, e1, lines, count):
            count = _add((e0, e1), j, away, ids, lines, count)
            reach = _reach(lines, count)
    return count, k


@compiled
def _diagram(codes: Any, near: Any) -> tuple[Any, Any, Any, Any]:
    k = len(codes)
    everyone, owner = np.arange(k), np.arange(k)
    first = np.zeros(k + 1, np.int64)
    neighbors, edges = np.empty(8 * k, np.int64), np.empty((8 * k, 5))
    ids, away, lines = np.empty(k, np.int64), np.empty((k, 2)), np.empty((k, 5))
    for i in range(k):
        count, equal = _cell(codes, i, near[i], away, ids, lines, 0)
        complete = equal != i
        if near.shape[1] > 0 and not complete:
            last = near[i, -1]
            furthest = np.hypot(codes[last, 0] - codes[i, 0], codes[last, 1] - codes[i, 1])
            complete = furthest / 2 > _reach(lines, count)
        if not complete:
            count, equal = _cell(codes, i, everyone, away, ids, lines, count)
        owner[i] = owner[equal]
        start = first[i]
        if start + count > len(neighbors):
            neighbors = np.concatenate((neighbors, np.empty(len(neighbors) + count, np.int64)))
            edges = np.concatenate((edges, np.empty((len(edges) + count, 5))))
        neighbors[start : start + count] = ids[:count]
        edges[start : start + count] = lines[:count]
        first[i + 1] = start + count
    return first, owner[neighbors[: first[k]]], edges[: first[k]].copy(), owner == everyone
