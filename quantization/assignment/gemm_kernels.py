"""Many dimensions: scores by products with blocks of points, bounds on distances, and sums of cells."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from typing import Any

import numpy as np

from quantization.assignment.bounds import PIECE, ROUNDING
from quantization.assignment.distance_kernels import direct_distance
from quantization.compiler import branching_part, compiled, part, unordered, unordered_part

LANES = 128  # points of a block, whose coordinates lie side by side
BEST, SECOND, OWN, LONG, SQUARES, CERTAIN, STATES = (i * LANES for i in range(7))  # what is known of a block's points
SMALL, _TINY = 1e-37, 1e-44  # absolute, pay for bounds and for squares in float32 that vanish
_ROWS = 16  # points that are brought into a block at a time
_FILLING = 36  # codes whose products take the time of bringing points into a block


def row_space(length: int, dtype: Any) -> Any:
    """What points become columns of a block in; its rows lie apart by no power of two, so that they share the cache."""
    return np.empty((_ROWS, length + 16), dtype)


@unordered
def measure_distances(points: Any, codes: Any, labels: Any, squared: Any) -> None:
    """The squared distance of every point to the code of its label."""
    for i in range(len(points)):
        x, code, square = points[i], codes[labels[i]], 0.0
        for t in range(len(code)):
            difference = np.float64(x[t]) - code[t]
            square += difference * difference
        squared[i] = square


@unordered
def prepare_codes(
    codes: Any, held: Any, centre: Any, factor: float, gamma: float, vanishing: float, scaled: Any, numbers: Any, drifts: Any,
    limits: Any
) -> None:  # fmt: skip
    r"""Codes after the shift and scaling, what their scores are off by, and how far they have come from those held till now.

    numbers: (3, K or more), $\tfrac12|c|^2 - b$, and the slopes a and offsets b of the bound; see ``bounds``. drifts: (K,),
    rounded up. limits: the first becomes the greatest length of a code.
    """
    reach = 0.0
    for k in range(len(codes)):
        square, way = 0.0, 0.0
        for t in range(len(centre)):
            value, step = (codes[k, t] - centre[t]) * factor, codes[k, t] - held[k, t]
            scaled[k, t], held[k, t] = value, codes[k, t]
            square += value * value
            way += step * step
        length = np.sqrt(square)
        offset = (gamma * square / 2 + vanishing * (1 + length)) * (1 + ROUNDING)
        numbers[0, k], numbers[1, k], numbers[2, k] = square / 2 - offset, (gamma * length + vanishing) * (1 + ROUNDING), offset
        drifts[k] = np.sqrt(way) * factor * (1 + ROUNDING) + SMALL
        reach = length if length > reach else reach
    limits[0] = reach


@part
def _fill_block(points: Any, rows: Any, start: int, length: int, centre: Any, factor: float, block: Any, space: Any) -> None:
    """Some coordinates of at most LANES points, shifted and scaled, point by point in the columns of a block (length, LANES).

    Beyond the last coordinate the block is 0. space: (_ROWS, PIECE or more), for points that become columns together.
    """
    size = length if length < len(centre) - start else len(centre) - start
    for t in range(size * LANES, length * LANES):
        block[t] = 0
    a = centre[start : start + size]
    for g in range(0, len(rows), _ROWS):
        for r in range(_ROWS if len(rows) - g > _ROWS else len(rows) - g):
            x, y = points[rows[g + r], start : start + size], space[r]
            for t in range(size):
                y[t] = (np.float64(x[t]) - a[t]) * factor
        for t in range(size):
            z = block[t * LANES + g : t * LANES + g + _ROWS]
            for r in range(_ROWS):
                z[r] = space[r, t]


@unordered_part
def _multiply(block: Any, codes: Any, start: int, length: int, products: Any) -> None:
    """Products of a block (length, LANES) with some coordinates of all codes, a multiple of four, written to (K, LANES).

    Four codes and four coordinates at a time, as LLVM makes vector instructions of that which keep the processor busy.
    """
    for j in range(0, len(codes), 4):
        s, c, d, e, f = products[j * LANES : (j + 4) * LANES], codes[j], codes[j + 1], codes[j + 2], codes[j + 3]
        s[:] = 0
        for t in range(0, length, 4):
            y, u = block[t * LANES : (t + 4) * LANES], start + t
            c_0, c_1, c_2, c_3, d_0, d_1, d_2, d_3 = c[u], c[u + 1], c[u + 2], c[u + 3], d[u], d[u + 1], d[u + 2], d[u + 3]
            e_0, e_1, e_2, e_3, f_0, f_1, f_2, f_3 = e[u], e[u + 1], e[u + 2], e[u + 3], f[u], f[u + 1], f[u + 2], f[u + 3]
            for i in range(LANES):
                a_0, a_1, a_2, a_3 = y[i], y[i + LANES], y[i + 2 * LANES], y[i + 3 * LANES]
                s[i] += a_0 * c_0 + a_1 * c_1 + a_2 * c_2 + a_3 * c_3
                s[i + LANES] += a_0 * d_0 + a_1 * d_1 + a_2 * d_2 + a_3 * d_3
                s[i + 2 * LANES] += a_0 * e_0 + a_1 * e_1 + a_2 * e_2 + a_3 * e_3
                s[i + 3 * LANES] += a_0 * f_0 + a_1 * f_1 + a_2 * f_2 + a_3 * f_3


@part
def _two_least(score: Any, label: Any, best: Any, second: Any, own: Any) -> Any:
    """The least score, the second least and the code of the least, one more score known."""
    worse = best if score < best else score
    return score if score < best else best, worse if worse < second else second, label if score < best else own


@part
def _least(products: Any, numbers: Any, state: Any) -> None:
    """Of each point of a block the least score from below, made of its products, the second least, and the code of the least.

    Four codes at a time.
    """
    for i in range(LANES):
        state[BEST + i], state[SECOND + i] = np.inf, np.inf
    for j in range(0, numbers.shape[1], 4):
        p, q = products[j * LANES : (j + 2) * LANES], products[(j + 2) * LANES : (j + 4) * LANES]
        h_0, h_1, h_2, h_3 = numbers[0, j], numbers[0, j + 1], numbers[0, j + 2], numbers[0, j + 3]
        a_0, a_1, a_2, a_3 = numbers[1, j], numbers[1, j + 1], numbers[1, j + 2], numbers[1, j + 3]
        dtype = numbers.dtype.type
        l_0, l_1, l_2, l_3 = dtype(j), dtype(j + 1), dtype(j + 2), dtype(j + 3)
        for i in range(LANES):
            b, s, k, long = state[BEST + i], state[SECOND + i], state[OWN + i], state[LONG + i]
            b, s, k = _two_least(h_0 - p[i] - a_0 * long, l_0, b, s, k)
            b, s, k = _two_least(h_1 - p[i + LANES] - a_1 * long, l_1, b, s, k)
            b, s, k = _two_least(h_2 - q[i] - a_2 * long, l_2, b, s, k)
            b, s, k = _two_least(h_3 - q[i + LANES] - a_3 * long, l_3, b, s, k)
            state[BEST + i], state[SECOND + i], state[OWN + i] = b, s, k


@part
def _decide(points: Any, row: int, codes: Any, products: Any, place: int, numbers: Any, length: float, limit: float) -> Any:
    """The nearest code of a point by direct differences, of those whose score from below is within the limit.

    Also the squared distance to it, and the least score from below of all other codes.
    """
    label, least, lowest, second = np.int64(-1), np.inf, np.inf, np.inf
    for k in range(len(codes)):
        score = np.float64(numbers[0, k] - products[k * LANES + place] - numbers[1, k] * length)
        if not score > limit:
            squared = direct_distance(points, row, codes, k)
            if squared < least or label < 0:
                label, least, lowest, score = k, squared, score, lowest
        second = score if score < second else second
    return label, least, second


@part
def _certify(numbers: Any, limits: Any, state: Any) -> None:
    """What certifies the least score of each point of a block: that no other is below it; and the squared distance.

    Both from above, in the precision of the products, which the bounds allow for; infinite where products may have overflowed.
    """
    dtype = numbers.dtype.type
    farthest, delta = dtype(limits[2] / limits[0] if limits[0] * limits[0] <= limits[2] else 0.0), dtype(limits[1])
    zero, two, unknown = dtype(0), dtype(2), dtype(np.inf)
    for i in range(LANES):
        j, length = np.intp(state[OWN + i]), state[LONG + i]
        above = state[BEST + i] + two * (numbers[1, j] * length + numbers[2, j])
        square = length * length + two * above
        square = square if square > zero else zero
        state[SQUARES + i] = square
        state[CERTAIN + i] = above + delta * square if length < farthest else unknown


@branching_part
def _bound(numbers: Any, rows: Any, lower: Any, upper: Any, products: Any, state: Any) -> None:
    """Bounds on the distances of a block's points, in the precision of the products, which they allow for."""
    dtype = numbers.dtype.type
    up, down, floor, small = dtype(1 + ROUNDING), dtype(1 - ROUNDING), dtype(1 - 4 * ROUNDING), dtype(SMALL)
    zero, two, unknown = dtype(0), dtype(2), dtype(np.inf)
    for i in range(LANES):
        state[SQUARES + i] = np.sqrt(state[SQUARES + i]) * up + small
        state[BEST + i] = state[LONG + i] * state[LONG + i] * floor
        square = state[BEST + i] + two * state[SECOND + i]
        state[SECOND + i] = np.sqrt(square if square > zero else zero) * down
    for i in range(len(rows)):
        upper[rows[i]] = state[SQUARES + i]
    if lower.ndim == 1:  # of one kind alone is compiled
        for i in range(len(rows)):
            lower[rows[i]] = state[SECOND + i]
    else:
        for j in range(lower.shape[1]):
            row, half, slope = products[j * LANES : (j + 1) * LANES], numbers[0, j], numbers[1, j]
            for i in range(LANES):
                square = state[BEST + i] + two * (half - row[i] - slope * state[LONG + i])
                row[i] = np.sqrt(square if square > zero else zero) * down if state[CERTAIN + i] < unknown else zero
        for i in range(len(rows)):
            for j in range(lower.shape[1]):
                lower[rows[i], j] = products[j * LANES + i]


