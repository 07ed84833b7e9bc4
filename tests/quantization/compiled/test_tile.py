"""A tile of a product, and the least score that it keeps, against numpy."""

import numpy as np
import pytest
from numba import njit

from quantization.compiled.kernels import tile
from quantization.compiled.kernels.product import fill_panel

_tile, _row, _least = tile.wide_tile, tile.wide_row, tile.least
ROWS = tile.ROWS


@njit
def multiply(points, panel, half, scores, state, rows, fresh, last, code):
    x, kept, length = points.ctypes.data, state.ctypes.data, panel.shape[0]
    if rows > 1:
        _tile(scores, x, points.shape[1], panel.ctypes.data, length, scores.ctypes.data, scores.shape[1], fresh, last,
              half.ctypes.data, kept, code)  # fmt: skip
    else:
        _row(scores, x, points.shape[1], panel.ctypes.data, length, scores.ctypes.data, scores.shape[1], fresh, last,
             half.ctypes.data, kept, code)  # fmt: skip


@njit
def least(scores, state, row):
    return _least(scores, state.ctypes.data + state.itemsize * state.shape[1] * row)


def space(dtype, rows):
    lanes = tile.lanes(dtype)
    state = np.zeros((rows, 3 * lanes), dtype)
    state[:, : 2 * lanes] = np.inf
    return 2 * lanes, np.full((rows, 2 * lanes), np.nan, dtype), state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_least_and_rival(dtype, rng):
    width, scores, state = space(dtype, ROWS)
    points, panel = rng.integers(-9, 10, (ROWS, 37)).astype(dtype), rng.integers(-9, 10, (37, width)).astype(dtype)
    half = (np.square(panel).sum(0) / 2).astype(dtype)
    multiply(points, panel, half, scores, state, ROWS, True, True, 5)
    expected = half - points @ panel  # whole numbers and halves: exact
    np.testing.assert_array_equal(scores, expected)
    for i, row in enumerate(expected):
        best, code, rival = least(scores, state, i)
        assert (best, code, rival) == (row.min(), 5 + row.argmin(), np.sort(row)[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pieces_add_up_and_panels_go_on_from_each_other(dtype, rng):
    width, scores, state = space(dtype, 1)
    points, panels = rng.integers(-9, 10, (1, 20)).astype(dtype), rng.integers(-9, 10, (2, 20, width)).astype(dtype)
    half = (np.square(panels).sum(1) / 2).astype(dtype)
    half[1, -1] = np.inf  # a lane without a code
    for g, panel in enumerate(panels):
        multiply(np.ascontiguousarray(points[:, :12]), panel[:12].copy(), half[g], scores, state, 1, True, False, g * width)
        multiply(np.ascontiguousarray(points[:, 12:]), panel[12:].copy(), half[g], scores, state, 1, False, True, g * width)
    everything = (half[:, None] - points @ panels).ravel()
    best, code, rival = least(scores, state, 0)
    assert (best, code, rival) == (everything.min(), everything.argmin(), np.sort(everything)[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lowest_of_equal_codes_and_its_equals_as_rivals(dtype):
    width, scores, state = space(dtype, 1)
    panel = np.ones((3, width), dtype)
    multiply(np.ones((1, 3), dtype), panel, np.zeros(width, dtype), scores, state, 1, True, True, 0)
    assert least(scores, state, 0) == (-3, 0, -3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rival_in_the_same_lane(dtype):
    width, scores, state = space(dtype, 1)
    for near, far in ((3, 3 + width // 2), (3 + width // 2, 3)):
        state[:, :width], state[:, width:] = np.inf, 0
        half = np.full(width, 9, dtype)
        half[near], half[far] = 1, 2
        multiply(np.zeros((1, 3), dtype), np.zeros((3, width), dtype), half, scores, state, 1, True, True, 0)
        assert least(scores, state, 0) == (1, near, 2)


@njit
def fill(rows, size, panel):
    fill_panel(rows, size, panel)


@pytest.mark.parametrize("size", [1, 15, 16, 37, 128])
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_become_columns(dtype, vectors, size, rng):
    rows = rng.standard_normal((vectors * tile.lanes(dtype), 128)).astype(dtype)
    panel = np.full((size + 1, len(rows)), np.nan, dtype)
    fill(rows, size, panel)
    np.testing.assert_array_equal(panel[:size], rows[:, :size].T)
    assert np.isnan(panel[size:]).all()
