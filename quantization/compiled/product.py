"""Nearest codes in many dimensions: blocked matrix products, exact by a bound on their round-off."""

from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import product as kernels
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes

_LEAST_EXPONENT = -120  # of what is scaled: the factor must be a number of float32 too
_FAR = 50  # of two, numbers beyond whose power are scaled in float32
_BLOCK = 2**17  # bytes of rows and scores that stay in the cache from piece to piece


class Frame:
    r"""How points enter a product: shifted by a centre and scaled by a power of two, or as they are where neither helps.

    The bound on a score's round-off grows with $|x| \max|c|$, so points far from the origin beside their spread are shifted. With
    float32, squares of numbers beyond $2^{\pm 50}$ would overflow or vanish, so those are scaled.
    """

    def __init__(self, codes: FloatArray, dtype: Any) -> None:
        mean = codes.mean(0)
        spread = float(np.square(codes - mean).sum(1).mean())
        self.shifted = float(np.square(mean).sum()) > 4 * spread
        self.centre = (mean if self.shifted else np.zeros_like(mean)).astype(dtype)
        length = float(np.sqrt(np.square(codes - self.centre).sum(1).max()))
        exponent = max(int(np.frexp(length)[1]), _LEAST_EXPONENT)
        self.factor = 2.0**-exponent if abs(exponent) > 40 else 1.0
        self.changes_points = self.shifted or self.factor != 1.0
        self._single = np.dtype(dtype).itemsize == 4

    def measure(self, points: Any, squares: FloatArray) -> None:
        """The squared lengths of some points in the frame, written to ``squares``."""
        kernels.measure_rows(points, self.centre, self.factor, squares)

    def lengths(self, squares: FloatArray) -> Any:
        """Of all points of these squared lengths, in their precision and rounded up, as the bounds on round-off take them.

        The frame shrinks where a point is so long that its square, were it a code, would overflow.
        """
        longest = float(squares.max()) ** 0.5
        if self._single and longest > 2.0**_FAR:
            shrink = 2.0 ** -int(np.frexp(longest)[1])
            self.factor, self.changes_points = self.factor * shrink, True
            squares *= shrink**2
        return (np.sqrt(squares) * (1 + kernels.UNITS)).astype(np.float32 if self._single else np.float64)


class Product:
    """A codebook (K, d) made ready for products in the precision of ``dtype`` with points in the frame, of these lengths."""

    def __init__(self, codes: Any, frame: Frame, lengths: Any, dtype: Any) -> None:
        self.k = len(codes)
        self._codes, self._frame, self._lengths, self._dtype = codes, frame, lengths, dtype
        k, dim = codes.shape
        width = lanes(dtype) * (1 if k <= lanes(dtype) else 2)
        groups = -(-k // width)
        self._panels, self._half = np.zeros((groups, dim, width), dtype), np.full(groups * width, np.inf, dtype)
        squares = np.empty(k)
        kernels.pack_codes(codes, frame.centre, frame.factor, self._panels, squares)
        self._half[:k], self._reaches = squares / 2, np.sqrt(squares)
        self._vanishing = 4.0 * (dim + 8) * float(np.finfo(dtype).smallest_subnormal)
        self._gamma = 1.1 * (min(dim, PIECE) - (-dim // kernels.SPAN) + 8) * float(np.finfo(dtype).eps)

    def label(self, first: int, points: Any, labels: Any, warm: bool) -> None:
        """The nearest codes of ``points``, rows ``first`` and on of the samples, written to ``labels``."""
        nothing = np.empty((0, 0), np.float32)
        lengths = self._lengths[first : first + len(points)]
        self._label(points, lengths, np.empty(0, np.int64), labels, nothing, nothing[0:0, 0:0].reshape(0))

    def label_and_bound(self, points: Any, rows: Any, labels: Any, lower: Any, upper: Any) -> None:
        """The same for some rows, a slice or indices, of all the samples, with bounds on their distances where there is space.

        lower: (n, K), to every code. upper: (n,), to the nearest.
        """
        if not isinstance(rows, slice) and len(rows) == 0:
            return
        if isinstance(rows, slice):
            everything = np.empty(0, np.int64)
            self._label(points[rows], self._lengths[rows], everything, labels[rows], lower[rows], upper[rows])
        else:
            self._label(points, self._lengths, rows, labels, lower, upper)

    def _label(self, points: Any, lengths: Any, chosen: Any, labels: Any, lower: Any, upper: Any) -> None:
        dim, across = points.shape[1], len(self._half)
        rows = max(ROWS, _BLOCK // (self._dtype.itemsize * (across + min(dim, PIECE))) // ROWS * ROWS)
        rows = min(rows, len(chosen) or len(points))
        scores, state = np.empty((rows, across), self._dtype), np.empty((rows, 3 * lanes(self._dtype)), self._dtype)
        moves = self._frame.changes_points or len(chosen)
        moved = np.empty((rows if moves else 0, min(dim, PIECE)), self._dtype)
        kernels.label_by_products(
            points, self._codes, self._reaches, self._panels, self._half, self._frame.centre,
            self._dtype.type(self._frame.factor), lengths, self._gamma, self._vanishing, scores, state, moved, chosen, labels,
            lower, upper,
        )  # fmt: skip
