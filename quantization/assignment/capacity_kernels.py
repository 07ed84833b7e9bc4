"""Compiled loops of the assignment with prescribed masses: candidate codes by priced costs, the dual, the exact transport."""

from typing import Any

import numpy as np

from quantization.assignment.distance_kernels import direct_distance
from quantization.compiler import compiled

_ULPS = 2.0**-50  # of costs and prices: their round-off


@compiled
def list_candidates(
    scores: Any, lengths: Any, reaches: Any, prices: Any, gamma: float, rooms: Any, labels: Any, counts: Any, codes: Any,
    costs: Any,
) -> Any:  # fmt: skip
    r"""For each row of priced scores (m, K) the least one, and which others may become so; how many there are.

    Scores are $|c_k|^2 - 2 \langle x, c_k\rangle - p_k$, off by $\gamma (|x| + |c_k|)^2$ at most. lengths: |x|, (m,). reaches:
    |c_k|, (K,). rooms: (K, K) by how much the price of each may rise beside that of another. counts: of candidates a row, 0 where
    there is none but its label; codes and costs list them, without prices.
    """
    total, k, far = np.int64(0), scores.shape[1], 0.0
    for j in range(k):
        far = reaches[j] if reaches[j] > far else far
    for i in range(len(scores)):
        row, length, best, least = scores[i], lengths[i], 0, np.inf
        for j in range(k):
            if row[j] < least:
                best, least = j, np.float64(row[j])
        limit, first = least + gamma * (length + reaches[best]) ** 2, total
        loose, room = limit + gamma * (length + far) ** 2, rooms[best]
        for j in range(k):
            if row[j] - room[j] <= loose and row[j] - gamma * (length + reaches[j]) ** 2 - room[j] <= limit:
                codes[total], costs[total] = j, row[j] + prices[j]
                total += 1
        labels[i], counts[i] = best, total - first
        if total - first == 1:
            counts[i], total = 0, first
    return total


@compiled
def exchange(scores: Any, weights: Any, least: Any, masses: Any) -> None:
    """By priced scores (m, K): the masses of cells (K,), added; the least costs (K, K) to move a point of one cell to another."""
    k = scores.shape[1]
    for i in range(len(scores)):
        row, best = scores[i], 0
        for j in range(1, k):
            if row[j] < row[best]:
                best = j
        masses[best] += weights[i]
        target, own = least[best], row[best]
        for j in range(k):
            extra = row[j] - own
            target[j] = extra if extra < target[j] else target[j]


@compiled
def measure_candidates(points: Any, rows: Any, starts: Any, codebook: Any, codes: Any, costs: Any) -> None:
    """Costs of candidates by direct differences."""
    for u in range(len(rows)):
        for e in range(starts[u], starts[u + 1]):
            costs[e] = direct_distance(points, rows[u], codebook, codes[e])


@compiled
def choose(
    starts: Any, codes: Any, costs: Any, weights: Any, prices: Any, chosen: Any, seconds: Any, margins: Any, masses: Any
) -> float:
    r"""For each point the candidate of least priced cost, the lowest of equals, the next and how far it is behind.

    Returns $\sum_i a_i \min_k (c_{ik} - p_k)$. masses: (K,), gets those of the cells.
    """
    total = 0.0
    for u in range(len(starts) - 1):
        best, least, second, behind = np.int64(0), np.inf, np.int64(0), np.inf
        for e in range(starts[u], starts[u + 1]):
            cost = costs[e] - prices[codes[e]]
            if cost < least:
                second, behind = best, least
                best, least = e, cost
            elif cost < behind:
                second, behind = e, cost
        chosen[u], seconds[u], margins[u] = best, second, behind - least
        masses[codes[best]] += weights[u]
        total += weights[u] * least
    return total


@compiled
def add_rows(points: Any, labels: Any, masses: Any, codebook: Any, sums: Any) -> float:
    """Adds m (x - c) of every point to the row of its code; returns the sum of m |x - c|²."""
    total = 0.0
    for i in range(len(points)):
        m, square, x, code, target = masses[i], 0.0, points[i], codebook[labels[i]], sums[labels[i]]
        for t in range(len(code)):
            difference = np.float64(x[t]) - code[t]
            target[t] += m * difference
            square += difference * difference
        total += m * square
    return total


@compiled
def _offer(j: int, k: int, extra: float, f: int, counts: Any, extras: Any, moves: Any, least: Any) -> None:
    """Puts a move of a point from cell j to its candidate f, of code k, among the cheapest that are listed, if it is one."""
    count, keys, places, b = counts[0, j, k], extras[j, k], moves[j, k], np.int64(0)
    if count == len(keys):
        counts[1, j, k] = 1
        if extra >= keys[count - 1]:
            return
        count -= 1
    elif counts[1, j, k] and (count == 0 or extra > keys[count - 1]):
        return  # others that are not listed may be cheaper
    b = count
    while b > 0 and keys[b - 1] > extra:
        keys[b], places[b] = keys[b - 1], places[b - 1]
        b -= 1
    keys[b], places[b] = extra, f
    counts[0, j, k], least[j, k] = count + 1, keys[0]


@compiled
def _forget(j: int, k: int, f: int, counts: Any, extras: Any, moves: Any, least: Any) -> bool:
    """Takes such a move from the list; whether none is left there, though there are others."""
    count, keys, places, b = counts[0, j, k], extras[j, k], moves[j, k], np.int64(0)
    while b < count and places[b] != f:
        b += 1
    if b == count:
        return False
    for c in range(b, count - 1):
        keys[c], places[c] = keys[c + 1], places[c + 1]
    counts[0, j, k], least[j, k] = count - 1, keys[0] if count > 1 else np.inf
    return count == 1 and counts[1, j, k] == 1


