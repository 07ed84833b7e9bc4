"""The network simplex on a dense bipartite graph, compiled: its start, its pivots, and what a spanning tree says.

Nodes are the n sources and then the m sinks, N in all. Of a spanning tree are kept: ``parent`` and ``size`` (N,), a node's parent
and the number of its descendants with itself; ``left`` and ``right`` (2 N + 1,), its neighbours among the children of one parent,
in a list that begins at the place N + parent and ends at −1, the last place, which nobody reads; and ``order`` (N,), all nodes,
parents first. ``flow`` (N,) is the mass between a node and its parent, ``potential`` (N,) is u and then v: u_i + v_k = C_ik along
the tree. A basis stays strongly feasible: an arc without mass leads from a child that is a source, so that pivots never cycle.
"""

# pyright: reportMissingTypeStubs=false
from typing import Any

import numpy as np

from quantization.compiler import compiled, part, unordered_part

_HEIGHT, _BLOCK = 180, 2**15  # rows and numbers at most of the blocks that candidates are sought in, which the cache holds
_SHARE = 0.1  # of the best candidate's reduced cost, at least
_NOISE = 4 * float(np.finfo(np.float64).eps)  # of C − u − v, relative to its terms


@unordered_part
def _least(row: Any, prices: Any) -> float:
    """min_k (C_ik − v_k)."""
    least = np.inf
    for k in range(len(row)):
        x = row[k] - prices[k]
        least = x if x < least else least
    return least


@part
def _attach(parent: Any, left: Any, right: Any, q: int, p: int) -> None:
    head = len(parent) + p
    first = right[head]
    parent[q], left[q], right[q], left[first], right[head] = p, head, first, q, q


@part
def _next(parent: Any, right: Any, q: int, top: int, leaf: int) -> int:
    """The node after q in preorder among the descendants of ``top``, those of ``leaf`` left out; −1 at the end."""
    child = right[len(parent) + q]
    if child >= 0 and q != leaf:
        return child
    while q != top and right[q] < 0:
        q = parent[q]
    return -1 if q == top else right[q]


@compiled
def start(costs: Any, net: Any, parent: Any, size: Any, left: Any, right: Any, order: Any, potential: Any) -> None:
    """A tree with a plan: each source in turn ships to the sinks that are left, the one of the least C_ik − min_i C_ik first.

    net: (N,), what the sources supply, and less what the sinks take; it is used up. potential: of sinks, min_i C_ik. Where both
    ends of an arc are used up at once the source goes on without mass, which makes the basis strongly feasible.
    """
    n, m = costs.shape
    prices, open_sinks, p = potential[n:], m, n
    at = n + m - 1  # the order is filled from its end: who is used up hangs on who is not
    for i in range(n):
        q = n
        while q >= n:
            least, k = _least(costs[i], prices), np.int64(0)
            while costs[i, k] - prices[k] != least:
                k += 1
            q, p = i, n + k
            if open_sinks > 1 and (-net[p] <= net[i] or i == n - 1):
                q, p = p, q
                prices[k] = -np.inf
                open_sinks -= 1
            net[p] += net[q]
            parent[q], order[at] = p, q
            at -= 1
    order[0], parent[p] = p, -1
    for at in range(n + m - 1, 0, -1):
        q = order[at]
        p = parent[q]
        _attach(parent, left, right, q, p)
        size[p] += size[q]


@compiled
def read_tree(
    costs: Any, supply: Any, parent: Any, right: Any, order: Any, flow: Any, potential: Any, net: Any, low: Any
) -> None:
    """Flows and potentials of a tree, the root's 0, without what pivots have left of round-off; its nodes in preorder.

    net and low: (N,), sums of two numbers, what a node and its descendants supply.
    """
    n, at = len(costs), np.int64(0)
    q = root = order[0]
    while q >= 0:
        p = parent[q]
        potential[q] = (costs[q, p - n] if q < n else costs[p, q - n]) - potential[p] if p >= 0 else 0.0
        net[q], low[q], order[at] = supply[0, q], supply[1, q], q
        at += 1
        q = _next(parent, right, q, root, np.int64(-1))
    for at in range(len(flow) - 1, 0, -1):
        q = order[at]
        p, mass = parent[q], net[q] + low[q]
        mass = mass if q < n else -mass
        flow[q] = mass if mass > 0.0 else 0.0
        total = net[p] + net[q]
        back = total - net[p]
        low[p] += (net[p] - (total - back)) + (net[q] - back) + low[q]
        net[p] = total


@part
def _enter_least(costs: Any, potential: Any, top: int, begin: int, height: int, width: int, least: Any, where: Any) -> int:
    """Of each column of a block the row of the least C_ik − u_i where that is below v_k, else −1; how many columns it has."""
    n, m = costs.shape
    width = width if begin + width < m else m - begin
    for k in range(width):
        least[k], where[k] = potential[n + begin + k], -1.0
    for i in range(top, top + height if top + height < n else n):
        u, row, here = potential[i], costs[i, begin : begin + width], float(i)
        for k in range(width):
            x, low, which = row[k] - u, least[k], where[k]
            least[k] = x if x < low else low
            where[k] = here if x < low else which
    return width


