"""Many dimensions: nearest codes by products, and points measured for the bound on their round-off."""

from typing import Any

import numpy as np

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.compiler import PIECE, compiled, inlined, unordered
from quantization.compiled.kernels.near import direct_distance

UNITS = 1e-6  # relative, pays for bounds kept in float32
SPAN = 128  # coordinates made ready at a time
_ROWS = tile.ROWS
_wide_tile, _wide_row, _slim_tile, _slim_row = tile.wide_tile, tile.wide_row, tile.slim_tile, tile.slim_row
_least: Any = tile.least
_transpose: Any = tile.transpose
_VECTOR = tile.BYTES


@unordered
def measure_rows(points: Any, centre: Any, factor: float, squares: Any) -> None:
    """$|x - a|^2$ times the square of the factor."""
    for i in range(len(points)):
        x, total = points[i], 0.0
        for t in range(len(centre)):
            difference = (np.float64(x[t]) - np.float64(centre[t])) * factor
            total += difference * difference
        squares[i] = total


@inlined
def fill_panel(rows: Any, size: int, panel: Any) -> None:
    """The first numbers of some rows (width, SPAN) written as the columns of a panel (size, width)."""
    width, stride = rows.shape
    lanes = _VECTOR // rows.itemsize
    whole = size // lanes * lanes
    for a in range(0, whole, lanes):
        for lane in range(0, width, lanes):
            source = rows.ctypes.data + rows.itemsize * (lane * stride + a)
            _transpose(rows, source, stride, panel.ctypes.data + rows.itemsize * (a * width + lane), width)
    for u in range(whole, size):
        for lane in range(width):
            panel[u, lane] = rows[lane, u]


@unordered
def pack_codes(codes: Any, centre: Any, factor: float, panels: Any, squares: Any) -> None:
    r"""Codes after a shift by ``centre`` and a scaling by ``factor``, in panels (groups, d, width); their squares (K,)."""
    width = panels.shape[2]
    ready = np.empty((width, SPAN), panels.dtype)
    squares[:] = 0
    for g in range(len(panels)):
        some, own = codes[g * width : (g + 1) * width], squares[g * width : (g + 1) * width]
        ready[len(some) :] = 0
        for a in range(0, len(centre), SPAN):
            b = min(a + SPAN, len(centre))
            for lane in range(len(some)):
                code, shift, row, total = some[lane, a:b], centre[a:b], ready[lane], 0.0
                for u in range(len(code)):
                    value = (np.float64(code[u]) - np.float64(shift[u])) * factor
                    total += value * value
                    row[u] = value
                own[lane] += total
            fill_panel(ready, b - a, panels[g, a:b])


@inlined
def _multiply(
    x: Any, stride: int, size: int, panels: Any, first: int, length: int, last: bool, half: Any, scores: Any, state: Any
) -> None:
    """Some rows at the address x times a piece of all codes, added to their scores; the last piece finds the least of them."""
    groups, dim, width = panels.shape
    bytes_, slim = panels.itemsize, 3 * width == state.shape[1]
    fresh, across, span = first == 0, scores.shape[1], state.shape[1]
    for g in range(groups):
        panel, own = panels.ctypes.data + bytes_ * (g * dim + first) * width, half.ctypes.data + bytes_ * g * width
        i = 0
        while i < size:
            row, score = x + bytes_ * stride * i, scores.ctypes.data + bytes_ * (across * i + g * width)
            kept, code = state.ctypes.data + bytes_ * span * i, g * width
            if slim and size - i >= _ROWS:
                i += _ROWS
                _slim_tile(scores, row, stride, panel, length, score, across, fresh, last, own, kept, code)
            elif slim:
                i += 1
                _slim_row(scores, row, stride, panel, length, score, across, fresh, last, own, kept, code)
            elif size - i >= _ROWS:
                i += _ROWS
                _wide_tile(scores, row, stride, panel, length, score, across, fresh, last, own, kept, code)
            else:
                i += 1
                _wide_row(scores, row, stride, panel, length, score, across, fresh, last, own, kept, code)


@inlined
def _slack(length: float, reach: float, gamma: float, vanishing: float) -> float:
    """What twice the score of a code of length ``reach`` is off by at most."""
    return gamma * reach * (length + reach / 2) + vanishing * (1 + length + reach)


