"""Nearest codes in few dimensions: a walk over lists of neighbouring codes, or all codes where there are few."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from quantization.arrays import FloatArray
from quantization.compiled.kernels import near as kernels
from quantization.threads import available

DIMENSIONS = 4
_LIST = {1: 16, 2: 32, 3: 64, 4: 128}
_ROWS_PER_CODE = 8  # fewer points than that do not pay for the lists


class Near:
    """A codebook in at most four dimensions, made ready for ``rows`` points."""

    def __init__(self, codes: FloatArray, rows: int) -> None:
        k, dim = codes.shape
        self.k, self._codes, count = k, codes, _LIST[dim]
        self._columns = np.ascontiguousarray(codes.T)
        self._neighbours = None
        if k > count and rows >= _ROWS_PER_CODE * k:
            gaps, neighbours = cKDTree(codes).query(codes, count, workers=available())
            self._gaps, self._neighbours = np.asarray(gaps), np.asarray(neighbours, dtype=np.int32)
            self._pivots = np.arange(0, k, max(1, int(k**0.5)), dtype=np.int32)

    def label(self, first: int, points: Any, labels: Any, warm: bool) -> None:
        """The nearest codes of ``points``, written to ``labels``, which hold codes to begin at where ``warm``."""
        if self._neighbours is None:
            kernels.try_all(points, self._columns, labels)
            return
        if not warm:
            kernels.nearest_pivot(points, self._codes, self._pivots, labels)
        kernels.walk_to_nearest(points, self._codes, self._neighbours, self._gaps, labels)
