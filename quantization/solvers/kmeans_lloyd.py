"""Lloyd's algorithm with the stopping rule and the messages of scikit-learn's KMeans, for the estimator."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from quantization.arrays import Array, FloatArray, summed_by
from quantization.empirical.sparse_samples import is_csr, squared_norms
from quantization.problem import Problem
from quantization.solvers.balanced import Balanced
from quantization.solvers.base import State
from quantization.solvers.lloyd import Lloyd
from quantization.status import Status
from quantization.threads import parallel_rows

_SLICE = 2**18  # numbers of a block of rows whose variance is summed


@dataclass(frozen=True)
class KMeansLloyd(Lloyd):
    r"""Lloyd's algorithm with the stopping rule of KMeans: until $\sum_k |x_k' - x_k|^2 \le$ ``shift_tol`` or no label changes.

    That no label changes is found by one more step, which counts as KMeans counts it. total: the weight of all samples, for the
    inertia that ``verbose`` prints.
    """

    rtol: float = 0.0
    shift_tol: float = 0.0
    verbose: bool = False
    total: float = 1.0

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        if self.verbose:
            print("Initialization complete")
        before: FloatArray | None = None
        for i, state in enumerate(super().solve(problem, codes, rng)):
            if self.verbose and i:
                print(f"Iteration {i - 1}, inertia {state.distortion * self.total}.")
            shift = np.inf if before is None else float(np.square(state.codes() - before).sum())
            if shift <= self.shift_tol:
                if self.verbose:
                    print(f"Converged at iteration {i - 1}: center shift {shift} within tolerance {self.shift_tol}.")
                yield replace(state, ended=Status.CONVERGED)
                return
            # The square of the residual is Σ_k w_k |shift_k|² / D: where even the heaviest cells make the shifts too large, codes
            # that are made only when they are asked for need not be.
            least = state.stationarity**2 * state.distortion * (1 - min(state.distortion_rtol, 1.0)) / state.masses().max()
            before = None if callable(state.points) and least > 2 * self.shift_tol else state.codes()
            tiny = float(np.finfo(np.float64).tiny)  # as a tolerance: the residual that rounding leaves is within it
            if state.ended is None and not state.within(tiny):
                yield state
                continue
            # No label changes, or the codes are their centroids but for the rounding of their dtype. A residual of zero would end
            # the run before the step that finds that out.
            yield replace(state, ended=None, stationarity=max(state.stationarity, tiny))
            if self.verbose:
                print(f"Converged at iteration {i}: strict convergence.")
            yield replace(state, ended=Status.CONVERGED)
            return


@dataclass(frozen=True)
class KMeansBalanced(Balanced):
    r"""Codes of prescribed masses, with that rule: until $\sum_k |x_k' - x_k|^2 \le$ ``shift_tol`` or no sample moves.

    CONVERGED is said where the plan to the last codes is certified besides.
    """

    rtol: float = 0.0
    shift_tol: float = 0.0

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        before: FloatArray | None = None
        for state in super().solve(problem, codes, rng):
            now = np.asarray(state.codes())
            if before is not None and np.square(now - before).sum() <= self.shift_tol:
                last = state if state.finish is None else state.finish()
                yield replace(last, ended=last.ended or Status.CONVERGED)
                return
            yield state
            before = now


def shift_tolerance(points: Array, tol: float) -> float:
    """``tol`` times the mean variance of the features, by which KMeans measures the shift of its centres."""
    n, d = int(points.shape[0]), int(points.shape[1])
    if tol == 0:
        return 0.0
    if is_csr(points):
        means = summed_by(points.indices, points.data, d) / n
        return tol * max(float(squared_norms(points).sum() / n - means @ means) / d, 0.0)
    size = max(1, _SLICE // d)
    centre: FloatArray = points[:size].mean(0, dtype=np.float64)

    def sums(rows: slice) -> FloatArray:
        total, squares = np.zeros(d), 0.0
        for start in range(rows.start, rows.stop, size):
            shifted: FloatArray = points[start : min(start + size, rows.stop)] - centre
            total += shifted.sum(0)
            squares += float(np.vdot(shifted, shifted))
        return np.append(total, squares)

    # Of few numbers the sum takes less than to wake a thread.
    parts = [sums(slice(0, n))] if n * d <= _SLICE else parallel_rows(sums, n)
    found = np.sum(parts, axis=0) / n
    return tol * max(float(found[-1] - found[:-1] @ found[:-1]) / d, 0.0)