@branching_part
def _find_doubtful(drifts: Any, labels: Any, lower: Any, upper: Any, rows: Any) -> Any:
    """Brings bounds up to date now that codes have moved; ``rows`` lists those whose label is not certified by them.

    By the triangle inequality (hamerly2010). Returns how many there are. drifts: (K,), how far codes have come.
    """
    count = np.int64(0)
    if lower.ndim == 1:  # of the other kind nothing is compiled
        farthest, most, next_most = np.int64(0), drifts[0], np.float32(0)
        for k in range(1, len(drifts)):
            if drifts[k] > most:
                farthest, most, next_most = k, drifts[k], most
            else:
                next_most = drifts[k] if drifts[k] > next_most else next_most
        grown, shrunk, small = np.float32(1 + ROUNDING), np.float32(1 - ROUNDING), np.float32(SMALL)
        for i in range(len(labels)):
            upper[i] = (upper[i] + drifts[labels[i]]) * grown
            lower[i] = lower[i] * shrunk - (next_most if labels[i] == farthest else most) - small
        for i in range(len(labels)):
            rows[count] = i
            count += 0 if upper[i] * grown < lower[i] else 1
    return count


@unordered_part
def _distance(points: Any, i: int, codes: Any, k: Any) -> float:
    """Of a point to a code in the points' precision, PIECE terms at a time."""
    total = 0.0
    for a in range(0, points.shape[1], PIECE):
        x, code, piece = points[i, a : a + PIECE], codes[k, a : a + PIECE], points.dtype.type(0)
        for t in range(len(code)):
            difference = x[t] - code[t]
            piece += difference * difference
        total += np.float64(piece)
    return np.sqrt(total)


