r"""Prescribed weights: every point moves to its barycentric projection, until it stays."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.evaluation import Candidate, cost_matrices, evaluate
from quantization.barycenters.pilot import last_state, needs_pilot, sampled
from quantization.barycenters.problem import BarycenterProblem
from quantization.barycenters.product_costs import ProductCosts
from quantization.optimal_transport.network_simplex import NetworkSimplex, SpanningTree
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance

_ROUGH = 1e-2  # stationarity, down to which costs may be rounded to float32 where they take most of the time


@dataclass(frozen=True)
class FixedPoint:
    r"""Fixed-point iteration $x_k \leftarrow T_k = \sum_j \lambda_j \frac{1}{w_k} \sum_i \pi^j_{ik} x^j_i$ for given weights w.

    Parameters
    ----------
    rtol : float, default 1e-3
        Bounds the stationarity $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$.
    max_pivots : int, default 10000000
        Of the network simplex, for each transport.

    Notes
    -----
    $\pi^j$ are the optimal plans. The objective F falls by at least $\sum_k w_k |x_k - T_k|^2$ per step and never rises; on
    finite measures the iteration stops after finitely many steps. Where a measure has more than 4,096 points it starts from the
    solution for samples of 2,000.

    References
    ----------
    cuturi2014, alvarez2016.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> qz.barycenter(x, 5, atom_weights="uniform", solver=qz.FixedPoint(rtol=1e-6), rng=0).weights.tolist()
    [0.2, 0.2, 0.2, 0.2, 0.2]
    """

    rtol: float = 1e-3
    max_pivots: int = 10_000_000
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)
        checked_count("FixedPoint's max_pivots", self.max_pivots)

    def incompatibility(self, problem: Problem) -> str | None:
        if not isinstance(problem, BarycenterProblem):
            return f"FixedPoint is for barycenters; received {problem.kind}. Use Lloyd()"
        if problem.masses is None:
            return 'FixedPoint needs prescribed weights; received atom_weights="free". Use InteriorPoint(), or "uniform" weights'
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        assert problem.masses is not None
        method = NetworkSimplex(self.max_pivots)
        if needs_pilot(problem):
            codes = last_state(replace(self, rtol=max(self.rtol, 1e-2)), sampled(problem, rng), codes, rng).codes()
        for candidate in fixed_points(problem, codes, problem.masses, method):
            yield candidate.state(problem, method, masses_gap=0.0)
            if candidate.spent:
                return


def fixed_points(
    problem: BarycenterProblem, points: FloatArray, weights: FloatArray, method: NetworkSimplex
) -> Iterator[Candidate]:
    """The start and what every step makes of it, until a step leaves it in place or no longer lowers the objective."""
    trees: list[list[SpanningTree]] = [[] for _ in problem.clouds]
    if ProductCosts.pays(problem):
        rough = ProductCosts(problem)
        now = evaluate(problem, points, weights, method, rough(points), trees, exact=False)
        while now.stationarity > _ROUGH and not now.spent:
            yield now
            points = rounded(now.targets, problem.like)
            following = evaluate(problem, points, weights, method, rough(points), trees, exact=False)
            if not following.value < now.value:
                break
            now = following
        points = now.points
    now = evaluate(problem, points, weights, method, trees=trees)
    while True:
        yield now
        targets = rounded(now.targets, problem.like)
        if np.array_equal(targets, now.points):
            return
        following = evaluate(problem, targets, weights, method, cost_matrices(problem, targets, now), trees)
        if not following.value <= now.value:
            return
        now = following
