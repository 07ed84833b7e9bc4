"""Lloyd's algorithm on kept sums: where codebooks are large and few points change cells.

A step is one pass over the codebook, and over those points alone that have moved, or whose nearest code bounds on distances
leave in doubt. Source: elkan2003.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.assignment.step import Step
from quantization.compiled.kernels import bounds
from quantization.compiled.product import Frame, Product
from quantization.compiled.sums import CellSums
from quantization.threads import parallel_rows

_CODEBOOK = 2**17  # numbers from which a codebook is large
_CANCELLING = 1e-3  # distortion over the mean square about the reference, below which sums about it have too few digits
_BOUNDS = 1 / 8  # of the memory of the points
_FEW = 5  # of so many codes one is measured rather than all by a product
_MOST_UNSURE = 0.8  # of the points: beyond, it is faster to search all than to gather them


def pays(points: Any, k: int) -> bool:
    """Whether codebooks of k codes are large, and the points lie as the loops take them."""
    return k * points.shape[1] >= _CODEBOOK and points.dtype in (np.float32, np.float64) and points.flags.c_contiguous


class Kept:
    """Samples (n, d), contiguous float32 or float64, with masses (n,) in float64."""

    def __init__(self, points: Any, masses: FloatArray) -> None:
        self._points, self._masses = points, masses
        self._frame: Frame | None = None
        self._lengths: Any = None
        self._total = 0.0  # of w |x - a|^2
        self._cancelling = False

    def steps(self, codes: FloatArray) -> Iterator[Step]:
        """Lloyd's steps: see :class:`~quantization.compiled.steps.Descent`.

        Ends where a cell is empty or the distortion would rise, and for good where too few digits would be left of it.
        """
        if self._cancelling:
            return
        frame = self._framed(codes)
        search, sums = _Search(self._points, frame, self._lengths), CellSums(self._points, self._masses, frame)
        current, drifts, least = codes.astype(self._points.dtype), None, np.inf
        while True:
            labels = search.labels(current, drifts)
            masses = summed_by(labels, self._masses, len(codes))
            if not masses.all():
                return
            advance = sums.advance(labels, masses, current)
            within = self._total - advance.between
            if within < _CANCELLING * self._total:
                self._cancelling = True
                return
            distortion = within + advance.off
            if distortion > least:
                return
            drifts = advance.drifts
            at_rest, residual = not drifts.any(), (advance.off / distortion) ** 0.5
            yield Step(_doubled(current), masses, distortion, 0.0, residual, _doubled(advance.following), at_rest)
            if at_rest:
                return
            current, least = advance.following, distortion

    def _framed(self, codes: FloatArray) -> Frame:
        """The frame that the first codebook makes, whose centre is the sums' reference too, and the points measured in it."""
        if self._frame is None:
            self._frame = frame = Frame(codes, self._points.dtype)
            squares = np.empty(len(self._points))
            parallel_rows(lambda rows: frame.measure(self._points[rows], squares[rows]), len(squares))
            self._lengths = frame.lengths(squares)
            self._total = float(self._masses @ squares) / frame.factor**2
        return self._frame


def _doubled(codes: Any) -> Callable[[], FloatArray]:
    return lambda: codes.astype(np.float64)


class _Search:
    """Nearest codes, with bounds on distances from codebook to codebook where they take little beside the points.

    From below to every code, (n, K), from above to the nearest, (n,).
    """

    def __init__(self, points: Any, frame: Frame, lengths: Any) -> None:
        self._points, self._frame, self._lengths = points, frame, lengths
        self._labels = np.zeros(len(points), np.int32)
        self._unsure = np.empty(len(points), np.int64)
        self._lower: Any = None
        self._upper = np.empty(0, np.float32)

    def labels(self, codes: Any, drifts: Any) -> Any:
        """The nearest code of every point, (n,), overwritten by the next call.

        codes: (K, d) in the points' precision. drifts: how far they have come since the last call, None at the first.
        """
        n, k = len(self._points), len(codes)
        if self._lower is None:
            bounded = 4 * n * k <= _BOUNDS * self._points.nbytes and self._frame.factor == 1.0
            self._lower = np.empty((n, k) if bounded else (0, 0), np.float32)
            self._upper = np.empty(n if bounded else 0, np.float32)
        chosen = np.empty(0, np.int64)
        if drifts is not None and len(self._upper):
            chosen = self._in_doubt(codes, drifts)
            if len(chosen) == 0:
                return self._labels
            chosen = chosen if len(chosen) < _MOST_UNSURE * n else chosen[:0]
        product = Product(codes, self._frame, self._lengths, self._points.dtype)

        def search(rows: slice) -> None:
            some = chosen[rows] if len(chosen) else rows
            product.label_and_bound(self._points, some, self._labels, self._lower, self._upper)

        parallel_rows(search, len(chosen) or n)
        return self._labels

    def _in_doubt(self, codes: Any, drifts: Any) -> Any:
        """The points whose nearest code is in doubt, all others labelled."""
        unsure, few = self._unsure, len(codes) // _FEW

        def look(rows: slice) -> Any:
            found = bounds.find_unsure(
                self._points, codes, drifts, self._labels, self._lower, self._upper, few, rows.start, rows.stop, unsure
            )
            return unsure[rows.start : rows.start + found]

        return np.concatenate(parallel_rows(look, len(self._points)))
