"""The kernels of ``triton_blocks``, in Triton; with ``TRITON_INTERPRET=1`` set before the import they run on a CPU, in numpy.

Points are found through a table of addresses. All offsets are 64-bit. Every sum is taken in an order that the shapes decide, and
there are no atomics.
"""
# Triton's language is a dialect that type checkers do not know.
# pyright: basic, reportMissingTypeStubs=false, reportInvalidTypeForm=false, reportAttributeAccessIssue=false, reportArgumentType=false

import triton
import triton.language as tl


@triton.jit
def points_of(addresses, p, ELEMENT: tl.constexpr):
    """A pointer to the points of measure p."""
    return tl.load(addresses + p).to(tl.pointer_type(ELEMENT))


@triton.jit
def load_points(x_rows, column, mask, ALIGNED: tl.constexpr):
    """Some columns of rows of points; 16 bytes at a time where every row begins at a multiple of 16."""
    pointers = x_rows + column[None, :]
    if ALIGNED:
        pointers = tl.multiple_of(pointers, [16, 16])
    return tl.load(pointers, mask=mask, other=0.0)


@triton.jit
def mean_codes(codes, ks, centres, d, K, WIDTH: tl.constexpr):
    """The mean of one measure's codes, summed in float64 in their order, WIDTH coordinates of it."""
    p = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    k = tl.load(ks + p)
    total = tl.zeros((WIDTH,), tl.float64)
    for code in range(k):
        total += tl.load(codes + (p * K + code) * d + column, mask=column < d, other=0.0).to(tl.float64)
    tl.store(centres + p * d + column, (total / k.to(tl.float64)).to(tl.float32), mask=column < d)


