"""Optimal quantization with scikit-learn's interface; the one module that needs scikit-learn."""

# pyright: reportMissingTypeStubs=false
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from quantization.arrays import FloatArray, IntArray
from quantization.iteration import solve_tasks
from quantization.make_problem import make_problem
from quantization.measure import DiscreteMeasure
from quantization.solution import Solution
from quantization.solvers.clvq import CLVQ
from quantization.stream import Stream
from quantization.task import make_task
from quantization.validation import TooFewPoints, checked_count

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import validation
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "OptimalQuantizer needs scikit-learn ≥ 1.6: pip install 'optimal-quantization[estimator]'"
    ) from error

_sklearn: Any = validation  # which has no types to speak of


class OptimalQuantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    r"""K weighted points that minimise $\sum_i s_i \min_k |x_i - c_k|^r$: :func:`quantization.quantize` as an estimator.

    n_clusters: the number K of codes. r: 2, as samples have no other solver yet. solver, start, restarts, max_iter: as in
    :func:`quantization.quantize`; the tolerance is the solver's, as in ``solver=Lloyd(rtol=1e-4)``. random_state: an int, a
    RandomState, a numpy Generator or None.

    After ``fit(X, sample_weight=None)``, X (n, d):
    cluster_centers_: (K, d) the codes. weights_: (K,) the masses of their Voronoi cells, of sum 1. labels_: (n,) the nearest
    code of each sample. distortion_: the mean of $\min_k |x_i - c_k|^r$ by weight. inertia_: the sum, as KMeans calls it.
    n_iter_: steps taken. solution_: the whole answer, with its status, stationarity and trace.

    Where X has fewer distinct samples than ``n_clusters``, these are the codes, as many as there are, with a ConvergenceWarning.
    float32 stays float32; distortions are summed in float64. Equal seeds give equal results. An answer that did not converge is
    an answer: ask ``solution_.require()``. Sparse matrices are refused.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        r: float = 2.0,
        solver: Any = None,
        init: Any = None,
        n_init: int = 1,
        max_iter: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.r = r
        self.solver = solver
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OptimalQuantizer":
        """Quantize the samples X (n, d), with weights (n,) ≥ 0 where given; y is ignored."""
        points, k = self._checked(X, reset=True), checked_count("n_clusters", self.n_clusters)
        if len(points) < k:
            raise ValueError(f"n_samples={len(points)} should be >= n_clusters={k}. Lower n_clusters or give more samples")
        measure, total = _weighted(points, sample_weight)
        options: dict[str, Any] = {"r": self.r, "solver": self.solver, "init": self.init, "n_init": self.n_init}
        options |= {"rng": _seed(self.random_state), "max_iter": self.max_iter}
        try:
            solution = _solve(measure, k, **options)
        except TooFewPoints as few:
            if self.init is not None:
                raise
            warnings.warn(
                f"X has {few.distinct} distinct samples of positive weight, fewer than n_clusters = {k}; they are the codes",
                ConvergenceWarning,
                stacklevel=2,
            )
            solution = _solve(measure, few.distinct, **options)
        self.n_iter_: int = solution.n_iter
        self.weights_: FloatArray = solution.measure.weights
        return self._fitted(points, solution, solution.distortion, total)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OptimalQuantizer":
        """Go on by competitive learning with more samples X (n, d): one pass over them, in random order.

        The solver is CLVQ, the default here. The first call needs n ≥ K, and so does every one with a sample_weight, which is
        relative within a call. weights_ are the companion weights of all samples so far; labels_, distortion_ and inertia_ are
        of these ones. After ``fit`` by another solver it begins at the codes found, without a memory.
        """
        first = not hasattr(self, "solution_")
        points, k = self._checked(X, reset=first), checked_count("n_clusters", self.n_clusters)
        if first and len(points) < k:
            raise ValueError(f"n_samples={len(points)} should be >= n_clusters={k} in the first call. Give more samples")
        solver: Any = CLVQ() if self.solver is None else self.solver
        if not isinstance(solver, CLVQ):
            raise ValueError(
                f"partial_fit goes on by competitive learning: solver must be None or CLVQ(...); received {solver!r}"
            )
        if not hasattr(self, "_rng"):
            self._rng: np.random.Generator = np.random.default_rng(_seed(self.random_state))
        measure, total = _weighted(points, sample_weight)
        batches = np.array_split(self._rng.permutation(points), -(-len(points) // solver.batch))
        law = Stream(batches) if sample_weight is None else measure
        init = self.init if first else self.solution_
        solution = _solve(law, k, r=self.r, solver=replace(solver, epochs=1), init=init, rng=self._rng)
        self.n_iter_ = solution.n_iter + (0 if first else self.n_iter_)
        companion = solution.trace.companion
        self.weights_ = np.asarray(solution.measure.weights if companion is None else companion, dtype=points.dtype)
        return self._fitted(points, solution, _distortion(measure, solution.measure.points, self.r), total)

    def _fitted(self, points: FloatArray, solution: Solution, cost: float, total: float) -> "OptimalQuantizer":
        self.solution_: Solution = solution
        self.cluster_centers_: FloatArray = solution.measure.points
        self.labels_: IntArray = self._assigned(points)
        self.distortion_: float = cost
        self.inertia_: float = cost * total
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
        return -total * _distortion(measure, self.cluster_centers_, self.r)

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
    return DiscreteMeasure.from_unnormalized(points, weights), float(weights.sum())


def _seed(random_state: Any) -> int | np.random.Generator:
    """An int and a Generator as they are; from None (numpy's global state) and a RandomState a number is drawn."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(_sklearn.check_random_state(random_state).randint(2**31 - 1))
    return random_state


def _solve(
    law: Any, k: int, *, r: float, solver: Any, init: Any, rng: Any, n_init: int = 1, max_iter: int | None = None
) -> Solution:
    (solution,) = solve_tasks([make_task(law, k, r, solver, init, n_init, rng, max_iter)])
    return solution


def _distortion(measure: DiscreteMeasure, codes: FloatArray, r: float) -> float:
    exact = make_problem(measure, len(codes), r).exact
    assert exact is not None
    return exact.cells(np.asarray(codes, dtype=np.float64)).distortion
