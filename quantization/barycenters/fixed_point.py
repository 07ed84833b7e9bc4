r"""Given weights: every point moves to the mean of what it is sent, over and over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.evaluation import Candidate, evaluate
from quantization.barycenters.problem import BarycenterProblem
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance


@dataclass(frozen=True)
class FixedPoint:
    r"""$x_k \leftarrow \sum_j \lambda_j \frac{1}{w_k} \sum_i \pi^j_{ik} x^j_i$ with the optimal plans $\pi^j$, w held.

    rtol: bounds $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$. max_pivots: of the network simplex, for each transport.

    The objective F falls by at least $\sum_k w_k |x_k - T_k|^2$ a step and never rises; on finite measures it comes to rest after
    finitely many. Source: cuturi2014, alvarez2016.
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
        if problem.weights is None:
            return (
                'FixedPoint moves points under given weights; received weights="free". Use InteriorPoint(), or weights="uniform"'
            )
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        assert problem.weights is not None
        method = NetworkSimplex(self.max_pivots)
        for candidate in fixed_points(problem, codes, problem.weights, method):
            yield candidate.state(method, weights_gap=0.0)
            if not candidate.solved:
                return


def fixed_points(
    problem: BarycenterProblem, points: FloatArray, weights: FloatArray, method: NetworkSimplex
) -> Iterator[Candidate]:
    """The start and what every step makes of it, until a step leaves it in place or no longer lowers the objective."""
    now = evaluate(problem, points, weights, method)
    while True:
        yield now
        targets = rounded(now.targets, problem.like)
        if np.array_equal(targets, now.points):
            return
        following = evaluate(problem, targets, weights, method)
        if not following.value <= now.value:
            return
        now = following
