"""Where codes that are points lie among these."""

from itertools import chain
from typing import Any

import numpy as np

from quantization.compiled.kernels import inner
from quantization.threads import spread_rows


class Places:
    """The indices of points (n, d), contiguous float32 or float64, by a mark of all their coordinates."""

    def __init__(self, points: Any) -> None:
        self._points = points
        generator: Any = np.random.default_rng(0)  # whose integers are typed by half
        self._factors: Any = 2 * generator.integers(2**63, size=points.shape[1], dtype=np.uint64) + 1
        self._marked: dict[int, list[int]] = {}
        for i, mark in enumerate(chain(*spread_rows(lambda rows: self._marks(points[rows]), len(points)))):
            self._marked.setdefault(mark, []).append(i)

    def of(self, codes: Any) -> Any:
        """For each code, rounded to the points' precision, a point that equals it, (K,) indices; None where one is no point."""
        given: Any = np.ascontiguousarray(codes, self._points.dtype)
        places = [self._marked.get(mark, []) for mark in self._marks(given)]
        if not all(places):
            return None
        found, same = np.array([place[0] for place in places], np.int32), np.empty(len(given), np.bool_)
        inner.same_rows(self._points, found, given, same)
        for k in np.flatnonzero(~same):  # others have that mark too
            found[k] = next((i for i in places[k] if np.array_equal(self._points[i], given[k])), -1)
        return found if (found >= 0).all() else None

    def _marks(self, rows: Any) -> list[int]:
        """A number for every row, equal where rows are, and otherwise as good as never."""
        marks = np.empty(len(rows), np.uint64)
        inner.mark_rows(rows, rows.view(f"u{rows.itemsize}"), self._factors, marks)
        return marks.tolist()
