"""Compiled loops of k-means++: a k-d tree of points that carries their costs, and distances of points to a few codes."""

from typing import Any

import numpy as np

from quantization.compiler import compiled, unordered, unordered_part

RUNNING, FINISHED, EXHAUSTED = 0, 1, 2


@compiled
def halve_nodes(points: Any, width: int, order: Any, keys: Any) -> None:
    """Halves each node of one height of a k-d tree, along the longest side of its box.

    The node j of ``width`` holds the points of rank j n / width to (j + 1) n / width, rounded down.

    order: (n,) the points' numbers by rank, which are sorted. keys: (n,) space.
    """
    n, dim = points.shape
    for node in range(width):
        start, end = node * n // width, (node + 1) * n // width
        middle = (2 * node + 1) * n // (2 * width)
        side, longest = np.int64(0), -1.0
        for t in range(dim):
            low = high = points[order[start], t]
            for i in range(start + 1, end):
                x = points[order[i], t]
                low = x if x < low else low
                high = x if x > high else high
            if high - low > longest:
                side, longest = t, high - low
        for i in range(start, end):
            keys[i] = points[order[i], side]
        first, last = start, end - 1
        while first < last:  # quickselect
            i, j = first, last
            a, pivot, b = keys[i], keys[(i + j) // 2], keys[j]
            if (a < pivot) == (b < pivot):  # the median of the three, where the middle one isn't
                pivot = a if (a < b) == (a > pivot) else b
            while i <= j:
                while keys[i] < pivot:
                    i += 1
                while keys[j] > pivot:
                    j -= 1
                if i <= j:
                    keys[i], keys[j] = keys[j], keys[i]
                    order[i], order[j] = order[j], order[i]
                    i += 1
                    j -= 1
            if j < middle:
                first = i
            if i > middle:
                last = j


@unordered_part
def _reach(
    blocks: Any, weights: Any, costs: Any, boxes: Any, tops: Any, masses: Any, code: Any, squared: Any, stack: Any, lower: bool
) -> Any:  # fmt: skip
    """What a code (d,) takes off the total cost, and how many coordinates it visits; with ``lower``, it does.

    Leaves out every node whose box is no nearer to the code than the node's greatest cost. Space: squared, for a leaf, and stack.
    """
    leaves, dim, size = blocks.shape
    stack[0], height = 1, np.int64(1)
    gain, visited = 0.0, np.int64(0)
    while height > 0:
        height -= 1
        node = stack[height]
        if node < 0:  # both of its children have been visited
            left, right = tops[-2 * node], tops[-2 * node + 1]
            masses[-node] = masses[-2 * node] + masses[-2 * node + 1]
            tops[-node] = left if left > right else right
            continue
        nearest = 0.0
        visited += dim
        for t in range(dim):
            below, above = boxes[node, 0, t] - code[t], code[t] - boxes[node, 1, t]
            beyond = below if below > above else above
            nearest += beyond * beyond if beyond > 0 else 0.0
        if nearest >= tops[node]:
            continue
        if node < leaves:
            stack[height] = -node
            height += 1 if lower else 0
            stack[height], stack[height + 1] = 2 * node + 1, 2 * node
            height += 2
            continue
        leaf = node - leaves
        visited += size * dim
        for b in range(size):
            squared[b] = 0.0
        for t in range(dim):
            for b in range(size):
                difference = np.float64(blocks[leaf, t, b]) - code[t]
                squared[b] += difference * difference
        total, top = 0.0, 0.0
        for b in range(size):
            own = costs[leaf, b]
            cost = squared[b] if squared[b] < own else own
            gain += weights[leaf, b] * (own - cost)
            total += weights[leaf, b] * cost
            top = cost if cost > top else top
            squared[b] = cost
        if lower:
            masses[node], tops[node] = total, top
            for b in range(size):
                costs[leaf, b] = squared[b]
    return gain, visited


@unordered_part
def _draw(weights: Any, costs: Any, masses: Any, uniform: float) -> Any:
    """A place in the tree, drawn with probability ∝ w cost; never one where that is zero."""
    leaves, size = weights.shape
    node, level = np.int64(1), uniform * masses[1]
    while node < leaves:
        node *= 2
        if level >= masses[node] and masses[node + 1] > 0:
            level -= masses[node]
            node += 1
    leaf, place = node - leaves, np.int64(0)
    for b in range(size):
        mass = weights[leaf, b] * costs[leaf, b]
        if mass > 0:
            place = leaf * size + b
            if level < mass:
                break
            level -= mass
    return place


@unordered
def choose_codes(
    blocks: Any, weights: Any, costs: Any, boxes: Any, tops: Any, masses: Any, uniforms: Any,
    proposals: Any, bounds: Any, least: float, candidates: Any, gains: Any, chosen: Any, state: Any, code: Any, squared: Any,
    stack: Any, budget: int,
) -> int:  # fmt: skip
    """Greedy k-means++ on a tree, for as long as ``budget`` (coordinates visited) lasts; called again, it goes on.

    Candidates are drawn by the uniforms (count, T); or they are the next of the ``proposals``, places in the tree, whose bounds
    are below their costs. It is exhausted where no mass or too few proposals are left, or where the cost has fallen to ``least``;
    a first code needs nothing but proposals.

    tops, masses: (2 L,) the greatest cost and the sum of w cost in a node. candidates, gains: (T,). chosen: (count,) places.
    state: (3,) codes chosen, candidates tried, proposals used. Space: code (d,), squared for a leaf, stack.
    """
    _, dim, size = blocks.shape
    trials = len(candidates)
    spent, place = np.int64(0), np.int64(0)
    while state[0] < len(chosen):
        if state[1] == 0:
            if not masses[1] > least and (state[0] > 0 or len(proposals) == 0):
                return EXHAUSTED
            for q in range(trials):
                place, found = 0, len(proposals) == 0
                if found:
                    place = _draw(weights, costs, masses, uniforms[state[0], q])
                while not found:
                    if state[2] == len(proposals):
                        return EXHAUSTED
                    place = proposals[state[2]]
                    found = bounds[state[2]] < costs[place // size, place % size]
                    state[2] += 1
                candidates[q] = place
        while state[1] <= trials:
            if spent > budget:
                return RUNNING
            last, q = state[1] == trials, state[1]
            if last:
                q = np.int64(0)
                for other in range(1, trials):
                    q = other if gains[other] > gains[q] else q
            place = candidates[q]
            for t in range(dim):
                code[t] = blocks[place // size, t, place % size]
            gain, visited = _reach(blocks, weights, costs, boxes, tops, masses, code, squared, stack, last)
            if not last:
                gains[q] = gain
            spent += visited
            state[1] += 1
        chosen[state[0]] = place
        state[0] += 1
        state[1] = 0
    return FINISHED


@unordered
def try_codes(points: Any, codes: Any, near: Any, labels: Any, costs: Any, weights: Any, squared: Any, gains: Any) -> None:
    """What each of some codes (T, d) takes off the total cost, and the squared distances (n, T) to them.

    A code at twice a point's distance from its own, or further, is no nearer to it. near: (1 + codes chosen,) the least squared
    distance from a chosen code to one of these; points that it rules out for all of them are left out. Four sums at a time read a
    point once.
    """
    count, dim = codes.shape
    fours = count - count % 4
    for i in range(len(points)):
        own, mass = costs[i], weights[i]
        if 4 * own <= near[labels[i]]:
            continue
        for q in range(0, fours, 4):
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for t in range(dim):
                value = np.float64(points[i, t])
                one, two, three, four = (
                    value - codes[q, t],
                    value - codes[q + 1, t],
                    value - codes[q + 2, t],
                    value - codes[q + 3, t],
                )
                a, b, c, d = a + one * one, b + two * two, c + three * three, d + four * four
            squared[i, q], squared[i, q + 1], squared[i, q + 2], squared[i, q + 3] = a, b, c, d
        for q in range(fours, count):
            total = 0.0
            for t in range(dim):
                difference = np.float64(points[i, t]) - codes[q, t]
                total += difference * difference
            squared[i, q] = total
        for q in range(count):
            gain = own - squared[i, q]
            gains[q] += mass * gain if gain > 0 else 0.0


@compiled
def take_code(squared: Any, near: Any, code: int, label: int, labels: Any, costs: Any) -> None:
    """Lowers the costs of the points that the code, one of those just tried, is nearer to, which it becomes the label of."""
    for i in range(len(costs)):
        if 4 * costs[i] > near[labels[i]] and squared[i, code] < costs[i]:
            costs[i], labels[i] = squared[i, code], label