@compiled
def pivot(
    costs: Any, parent: Any, size: Any, left: Any, right: Any, flow: Any, potential: Any, root: int, state: Any, pivots: int,
    work: Any, least: Any, where: Any,
) -> bool:  # fmt: skip
    """Pivots until no reduced cost is negative beyond round-off (True), or the pivots or the work that are allowed are done.

    Blocks of costs are looked at in turn. The arc with the least reduced cost of each column of a block is a candidate, if that
    is negative; the best candidate enters, as long as it is a tenth as good as the first. root: of the tree. state: (3,) the
    block to look at next, blocks without candidates since the last with one, all pivots so far. work: numbers to look at, at
    most, but a block and a pivot. least, where: (N,) to be written to.
    """
    n, m = costs.shape
    here, clean, found, goal = state[0], state[1], np.int64(0), 0.0
    height = n if n < _HEIGHT else _HEIGHT
    width = m if m * height < _BLOCK else _BLOCK // height
    across = (m + width - 1) // width
    blocks = (n + height - 1) // height * across
    while clean < blocks and state[2] < pivots and work > 0:
        if found == 0:
            top, begin = here // across * height, here % across * width
            here = (here + 1) % blocks
            columns = _enter_least(costs, potential, top, begin, height, width, least, where)
            work -= height * columns
            goal = 0.0
            for k in range(columns):
                if where[k] < 0.0:
                    continue
                i, j = int(where[k]), n + begin + k
                reduced = least[k] - potential[j]
                if reduced < -_NOISE * (abs(costs[i, j - n]) + abs(potential[i]) + abs(potential[j])):
                    least[found], where[found] = float(j), where[k]
                    goal = reduced if reduced < goal else goal
                    found += 1
            clean = clean + 1 if found == 0 else 0
            goal *= _SHARE
            work = work if work > 0 or found == 0 else np.int64(1)  # one of them at least
            continue
        held, found, reduced, at = found, np.int64(0), goal, np.int64(-1)
        for c in range(held):
            i, j = int(where[c]), int(least[c])
            x = costs[i, j - n] - potential[i] - potential[j]
            if x < goal:
                if x < reduced:
                    reduced, at = x, found
                least[found], where[found] = least[c], where[c]
                found += 1
        work -= held
        if at < 0:
            continue
        i, j = int(where[at]), int(least[at])
        found -= 1
        least[at], where[at] = least[found], where[found]
        if not reduced < -_NOISE * (abs(costs[i, j - n]) + abs(potential[i]) + abs(potential[j])):
            continue
        state[2] += 1
        # Mass goes along i → j → the join of both paths → i; of arcs that empty first the last one on that way leaves.
        p, q, moved, leaving, below = i, j, np.inf, i, i
        while p != q:
            if size[p] <= size[q]:
                if p < n and flow[p] < moved:
                    moved, leaving, below = flow[p], p, i
                p = parent[p]
            else:
                if q >= n and flow[q] <= moved:
                    moved, leaving, below = flow[q], q, j
                q = parent[q]
        join, other, count = p, i + j - below, size[leaving]
        q, change, grown = other, -moved if below == i else moved, count
        for _ in range(2):
            while q != join:
                flow[q] += change if q >= n else -change
                size[q] += grown
                grown = -count if q == leaving else grown
                q = parent[q]
            q, change, grown = below, -change, 0
        # The part of the tree below the leaving arc hangs on the entering one instead, turned over.
        p, q, carried, rest = other, below, moved, count
        while p != leaving:
            above, before, kept = parent[q], flow[q], count - size[q]
            right[left[q]], left[right[q]] = right[q], left[q]
            _attach(parent, left, right, q, p)
            flow[q], size[q], carried, rest = carried, rest, before, kept
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
            q = _next(parent, right, q, top, leaf)
    state[0], state[1] = here, clean
    return clean >= blocks


@part
def _reduced(c: float, u: float, v: float) -> float:
    """c − u − v to round-off of itself (Knuth's sums)."""
    one = c - u
    two = one - v
    b, d = one - c, two - one
    return two + ((c - (one - b)) + (-u - b) + ((one - (two - d)) + (-v - d)))


@compiled
def find_excess(costs: Any, potential: Any, excess: Any) -> None:
    """How far potentials have to fall for no u_i + v_k to exceed C_ik, (N,) and ≤ 0, differences to round-off of themselves.

    Of a pair that is in excess the larger one falls, of which the digits are that few.
    """
    n, m = costs.shape
    excess[:] = 0.0
    for i in range(n):
        u = potential[i]
        for k in range(m):
            c, v = costs[i, k], potential[n + k]
            if c - u - v < _NOISE * (abs(c) + abs(u) + abs(v)):
                q, over = i if abs(u) >= abs(v) else n + k, _reduced(c, u, v)
                excess[q] = over if over < excess[q] else excess[q]


@compiled
def optimum(
    costs: Any, supply: Any, parent: Any, size: Any, left: Any, right: Any, order: Any, flow: Any, potential: Any, net: Any,
    low: Any, state: Any, pivots: int, share: float, answer: Any,
) -> None:  # fmt: skip
    """All of it in one call, for small problems. answer: (2,) the cost and the gap of the tree at which it ends.

    share: of the supplies that an arc joins, at most which its flow is round-off.
    """
    n, work = len(costs), np.int64(1 << 60)
    start(costs, net, parent, size, left, right, order, potential)
    read_tree(costs, supply, parent, right, order, flow, potential, net, low)
    done = pivot(costs, parent, size, left, right, flow, potential, order[0], state, pivots, work, net, low)
    read_tree(costs, supply, parent, right, order, flow, potential, net, low)
    find_excess(costs, potential, net)
    cost, gap = 0.0, 0.0
    for q in range(len(flow)):
        gap -= net[q] * abs(supply[0, q])
        p = parent[q]
        i, j = (q, p) if q < n else (p, q)
        if p >= 0 and (flow[q] > share * supply[0, i] or flow[q] > -share * supply[0, j]):
            cost += flow[q] * costs[i, j - n]
            gap += flow[q] * _reduced(costs[i, j - n], potential[i], potential[j])
    answer[0], answer[1] = cost, gap if done else np.inf
