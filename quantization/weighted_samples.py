"""Samples as the estimator is given them: dense or sparse, with weights of any sum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray
from quantization.assignment import nearest, nearest_priced
from quantization.empirical.sparse_samples import SparseSamples, is_csr, nearest_codes
from quantization.measure import DiscreteMeasure
from quantization.validation import checked_weights


@dataclass(frozen=True, eq=False)
class WeightedSamples:
    """Samples, a dense array or CSR matrix (n, d), with weights (n,) in float64, None for 1 each, and their sum; of order r."""

    points: Array
    sample_weight: FloatArray | None
    total: float
    r: float

    @staticmethod
    def of(points: Array, sample_weight: Array | None, r: float) -> "WeightedSamples":
        """With a weight for each or one for all, checked."""
        n = int(points.shape[0])
        if sample_weight is None:
            return WeightedSamples(points, None, float(n), r)
        each = np.asarray(sample_weight, dtype=np.float64)
        weights = checked_weights(np.full(n, each) if each.ndim == 0 else each, n, "sample_weight")
        return WeightedSamples(points, weights, float(weights.sum()), r)

    @property
    def weights(self) -> FloatArray:
        """(n,)"""
        return np.ones(int(self.points.shape[0])) if self.sample_weight is None else self.sample_weight

    @property
    def law(self) -> DiscreteMeasure | SparseSamples:
        """These samples as what is quantized."""
        if is_csr(self.points):
            return SparseSamples(self.points, self.weights / self.total)
        if self.sample_weight is None:
            return DiscreteMeasure(self.points)
        return DiscreteMeasure.from_unnormalized(self.points, self.sample_weight)

    def distinct(self, most: int) -> FloatArray:
        """The first distinct samples of positive weight, ``most`` of them where there are so many, (m, d)."""
        law = self.law
        if isinstance(law, SparseSamples):
            return law.dense(law.distinct(most))
        positive = self.points[self.weights > 0]
        first = np.unique(positive, axis=0, return_index=True)[1]
        return np.asarray(positive[np.sort(first)[:most]], dtype=np.float64)

    def mean_cost(self, squared: FloatArray) -> float:
        r"""The mean of $\min_k |x_i - c_k|^r$ by weight, from the squared distances (n,)."""
        costs = squared if self.r == 2 else squared ** (self.r / 2)
        return float(costs.mean() if self.sample_weight is None else self.sample_weight @ costs / self.total)


def assigned(points: Array, codes: Array, prices: FloatArray | None = None) -> tuple[NDArray[np.int32], FloatArray]:
    """The nearest code of each sample, dense or CSR, in int32, and the squared distance to it.

    prices: (K,), where masses are prescribed; then of dense samples.
    """
    codes = np.asarray(codes, dtype=np.float64)
    if prices is not None:
        labels = nearest_priced(points, codes, prices).labels
        return labels.astype(np.int32), np.square(points - codes[labels]).sum(1)
    if is_csr(points):
        labels, squared = nearest_codes(points, codes)
    else:
        found = nearest(points, codes)
        labels, squared = found.labels, found.squared
    return labels.astype(np.int32), squared
