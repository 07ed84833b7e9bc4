r"""Free weights: the best weights for the points, by linear programming, and the best points for the plans, in turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.barycenters.column_generation import rounding_cost
from quantization.barycenters.evaluation import Candidate, cost_matrices, evaluate, mixed_means
from quantization.barycenters.fixed_point import fixed_points
from quantization.barycenters.problem import BarycenterProblem
from quantization.barycenters.weights import best_weights, lower_bound
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance

_FINEST = 1e-9  # relative gap of the last linear programs
_SHARPER = 0.1  # the factor from one gap to the next
_WORTHWHILE = 0.01  # of the gap: what a step must take off the objective, relative to it, for the gap to stay


@dataclass(frozen=True)
class InteriorPoint:
    r"""Alternating minimization of $F = \sum_j \lambda_j W_2^2(\mu_j, \sum_k w_k \delta_{x_k})$ over points x and free weights w.

    Parameters
    ----------
    rtol : float, default 1e-3
        Bounds the stationarity in the points, $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$, and its square the duality gap in the
        weights relative to F: either says by what share of F the points, or the weights, alone could still lower it.
    coarse : float, default 0.01
        The relative duality gap, in (0, 1), at which linear programs are left while the steps are large.
    relaxation : float, default 1.5
        How much further than the barycentric projections the points go, in [1, 2).
    max_pivots : int, default 10000000
        Of the network simplex, for each exact transport.

    Raises
    ------
    ValueError
        For options out of range.

    Notes
    -----
    F is a minimum over plans of a function that is linear in them for fixed x, so that "the best plans for the points, the best
    points for the plans" never raises it and ends at points and weights that are each the best for the other. The plans' linear
    program, which has the weights among its unknowns, is solved by an interior-point method.

    It starts from the solution with uniform weights and so never ends above it. A program left at the gap ``coarse`` has a plan
    in the interior of its polytope: the points then move by a mean over nearly optimal plans, which leads past poor vertices and
    is faster. A step that would raise the exact objective is repeated with a smaller gap.

    References
    ----------
    ge2019, cuturi2014.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> uniform = qz.barycenter(x, 5, atom_weights="uniform", rng=0)
    >>> free = qz.barycenter(x, 5, init=uniform, solver=qz.InteriorPoint(), rng=0)
    >>> bool(free.distortion <= uniform.distortion)
    True
    """

    rtol: float = 1e-3
    coarse: float = 1e-2
    relaxation: float = 1.5
    max_pivots: int = 10_000_000
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)
        checked_count("InteriorPoint's max_pivots", self.max_pivots)
        if not 0 < checked_tolerance(self.coarse) < 1:
            raise ValueError(f"coarse must lie strictly between 0 and 1; received {self.coarse!r}")
        if not 1 <= checked_tolerance(self.relaxation) < 2:
            raise ValueError(f"relaxation must lie in [1, 2); received {self.relaxation!r}")

    def incompatibility(self, problem: Problem) -> str | None:
        if not isinstance(problem, BarycenterProblem):
            return f"InteriorPoint is for barycenters; received {problem.kind}. Use Lloyd()"
        if problem.weights is not None:
            return 'InteriorPoint is for free weights; received prescribed ones. Use FixedPoint(), or atom_weights="free"'
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        method, uniform = NetworkSimplex(self.max_pivots), np.full(problem.k, 1 / problem.k)
        if problem.fixed is not None:
            yield from self._weights_only(problem, problem.fixed, uniform, method)
            return
        now: Candidate | None = None
        for now in fixed_points(problem, codes, uniform, method):
            yield now.state(method, masses_gap=np.inf)
            if not now.solved:
                return
            if now.stationarity <= self.rtol:
                break
        assert now is not None
        yield from self._alternate(problem, now, method)

    def _alternate(self, problem: BarycenterProblem, now: Candidate, method: NetworkSimplex) -> Iterator[State]:
        gap = self.coarse
        while True:
            found = best_weights(now.costs, problem.masses, problem.mixing, gap)
            moments = [p.T @ x for p, x in zip(found.plans, problem.clouds, strict=True)]
            means = mixed_means(problem.mixing, [p.sum(0) for p in found.plans], moments, now.points)
            points = now.points + self.relaxation * (means - now.points)
            following = evaluate(problem, points, found.weights, method)
            fall = 1 - following.value / now.value if now.value > 0 else 0.0
            if fall > 0 or gap <= _FINEST:
                if not fall > 0:
                    following = now
                bound = lower_bound(following.costs, problem.masses, problem.mixing, found.potentials)
                yield following.state(method, weights_gap(problem, following, bound))
                if following is now or not following.solved:
                    return
                now = following
            if not fall > _WORTHWHILE * gap:
                gap = max(gap * _SHARPER, _FINEST)

    def _weights_only(
        self, problem: BarycenterProblem, points: FloatArray, weights: FloatArray, method: NetworkSimplex
    ) -> Iterator[State]:
        """Fixed points: one linear program."""
        costs = cost_matrices(problem, points)
        start = evaluate(problem, points, weights, method, costs)
        yield start.state(method, np.inf)
        found = best_weights(costs, problem.masses, problem.mixing, _FINEST)
        best = evaluate(problem, points, found.weights, method, costs)
        if start.value < best.value:
            best = start
        yield best.state(method, weights_gap(problem, best, found.bound))


def weights_gap(problem: BarycenterProblem, candidate: Candidate, bound: float) -> float:
    """By how much the candidate exceeds a bound on F for any weights; 0 where that is no more than rounding the weights costs."""
    gap = candidate.value - bound
    rounding = [rounding_cost(c, a) for c, a in zip(candidate.costs, problem.masses, strict=True)]
    return gap if gap > problem.mixing @ np.array(rounding) else 0.0
