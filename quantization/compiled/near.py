"""Nearest codes in few dimensions: a walk over lists of neighbouring codes, or all codes where there are few."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from quantization.arrays import FloatArray
from quantization.compiled.kernels import near as kernels
from quantization.threads import available, parallel_rows

DIMENSIONS = 4
_LIST = {1: 16, 2: 32, 3: 64, 4: 128}
_ROWS_PER_CODE = 8  # fewer points than that do not pay for the lists
_POOR = 1 / 8  # of the lists may be short
_TRIED = 2048  # codes up to which lists are made anew by trying all of them, once the radii of lists are known


class Near:
    """A codebook in at most four dimensions, made ready for ``rows`` points; ``before`` one that was not far from it."""

    def __init__(self, codes: FloatArray, rows: int, before: "Near | None" = None) -> None:
        k, dim = codes.shape
        self.k, self._codes, count = k, codes, _LIST[dim]
        self._columns = np.ascontiguousarray(codes.T)
        self._neighbours = None
        self.radii: FloatArray | None = None  # of the lists
        if k > count and rows >= _ROWS_PER_CODE * k:
            self._pivots = np.arange(0, k, max(1, int(k**0.5)), dtype=np.int32)
            radii = before.radii if before is not None and before.k == k <= _TRIED else None
            if radii is None or not self._list_within(radii, count):
                gaps, neighbours = cKDTree(codes).query(codes, count, workers=available())
                self._gaps, self._neighbours = np.asarray(gaps), np.asarray(neighbours, dtype=np.int32)
                self.radii = self._gaps[:, -1]

    def _list_within(self, radii: FloatArray, count: int) -> bool:
        """Lists of the codes within radii that held about ``count`` of them a while ago; whether they still do."""
        k, dim = self._codes.shape
        self._neighbours, self._gaps, found = np.empty((k, count), np.int32), np.empty((k, count)), np.empty(k)

        def part(rows: slice) -> None:
            kernels.list_within(
                self._codes, self._columns, radii, rows.start, rows.stop, self._neighbours, self._gaps, found
            )  # fmt: skip

        parallel_rows(part, k)
        self.radii = radii * np.clip((0.9 * count / found) ** (1 / dim), 0.7, 1.4)
        return bool((found <= kernels.TOO_MANY * count).all() and (found < count / 4).mean() < _POOR)

    def label(self, first: int, points: Any, labels: Any, warm: bool) -> None:
        """The nearest codes of ``points``, written to ``labels``, which hold codes to begin at where ``warm``."""
        if self._neighbours is None:
            kernels.try_all(points, self._columns, labels)
            return
        if not warm:
            kernels.nearest_pivot(points, self._codes, self._pivots, labels)
        kernels.walk_to_nearest(points, self._codes, self._neighbours, self._gaps, labels)