@compiled
def _settle(points: Any, row: int, codes: Any, scores: Any, length: float, reaches: Any, gamma: float, vanishing: float) -> int:
    """The nearest code of a point, by direct differences from those whose scores may be the least."""
    limit = np.inf
    for j in range(len(reaches)):
        limit = min(limit, np.float64(scores[j]) + _slack(length, reaches[j], gamma, vanishing) / 2)
    count, label, least = 0, 0, np.inf
    for j in range(len(reaches)):
        if np.float64(scores[j]) - _slack(length, reaches[j], gamma, vanishing) / 2 <= limit:
            count += 1
            if count == 1:
                label = j
                continue
            if count == 2:
                least = direct_distance(points, row, codes, label)
            squared = direct_distance(points, row, codes, j)
            if squared < least:
                label, least = j, squared
    return label


@compiled
def label_by_products(
    points: Any,
    codes: Any,
    reaches: Any,
    panels: Any,
    half: Any,
    centre: Any,
    factor: Any,
    lengths: Any,
    gamma: float,
    vanishing: float,
    scores: Any,
    state: Any,
    moved: Any,
    chosen: Any,
    labels: Any,
    lower: Any,
    upper: Any,
) -> None:
    r"""Nearest codes by $\tfrac12|c|^2 - \langle x, c \rangle$, in blocks of rows; where in doubt, by direct differences.

    panels, half: see :func:`pack_codes`; infinite for the codes that fill the last panel. reaches: the lengths of the codes (K,).
    lengths: of the points treated alike; ``moved``: space for pieces of them, of no rows where they stay as they are. chosen: the
    rows to label, where ``moved`` has rows; all of them where it is empty. lower, upper: bounds on the distances to all codes
    (n, K) and to the nearest (n,), or empty. scores, state: space for a block of rows, (rows, groups × width), (rows, 3 lanes).
    Twice a score is off by ``gamma`` times $|x| |c| + \tfrac12|c|^2$ at most, and ``vanishing`` times $1 + |x| + |c|$ for numbers
    and products too small for their type. Most labels are beyond doubt already for the longest of all codes.
    """
    dim, k, rows, lanes = points.shape[1], len(codes), len(scores), state.shape[1] // 3
    reach = reaches.max()
    some = len(chosen) > 0
    count = len(chosen) if some else len(points)
    for a in range(0, count, rows):
        size = min(rows, count - a)
        state[:size, : 2 * lanes] = np.inf
        state[:size, 2 * lanes :] = 0
        for t in range(0, dim, PIECE):
            length = min(PIECE, dim - t)
            x, stride = points.ctypes.data + points.itemsize * (a * dim + t), dim
            if len(moved):  # piece by piece, so that the copy stays in the cache
                for i in range(size):
                    source, space = points[chosen[a + i] if some else a + i, t : t + length], moved[i, :length]
                    shift = centre[t : t + length]
                    for u in range(len(source)):
                        space[u] = (source[u] - shift[u]) * factor
                x, stride = moved.ctypes.data, moved.shape[1]
            _multiply(x, stride, size, panels, t, length, t + length == dim, half, scores, state)
        for i in range(size):
            row = chosen[a + i] if some else a + i
            length = np.float64(lengths[row])
            best, label, rival = _least(scores, state.ctypes.data + state.itemsize * state.shape[1] * i)
            if not rival > best + scores.dtype.type(_slack(length, reach, gamma, vanishing)):
                label = _settle(points, row, codes, scores[i], length, reaches, gamma, vanishing)
            labels[row] = label
            if len(lower):
                square = length * length
                for j in range(k):
                    error = _slack(length, reaches[j], gamma, vanishing) + 4e-6 * square  # of twice the score, and of the length
                    lower[row, j] = np.sqrt(max(square + 2 * np.float64(scores[i, j]) - error, 0.0)) * (1 - UNITS)
                error = _slack(length, reaches[label], gamma, vanishing) + 4e-6 * square
                upper[row] = np.sqrt(square + 2 * np.float64(scores[i, label]) + error) * (1 + UNITS)
