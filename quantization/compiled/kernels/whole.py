"""Inner products of points as whole numbers of 16 bits, which some CPUs multiply at twice the rate of float32.

One instruction multiplies pairs of such numbers and adds both products to a sum of 32 bits, where a few dozen terms fit; then
sums become floats. What rounding to whole numbers costs is measured on every point.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.compiler import compiled, inlined, unordered
from quantization.compiled.kernels.product import fill_panel
from quantization.compiled.kernels.tile import BYTES, FEATURES, Vectors

_numba: Any = config
_FOR_THIS_CPU = _numba.ENABLE_AVX and _numba.CPU_NAME is None and _numba.CPU_FEATURES is None  # what numba compiles for
AVAILABLE = bool(_FOR_THIS_CPU and BYTES == 64 and FEATURES.get("avx512bw") and FEATURES.get("avx512vnni"))
LINE = 64  # bytes of the cache that are read together
WIDTH = 32  # points of a panel: two vectors of sums
PANELS = 3  # of columns that are worked on together: a piece of them stays in the cache while all rows pass
_ROWS, _LANES = 8, 16  # of a tile, and of a vector of it
_DEPTH = 32  # terms of a sum of 32 bits
_PIECE = 4096  # terms of a sum of floats, before it is added to the matrix
_SPAN = 512  # coordinates that are rounded at a time
_CHUNK = 2 * _DEPTH * WIDTH  # bytes of a panel that go into one sum
_NEXT_ROWS, _NEXT_PANEL = 3, 8  # lines of the next that a tile brings: all tiles together bring all of it
_LARGEST, _LONGEST = 32766.0, 46336.0  # of a whole number, and of _DEPTH of them as a vector: its square is less than 2^31
_ROUNDINGS = 4 * 2.0**-24  # of a coordinate that is shifted and scaled, and of its unit
_SPARE = 1 + 1e-4  # pays for sums of squares in float32
_FAINT = 1e-30  # a sum of squares that float32 does not hold well
_LOST = 1e-22  # of a coordinate whose square it does not hold at all


def pairs(dim: int) -> int:
    """Of 16 bits each, in which so many coordinates are kept."""
    return -(-dim // _DEPTH) * _DEPTH // 2


def depth(dim: int) -> int:
    """Roundings, one after the other, of an inner product of so many coordinates that are whole numbers."""
    return -(-min(_PIECE, dim) // _DEPTH) + -(-dim // _PIECE) + 3


def _bring(v: Vectors, start: Any, lines: int) -> None:
    """Asks for some lines of the cache before they are read; what lies beyond the end of an array is left alone."""
    number, place = ir.IntType(32), ir.IntType(8).as_pointer()
    prefetch = cgutils.get_or_insert_function(
        v.builder.module, ir.FunctionType(ir.VoidType(), [place, number, number, number]), "llvm.prefetch.p0"
    )
    for line in range(lines):
        address = v.builder.inttoptr(v.builder.add(start, ir.Constant(start.type, line * LINE)), place)
        v.builder.call(prefetch, [address, *(ir.Constant(number, flag) for flag in (0, 3, 1))])  # to read, soon, data


@intrinsic
def _multiply(_: Any, like: Any, rows: Any, panel: Any, next_rows: Any, next_panel: Any, scores: Any, fresh: Any) -> Any:
    """Some rows times a panel, over as many coordinates as a sum has terms, written to scores (rows, WIDTH) or added to them.

    Called with a float32 array and with addresses; rows lie in a panel, too. next_rows, next_panel: a part of what is read next.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, rows, panel, next_rows, next_panel, scores, fresh = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        vectors = WIDTH // v.lanes
        halves = ir.VectorType(ir.IntType(16), 2 * v.lanes)
        products = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(v.wholes, [halves, halves]), "llvm.x86.avx512.pmaddw.d.512"
        )
        sums = [[ir.Constant(v.wholes, [0] * v.lanes) for _ in range(vectors)] for _ in range(_ROWS)]
        for t in range(_DEPTH // 2):
            columns = [
                builder.bitcast(v.load(v.address(panel, t * WIDTH + p * v.lanes), v.wholes), halves) for p in range(vectors)
            ]
            for r in range(_ROWS):
                pair = v.spread(v.load(v.address(rows, t * WIDTH + r), v.whole), v.wholes)
                for p in range(vectors):  # LLVM makes one instruction of the two
                    product = builder.call(products, (builder.bitcast(pair, halves), columns[p]))
                    sums[r][p] = builder.add(sums[r][p], product)
        _bring(v, next_rows, _NEXT_ROWS)
        _bring(v, next_panel, _NEXT_PANEL)
        places = [[v.address(scores, r * WIDTH + p * v.lanes) for p in range(vectors)] for r in range(_ROWS)]
        floats = [[builder.sitofp(value, v.type) for value in row] for row in sums]
        with builder.if_else(fresh) as (first, later):
            with first:
                for r in range(_ROWS):
                    for p in range(vectors):
                        v.store(floats[r][p], places[r][p])
            with later:
                for r in range(_ROWS):
                    for p in range(vectors):
                        v.store(builder.fadd(v.load(places[r][p]), floats[r][p]), places[r][p])
        return context.get_dummy_value()

    return types.void(like, *[types.uintp] * 5, types.boolean), generate


_tile: Callable[..., None] = _multiply
_transpose: Any = tile.transpose


@intrinsic
def _survey(_: Any, like: Any, x: Any, shift: Any, most: Any) -> Any:
    """The sum of the squares of x − shift over as many coordinates as a sum of 32 bits has terms, and the largest of each lane.

    Called with a float32 array and with addresses. most: the bits of the largest absolute values so far, a vector of them, which
    are brought up to date: without its sign a float is the larger, the larger its bits are as a whole number.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, x, shift, most = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        total, largest = ir.Constant(v.type, [0.0] * v.lanes), v.load(most, v.wholes)
        for p in range(_DEPTH // v.lanes):
            some = builder.fsub(v.load(v.address(x, p * v.lanes)), v.load(v.address(shift, p * v.lanes)))
            total = v.multiply_add(some, some, total)
            bits = builder.and_(builder.bitcast(some, v.wholes), ir.Constant(v.wholes, [2**31 - 1] * v.lanes))
            largest = builder.select(builder.icmp_unsigned(">", bits, largest), bits, largest)
        v.store(largest, most)
        return v.sum(total)

    return like.dtype(like, types.uintp, types.uintp, types.uintp), generate


_squares: Callable[..., Any] = _survey


@compiled
def _scale(x: Any, shift: Any) -> tuple[Any, float]:
    """What a point about a centre may be multiplied with, and its length."""
    length, longest, most, rest = 0.0, np.float32(0), np.zeros(_LANES, np.int32), np.zeros((2, _DEPTH), np.float32)
    for a in range(0, len(x), _DEPTH):
        some, less = x.ctypes.data + 4 * a, shift.ctypes.data + 4 * a
        if a + _DEPTH > len(x):
            rest[0, : len(x) - a], rest[1, : len(x) - a] = x[a:], shift[a:]
            some, less = rest[0].ctypes.data, rest[1].ctypes.data
        square = _squares(rest, some, less, most.ctypes.data)
        longest = max(longest, square)
        length += np.float64(square)
    largest, longest = np.float64(most.view(np.float32).max()), _SPARE * np.sqrt(np.float64(longest))
    scale = min(_LARGEST / largest, _LONGEST / longest) if _FAINT < longest * longest < np.inf else 1.0
    return np.float32(scale), np.sqrt(length) + _LOST * np.sqrt(len(x))


@unordered
def _round(x: Any, shift: Any, scale: Any, row: Any) -> Any:
    """Some coordinates in whole numbers; returns the sum of their squared errors."""
    error = np.float32(0)
    for t in range(len(x)):
        value = (x[t] - shift[t]) * scale
        whole = np.rint(value)
        difference = value - whole
        error += difference * difference
        row[t] = np.int16(whole)
    return error


@compiled
def to_whole(points: Any, centre: Any, first: int, last: int, panels: Any, units: Any, off: Any, lengths: Any) -> None:
    """Some panels of points about a centre, every point in whole numbers of a unit of its own.

    panels: (groups, pairs, WIDTH) of 32 bits: two coordinates of a point, then of the next; zeros fill the last sum. units,
    lengths, off: (≥ n,), of every point its unit, its length, and how far it may be from what is written.
    """
    n, dim = points.shape
    ready, scales, errors = np.zeros((WIDTH, _SPAN), np.int16), np.empty(WIDTH, np.float32), np.empty(WIDTH)
    for g in range(first, last):
        start, count = g * WIDTH, min(WIDTH, n - g * WIDTH)
        ready[count:] = 0
        for lane in range(count):
            scales[lane], lengths[start + lane] = _scale(points[start + lane], centre)
            units[start + lane] = 1 / scales[lane]
            errors[lane] = 0
        for a in range(0, dim, _SPAN):
            b, end = min(a + _SPAN, dim), min(a + _SPAN, 2 * panels.shape[1])
            for lane in range(count):
                errors[lane] += _round(points[start + lane, a:b], centre[a:b], scales[lane], ready[lane])
                ready[lane, b - a :] = 0
            fill_panel(ready.view(np.int32), (end - a) // 2, panels[g, a // 2 : end // 2])
        for lane in range(count):
            rounding = np.sqrt(errors[lane]) * units[start + lane] + _ROUNDINGS * lengths[start + lane]
            off[start + lane] = _SPARE * rounding + _LOST * np.sqrt(dim)


@inlined
def _mirror(matrix: Any, h: int, g: int) -> None:
    """Writes a block of WIDTH rows and columns, in panel h of rows and g of columns, across the diagonal."""
    n, across = matrix.shape
    first, column = h * WIDTH, g * WIDTH
    if h < g and column + WIDTH <= n:
        for a in range(0, WIDTH, _LANES):
            for b in range(0, WIDTH, _LANES):
                source = matrix.ctypes.data + 4 * ((first + a) * across + column + b)
                _transpose(matrix, source, across, matrix.ctypes.data + 4 * ((column + b) * across + first + a), across)
        return
    for j in range(column, min(column + WIDTH, n)):
        for i in range(first, min(first + WIDTH, j)):
            matrix[j, i] = matrix[i, j]


@compiled
def whole_columns(panels: Any, units: Any, first: int, last: int, matrix: Any) -> None:
    """Some panels of columns, PANELS at most, of the matrix of all inner products, down to the diagonal, and their mirror image.

    matrix: (n, groups × WIDTH).
    """
    n, pairs = len(matrix), panels.shape[1]
    base = panels.ctypes.data
    space = np.empty(PANELS * WIDTH * WIDTH + LINE // 4, np.float32)
    start = -space.ctypes.data % LINE // 4  # where a line of the cache begins
    sums = space[start : start + PANELS * WIDTH * WIDTH].reshape(PANELS, WIDTH, WIDTH)
    for t in range(0, pairs, _PIECE // 2):
        end = min(t + _PIECE // 2, pairs)
        for h in range(last):  # panels of rows
            begin = max(first, h)  # columns left of the diagonal are mirror images
            for u in range(t, end, _DEPTH // 2):
                for g in range(begin, last):
                    panel = base + 4 * (g * pairs + u) * WIDTH
                    for q in range(0, WIDTH, _ROWS):
                        rows = base + 4 * ((h * pairs + u) * WIDTH + q)
                        tiles = (g - begin) * WIDTH // _ROWS + q // _ROWS  # before this one
                        next_rows = rows - 4 * q + _CHUNK + LINE * _NEXT_ROWS * tiles
                        next_panel = panel + _CHUNK + LINE * _NEXT_PANEL * (q // _ROWS)
                        _tile(sums, rows, panel, next_rows, next_panel, sums[g - begin, q:].ctypes.data, u == t)
            for g in range(begin, last):
                others = units[g * WIDTH : (g + 1) * WIDTH]
                for q in range(min(WIDTH, n - h * WIDTH)):
                    row, some, unit = matrix[h * WIDTH + q, g * WIDTH : (g + 1) * WIDTH], sums[g - begin, q], units[h * WIDTH + q]
                    if t > 0:
                        for v in range(WIDTH):
                            some[v] += row[v]
                    if end < pairs:
                        for v in range(WIDTH):
                            row[v] = some[v]
                    else:
                        for v in range(WIDTH):
                            row[v] = some[v] * unit * others[v]
                if end == pairs:
                    _mirror(matrix, h, g)
