"""Nearest codes in many dimensions: blocked matrix products, exact by a bound on their round-off."""

from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.compiled import kernels

_SCORES = 2**17  # of a block: they stay in the cache between the product and the search for their least


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
        moved = (codes - frame.centre) * frame.factor if frame.changes_points else codes
        self._factors = moved.astype(dtype)
        self._rounded = codes.astype(dtype) if frame.changes_points else self._factors
        self._inexact = np.linalg.norm(codes - self._rounded, axis=1)
        self._half = (np.einsum("kd,kd->k", moved, moved) / 2).astype(dtype)
        dim = min(codes.shape[1], kernels.PIECE)
        pieces = -(-codes.shape[1] // kernels.PIECE)
        self._gamma = 1.1 * (dim + pieces + 8) * float(np.finfo(dtype).eps)

    def label(self, first: int, points: Any, labels: Any, warm: bool) -> None:
        """The nearest codes of ``points``, rows ``first`` and on of the samples, written to ``labels``."""
        nothing = np.empty((0, 0), np.float32)
        self._label(first, points, np.empty(0, np.int64), labels, nothing, nothing[0:0, 0:0].reshape(0))

    def label_unsure(self, first: int, points: Any, labels: Any, bounds: "Bounds", drifts: FloatArray | None) -> None:
        """The same where bounds on distances leave a doubt, now that codes have drifted by so much; everywhere without drifts."""
        rows = slice(first, first + len(points))
        unsure = np.empty(0, np.int64)
        if drifts is not None:
            unsure = np.empty(len(points), np.int64)
            count = kernels.find_unsure(
                points, self._rounded, self._inexact, labels, bounds.lower[rows], bounds.upper[rows], drifts, unsure
            )
            unsure = unsure[:count]
            if count == 0:
                return
        self._label(first, points, unsure, labels, bounds.lower[rows], bounds.upper[rows])

    def _label(self, first: int, points: Any, chosen: Any, labels: Any, lower: Any, upper: Any) -> None:
        k, dim = self._codes.shape
        rows = int(np.clip(_SCORES // k, 16, 1024))
        rows = min(rows, len(chosen) or len(points))
        scores = np.empty((rows, k), self._dtype)
        moved = np.empty((rows if self._frame.changes_points or len(chosen) else 0, dim), self._dtype)
        bits = scores.view(np.int32 if scores.itemsize == 4 else np.int64)
        whole = np.iinfo(bits.dtype)
        layout = np.array([whole.bits - 1, whole.max, whole.max], dtype=bits.dtype)
        kernels.label_by_products(
            points, self._codes, self._factors, self._half, self._frame.centre, self._dtype.type(self._frame.factor),
            self._lengths[first : first + len(points)], self._gamma, scores, bits, moved, layout, chosen, labels, lower, upper,
        )  # fmt: skip


class Bounds:
    """What is known of distances from an earlier codebook: from below to every code, (n, K), from above to the nearest, (n,)."""

    def __init__(self, n: int, k: int) -> None:
        self.lower, self.upper = np.empty((n, k), np.float32), np.empty(n, np.float32)
        self.codes: FloatArray | None = None

    def drifts(self, codes: FloatArray) -> FloatArray | None:
        """How far codes have moved since, rounded up; None before the first pass."""
        before, self.codes = self.codes, codes
        return None if before is None else np.linalg.norm(codes - before, axis=1) * (1 + 1e-12)
