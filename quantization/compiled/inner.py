"""The matrix of all inner products of some points, or of the same points in whole numbers where a CPU is faster at those."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import inner as kernels
from quantization.compiled.kernels import whole
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes
from quantization.compiled.product import Frame
from quantization.threads import parallel_map, parallel_rows

_COARSE = 2e-4  # of lengths: points that are rounded further are in doubt more often than it saves
_SMALL, _LARGE = 1e-24, 1e24  # mean square and sum of squares of numbers whose products float32 can hold


@dataclass(frozen=True)
class Inner:
    r"""$\langle y_i, y_j \rangle$ for points $y_i$ near $x_i - a$, with the centre a of a frame.

    matrix: (n, ≥ n). product: how far its numbers may be off, in relation to $|y_i| |y_j|$. off: how far each $y_i$ may be from
    $x_i - a$, (n,).
    """

    matrix: Any
    product: float
    off: FloatArray


def inner_products(points: Any, frame: Frame) -> Inner | None:
    """Of points (n, d), contiguous float32 or float64; None where numbers are too small or too large for their squares."""
    found = _of_whole_numbers(points, frame) if _fits_whole_numbers(points) else None
    return _of_floats(points, frame) if found is None else found


def space(points: Any) -> int:
    """Bytes that the matrix, and what it is made of, may take."""
    return 2**25 + points.nbytes // 4


def _fits_whole_numbers(points: Any) -> bool:
    n, dim = points.shape
    rows = -(-n // whole.WIDTH) * whole.WIDTH
    return whole.AVAILABLE and points.dtype == np.float32 and 4 * rows * (n + whole.pairs(dim)) <= space(points)


def _in_range(squares: "list[float] | FloatArray", points: Any) -> bool:
    """Whether float32 can hold products of points of these squared lengths, or some parts of their sum."""
    return _SMALL * points.size < float(np.sum(squares)) < _LARGE


def _of_floats(points: Any, frame: Frame) -> Inner | None:
    def square(rows: slice) -> float:
        numbers: Any = points[rows].ravel()
        return float(numbers @ numbers)

    with np.errstate(over="ignore"):
        squares = parallel_rows(square, len(points))
    if not _in_range(squares, points):
        return None
    n, width = len(points), 2 * lanes(points.dtype)
    matrix = np.zeros((n, -(-n // width) * width), points.dtype)
    starts = range(0, n, kernels.PANELS * width)

    def columns(part: int) -> None:
        panels = np.empty((kernels.PANELS, PIECE, width), points.dtype)
        moved = np.empty((ROWS if frame.shifted else 0, PIECE), points.dtype)
        first, last = starts[part], min(starts[part] + kernels.PANELS * width, n)
        kernels.gram_columns(points, frame.centre, frame.shifted, first, last, panels, moved, matrix)

    parallel_map(columns, len(starts), sizes=starts)
    return Inner(matrix, kernels.depth(points.shape[1]) * float(np.finfo(points.dtype).eps) / 2, np.zeros(n))


def _of_whole_numbers(points: Any, frame: Frame) -> Inner | None:
    """None where that would leave too much in doubt: a few coordinates are so large that all others are rounded too far."""
    n, dim = points.shape
    groups = -(-n // whole.WIDTH)
    panels = _in_lines((groups, whole.pairs(dim), whole.WIDTH), np.int32)
    units, off, lengths = np.zeros(groups * whole.WIDTH, np.float32), np.empty(n), np.empty(n)
    parallel_map(lambda g: whole.to_whole(points, frame.centre, g, g + 1, panels, units, off, lengths), groups)
    squares = np.square(lengths)
    if not _in_range(squares, points) or not off.mean() < _COARSE * np.sqrt(squares.mean()):
        return None
    matrix = _in_lines((n, groups * whole.WIDTH), np.float32)
    starts = range(0, groups, whole.PANELS)
    parallel_map(
        lambda part: whole.whole_columns(panels, units, starts[part], min(starts[part] + whole.PANELS, groups), matrix),
        len(starts), sizes=starts,
    )  # fmt: skip
    return Inner(matrix, whole.depth(dim) * float(np.finfo(np.float32).eps) / 2, off)


def _in_lines(shape: tuple[int, ...], dtype: Any) -> Any:
    """An empty array that begins where a line of the cache does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    space = np.empty(size + whole.LINE, np.uint8)
    first = -space.ctypes.data % whole.LINE
    return space[first : first + size].view(dtype).reshape(shape)
