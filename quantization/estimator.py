"""Optimal quantization with scikit-learn's interface: a drop-in for its KMeans, and the one module that needs scikit-learn."""

# pyright: reportMissingTypeStubs=false
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, summed_by
from quantization.assignment import nearest
from quantization.clvq_state import CLVQState
from quantization.distance_matrix import distance_matrix
from quantization.empirical.sparse_samples import canonical_csr, is_csr, sparse_distance_matrix
from quantization.initialization import CallableInit, GivenCodes, KMeansPlusPlus, RandomPoints, WarmStart, as_initialization
from quantization.iteration import solve_tasks
from quantization.make_problem import make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Initialization, Problem
from quantization.reservoir import PrioritySample
from quantization.solution import Solution
from quantization.solvers.base import Solver, Task, max_iter_of
from quantization.solvers.clvq import CLVQ
from quantization.solvers.kmeans_lloyd import KMeansBalanced, KMeansLloyd, shift_tolerance
from quantization.solvers.lloyd import Lloyd
from quantization.status import ConvergenceWarning as QuantizationWarning
from quantization.status import TooFewPoints
from quantization.stream import Stream
from quantization.task import make_task
from quantization.validation import checked_count, checked_number, checked_rng
from quantization.weighted_samples import WeightedSamples, assigned

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
    from sklearn.exceptions import ConvergenceWarning as SklearnWarning
    from sklearn.utils import validation
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "OptimalQuantizer needs scikit-learn ≥ 1.6: pip install 'optimal-quantization[estimator]'"
    ) from error

_sklearn: Any = validation  # which has no types to speak of
RandomState = int | np.random.RandomState | np.random.Generator | None
_N_INIT = 10  # of "random" and of functions where n_init is "auto", as in KMeans
_RESERVOIR_PER_CODE, _RESERVOIR, _RESERVOIR_NUMBERS = 64, 2**12, 2**22
_LOOK = 1 / 4  # of the reservoir: after so many new samples the codes are compared with it
_DRIFT = 0.05  # or where these cost so much more, as a share of the distortion of all
_WORSE = 1.25  # times the running distortion, from which that of the reservoir says that the data have drifted
_FITTED = 4  # times K / m, by which codes that were fitted to m points may cost less on them than on others
_CANDIDATE_STEPS = 20


class ConvergenceWarning(QuantizationWarning, SklearnWarning):
    """The package's :class:`~quantization.ConvergenceWarning`, and scikit-learn's."""


class OptimalQuantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    r"""K weighted points that minimise $\sum_i s_i \min_k |x_i - c_k|^r$: :func:`quantization.quantize` as an estimator.

    A drop-in for ``sklearn.cluster.KMeans``: the same parameters, defaults, attributes and methods. Beside them it gives the
    weights of the codes and the whole :class:`~quantization.Solution`, takes every initialization and solver of this package,
    and learns from batches by ``partial_fit``.

    Parameters
    ----------
    n_clusters : int, default=8
        The number K of codes.
    init : {"k-means++", "random", "global"}, array (K, d), callable, Initialization, DiscreteMeasure or Solution
        A callable is called as ``init(X, n_clusters, random_state=RandomState)``. "global" is for samples on the line.
    n_init : int or "auto", default="auto"
        Runs, of which the best is kept; "auto" is 10 for "random" and callables, else 1.
    max_iter : int, default=300
        Lloyd steps of a run at most; of a CLVQ without ``epochs``, mini-batches.
    tol : float, default=1e-4
        A run stops where the sum of the squared shifts of all codes in a step is at most ``tol`` times the mean variance of the
        features, or where no label changes. A ``solver`` has a tolerance of its own.
    verbose : int, default=0
        Whether to print every step.
    random_state : int, RandomState, numpy Generator or None
    copy_x : bool, default=True
        Accepted for KMeans's sake: X is never written to, nor copied for it.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        Accepted for KMeans's sake: both give the same codes, and which bounds pay is chosen by the shape of the problem.
    r : float, default=2.0
        The order ≥ 1; 2 for sparse matrices and prescribed masses.
    masses : {"free", "uniform"} or array (K,), default="free"
        The weights of the codes where they are prescribed, as clusters of equal size are: see :func:`quantization.quantize`. The
        solver is then :class:`~quantization.Balanced`, which stops at ``tol`` as well, and labels are those of its priced
        distances.
    solver : Solver, optional
        Such as ``CLVQ(epochs=5)`` or ``Lloyd(rtol=1e-6)``, in place of Lloyd with ``tol``.

    Attributes
    ----------
    cluster_centers_ : (K, d) array
        The codes.
    labels_ : (n,) array of int32
        The nearest code of each sample; the lowest index wins a tie.
    inertia_ : float
        $\sum_i s_i \min_k |x_i - c_k|^r$.
    n_iter_ : int
        Steps of the best run, counted as KMeans counts them.
    weights_ : (K,) array
        The masses of the Voronoi cells, of sum 1.
    distortion_ : float
        The mean of $\min_k |x_i - c_k|^r$ by weight.
    solution_ : Solution
        The whole answer, with its status, stationarity and trace.
    n_features_in_, feature_names_in_
        As of every estimator.

    Notes
    -----
    Where X has fewer distinct samples than ``n_clusters``, these are the codes, as many as there are, with a ConvergenceWarning
    that is both scikit-learn's and this package's. float32 stays float32; distortions are summed in float64. Equal seeds give
    equal results. CSR matrices are made dense only some rows at a time; other sparse formats are converted to CSR.

    References
    ----------
    lloyd1982, pages2015.

    Examples
    --------
    >>> import numpy as np
    >>> import quantization as qz
    >>> x = np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0], [9.0, 1.0]])
    >>> quantizer = qz.OptimalQuantizer(n_clusters=2, random_state=0).fit(x)
    >>> order = np.argsort(quantizer.cluster_centers_[:, 0])
    >>> quantizer.cluster_centers_[order].tolist(), quantizer.weights_[order].round(12).tolist()
    ([[0.0, 1.0], [9.0, 1.0]], [0.4, 0.6])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Initialization | Callable[..., Array] | Array = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: RandomState = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        r: float = 2.0,
        masses: Array = "free",
        solver: Solver | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.r = r
        self.masses = masses
        self.solver = solver

    def fit(self, X: Array, y: object = None, sample_weight: Array | None = None) -> "OptimalQuantizer":
        """Quantize samples.

        Parameters
        ----------
        X : (n, d) array or sparse matrix
        y : ignored
        sample_weight : (n,) array or number, optional
            Nonnegative; 1 each by default.

        Returns
        -------
        OptimalQuantizer
            Itself.
        """
        points, k = self._checked(X, reset=True), self._checked_parameters()
        if points.shape[0] < k:
            raise ValueError(f"n_samples={points.shape[0]} should be >= n_clusters={k}. Lower n_clusters or give more samples")
        samples = WeightedSamples.of(points, sample_weight, self.r)
        init = self._initialization(points, k)
        solver: Solver | None = self.solver
        free = isinstance(self.masses, str) and self.masses == "free"
        if solver is None and free:
            solver = KMeansLloyd(0.0, shift_tolerance(points, self.tol), bool(self.verbose), samples.total)
        elif solver is None and points.shape[1] > 1:  # on the line the default is exact
            solver = KMeansBalanced(0.0, shift_tol=shift_tolerance(points, self.tol))
        budget = self.max_iter if getattr(solver, "epochs", None) is None else None
        try:
            task = make_task(samples.law, k, self.r, solver, init, self._n_init, _seed(self.random_state), budget, self.masses)
        except TooFewPoints as few:
            if not free:
                raise
            start = GivenCodes(samples.distinct(k))
            task = make_task(samples.law, few.distinct, self.r, solver, start, 1, 0, budget)
        (solution,) = solve_tasks([task])
        _warn_of_few(int(np.count_nonzero(solution.weights)), k)
        self._memory: _Memory | None = None
        self._seen_weight = samples.total
        self.n_iter_: int = solution.n_iter
        self.weights_: FloatArray = solution.weights
        return self._fitted(samples, solution, solution.distortion)

    def partial_fit(self, X: Array, y: object = None, sample_weight: Array | None = None) -> "OptimalQuantizer":
        """Go on with more samples: one pass over them by competitive learning, in random order.

        Parameters
        ----------
        X : (n, d) array or sparse matrix
            n ≥ K in the first call.
        y : ignored
        sample_weight : (n,) array or number, optional
            Nonnegative; 1 each by default. Weights of all calls are in one unit: a sample of weight 2 counts as two, whatever the
            weights of other calls.

        Returns
        -------
        OptimalQuantizer
            Itself. weights_ are the companion weights of all samples so far; labels_, distortion_ and inertia_ are of these ones.

        Notes
        -----
        The solver is CLVQ, by default ``CLVQ(recency=0, relocate=False)``, by which all samples so far count by their weight.
        Competitive learning alone forgets cells that win nothing for long, as in a stream that is sorted. So a weighted sample of
        all samples so far (at least 4096 and 64 K, at most 2^22 numbers) is kept. Where new samples cost more than those before,
        where the codes cost more on the kept ones than they seemed to, and whenever the weight seen has grown by a quarter, codes
        are also found on the kept ones by k-means++ and Lloyd, and take over where they cost less by more than fitting explains.
        Until K distinct samples have come, these are the codes, with a ConvergenceWarning. After ``fit`` its samples count too.
        """
        if not isinstance(self.masses, str) or self.masses != "free":
            raise ValueError(f"partial_fit learns codes of free masses; received masses={self.masses!r}")
        solver: Any = CLVQ(recency=0.0, relocate=False) if self.solver is None else self.solver
        if not isinstance(solver, CLVQ):
            raise ValueError(
                f"partial_fit goes on by competitive learning: solver must be None or CLVQ(...); received {solver!r}"
            )
        first = not hasattr(self, "solution_")
        points, k = self._checked(X, reset=first), self._checked_parameters()
        if first and points.shape[0] < k:
            raise ValueError(f"n_samples={points.shape[0]} should be >= n_clusters={k} in the first call. Give more samples")
        samples = WeightedSamples.of(points, sample_weight, self.r)
        memory: _Memory | None = getattr(self, "_memory", None)
        if memory is None or memory.k != k or memory.r != samples.r:
            memory = _Memory(k, points.shape[1], checked_rng(_seed(self.random_state)), samples.r)
            if not first:
                memory.begin_after(self.cluster_centers_, self.weights_ * self._seen_weight)
        init = self._initialization(points, k) if first else None
        solution = memory.learn(samples, replace(solver, epochs=1), init)
        _warn_of_few(len(solution.points), k)
        self._seen_weight: float = samples.total + (0.0 if first else self._seen_weight)
        self._memory = memory
        self.n_iter_ = solution.n_iter + (0 if first else self.n_iter_)
        companion = solution.trace.companion
        self.weights_ = np.asarray(solution.weights if companion is None else companion, dtype=points.dtype)
        return self._fitted(samples, solution, None)

    def _fitted(self, samples: "WeightedSamples", solution: Solution, distortion: float | None) -> "OptimalQuantizer":
        self.solution_: Solution = solution
        self.cluster_centers_: FloatArray = solution.points
        labels, squared = assigned(samples.points, solution.points, solution.prices)
        self.labels_: NDArray[np.int32] = labels
        self.distortion_: float = samples.mean_cost(squared) if distortion is None else distortion
        self.inertia_: float = self.distortion_ * samples.total
        return self

    def fit_predict(self, X: Array, y: object = None, sample_weight: Array | None = None) -> NDArray[np.int32]:  # pyright: ignore[reportIncompatibleMethodOverride]  as KMeans
        """Fit, then the nearest code of each sample: ``fit(X, sample_weight=sample_weight).labels_``.

        Parameters
        ----------
        X : array or sparse matrix (n, d)
        y : ignored
        sample_weight : array (n,), optional

        Returns
        -------
        array (n,) of int32
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Array, y: object = None, sample_weight: Array | None = None) -> FloatArray:  # pyright: ignore[reportIncompatibleMethodOverride]  as KMeans
        """Fit, then the distances to the codes: ``fit(X, sample_weight=sample_weight).transform(X)``.

        Parameters
        ----------
        X : array or sparse matrix (n, d)
        y : ignored
        sample_weight : array (n,), optional

        Returns
        -------
        array (n, K)
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: Array) -> NDArray[np.int32]:
        r"""The nearest code of each sample, $\arg\min_k |x_i - c_k|$; the lowest index wins a tie.

        Of prescribed masses by priced distances: see :meth:`Solution.predict <quantization.Solution.predict>`.

        Parameters
        ----------
        X : array or sparse matrix (n, d)

        Returns
        -------
        array (n,) of int32
        """
        _sklearn.check_is_fitted(self)
        return assigned(self._checked(X), self.cluster_centers_, self.solution_.prices)[0]

    def transform(self, X: Array) -> FloatArray:
        r"""The distances to the codes, $|x_i - c_k|$, in the dtype of X; right to ten digits.

        Parameters
        ----------
        X : array or sparse matrix (n, d)

        Returns
        -------
        array (n, K)
        """
        _sklearn.check_is_fitted(self)
        points, codes = self._checked(X), np.asarray(self.cluster_centers_, dtype=np.float64)
        return sparse_distance_matrix(points, codes) if is_csr(points) else distance_matrix(points, codes)

    def score(self, X: Array, y: object = None, sample_weight: Array | None = None) -> float:
        r"""The score $-\sum_i s_i \min_k |x_i - c_k|^r$: the more, the better.

        Parameters
        ----------
        X : array or sparse matrix (n, d)
        y : ignored
        sample_weight : array (n,), optional

        Returns
        -------
        float
        """
        _sklearn.check_is_fitted(self)
        samples = WeightedSamples.of(self._checked(X), sample_weight, self.r)
        return -samples.total * samples.mean_cost(assigned(samples.points, self.cluster_centers_, self.solution_.prices)[1])

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _checked(self, X: Array, reset: bool = False) -> Any:
        points = _sklearn.validate_data(self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32])
        return canonical_csr(points) if is_csr(points) else points

    def _checked_parameters(self) -> int:
        """The number of codes; ``ValueError`` where a parameter of KMeans has no such value."""
        checked_count("max_iter", self.max_iter, least=0)
        checked_number(self.tol, "tol must be a finite number ≥ 0")
        if self.algorithm not in ("lloyd", "elkan"):
            raise ValueError(f'algorithm must be "lloyd" or "elkan"; received {self.algorithm!r}')
        if not isinstance(self.verbose, bool | Integral) or self.verbose < 0:
            raise ValueError(f"verbose must be True, False or an integer ≥ 0; received {self.verbose!r}")
        if self.n_init != "auto":
            checked_count('n_init, where it is not "auto",', self.n_init)
        k = checked_count("n_clusters", self.n_clusters)
        if self.algorithm == "elkan" and k == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.", RuntimeWarning, stacklevel=3
            )
        return k

    def _initialization(self, points: Array, k: int) -> Initialization:
        """What ``init`` means for these samples; the number of runs goes into ``_n_init``, as in KMeans."""
        start = as_initialization(self.init)
        if isinstance(start, CallableInit):
            start = _KMeansCallable(start.function, points)
        usual = _N_INIT if isinstance(start, RandomPoints | CallableInit) else 1
        self._n_init: int = usual if self.n_init == "auto" else int(self.n_init)
        if not isinstance(start, GivenCodes):
            return start
        if self._n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self._n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            self._n_init = 1
        _check_shape(start.points, k, points.shape[1])
        return start

    def __sklearn_tags__(self) -> Any:
        parent: Any = super()
        tags = parent.__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags


@dataclass(frozen=True, eq=False)
class _KMeansCallable(CallableInit):
    """Codes that a function makes as KMeans calls it: ``function(X, n_clusters, random_state=RandomState)``."""

    function: Callable[..., Array]
    points: Array = None

    def draw(self, problem: Problem, rng: np.random.Generator) -> FloatArray:
        random_state = np.random.RandomState(int(rng.integers(2**31)))
        codes = GivenCodes(np.asarray(self.function(self.points, problem.k, random_state=random_state)))
        _check_shape(codes.points, problem.k, problem.dim)
        codes.check(problem)
        return codes.draw(problem, rng)


class _Memory:
    """What ``partial_fit`` keeps from call to call: how far competitive learning has come, and a sample of all samples so far.

    Until K distinct samples have come, these and their weights.
    """

    def __init__(self, k: int, dim: int, rng: np.random.Generator, r: float) -> None:
        self.k, self.rng, self.r = k, rng, r
        self._state: CLVQState | None = None
        size = max(_RESERVOIR, _RESERVOIR_PER_CODE * k)
        self._sample = PrioritySample(max(min(size, _RESERVOIR_NUMBERS // dim), 2 * k))
        self._few, self._few_weights = np.empty((0, dim)), np.empty(0)
        # Since the codes were last compared with the sample: how many samples came, by how much more they cost in all than those
        # before, and the weight then.
        self._unseen, self._excess, self._looked_at = 0, 0.0, 0.0

    def begin_after(self, codes: FloatArray, weights: FloatArray) -> None:
        """As if samples of these weights had come, each of them a code: what is left of a ``fit``."""
        self._few, self._few_weights = np.asarray(codes, dtype=np.float64), np.asarray(weights, dtype=np.float64)

    def learn(self, samples: WeightedSamples, solver: CLVQ, init: Initialization | None) -> Solution:
        """One pass over more samples."""
        if self._state is None:
            known = np.concatenate([self._few, samples.distinct(self.k)])
            first = np.sort(np.unique(known, axis=0, return_index=True)[1])[: self.k]
            if len(first) < self.k:
                return self._collect(samples, known[first])
            if len(self._few):
                self._start(known[first])
        unit = samples.total / samples.points.shape[0]  # batches are weighed in the mean weight of a sample of this call
        problem = make_problem(samples.law, self.k, samples.r)
        if self._state is None:
            assert init is not None
            init.check(problem)
            start: Initialization = GivenCodes(init.draw(problem, self.rng.spawn(1)[0]))
        else:
            start = WarmStart(self._state.codes, _in_units(self._state, 1 / unit))
        # As a stream, whose distortion is the running one of all that came, and not measured again.
        problem = replace(problem, stream=Stream([samples.points]))
        (solution,) = solve_tasks([Task(problem, solver, start, self.rng.spawn(1), max_iter_of(solver, None))])
        assert solution.trace.clvq_state is not None
        self._state = _in_units(solution.trace.clvq_state, unit)
        self._add(samples.points, samples.weights)
        cost = samples.mean_cost(assigned(samples.points, solution.points)[1])
        self._excess += samples.total * max(cost - self._state.distortion, 0.0)
        codes = self._better(np.asarray(solution.points, dtype=np.float64))
        trace = replace(solution.trace, clvq_state=self._state, companion=self._state.weights)
        if codes is not None:
            points = np.asarray(codes, dtype=samples.points.dtype)
            measure, state = DiscreteMeasure(points, self._state.weights), self._state
            solution = replace(solution, measure=measure, distortion=state.distortion, distortion_se=state.distortion_se)
        return replace(solution, trace=trace)

    def _collect(self, samples: WeightedSamples, distinct: FloatArray) -> Solution:
        labels = assigned(samples.points, distinct)[0]
        weights = summed_by(labels, samples.weights, len(distinct))
        weights[: len(self._few)] += self._few_weights
        self._few, self._few_weights = distinct, weights
        measure = DiscreteMeasure.from_unnormalized(distinct.astype(samples.points.dtype), weights)
        task = make_task(measure, len(distinct), samples.r, Lloyd(), GivenCodes(distinct), 1, 0, 0)
        (solution,) = solve_tasks([task])
        return solution

    def _start(self, codes: FloatArray) -> None:
        """Begin with these codes and the few points of before."""
        self._add(self._few, self._few_weights)
        self._state = self._state_at(codes, CLVQState.begin(codes, self.r), float(self._few_weights.sum()))

    def _add(self, points: Array, weights: FloatArray) -> None:
        chosen, priorities = self._sample.candidates(weights, self.rng)
        self._sample.add(_dense(points[chosen]), weights[chosen], priorities[chosen])
        self._unseen += points.shape[0]

    def _better(self, codes: FloatArray) -> FloatArray | None:
        """Other codes where those are much better on the sample; looked for where the data have drifted, and now and then."""
        points, state = self._sample.points, self._state
        assert state is not None
        drifted = self._excess > _DRIFT * state.seen * state.distortion
        if self._unseen < _LOOK * len(points) and not drifted:
            return None
        self._unseen, self._excess = 0, 0.0
        weights = self._sample.weights
        distortion = float(weights @ nearest(points, codes).squared ** (self.r / 2) / weights.sum())
        if not drifted and distortion <= _WORSE * state.distortion and state.seen < _WORSE * self._looked_at:
            return None
        self._looked_at = state.seen
        measure = DiscreteMeasure.from_unnormalized(points, weights)
        try:
            task = make_task(measure, self.k, self.r, Lloyd(), KMeansPlusPlus(), 1, self.rng, _CANDIDATE_STEPS)
        except TooFewPoints:
            return None  # the sample has fewer distinct points, if they weigh little
        (candidate,) = solve_tasks([task])
        if not candidate.distortion < (1 - _FITTED * self.k / len(points)) * distortion:
            return None
        self._state = self._state_at(candidate.points, state, state.seen)
        return candidate.points

    def _state_at(self, codes: FloatArray, state: CLVQState, seen: float) -> CLVQState:
        """``state`` as if these codes had been there from the beginning, by what the sample says of their cells."""
        points, weights = self._sample.points, self._sample.weights / self._sample.weights.sum()
        found = nearest(points, codes)
        masses, own = summed_by(found.labels, weights, len(codes)), found.squared ** (self.r / 2)
        steps, size = max(state.steps, 1), state.size or seen
        return replace(
            state, codes=codes, mean=codes, won=masses * seen, share=masses * size, idle=np.zeros(len(codes)),
            residuals=np.zeros_like(codes), steps=steps, seen=seen, size=size, cost=float(weights @ own) * size,
            squared_cost=float(weights @ np.square(own)) * size, unevenness=state.unevenness or size,
            costs=None if state.costs is None else summed_by(found.labels, weights * own, len(codes)) * size,
        )  # fmt: skip


def _in_units(state: CLVQState, factor: float) -> CLVQState:
    """``state`` with points of ``factor`` times the weight."""
    sums = ("won", "idle", "share", "residuals", "seen", "size", "cost", "squared_cost", "unevenness")
    if factor == 1:
        return state
    costs = None if state.costs is None else state.costs * factor
    return replace(state, costs=costs, **{name: getattr(state, name) * factor for name in sums})


def _dense(rows: Array) -> FloatArray:
    return rows.toarray() if is_csr(rows) else rows


def _check_shape(codes: Array, k: int, dim: int) -> None:
    shape = np.shape(codes)
    for axis, wanted, what in ((0, k, "number of clusters"), (1, dim, "number of features of the data")):
        if len(shape) != 2 or shape[axis] != wanted:
            raise ValueError(f"The shape of the initial centers {shape} does not match the {what} {wanted}: init must be (K, d)")


def _warn_of_few(found: int, k: int) -> None:
    if found < k:
        warnings.warn(
            f"Number of distinct clusters ({found}) found smaller than n_clusters ({k}). Possibly due to duplicate points in X. "
            "The distinct samples of positive weight are the codes",
            ConvergenceWarning,
            stacklevel=3,
        )


def _seed(random_state: RandomState) -> int | np.random.Generator:
    """An int and a Generator as they are; from None (numpy's global state) and a RandomState a number is drawn."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(_sklearn.check_random_state(random_state).randint(2**31 - 1))
    return random_state
