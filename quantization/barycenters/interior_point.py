r"""Free weights: the best weights for the points, by linear programming, and the best points for the plans, in turn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.column_generation import rounding_cost
from quantization.barycenters.evaluation import Candidate, cost_matrices, evaluate, mixed_means
from quantization.barycenters.fixed_point import fixed_points
from quantization.barycenters.pilot import last_state, needs_pilot, sampled
from quantization.barycenters.problem import BarycenterProblem
from quantization.barycenters.weights import WeightSolution, best_weights
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance

_FINEST = 1e-9  # relative gap of the last linear programs
_SHARPER = 0.1  # the factor from one gap to the next
_RATIO = 3.0  # of the gap to the share of F that the points' next step takes off at least
_MOMENTUM = 0.5  # of the points' last step that the next one takes along on large measures, as long as F falls
_PATIENCE = 3  # programs that lower F no further, after which the gap is made smaller in any case


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

    It starts from the solution with uniform weights and so never ends above it; where a measure has more than 4,096 points, from
    the solution for samples of 2,000 instead. A program left at the gap ``coarse`` has a plan in the interior of its polytope:
    the points then move by a mean over nearly optimal plans, which leads past poor vertices and is faster. The gap shrinks with
    the steps. On the way F is what the plans cost, an upper bound; exact transports evaluate the answer.

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
        if problem.masses is not None:
            return 'InteriorPoint is for free weights; received prescribed ones. Use FixedPoint(), or atom_weights="free"'
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        method, uniform = NetworkSimplex(self.max_pivots), np.full(problem.k, 1 / problem.k)
        if problem.fixed is not None:
            yield evaluate(problem, problem.fixed, uniform, method).state(problem, method, np.inf)
            yield _with_best_weights(problem, problem.fixed, uniform, method)
            return
        if needs_pilot(problem):
            pilot = replace(self, rtol=max(self.rtol, 1e-2))
            points = rounded(last_state(pilot, sampled(problem, rng), codes, rng).codes(), problem.like)
            costs = cost_matrices(problem, points)
            yield from self._alternate(problem, points, uniform, costs, np.inf, method, _MOMENTUM)
            return
        now: Candidate | None = None
        for now in fixed_points(problem, codes, uniform, method):
            yield now.state(problem, method, masses_gap=np.inf)
            if now.spent:
                return
            if now.exact and now.stationarity <= self.rtol:
                break
        assert now is not None
        yield from self._alternate(problem, now.points, uniform, now.costs, now.value, method)

    def _alternate(
        self, problem: BarycenterProblem, points: FloatArray, weights: FloatArray, costs: list[FloatArray], value: float,
        method: NetworkSimplex, momentum: float = 0.0,
    ) -> Iterator[State]:  # fmt: skip
        """value: F of the start, at most. The states are those of less."""
        best, gap, failed, found = (points, weights), self.coarse, 0, None
        plain, before, pushed = points, points, False  # the step from the best points without momentum; whether that had any
        while True:
            found = best_weights(costs, problem.cloud_weights, problem.mixing, gap, found)
            moments = [p.T @ x for p, x in zip(found.plans, problem.clouds, strict=True)]
            means = mixed_means(problem.mixing, [p.sum(0) for p in found.plans], moments, points)
            share = float(found.weights @ np.square(means - points).sum(1)) / found.value if found.value > 0 else 0.0
            following = points + self.relaxation * (means - points)
            if found.value < value:
                best, value, plain = (points, found.weights), found.value, following
                following, before, pushed = following + momentum * (points - before), points, momentum > 0
                state = _estimated(problem, points, costs, found, share**0.5, method)
                if state.within(self.rtol):
                    exact = evaluate(problem, points, found.weights, method, costs)
                    yield exact.state(problem, method, weights_gap(problem, exact, found.bound))
                    if exact.spent:
                        return
                    following, share, value = exact.targets, exact.stationarity**2, min(value, exact.value)
                    plain, pushed = following, False
                    gap = max(gap * _SHARPER, _FINEST)
                else:
                    yield state
            elif pushed:
                following, before, pushed = plain, best[0], False
            elif gap <= _FINEST:
                yield _with_best_weights(problem, *best, method)
                return
            else:
                failed += 1
                if failed % _PATIENCE == 0:
                    gap = max(gap * _SHARPER, _FINEST)
            gap = min(gap, max(_RATIO * share, self.rtol**2 / 2, _FINEST))
            points = rounded(following, problem.like)
            costs = cost_matrices(problem, points)


def _with_best_weights(problem: BarycenterProblem, points: FloatArray, weights: FloatArray, method: NetworkSimplex) -> State:
    """The best weights on these points, or those at hand where they are no worse."""
    costs = cost_matrices(problem, points)
    found = best_weights(costs, problem.cloud_weights, problem.mixing, _FINEST)
    best = min((evaluate(problem, points, w, method, costs) for w in (weights, found.weights)), key=lambda c: c.value)
    return best.state(problem, method, weights_gap(problem, best, found.bound))


def weights_gap(problem: BarycenterProblem, candidate: Candidate, bound: float) -> float:
    """By how much the candidate exceeds a bound on F for any weights; 0 where that is no more than rounding the weights costs."""
    gap = candidate.value - bound
    rounding = [rounding_cost(c, a) for c, a in zip(candidate.costs, problem.cloud_weights, strict=True)]
    return gap if gap > problem.mixing @ np.array(rounding) else 0.0


def _estimated(
    problem: BarycenterProblem, points: FloatArray, costs: list[FloatArray], found: WeightSolution, stationarity: float,
    method: NetworkSimplex,
) -> State:  # fmt: skip
    """What the plans of the linear program say: an upper bound on F. Exact transports are left for the answer."""

    def finish() -> State:
        exact = evaluate(problem, points, found.weights, method, costs)
        return exact.state(problem, method, weights_gap(problem, exact, found.bound))

    gap = max(found.value - found.bound, 0.0)
    return State(
        points, found.weights, found.value, stationarity, masses_gap=gap, transport=method, estimated=True,
        distortion_rtol=gap / found.value if gap > 0 else 0.0, finish=finish,
    )  # fmt: skip
