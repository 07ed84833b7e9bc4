"""Where codes that are points lie among these."""

from typing import Any

import numpy as np

from quantization.compiled.kernels import inner
from quantization.threads import parallel_rows

_SOME = 64  # coordinates in a row that tell most points from all others
_ALIKE = 16  # points that may share those: where more do, all coordinates are looked at


class Places:
    """The indices of points (n, d), contiguous float32 or float64, by a mark of a few coordinates, or of all."""

    def __init__(self, points: Any) -> None:
        self._points = points
        generator: Any = np.random.default_rng(0)  # whose integers are typed by half
        self._factors: Any = 2 * generator.integers(2**63, size=points.shape[1], dtype=np.uint64) + 1
        middle = points.shape[1] // 2
        for self._columns in (slice(max(0, middle - _SOME // 2), middle + _SOME // 2), slice(None)):
            marks: Any = np.concatenate(parallel_rows(lambda rows: self._marks(points[rows]), len(points)))
            self._order: Any = np.argsort(marks, kind="stable")
            self._sorted = marks[self._order]
            if (self._sorted[_ALIKE:] != self._sorted[:-_ALIKE]).all():
                break

    def of(self, codes: Any) -> Any:
        """For each code, rounded to the points' precision, a point that equals it, (K,) indices; None where one is no point."""
        known = codes.dtype in (np.float32, np.float64)  # to what compares rows; other codes are rounded first
        given: Any = np.ascontiguousarray(codes, None if known else self._points.dtype)
        marks = self._marks(given)
        first, end = self._sorted.searchsorted(marks), self._sorted.searchsorted(marks, "right")
        if not (first < end).all():
            return None
        found, same = self._order[first], np.empty(len(given), np.bool_)
        inner.same_rows(self._points, found, given, same)
        for k in np.flatnonzero(~same):  # others have that mark too
            others = self._order[first[k] + 1 : end[k]]
            found[k] = next((i for i in others if np.array_equal(self._points[i], given[k].astype(self._points.dtype))), -1)
        return found.astype(np.int32) if (found >= 0).all() else None

    def _marks(self, rows: Any) -> Any:
        """A number for every row, equal where rows are, and otherwise as good as never where they differ in these columns."""
        some: Any = np.ascontiguousarray(rows[:, self._columns], self._points.dtype)
        marks = np.empty(len(rows), np.uint64)
        inner.mark_rows(some, some.view(f"u{some.itemsize}"), self._factors[self._columns], marks)
        return marks
