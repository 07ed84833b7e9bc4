"""Contiguous rows of points in float32 or float64, whatever dtype and memory layout they have."""

from collections.abc import Iterator
from typing import Any

import numpy as np

_COPY_BYTES = 2**25  # up to which all points are converted once
_CHUNK_BYTES = 2**22  # of rows that are converted at a time


def read_only(array: Any) -> Any:
    """A view that nobody writes to: numba compiles once more for arrays of users' that are so, unless all are."""
    view = array.view()
    view.flags.writeable = False
    return view


class Rows:
    """Points (n, d), numpy, of any floating dtype and layout, as kernels take them: C-contiguous float32 or float64."""

    def __init__(self, points: Any) -> None:
        self.dtype = np.dtype(np.float64 if points.dtype == np.float64 else np.float32)
        ready = points.dtype == self.dtype and points.flags.c_contiguous and points.flags.aligned
        if not ready and points.size * self.dtype.itemsize <= _COPY_BYTES:
            points, ready = np.ascontiguousarray(points, self.dtype), True
        self.points, self.ready = read_only(points), ready

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """(first row, rows) from start to stop: all at once where no conversion is needed."""
        step = stop - start if self.ready else _CHUNK_BYTES // (self.points.shape[1] * self.dtype.itemsize)
        step = max(1, step)
        for first in range(start, stop, step):
            rows = self.points[first : min(first + step, stop)]
            yield first, rows if self.ready else read_only(np.ascontiguousarray(rows, self.dtype))
