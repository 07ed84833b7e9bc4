r"""Lloyd's algorithm on kept sums: where codebooks are large and few points change cells.

With $S_k = \sum_{i \in V_k} w_i (x_i - a)$ about one reference a, kept and brought up to date with the points that moved,
$m_k = a + S_k / W_k$ and $D = \sum_i w_i |x_i - a|^2 - \sum_k |S_k|^2 / W_k + \sum_k W_k |c_k - m_k|^2$. A step is one pass over
the codebook, and over those points alone whose nearest code bounds on distances leave in doubt. Source: elkan2003.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, summed_by
from quantization.compiled.kernels import bounds, keeping
from quantization.compiled.kernels.product import UNITS
from quantization.compiled.product import Frame, Product
from quantization.compiled.steps import Step
from quantization.threads import spread

_CODEBOOK = 2**17  # numbers from which a codebook is large
_CANCELLING = 1e-3  # distortion over variance below which sums about one reference have too few digits
_COLUMNS, _GROUPS = 1024, 16  # columns of a part that a thread takes, and groups of rows
_BOUNDS = 1 / 8  # of the memory of the points
_FEW = 5  # of so many codes one is measured rather than all by a product
_MOST_UNSURE = 0.8  # of the points: beyond, it is faster to search all than to gather them
_MOST_MOVED = 1 / 3  # of the points: beyond, sums are made anew


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
        search, sums = _Search(self._points, frame, self._lengths), _CellSums(self._points, self._masses, frame)
        current, drifts, least = codes.astype(self._points.dtype), None, np.inf
        while True:
            labels = search.labels(current, drifts)
            masses = summed_by(labels, self._masses, len(codes))
            if not masses.all():
                return
            following, about, own, drifts = sums.advance(labels, masses, current)
            within = self._total - float(about.sum())
            if within < _CANCELLING * self._total:
                self._cancelling = True
                return
            off = float(own.sum())
            distortion = within + off
            if distortion > least:
                return
            at_rest = not drifts.any()
            residual = (off / distortion) ** 0.5
            yield Step(_exact(current), masses, distortion, 0.0, residual, _exact(following), at_rest)
            if at_rest:
                return
            current, least = following, distortion

    def _framed(self, codes: FloatArray) -> Frame:
        """The frame that the first codebook makes, whose centre is the sums' reference too, and the points measured in it."""
        if self._frame is None:
            self._frame = frame = Frame(codes, self._points.dtype)
            squares = np.empty(len(self._points))
            _over(lambda rows: frame.measure(self._points[rows], squares[rows]), len(squares))
            self._lengths = frame.lengths(squares)
            self._total = float(self._masses @ squares) / frame.factor**2
        return self._frame


def _exact(codes: Any) -> Callable[[], FloatArray]:
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

        _over(search, len(chosen) or n)
        return self._labels

    def _in_doubt(self, codes: Any, drifts: Any) -> Any:
        """The points whose nearest code is in doubt, all others labelled."""
        unsure, few = self._unsure, len(codes) // _FEW

        def look(rows: slice) -> Any:
            found = bounds.find_unsure(
                self._points, codes, drifts, self._labels, self._lower, self._upper, few, rows.start, rows.stop, unsure
            )
            return unsure[rows.start : rows.start + found]

        return np.concatenate(_over(look, len(self._points)))


class _CellSums:
    """Sums of w (x − a) over the cells, (K, d), about the frame's centre, kept from one labelling to the next."""

    def __init__(self, points: Any, masses: FloatArray, frame: Frame) -> None:
        self._points, self._masses = points, masses
        self._reference = frame.centre.astype(np.float64)
        self._labels: Any = None
        self._sums = np.empty((0, 0))

    def advance(self, labels: Any, masses: FloatArray, codes: Any) -> tuple[Any, FloatArray, FloatArray, FloatArray]:
        r"""The next codebook (K, d); per code $|S_k|^2 / W_k$, $W_k |c_k - m_k|^2$ and how far the code will come, rounded up."""
        moved, left = np.arange(len(labels)), self._labels
        if left is not None:
            moved = np.flatnonzero(labels != left)
        anew = left is None or len(moved) > _MOST_MOVED * len(labels)
        if anew:
            self._sums = np.zeros(codes.shape)
            moved, left = np.arange(len(labels)), labels
        following = np.empty_like(codes)
        starts = range(0, codes.shape[1], _COLUMNS)
        parts = np.empty((len(starts), len(codes), 3))

        def advance(i: int) -> None:
            columns = (starts[i], min(starts[i] + _COLUMNS, codes.shape[1]))
            keeping.move_sums(
                self._points, self._reference, moved, left, labels, self._masses, anew, *columns, self._sums
            )  # fmt: skip
            keeping.advance_codes(self._sums, masses, self._reference, codes, *columns, following, parts[i])

        spread(advance, len(starts))
        self._labels = labels.copy()
        about, own, drifts = parts.sum(0).T
        return following, about / masses, own / masses, np.sqrt(drifts) * (1 + UNITS)


def _over(work: Callable[[slice], Any], count: int) -> list[Any]:
    """``work`` on so many rows, in groups that threads take."""
    groups = min(_GROUPS, 2 * max(1, count // 256))  # an even number, as threads often are
    return spread(lambda g: work(slice(g * count // groups, (g + 1) * count // groups)), groups)
