r"""A candidate's exact transports to all measures: its objective, and the barycentric projections of its points."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.problem import BarycenterProblem
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.coupling import TransportResult
from quantization.optimal_transport.network_simplex import NetworkSimplex, SpanningTree
from quantization.solvers.base import State
from quantization.status import Status
from quantization.threads import parallel_map

_ROUND_OFF = 32 * np.finfo(np.float64).eps  # of a target, a mean of points as large as the code


@dataclass(frozen=True, eq=False)
class Candidate:
    r"""Points x and weights w with their optimal plans to all measures.

    costs: C_j, (n_j, K) each. value: $\sum_j \lambda_j W_2^2(\mu_j, \sum_k w_k \delta_{x_k})$.
    targets: (K, d), where the points are free $T_k = \sum_j \lambda_j \frac{1}{w_k} \sum_i \pi^j_{ik} x^j_i$, with which these
    same plans cost least.
    exact: whether the costs are; else value and targets are those of plans that are optimal but for their rounding.
    spent: whether the simplex ran out of pivots. doubt: by how much F may be less, where its gaps stayed open.
    """

    points: FloatArray
    weights: FloatArray
    costs: list[FloatArray]
    value: float
    targets: FloatArray
    spent: bool
    doubt: float
    exact: bool = True

    @property
    def stationarity(self) -> float:
        r"""$(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$; its square is the share of F that moving to the targets takes off at least."""
        moves = self.points - self.targets
        moves[np.abs(moves) <= _ROUND_OFF * np.abs(self.points).max()] = 0.0
        excess = float(self.weights @ np.square(moves).sum(1))
        return (excess / self.value) ** 0.5 if self.value > 0 else 0.0 if excess == 0 else np.inf

    def state(self, problem: BarycenterProblem, method: NetworkSimplex, masses_gap: float) -> State:
        """As a state of the loop."""

        def finish() -> State:
            return evaluate(problem, self.points, self.weights, method).state(problem, method, masses_gap)

        return State(
            self.points, self.weights, self.value, self.stationarity, masses_gap=masses_gap, transport=method,
            distortion_gap=self.doubt, estimated=not self.exact, finish=None if self.exact else finish,
            ended=Status.BUDGET_SPENT if self.spent else None,
        )  # fmt: skip


def cost_matrices(problem: BarycenterProblem, points: FloatArray, near: Candidate | None = None) -> list[FloatArray]:
    """C_j, (n_j, K) each. near: one whose costs hold for those of its points that have stayed."""
    moved = slice(None) if near is None else np.flatnonzero((near.points != points).any(1))

    def one(j: int) -> FloatArray:
        found = cost_matrix(problem.clouds[j], points[moved])
        if near is None:
            return found
        costs = near.costs[j].copy()
        costs[:, moved] = found
        return costs

    return parallel_map(one, len(problem.clouds))


def mixed_means(mixing: FloatArray, masses: list[FloatArray], moments: list[FloatArray], points: FloatArray) -> FloatArray:
    r"""$\sum_j \lambda_j s_{jk} / m_{jk}$, each measure's own mean over what it sends, as plans may miss their marginal a little.

    masses: $m_{jk} = \sum_i P^j_{ik}$, (K,) each. moments: $s_{jk} = \sum_i P^j_{ik} x^j_i$, (K, d) each. An atom that receives
    nothing has no mean and stays at its place among ``points``.
    """
    means = [np.where(m[:, None] > 0, s / np.maximum(m, 1e-300)[:, None], points) for m, s in zip(masses, moments, strict=True)]
    return np.asarray(sum(t * mean for t, mean in zip(mixing, means, strict=True)), dtype=np.float64)


def evaluate(
    problem: BarycenterProblem,
    points: FloatArray,
    weights: FloatArray,
    method: NetworkSimplex,
    costs: list[FloatArray] | None = None,
    trees: list[list[SpanningTree]] | None = None,
    exact: bool = True,
) -> Candidate:
    """The candidate with these points, as the dtype of the answer holds them, and these weights.

    trees: of each measure, as for :meth:`NetworkSimplex.solve`. exact: whether the costs given are.
    """
    points = rounded(points, problem.like)
    costs = cost_matrices(problem, points) if costs is None else costs
    used = np.flatnonzero(weights > 0)

    def one(j: int) -> tuple[TransportResult, FloatArray]:
        own = costs[j] if len(used) == len(weights) else costs[j][:, used]
        found = method.solve(problem.cloud_weights[j], weights[used], own, None if trees is None else trees[j])
        rows, columns, masses = found.entries()
        plan = cast(Any, scipy.sparse).csr_array((masses, (columns, rows)), shape=own.shape[::-1])
        plan.sort_indices()  # so that a point whose plans have not changed stays to the last digit
        return found, plan @ problem.clouds[j]

    each = parallel_map(one, len(costs), sizes=[float(c.size) for c in costs])
    value = float(problem.mixing @ [found.cost for found, _ in each])
    targets = points.copy()
    if problem.fixed is None:
        targets[used] = sum(s * t for s, (_, t) in zip(problem.mixing, each, strict=True)) / weights[used, None]
    open_gaps = [0.0 if found.status is Status.CONVERGED else found.gap or 0.0 for found, _ in each]
    spent = any(found.status is Status.BUDGET_SPENT for found, _ in each)
    return Candidate(points, weights, costs, value, targets, spent, float(problem.mixing @ open_gaps), exact)