@unordered_part
def _fall(bounds: Any, drifts: Any) -> Any:
    """Lowers the bounds of a point by how far codes have come; the least of them."""
    least, shrunk, small = np.float32(3e38), np.float32(1 - ROUNDING), np.float32(SMALL)
    for j in range(len(drifts)):
        bounds[j] = bounds[j] * shrunk - drifts[j] - small
        least = bounds[j] if bounds[j] < least else least
    return least


@part
def _within(bounds: Any, reach: float) -> int:
    count = 0
    for j in range(len(bounds)):
        count += 1 if bounds[j] <= reach else 0
    return count


@compiled
def measure_rivals(
    points: Any, codes: Any, drifts: Any, factor: float, limits: Any, few: int, lengths: Any, labels: Any, lower: Any, upper: Any,
    rows: Any, start: int, stop: int, count: int,
) -> int:  # fmt: skip
    """Brings labels and bounds on distances to all codes up to date, of some points, now that codes have moved.

    By the triangle inequality (elkan2003); where that does not tell, by measuring distances: to the own code, then to its rivals,
    where they are ``few`` at most; those that come out equal by direct differences. Returns how many points are left, which
    ``rows`` lists after its first ``count`` entries.

    codes: in the points' precision. limits: the fourth is how far a distance may be off, relative to itself, the fifth what
    differences too small for their squares add to that, the last the length from which squares may overflow.
    """
    k, rounding, vanishing = len(codes), limits[3] + ROUNDING, limits[4] + SMALL
    for i in range(start, stop):
        own, bounds = np.intp(labels[i]), lower[i]
        mine, bounds[own] = bounds[own] * (1 - ROUNDING) - drifts[own] - SMALL, np.float32(3e38)
        reach = (np.float64(upper[i]) + drifts[own]) * (1 + ROUNDING)
        least = _fall(bounds, drifts)
        bounds[own] = mine
        if reach >= least * (1 - ROUNDING):
            if not lengths[i] + limits[0] <= limits[5]:
                rows[count] = i
                count += 1
                continue
            distance = _distance(points, i, codes, own) * factor
            off = distance * rounding + vanishing
            bounds[own], reach = distance - off, distance + off
            rivals = _within(bounds, reach * (1 + ROUNDING)) - 1
            if rivals > few:
                rows[count] = i
                count += 1
            elif rivals > 0:
                best = own
                for j in range(k):
                    if j != own and bounds[j] <= reach * (1 + ROUNDING):
                        distance = _distance(points, i, codes, j) * factor
                        off = distance * rounding + vanishing
                        bounds[j] = distance - off
                        if distance + off < reach:
                            best, reach = j, distance + off
                limit = reach * (1 + ROUNDING)
                if _within(bounds, limit) > 1:
                    nearest = np.inf
                    for j in range(k):
                        if bounds[j] <= limit:
                            squared = direct_distance(points, i, codes, j)
                            if squared < nearest:
                                best, nearest = j, squared
                labels[i] = best
        upper[i] = reach * (1 + ROUNDING)
    return count