@triton.jit
def centred_squares(codes, centres, squares, d, K, WIDTH: tl.constexpr):
    """Squares of the lengths of centred codes, in float64, a sum of WIDTH coordinates at a time."""
    cell = tl.program_id(0).to(tl.int64)
    total = tl.zeros((WIDTH,), tl.float64)
    for d0 in range(0, d, WIDTH):
        column = d0 + tl.arange(0, WIDTH)
        c = tl.load(codes + cell * d + column, mask=column < d, other=0.0).to(tl.float32)
        centre = tl.load(centres + cell // K * d + column, mask=column < d, other=0.0)
        centred = (c - centre).to(tl.float64)
        total += centred * centred
    tl.store(squares + cell, tl.sum(total, 0))


@triton.jit
def split(x):
    """A float32 number as the sum of two float16 numbers, to 2^-22 of it or 2^-25, and infinite or NaN past their range."""
    upper = x.to(tl.float16)
    return upper, (x - upper.to(tl.float32)).to(tl.float16)


@triton.jit
def split_codes(codes, centres, scales, uppers, rests, d, K, WIDTH: tl.constexpr, GAIN: tl.constexpr):
    """Codes centred, scaled and split, WIDTH coordinates of one of them."""
    cell = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    c = tl.load(codes + cell * d + column, mask=column < d, other=0.0).to(tl.float32)
    centre = tl.load(centres + cell // K * d + column, mask=column < d, other=0.0)
    upper, rest = split((c - centre) * tl.load(scales + cell // K) * GAIN)
    tl.store(uppers + cell * d + column, upper, mask=column < d)
    tl.store(rests + cell * d + column, rest, mask=column < d)


@triton.jit
def score_codes(
    addresses, stride, counts, ks, codes, rests, half_squares, centres, scales, tops, labels, doubtful, d, K, N, gamma,
    ELEMENT: tl.constexpr, ALIGNED: tl.constexpr, ROWS: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
    SPLIT: tl.constexpr, POINT_GAIN: tl.constexpr, CODE_GAIN: tl.constexpr,
):  # fmt: skip
    """The code of the least score for ROWS points of one measure, and where the runner-up is within the bound on round-off.

    SPLIT: codes and rests are the two parts of codes times CODE_GAIN; points, times POINT_GAIN, are split here, and products are
    formed of all parts but the two rests.
    """
    p = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    count, k = tl.load(counts + p), tl.load(ks + p)
    # Past the last point or code the last one is read again: cheaper than a mask for each, in registers above all.
    x_rows = points_of(addresses, p, ELEMENT) + tl.minimum(rows, count - 1)[:, None] * stride
    scale, top = tl.load(scales + p) * POINT_GAIN, tl.load(tops + p)
    best = tl.full((ROWS,), float("inf"), tl.float32)
    second = tl.full((ROWS,), float("inf"), tl.float32)
    label = tl.zeros((ROWS,), tl.int32)
    squares = tl.zeros((ROWS,), tl.float32)
    for k0 in range(0, k, CODES):
        code = k0 + tl.arange(0, CODES)
        place = (p * K + tl.minimum(code, k - 1))[:, None].to(tl.int64) * d
        half = tl.load(half_squares + p * K + code, mask=code < k, other=float("inf"))
        scores = tl.zeros((ROWS, CODES), tl.float32)
        squares = tl.zeros((ROWS,), tl.float32)
        for d0 in range(0, d, WIDTH):
            column = d0 + tl.arange(0, WIDTH)
            there = (column < d)[None, :]
            x = load_points(x_rows, column, there, ALIGNED).to(tl.float32)
            centre = tl.load(centres + p * d + column, mask=column < d, other=0.0)
            x = (x - centre[None, :]) * scale
            c = tl.load(codes + place + column[None, :], mask=there, other=0.0)
            # Subtracted, not accumulated by the product itself: the compiler folds a sum into the product and would so make one
            # long inner product of many short ones, with a bound on its round-off in proportion.
            if SPLIT:
                c_rest = tl.load(rests + place + column[None, :], mask=there, other=0.0)
                upper, rest = split(x)
                inner = tl.dot(rest, tl.trans(c))
                inner = tl.dot(upper, tl.trans(c_rest), inner)
                scores -= tl.dot(upper, tl.trans(c), inner) * (1 / (POINT_GAIN * CODE_GAIN))
            else:
                scores -= tl.dot(x, tl.trans(c), input_precision="ieee")
            squares += tl.sum(x * x, 1)
        scores += half[None, :]
        scores = tl.where(scores == scores, scores, float("inf"))  # NaN, of points out of range: then all are, and none is known
        least = tl.min(scores, 1)
        found = tl.argmin(scores, 1)
        others = tl.where(tl.arange(0, CODES)[None, :] == found[:, None], float("inf"), scores)
        second = tl.minimum(tl.minimum(second, tl.min(others, 1)), tl.maximum(best, least))
        label = tl.where(least < best, (k0 + found).to(tl.int32), label)
        best = tl.minimum(best, least)
    size = tl.sqrt(squares) * tl.sqrt(2 * top) / POINT_GAIN + top
    known = ((second > best + gamma * size) & (size < float("inf"))) | (k == 1)
    tl.store(labels + p * N + rows, tl.where(k == 1, 0, label), mask=rows < count)
    tl.store(doubtful + p * N + rows, tl.where(known, 0, 1).to(tl.int8), mask=rows < count)


@triton.jit
def decide_rows(
    addresses, stride, undecided, ks, codes, labels, d, K, N,
    ELEMENT: tl.constexpr, ALIGNED: tl.constexpr, CODES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The nearest code of one point by direct differences in float64; the lowest index wins a tie."""
    place = tl.load(undecided + tl.program_id(0)).to(tl.int64)
    p, row = place // N, place % N
    x_row = points_of(addresses, p, ELEMENT) + (row + tl.zeros((1, 1), tl.int64)) * stride
    k = tl.load(ks + p)
    best = tl.full((), float("inf"), tl.float64)
    label = tl.zeros((), tl.int32)
    for k0 in range(0, k, CODES):
        code = k0 + tl.arange(0, CODES)
        c_rows = codes + (p * K + code)[:, None].to(tl.int64) * d
        squared = tl.zeros((CODES, WIDTH), tl.float64)
        for d0 in range(0, d, WIDTH):
            column = d0 + tl.arange(0, WIDTH)
            x = load_points(x_row, column, (column < d)[None, :], ALIGNED).to(tl.float64)
            c = tl.load(c_rows + column[None, :], mask=(code < k)[:, None] & (column < d)[None, :], other=0.0).to(tl.float64)
            difference = tl.where((column < d)[None, :], x - c, 0.0)
            squared += difference * difference
        total = tl.where(code < k, tl.sum(squared, 1), float("inf"))
        least = tl.min(total, 0)
        label = tl.where(least < best, (k0 + tl.argmin(total, 0)).to(tl.int32), label)
        best = tl.minimum(best, least)
    tl.store(labels + place, label)


@triton.jit
def sum_cells(
    addresses, stride, order, begins, weights, codes, masses, costs, shifts, means, pulls, moved, d, K, N, parts, panels,
    ELEMENT: tl.constexpr, ALIGNED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Mass, weighted differences to the code and their squares, over a part of one cell and WIDTH coordinates, in float64.

    WHOLE: a part is a cell, whose mean is found at once; else the sums of a part are left to join_cells.
    """
    share = tl.program_id(0).to(tl.int64)
    cell, part = share // parts, share % parts
    p = cell // K
    first = tl.load(begins + cell + p).to(tl.int64)
    length = tl.load(begins + cell + p + 1).to(tl.int64) - first
    begin, end = first + part * length // parts, first + (part + 1) * length // parts
    x_base = points_of(addresses, p, ELEMENT)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    c = tl.load(codes + cell * d + column, mask=column < d, other=0.0).to(tl.float64)
    shift = tl.zeros((ROWS, WIDTH), tl.float64)
    cost = tl.zeros((ROWS, WIDTH), tl.float64)
    mass = tl.zeros((ROWS,), tl.float64)
    for i in range(begin, end, ROWS):
        at = i + tl.arange(0, ROWS)
        row = tl.load(order + p * N + at, mask=at < end, other=0)
        w = tl.load(weights + p * N + row, mask=at < end, other=0.0)
        here = (at < end)[:, None] & (column < d)[None, :]
        x = load_points(x_base + row[:, None] * stride, column, here, ALIGNED).to(tl.float64)
        difference = tl.where(here, x - c[None, :], 0.0)
        pull = w[:, None] * difference
        shift += pull
        cost += pull * difference
        mass += w
    total, weight = tl.sum(shift, 0), tl.sum(mass, 0)
    tl.store(costs + share * panels + tl.program_id(1), tl.sum(tl.sum(cost, 0), 0))
    if tl.program_id(1) == 0:
        tl.store(masses + share, weight)
    if WHOLE:
        finish_cell(cell, column, c, total, weight, means, pulls, moved, d, panels, ELEMENT)
    else:
        tl.store(shifts + share * d + column, total, mask=column < d)


@triton.jit
def join_cells(
    masses, shifts, codes, means, pulls, moved, d, parts, panels,
    ELEMENT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The mean of one cell, WIDTH coordinates of it, from the sums of its parts, in their order."""
    cell = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    c = tl.load(codes + cell * d + column, mask=column < d, other=0.0).to(tl.float64)
    total = tl.zeros((WIDTH,), tl.float64)
    weight = tl.zeros((), tl.float64)
    for share in range(cell * parts, (cell + 1) * parts):
        total += tl.load(shifts + share * d + column, mask=column < d, other=0.0)
        weight += tl.load(masses + share)
    finish_cell(cell, column, c, total, weight, means, pulls, moved, d, panels, ELEMENT)


@triton.jit
def finish_cell(cell, column, c, total, weight, means, pulls, moved, d, panels, ELEMENT: tl.constexpr):
    """The mean of a cell, rounded, whether it differs from the code, and |sum of w (x − c)|² / w, on some coordinates."""
    safe = tl.where(weight > 0, weight, 1.0)
    mean = (c + total / safe).to(tl.float32).to(ELEMENT)  # by way of float32, as torch rounds
    tl.store(means + cell * d + column, mean, mask=column < d)
    tl.store(pulls + cell * panels + tl.program_id(1), tl.sum(total * total, 0) / safe)
    differs = tl.where((column < d) & (mean.to(tl.float64) != c), 1, 0)
    tl.store(moved + cell * panels + tl.program_id(1), tl.max(differs, 0).to(tl.int8))


@triton.jit
def squared_differences(x, x_base, stride, chosen, wanted, column, there, ALIGNED: tl.constexpr):
    """(ROWS, TRIALS, WIDTH): squares of the differences of points to chosen ones, coordinate by coordinate, in float64."""
    c = load_points(x_base + chosen[:, None] * stride, column, wanted[:, None] & there, ALIGNED)
    difference = x.to(tl.float64)[:, None, :] - c.to(tl.float64)[None, :, :]
    return difference * difference


@triton.jit
def measure_pairs(
    addresses, stride, counts, candidates, squared, d, trials, N,
    ELEMENT: tl.constexpr, ALIGNED: tl.constexpr, ROWS: tl.constexpr, MOST: tl.constexpr, OTHERS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Squared distances of ROWS points of one measure to its candidates, by direct differences in float64.

    The first MOST candidates, a power of two as all sizes here, and the OTHERS are summed apart: so few are summed for nothing.
    """
    p = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < tl.load(counts + p)
    x_base = points_of(addresses, p, ELEMENT)
    trial = tl.arange(0, MOST)
    other = MOST + tl.arange(0, OTHERS if OTHERS else 1)
    chosen = tl.load(candidates + p * trials + trial, mask=trial < trials, other=0)
    chosen_others = tl.load(candidates + p * trials + other, mask=other < trials, other=0)
    total = tl.zeros((ROWS, MOST, WIDTH), tl.float64)
    total_others = tl.zeros((ROWS, OTHERS if OTHERS else 1, WIDTH), tl.float64)
    for d0 in range(0, d, WIDTH):
        column = d0 + tl.arange(0, WIDTH)
        there = (column < d)[None, :]
        x = load_points(x_base + rows[:, None] * stride, column, inside[:, None] & there, ALIGNED)
        total += squared_differences(x, x_base, stride, chosen, trial < trials, column, there, ALIGNED)
        if OTHERS:
            total_others += squared_differences(x, x_base, stride, chosen_others, other < trials, column, there, ALIGNED)
    place = (p * trials + trial)[None, :] * N + rows[:, None]
    tl.store(squared + place, tl.sum(total, 2), mask=inside[:, None] & (trial < trials)[None, :])
    if OTHERS:
        place = (p * trials + other)[None, :] * N + rows[:, None]
        tl.store(squared + place, tl.sum(total_others, 2), mask=inside[:, None] & (other < trials)[None, :])
