"""Nearest codes in many dimensions: blocked matrix products, exact by a bound on their round-off."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled.kernels import bounds as bounding
from quantization.compiled.kernels import product as kernels
from quantization.compiled.kernels.compiler import PIECE
from quantization.compiled.kernels.tile import ROWS, lanes

_BLOCK = 2**17  # bytes of rows and scores that stay in the cache from piece to piece

_FEW = 5  # of so many codes one is measured rather than all by a product
_MOST_UNSURE = 0.8  # of the points: beyond, it is faster to search all than to gather them


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
        exponent = int(np.frexp(length)[1])
        self.factor = 2.0**-exponent if abs(exponent) > 40 else 1.0
        self.changes_points = self.shifted or self.factor != 1.0


class Product:
    """A codebook made ready for products in the precision of ``dtype`` with points in the frame."""

    def __init__(self, codes: FloatArray, frame: Frame, lengths: Any, dtype: Any) -> None:
        self.k = len(codes)
        self._codes, self._frame, self._lengths, self._dtype = codes, frame, lengths, dtype
        k, dim = codes.shape
        width = lanes(dtype) * (1 if k <= lanes(dtype) else 2)
        groups = -(-k // width)
        self._panels, self._half = np.zeros((groups, dim, width), dtype), np.full(groups * width, np.inf, dtype)
        kernels.pack_codes(codes, frame.centre, frame.factor, self._panels, self._half[:k])
        self._gamma = 1.1 * (min(dim, PIECE) - (-dim // PIECE) + 8) * float(np.finfo(dtype).eps)

    def label(self, first: int, points: Any, labels: Any, warm: bool) -> None:
        """The nearest codes of ``points``, rows ``first`` and on of the samples, written to ``labels``."""
        nothing = np.empty((0, 0), np.float32)
        self._label(first, points, np.empty(0, np.int64), labels, nothing, nothing[0:0, 0:0].reshape(0))

    def label_unsure(self, first: int, points: Any, labels: Any, bounds: "Bounds", moves: "Moves | None") -> None:
        """The same where bounds on distances leave a doubt, now that codes have moved; everywhere without moves."""
        rows = slice(first, first + len(points))
        lower, upper, unsure = bounds.lower[rows], bounds.upper[rows], np.empty(0, np.int64)
        if moves is not None:
            unsure = np.empty(len(points), np.int64)
            count = bounding.find_unsure(
                points, self._codes, moves.rounded, moves.inexact, moves.drifts, labels, lower, upper, self.k // _FEW, unsure
            )
            if count == 0:
                return
            unsure = unsure[: count if count < _MOST_UNSURE * len(points) else 0]
        self._label(first, points, unsure, labels, lower, upper)

    def _label(self, first: int, points: Any, chosen: Any, labels: Any, lower: Any, upper: Any) -> None:
        dim, across = points.shape[1], len(self._half)
        rows = max(ROWS, _BLOCK // (self._dtype.itemsize * (across + min(dim, PIECE))) // ROWS * ROWS)
        rows = min(rows, len(chosen) or len(points))
        scores, state = np.empty((rows, across), self._dtype), np.empty((rows, 3 * lanes(self._dtype)), self._dtype)
        moves = self._frame.changes_points or len(chosen)
        moved = np.empty((rows if moves else 0, min(dim, PIECE)), self._dtype)
        kernels.label_by_products(
            points, self._codes, self._panels, self._half, self._frame.centre, self._dtype.type(self._frame.factor),
            self._lengths[first : first + len(points)], self._gamma, scores, state, moved, chosen, labels, lower, upper,
        )  # fmt: skip


@dataclass(frozen=True)
class Moves:
    """How far codes have moved since the last pass; and the codes ``rounded`` to the points' precision, off by ``inexact``."""

    rounded: Any
    inexact: FloatArray
    drifts: FloatArray


class Bounds:
    """What is known of distances from an earlier codebook: from below to every code, (n, K), from above to the nearest, (n,)."""

    def __init__(self, n: int, k: int) -> None:
        self.lower, self.upper = np.empty((n, k), np.float32), np.empty(n, np.float32)
        self._codes: FloatArray | None = None

    def moves(self, codes: FloatArray, dtype: Any) -> Moves | None:
        """How codes have moved since this was last asked; None before the first pass."""
        before, self._codes = self._codes, codes
        if before is None:
            return None
        moves = Moves(np.empty(codes.shape, dtype), np.empty(len(codes)), np.empty(len(codes)))
        bounding.compare_codes(codes, before, moves.rounded, moves.inexact, moves.drifts)
        return moves
