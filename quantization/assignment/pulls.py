"""Sums of order r over cells whose labels are known: one pass over the points, which no bound can spare."""

from functools import partial
from typing import Any

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment import pull_kernels as kernels
from quantization.assignment.cells import Sums
from quantization.assignment.r_means import Stiffness, wants_tensors
from quantization.assignment.rows import Rows, read_only
from quantization.threads import parallel_rows

_UNROLLED = 8  # dimensions up to which kernels are compiled for their number
_FEW = 2**13  # points that one thread sums before another would be awake


class Pulls:
    """Points (n, d), a numpy array of any floating dtype, with weights (n,) in float64. rounding: that of their dtype."""

    def __init__(self, points: Any, weights: FloatArray, rounding: float) -> None:
        self._rows, self._weights, self._rounding = Rows(points), read_only(np.ascontiguousarray(weights)), rounding
        self._n, dim = points.shape
        self._dims = (0,) * dim if dim <= _UNROLLED else ()

    def sums(self, codes: FloatArray, labels: Any, r: float) -> Sums:
        """The sums over the cells of these labels (n,), int32; the shifts, which no step towards r-means needs, are zeros."""
        codes, power = np.ascontiguousarray(codes), r - 2.0
        doubled = abs(2 * power)
        whole = int(abs(power)) if doubled == int(doubled) and doubled <= 16 else -1
        k, dim = codes.shape

        def part(rows: slice) -> tuple[FloatArray, FloatArray, FloatArray]:
            tensors = np.zeros((k if wants_tensors(dim, r) else 0, dim, dim))
            sums, near = np.zeros((k, kernels.PULL + dim)), np.full((k, 3), (np.inf, -1.0, 0.0))
            for first, points in self._rows.chunks(rows.start, rows.stop):
                kernels.sum_pulls(
                    points, first, self._weights, codes, labels, power, whole, doubled % 2 == 1, sums, near, tensors, self._dims
                )
            return sums, near, tensors

        parts = [part(slice(0, self._n))] if self._n <= _FEW else parallel_rows(part, self._n)
        sums = self._added(codes, parts)
        if r > 2 and not wants_tensors(dim, r):
            return sums.with_products(partial(self.products, codes, labels, r))
        return sums

    def products(self, codes: FloatArray, labels: Any, r: float, vectors: FloatArray) -> FloatArray:
        """The sums over cells of $w |x - c|^{r-4} \\langle x - c, v \\rangle (x - c)$, for a vector v a cell, (K, d)."""

        def part(rows: slice) -> FloatArray:
            sums = np.zeros(codes.shape)
            for first, points in self._rows.chunks(rows.start, rows.stop):
                kernels.sum_products(points, first, self._weights, codes, labels, r - 4.0, vectors, sums)
            return sums

        return np.sum([part(slice(0, self._n))] if self._n <= _FEW else parallel_rows(part, self._n), axis=0)

    def _added(self, codes: FloatArray, parts: list[tuple[FloatArray, FloatArray, FloatArray]]) -> Sums:
        sums, tensors = (np.sum([part[i] for part in parts], axis=0) for i in (0, 2))
        tensors += np.tril(tensors, -1).transpose(0, 2, 1)
        rounding, total = self._rounding, None
        for _, near, _ in parts:
            rows = near[:, kernels.ROW].astype(np.int64)
            gaps = np.asarray(self._rows.points[np.maximum(rows, 0)], np.float64) - codes
            gaps[rows < 0] = np.inf
            nothing = np.zeros(len(codes))
            one = Stiffness(nothing, nothing, nothing, gaps, near[:, kernels.WEIGHT], rounding)
            total = one if total is None else total + one
        assert total is not None
        costs, reweighted, atoms = (sums[:, column] for column in (kernels.COST, kernels.TOTAL, kernels.ATOMS))
        stiffness = Stiffness(
            costs, reweighted, atoms, total.gaps, total.gap_weights, rounding, tensors if len(tensors) else None
        )
        masses, pulls = sums[:, kernels.MASS].copy(), sums[:, kernels.PULL :].copy()
        return Sums(masses, np.zeros_like(pulls), pulls, float(sums[:, kernels.COST].sum()), float(masses.sum()), None, stiffness)