@compiled
def _look(
    j: int, heads: Any, after: Any, owners: Any, starts: Any, codes: Any, costs: Any, counts: Any, extras: Any, moves: Any,
    least: Any,
) -> None:  # fmt: skip
    """Lists the cheapest moves of points from a cell to every other."""
    for k in range(least.shape[1]):
        counts[0, j, k], counts[1, j, k], least[j, k] = 0, 0, np.inf
    e = heads[j]
    while e >= 0:
        u = owners[e]
        for f in range(starts[u], starts[u + 1]):
            if f != e:
                _offer(j, codes[f], costs[f] - costs[e], f, counts, extras, moves, least)
        e = after[e]


@compiled
def complete(
    starts: Any, codes: Any, costs: Any, owners: Any, prices: Any, excess: Any, tolerance: float, dust: float, flow: Any,
    links: Any, counts: Any, extras: Any, moves: Any, least: Any, distances: Any, marks: Any, limit: int,
) -> int:  # fmt: skip
    """From a plan that is optimal but for the masses of codes to the optimal plan: by shortest paths from excess to lack.

    flow: of every candidate, in and out; prices: (K,), in and out, by which the plan goes to least priced costs. excess: (K,), in
    and out. links: (3, E), counts: (2, K, K), extras, moves: (K, K, B), least: (K, K), distances: (K,), marks: (3, K): space; of
    B cheapest moves between two cells each. Returns how many paths were taken, -1 where codes can't be reached, -2 where
    ``limit`` paths are not enough.
    """
    k, after, before, heads = len(prices), links[0], links[1], links[2]
    previous, done, unknown = marks[0], marks[1], marks[2]
    for j in range(k):
        heads[j] = -1
    for e in range(len(codes) - 1, -1, -1):
        if flow[e] > 0:
            j = codes[e]
            after[e], before[e] = heads[j], -1
            if heads[j] >= 0:
                before[heads[j]] = e
            heads[j] = e
    for j in range(k):
        _look(j, heads, after, owners, starts, codes, costs, counts, extras, moves, least)
    for path in range(limit):
        lacking, exceeding = False, False
        for j in range(k):
            distances[j], previous[j], done[j], unknown[j] = (0.0 if excess[j] > tolerance else np.inf), -1, 0, 0
            lacking |= excess[j] < -tolerance
            exceeding |= excess[j] > tolerance
        if not lacking or not exceeding:
            return path
        end, reach = -1, np.inf
        while True:
            j, reach = -1, np.inf
            for i in range(k):
                if not done[i] and distances[i] < reach:
                    j, reach = i, distances[i]
            if j < 0:
                return -1
            if excess[j] < -tolerance:
                end = j
                break
            done[j] = 1
            for i in range(k):
                if not done[i]:
                    extra = least[j, i] + prices[j] - prices[i]
                    length = reach + (extra if extra > 0 else 0.0)
                    # A point that goes by way of another cell costs what it does directly, but for round-off: then directly, as
                    # that way only as much moves as has moved before.
                    if length < distances[i] - _ULPS * (abs(least[j, i]) + abs(prices[j]) + abs(prices[i])):
                        distances[i], previous[i] = length, j
        for j in range(k):
            if done[j]:
                prices[j] += distances[j] - reach
        amount, j = -excess[end], end
        while previous[j] >= 0:
            i, tied = previous[j], 0.0
            for b in range(counts[0, i, j]):  # that move at the least cost
                if extras[i, j, b] == least[i, j]:
                    u = owners[moves[i, j, b]]
                    for e in range(starts[u], starts[u + 1]):
                        tied += flow[e] if codes[e] == i else 0.0
            amount, j = amount if amount < tied else tied, i
        amount = amount if amount < excess[j] else excess[j]
        excess[j] -= amount
        excess[end] += amount
        j = end
        while previous[j] >= 0:
            i, left = previous[j], amount
            extra = least[i, j]
            while left > 0 and least[i, j] == extra:
                f = moves[i, j, 0]
                u = owners[f]
                e = starts[u]
                while codes[e] != i:
                    e += 1
                moved = flow[e] if flow[e] <= left + dust else left
                left -= moved
                if flow[f] <= 0:
                    after[f], before[f] = heads[j], -1
                    if heads[j] >= 0:
                        before[heads[j]] = f
                    heads[j] = f
                    for g in range(starts[u], starts[u + 1]):
                        if g != f:
                            _offer(j, codes[g], costs[g] - costs[f], g, counts, extras, moves, least)
                flow[f] += moved
                flow[e] -= moved
                if flow[e] <= 0:
                    flow[e] = 0.0
                    if before[e] >= 0:
                        after[before[e]] = after[e]
                    else:
                        heads[i] = after[e]
                    if after[e] >= 0:
                        before[after[e]] = before[e]
                    for g in range(starts[u], starts[u + 1]):
                        if g != e and _forget(i, codes[g], g, counts, extras, moves, least):
                            unknown[i] = 1
            j = i
        j = end
        while j >= 0:
            if unknown[j]:
                _look(j, heads, after, owners, starts, codes, costs, counts, extras, moves, least)
            j = previous[j]
    return -2