@unordered
def move_sums(
    points: Any, rows: Any, reference: Any, left: Any, joined: Any, weights: Any, start: int, stop: int, sums: Any
) -> None:
    """Some coordinates of the sums of w (x - a) over cells: points have left one, or −1, the last row, and joined another."""
    a = reference[start:stop]
    for r in range(len(rows)):
        i = rows[r]
        x, w, source, target = points[i, start:stop], weights[i], sums[left[i], start:stop], sums[joined[i], start:stop]
        for t in range(len(a)):
            shift = w * (np.float64(x[t]) - a[t])
            target[t] += shift
            source[t] -= shift


@unordered
def add_residuals(points: Any, codes: Any, labels: Any, weights: Any, start: int, stop: int, sums: Any) -> float:
    """Some coordinates of the sums of w (x - c) over cells; returns their share of the sum of w |x - c|²."""
    total = 0.0
    for i in range(len(points)):
        x, code, target = points[i, start:stop], codes[labels[i], start:stop], sums[labels[i], start:stop]
        w, square = weights[i], 0.0
        for t in range(len(x)):
            difference = np.float64(x[t]) - code[t]
            target[t] += w * difference
            square += difference * difference
        total += w * square
    return total


@compiled
def step_rows(
    points: Any, kept: Any, weights: Any, lengths: Any, labels: Any, before: Any, lower: Any, upper: Any, rows: Any, centre: Any,
    factor: float, codes: Any, scaled: Any, numbers: Any, drifts: Any, limits: Any, masses: Any, block: Any, space: Any,
    products: Any, state: Any, count: int, filled: bool,
) -> Any:  # fmt: skip
    """Labels of some points for the current codebook.

    Returns how many points were searched, decided by direct differences, and moved to another cell; ``rows`` lists the last of
    these in the end.

    kept: all blocks, (blocks, coordinates × LANES), or none; filled: whether an earlier call has filled them. codes: (K, d);
    scaled: shifted and scaled, up to multiples of four codes and coordinates. drifts, numbers: see :func:`prepare_codes`. limits:
    the greatest length of a code, the margin of the certificate, and the product of lengths up to which nothing overflows. lower,
    upper: bounds on the distances to the second nearest code, or to every code, and to the nearest; empty where they are not
    wanted. masses: (2, more than K), zero, to become those of the cells, and what has left or joined a cell. block, space,
    products, state: space, (coordinates × LANES,), (_ROWS, coordinates), (1 or 2 × K × LANES,), (STATES,). count: of the points
    listed in ``rows``, that are to be searched; negative if these are still to be found by the bounds.
    """
    n, dim, k, decided = len(labels), scaled.shape[1], len(codes), np.int64(0)
    if count < 0:
        count = _find_doubtful(drifts, labels, lower, upper, rows)
    dense = count == n or (len(kept) > 0 and count * (len(scaled) + _FILLING) > n * len(scaled))
    if dense:
        count = n
        for i in range(n):
            rows[i] = i
    for a in range(0, count, LANES):
        some = rows[a : a + LANES if a + LANES < count else count]
        for t in range(0, dim, PIECE):
            length = PIECE if dim - t > PIECE else dim - t
            target = products[: len(scaled) * LANES] if t == 0 else products[len(scaled) * LANES :]
            held = kept[a // LANES, t * LANES :] if dense and len(kept) else block
            if not (dense and len(kept) and filled):
                _fill_block(points, some, t, length, centre, factor, held, space)
            _multiply(held, scaled, t, length, target)
            if t > 0:
                for i in range(k * LANES):
                    products[i] += target[i]
        for i in range(len(some)):
            state[LONG + i] = lengths[some[i]]
        _least(products, numbers, state)
        _certify(numbers, limits, state)
        for i in range(len(some)):
            limit = state[CERTAIN + i]
            if not state[SECOND + i] > limit:
                decided += 1
                label, square, rival = _decide(points, some[i], codes, products, i, numbers, state[LONG + i], limit)
                state[OWN + i], state[SQUARES + i] = label, square * factor * factor + _TINY
                state[SECOND + i] = rival if limit < np.inf else -np.inf
            labels[some[i]] = np.int32(state[OWN + i])
        if len(upper) > 0:
            _bound(numbers, some, lower, upper, products, state)
    moved = np.int64(0)
    for i in range(n):
        label, w = labels[i], weights[i]
        masses[0, label] += w
        if label != before[i]:
            masses[1, before[i]] += w  # the last column, which nobody reads, for a point that was in no cell: −1
            masses[1, label] += w
            rows[moved] = i
            moved += 1
    return count, decided, moved


@unordered
def advance_codes(sums: Any, masses: Any, reference: Any, codes: Any, means: Any) -> tuple[float, float]:
    r"""The centroids, of sums $S_k$ of w (x - a).

    Returns $\sum_k |S_k|^2 / W_k$, and the same of the sums of w (x - c).
    """
    between, off = 0.0, 0.0
    for k in range(len(codes)):
        w, about, own = masses[k], 0.0, 0.0
        for t in range(len(reference)):
            shift = sums[k, t] + w * (reference[t] - codes[k, t])
            means[k, t] = codes[k, t] + shift / w
            about += sums[k, t] * sums[k, t]
            own += shift * shift
        between, off = between + about / w, off + own / w
    return between, off
