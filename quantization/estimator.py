"""Optimal quantization with scikit-learn's interface; the one module that needs scikit-learn."""

# pyright: reportMissingTypeStubs=false
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from quantization.arrays import FloatArray, IntArray
from quantization.iterate import quantize
from quantization.measure import DiscreteMeasure
from quantization.problem import checked_count
from quantization.solution import Solution
from quantization.voronoi import cells

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
    from sklearn.utils import validation
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "OptimalQuantizer needs scikit-learn ≥ 1.6: pip install 'optimal-quantization[estimator]'"
    ) from error

_sklearn: Any = validation  # which has no types to speak of


class OptimalQuantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    r"""K weighted points that minimise $\sum_i s_i \min_k |x_i - c_k|^r$: :func:`quantization.quantize` as an estimator.

    n_clusters: the number K of codes. r, solver, start, restarts, max_steps: as in :func:`quantization.quantize`; the tolerance
    is the solver's, as in ``solver=Lloyd(rtol=1e-4)``. random_state: an int, a RandomState, a numpy Generator or None.

    After ``fit(X, sample_weight=None)``, X (n, d):
    cluster_centers_: (K, d) the codes. weights_: (K,) the masses of their Voronoi cells, of sum 1. labels_: (n,) the nearest
    code of each sample. distortion_: the mean of $\min_k |x_i - c_k|^r$ by weight. inertia_: the sum, as KMeans calls it.
    n_iter_: steps taken. solution_: the whole answer, with its status, stationarity and trace.

    float32 stays float32; distortions are summed in float64. Equal seeds give equal results. An answer that did not converge is
    an answer: ask ``solution_.require()``. Sparse matrices are refused.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        r: float = 2.0,
        solver: Any = None,
        start: Any = None,
        restarts: int = 1,
        max_steps: int = 300,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.r = r
        self.solver = solver
        self.start = start
        self.restarts = restarts
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OptimalQuantizer":
        """Quantize the samples X (n, d), with weights (n,) ≥ 0 where given; y is ignored."""
        points, k = self._checked(X, reset=True), checked_count("n_clusters", self.n_clusters)
        if len(points) < k:
            raise ValueError(f"n_samples={len(points)} should be >= n_clusters={k}. Lower n_clusters or give more samples")
        measure, total = _weighted(points, sample_weight)
        solution = quantize(
            measure,
            k,
            r=self.r,
            solver=self.solver,
            start=self.start,
            restarts=self.restarts,
            seed=_seed(self.random_state),
            max_steps=self.max_steps,
        )
        self.solution_: Solution = solution
        self.cluster_centers_: FloatArray = solution.measure.points
        self.weights_: FloatArray = solution.measure.weights
        self.labels_: IntArray = self._assigned(points)
        self.distortion_: float = solution.distortion
        self.inertia_: float = solution.distortion * total
        self.n_iter_: int = solution.steps
        return self

    def predict(self, X: Any) -> IntArray:
        r"""$\arg\min_k |x_i - c_k|$, (n,); the lowest index wins a tie."""
        _sklearn.check_is_fitted(self)
        return self._assigned(self._checked(X))

    def transform(self, X: Any) -> FloatArray:
        r"""$|x_i - c_k|$, (n, K), by direct differences in float64, in the dtype of X."""
        _sklearn.check_is_fitted(self)
        points = self._checked(X)
        return np.asarray(cdist(points, self.cluster_centers_), dtype=points.dtype)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        r"""$-\sum_i s_i \min_k |x_i - c_k|^r$: the more, the better."""
        _sklearn.check_is_fitted(self)
        measure, total = _weighted(self._checked(X), sample_weight)
        codes = np.asarray(self.cluster_centers_, dtype=np.float64)
        return -total * cells(measure.points, measure.masses, codes, float(self.r)).distortion

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _checked(self, X: Any, reset: bool = False) -> FloatArray:
        return _sklearn.validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])

    def _assigned(self, points: FloatArray) -> IntArray:
        return self.solution_.measure.assign(points).astype(np.int32)

    def __sklearn_tags__(self) -> Any:
        parent: Any = super()
        tags = parent.__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _weighted(points: FloatArray, sample_weight: Any) -> tuple[DiscreteMeasure, float]:
    """The samples as a measure, and their total weight: their number where no weights are given."""
    if sample_weight is None:
        return DiscreteMeasure(points), float(len(points))
    weights = np.asarray(sample_weight, dtype=np.float64)
    weights = np.full(len(points), float(weights)) if weights.ndim == 0 else weights
    if not weights.any():
        raise ValueError("sample_weight must have a positive entry; received zero weights only")
    return DiscreteMeasure.from_masses(points, weights), float(weights.sum())


def _seed(random_state: Any) -> int | np.random.Generator:
    """An int and a Generator as they are; from None (numpy's global state) and a RandomState a number is drawn."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(_sklearn.check_random_state(random_state).randint(2**31 - 1))
    return random_state
