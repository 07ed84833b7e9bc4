"""The network simplex on a dense bipartite graph, compiled: its start, its pivots, and what a spanning tree says.

Nodes are the n sources and then the m sinks. Of a spanning tree are kept, (n + m,) each: a node's parent, the number of its
descendants with itself, its first child, its neighbours to the left and to the right among the children of one parent, −1 where
there is none; and an order of all nodes that has parents first. ``flow`` (n + m,) is the mass between a node and its parent,
``potential`` (n + m,) is u and then v: u_i + v_k = C_ik along the tree. A basis stays strongly feasible: an arc without mass
leads from a child that is a source, so that pivots never cycle.
"""

# pyright: reportMissingTypeStubs=false
from typing import Any

import numpy as np

from quantization.compiler import compiled, part, unordered_part

_NOISE = 4 * float(np.finfo(np.float64).eps)  # of C − u − v, relative to its terms


@unordered_part
def _least(row: Any, potential: Any, n: int) -> float:
    """min_k (C_ik − v_k)."""
    least = np.inf
    for k in range(len(row)):
        least = min(least, row[k] - potential[n + k])
    return least


@part
def _attach(parent: Any, child: Any, left: Any, right: Any, q: int, p: int) -> None:
    first = child[p]
    parent[q], left[q], right[q], child[p] = p, -1, first, q
    if first >= 0:
        left[first] = q


@part
def _next(parent: Any, child: Any, right: Any, q: int, top: int, leaf: int) -> int:
    """The node after q in preorder among the descendants of ``top``, those of ``leaf`` left out; −1 at the end."""
    if child[q] >= 0 and q != leaf:
        return child[q]
    while q != top and right[q] < 0:
        q = parent[q]
    return -1 if q == top else right[q]


@compiled
def start(
    costs: Any, supply: Any, parent: Any, size: Any, child: Any, left: Any, right: Any, order: Any, flow: Any, potential: Any
) -> None:
    """A tree with a plan: each source in turn ships to the sinks that are left, the one of the least C_ik − min_i C_ik first.

    supply: (n + m,), > 0, of sources and then of sinks, with equal sums; it is used up. Where both ends of an arc are used up at
    once the source goes on without mass, which makes the basis strongly feasible.
    """
    n, m = costs.shape
    for k in range(m):
        potential[n + k] = np.inf
    for i in range(n):
        for k in range(m):
            potential[n + k] = min(potential[n + k], costs[i, k])
    open_sinks, at = m, n + m - 1  # the order is filled from its end: who is used up hangs on who is not
    for i in range(n):
        while True:
            least, k = _least(costs[i], potential, n), 0
            while costs[i, k] - potential[n + k] != least:
                k += 1
            if open_sinks > 1 and (supply[n + k] <= supply[i] or i == n - 1):
                q, p = n + k, i
                potential[n + k] = -np.inf
                open_sinks -= 1
            else:
                q, p = i, n + k
            flow[q] = supply[q] if supply[q] > 0.0 else 0.0
            supply[p] -= supply[q]
            parent[q], order[at] = p, q
            at -= 1
            if q == i:
                break
    root = parent[order[1]]
    order[0], parent[root], flow[root] = root, -1, 0.0
    for q in range(n + m):
        child[q], size[q] = -1, 1
    left[root], right[root] = -1, -1
    for at in range(n + m - 1, 0, -1):
        q = order[at]
        _attach(parent, child, left, right, q, parent[q])
        size[parent[q]] += size[q]


@compiled
def read_tree(
    costs: Any, supply: Any, parent: Any, child: Any, right: Any, order: Any, flow: Any, potential: Any, net: Any, low: Any
) -> None:
    """Flows and potentials of a tree, the root's 0, without what pivots have left of round-off; its nodes in preorder.

    supply: (2, n + m), sums of two numbers. net and low: (n + m,) such sums too, what the sources among a node and its
    descendants supply less what the sinks take.
    """
    n, at = costs.shape[0], 0
    q = root = order[0]
    while q >= 0:
        p = parent[q]
        if p < 0:
            potential[q] = 0.0
        elif q < n:
            potential[q] = costs[q, p - n] - potential[p]
        else:
            potential[q] = costs[p, q - n] - potential[p]
        net[q], low[q] = supply[0, q], supply[1, q]
        if q >= n:
            net[q], low[q] = -net[q], -low[q]
        order[at] = q
        at += 1
        q = _next(parent, child, right, q, root, -1)
    for at in range(len(flow) - 1, 0, -1):
        q = order[at]
        p, mass = parent[q], net[q] + low[q]
        mass = mass if q < n else -mass
        flow[q] = mass if mass > 0.0 else 0.0
        total = net[p] + net[q]
        back = total - net[p]
        low[p] += (net[p] - (total - back)) + (net[q] - back) + low[q]
        net[p] = total


@compiled
def pivot(
    costs: Any, parent: Any, size: Any, child: Any, left: Any, right: Any, flow: Any, potential: Any, root: int, state: Any,
    pivots: int, work: int,
) -> bool:  # fmt: skip
    """Pivots until no reduced cost is negative beyond round-off (True), or the pivots or the work that are allowed are done.

    Rows, long ones in pieces of about the square root of all costs, are looked at in turn; the arc with the least reduced cost
    of a piece enters, if that is negative. root: of the tree. state: (3,) the piece to look at next, all pivots so far, pieces
    since the last. work: numbers to look at, at most, but a piece.
    """
    n, m = costs.shape
    here, clean, pieces = state[0], state[2], max(1, round(np.sqrt(m / n)))
    while clean < n * pieces and state[1] < pivots and work > 0:
        i, piece = here // pieces, here % pieces
        begin, end = piece * m // pieces, (piece + 1) * m // pieces
        here = (here + 1) % (n * pieces)
        clean += 1
        work -= end - begin
        least = _least(costs[i, begin:end], potential[begin:], n)
        if not least < potential[i]:
            continue
        k, least = begin, np.inf
        for other in range(begin, end):
            x = costs[i, other] - potential[n + other]
            if x < least:
                least, k = x, other
        j, reduced = n + k, least - potential[i]
        if not reduced < -_NOISE * (abs(costs[i, k]) + abs(potential[i]) + abs(potential[j])):
            continue
        clean = 0
        state[1] += 1
        # Mass goes along i → j → the join of both paths → i; of arcs that empty first the last one on that way leaves.
        p, q = i, j
        while p != q:
            if size[p] <= size[q]:
                p = parent[p]
            else:
                q = parent[q]
        join, moved, leaving, below = p, np.inf, -1, i
        q = i
        while q != join:
            if q < n and flow[q] < moved:
                moved, leaving = flow[q], q
            q = parent[q]
        q = j
        while q != join:
            if q >= n and flow[q] <= moved:
                moved, leaving, below = flow[q], q, j
            q = parent[q]
        for end in range(2):
            q = i if end == 0 else j
            while q != join:
                flow[q] += moved if (q >= n) == (end == 0) else -moved
                q = parent[q]
        # The part of the tree below the leaving arc hangs on the entering one instead, turned over.
        other, count = i + j - below, size[leaving]
        q = parent[leaving]
        while q != join:
            size[q] -= count
            q = parent[q]
        q = other
        while q != join:
            size[q] += count
            q = parent[q]
        q, p, carried, rest = below, other, moved, count
        while True:
            above, before, kept = parent[q], flow[q], count - size[q]
            if left[q] >= 0:
                right[left[q]] = right[q]
            else:
                child[above] = right[q]
            if right[q] >= 0:
                left[right[q]] = left[q]
            _attach(parent, child, left, right, q, p)
            flow[q], size[q], carried, rest = carried, rest, before, kept
            if q == leaving:
                break
            p, q = q, above
        # Potentials change on one side of the entering arc, the smaller one.
        shift, top, leaf = reduced if below == i else -reduced, below, -1
        if 2 * count > n + m:
            shift, top, leaf = -shift, root, below
        q = top
        while q >= 0:
            if q != leaf:
                potential[q] += shift if q < n else -shift
            work -= 1
            q = _next(parent, child, right, q, top, leaf)
    state[0], state[2] = here, clean
    return clean >= n * pieces


@part
def _reduced(c: float, u: float, v: float) -> float:
    """c − u − v to round-off of itself (Knuth's sums)."""
    one = c - u
    two = one - v
    b, d = one - c, two - one
    return two + ((c - (one - b)) + (-u - b) + ((one - (two - d)) + (-v - d)))


@compiled
def find_excess(costs: Any, potential: Any, excess: Any) -> None:
    """How far potentials have to fall for no u_i + v_k to exceed C_ik, (n + m,) and ≤ 0, differences to round-off of themselves.

    Of a pair that is in excess the larger one falls, of which the digits are that few.
    """
    n, m = costs.shape
    excess[:] = 0.0
    for i in range(n):
        u = potential[i]
        for k in range(m):
            c, v = costs[i, k], potential[n + k]
            if c - u - v < _NOISE * (abs(c) + abs(u) + abs(v)):
                q = i if abs(u) >= abs(v) else n + k
                excess[q] = min(excess[q], _reduced(c, u, v))


@compiled
def optimum(
    costs: Any, supply: Any, parent: Any, size: Any, child: Any, left: Any, right: Any, order: Any, flow: Any, potential: Any,
    net: Any, low: Any, state: Any, pivots: int, share: float, answer: Any,
) -> None:  # fmt: skip
    """All of it in one call, for small problems. answer: (2,) the cost and the gap of the tree at which it ends.

    share: of the supplies that an arc joins, at most which its flow is round-off.
    """
    n = costs.shape[0]
    for q in range(len(flow)):
        net[q] = supply[0, q]
    start(costs, net, parent, size, child, left, right, order, flow, potential)
    read_tree(costs, supply, parent, child, right, order, flow, potential, net, low)
    done = pivot(costs, parent, size, child, left, right, flow, potential, order[0], state, pivots, 1 << 60)
    read_tree(costs, supply, parent, child, right, order, flow, potential, net, low)
    find_excess(costs, potential, net)
    answer[0], answer[1] = 0.0, 0.0
    for q in range(len(flow)):
        p = parent[q]
        answer[1] -= net[q] * supply[0, q]
        if p < 0:
            continue
        i, k = (q, p) if q < n else (p, q)
        if flow[q] > share * min(supply[0, i], supply[0, k]):
            answer[0] += flow[q] * costs[i, k - n]
            answer[1] += flow[q] * _reduced(costs[i, k - n], potential[i], potential[k])
    if not done:
        answer[1] = np.inf
