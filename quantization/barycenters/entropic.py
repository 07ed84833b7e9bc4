"""Measures too large for the network simplex: entropic plans, of which only moments are stored, and rigorous bounds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.evaluation import mixed_means
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.pilot import last_state, sampled
from quantization.barycenters.problem import BarycenterProblem
from quantization.barycenters.weights import best_weights
from quantization.optimal_transport.costs import c_transforms, cost_matrix
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.optimal_transport.sinkhorn import Sinkhorn
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.threads import parallel_map
from quantization.validation import checked_count, checked_tolerance

_PILOT = 1e-2  # the tolerance of the start
_LEAST_REG = 1e-5  # below which ε, relative to the cost of the start, is not taken
_BLOCK = 2**20  # entries of a plan held at once, by each thread


@dataclass(frozen=True)
class Entropic:
    r"""Alternation with entropic plans $P_{ik} = a_i\, e^{(v_k - C_{ik})/\varepsilon} / \sum_l e^{(v_l - C_{il})/\varepsilon}$.

    For measures whose plans do not fit into memory: none is stored, and a pass costs $\sum_j n_j K$ exponentials.

    Parameters
    ----------
    reg : float, default 0.002
        ε relative to the cost of the start; halved where F falls no further and the bounds are not close enough yet.
    rtol : float, default 0.03
        Bounds the stationarity, and its square the gap to any weights relative to F, of what is called CONVERGED; the total
        variation to which the plans' second marginals agree is its square as well.
    sinkhorn_iter : int, default 30
        Sinkhorn iterations at most per step.
    pilot : int, default 2000
        Points chosen from each measure, for which the exact solver finds the start.

    Notes
    -----
    A step fits the potentials to the points (free weights: the geometric mean of the plans' own, benamou2015) and moves the
    points. The distortion reported is the cost of plans made feasible for the weights, an upper bound on F;
    ``Solution.distortion_gap`` and ``masses_gap`` reach down to dual bounds, for these weights and for any; they shrink with ε.

    References
    ----------
    cuturi2014, benamou2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(2, 300, 2))
    >>> nu = qz.barycenter(x, 4, solver=qz.Entropic(reg=0.02, pilot=100), max_iter=3, rng=0)
    >>> bool(0 <= nu.distortion_gap < nu.distortion)
    True
    """

    reg: float = 0.002
    rtol: float = 0.03
    sinkhorn_iter: int = 30
    pilot: int = 2000
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        Sinkhorn(self.reg)
        checked_tolerance(self.rtol)
        checked_count("Entropic's sinkhorn_iter", self.sinkhorn_iter)
        checked_count("Entropic's pilot", self.pilot)

    def incompatibility(self, problem: Problem) -> str | None:
        if not isinstance(problem, BarycenterProblem):
            return f"Entropic is for barycenters; received {problem.kind}. Use Lloyd()"
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        centre = np.asarray(sum(t * (a @ x) for t, (x, a) in zip(problem.mixing, _pairs(problem), strict=True)))
        clouds, fixed = [x - centre for x in problem.clouds], None if problem.fixed is None else problem.fixed - centre
        about = replace(problem, clouds=clouds, fixed=fixed)  # about the mean, so that moments of |x|² do not cancel
        for state in self._solve_centred(about, codes - centre, centre, rng):
            yield replace(state, points=state.codes() + centre if problem.fixed is None else problem.fixed)

    def _solve_centred(
        self, problem: BarycenterProblem, codes: FloatArray, centre: FloatArray, rng: np.random.Generator
    ) -> Iterator[State]:
        points, weights, v = self._pilot_solution(problem, codes, rng)
        points = rounded(points + centre, problem.like) - centre
        moments = _plan_moments(problem, points, v, 0.0)
        start_cost = float(problem.mixing @ [s.dual + float(weights @ u) for s, u in zip(moments, v, strict=True)])
        eps = self.reg * start_cost if start_cost > 0 else self.reg
        for factor in (30.0, 10.0, 3.0):  # ε is annealed, with warm starts of the potentials
            v, weights, _ = self._fit_potentials(problem, points, weights, v, factor * eps)
        least, now = _LEAST_REG * start_cost, np.inf
        while eps > least:
            v, weights, moments = self._fit_potentials(problem, points, weights, v, eps)
            state = _state(problem, points, weights, v, moments, eps)
            if state.distortion < now:
                yield state
            if problem.fixed is not None or not state.distortion < (1 - self.rtol**2 / 10) * now:
                eps /= 2
            now = min(now, state.distortion)
            if problem.fixed is None:
                points = rounded(_targets(problem, points, moments) + centre, problem.like) - centre

    def _pilot_solution(
        self, problem: BarycenterProblem, codes: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
        """Points, weights and potentials from a sample of each measure, by the exact solver."""
        small = sampled(problem, rng, self.pilot)
        clouds, masses = small.clouds, small.cloud_weights
        state = last_state(InteriorPoint(_PILOT) if problem.masses is None else FixedPoint(_PILOT), small, codes, rng)
        costs = [cost_matrix(x, state.codes()) for x in clouds]
        if problem.masses is None:
            found = best_weights(costs, masses, problem.mixing, _PILOT**2)
            return state.codes(), found.weights, found.potentials
        potentials: list[FloatArray] = []
        for a, c in zip(masses, costs, strict=True):
            _, u, _ = NetworkSimplex().plan(a, problem.masses, c)
            potentials.append(c_transforms(u, a, c)[1])
        return state.codes(), state.masses(), potentials

    def _fit_potentials(
        self, problem: BarycenterProblem, points: FloatArray, weights: FloatArray, v: list[FloatArray], eps: float
    ) -> "tuple[list[FloatArray], FloatArray, list[PlanMoments]]":
        """Potentials whose plans nearly share their second marginal, that marginal, and the plans' moments."""
        for _ in range(self.sinkhorn_iter):
            moments = _plan_moments(problem, points, v, eps)
            logs = [np.log(np.maximum(s.mass, 1e-300)) for s in moments]
            if problem.masses is None:
                log_weights = np.asarray(sum(t * x for t, x in zip(problem.mixing, logs, strict=True)), dtype=np.float64)
                weights = np.exp(log_weights)
                weights = weights / weights.sum()
            else:
                weights = problem.masses
                log_weights = np.log(np.maximum(weights, 1e-300))
            missed = max(float(np.abs(s.mass - weights).sum()) / 2 for s in moments)
            if missed <= self.rtol**2:
                return v, weights, moments
            v = [u + eps * (log_weights - x) for u, x in zip(v, logs, strict=True)]
        return v, weights, _plan_moments(problem, points, v, eps)


@dataclass(frozen=True, eq=False)
class PlanMoments:
    r"""Moments of a plan P with first marginal a. mass: (K,) $\sum_i P_{ik}$. first: (K, d) $\sum_i P_{ik} x_i$.

    second: (K,) $\sum_i P_{ik} |x_i|^2$. dual: $\sum_i a_i \min_k (C_{ik} - v_k)$, a lower bound but for $\sum_k w_k v_k$.
    """

    mass: FloatArray
    first: FloatArray
    second: FloatArray
    dual: float


def _pairs(problem: BarycenterProblem) -> list[tuple[FloatArray, FloatArray]]:
    return list(zip(problem.clouds, problem.cloud_weights, strict=True))


def _plan_moments(problem: BarycenterProblem, points: FloatArray, v: list[FloatArray], eps: float) -> list[PlanMoments]:
    """One pass over every measure; ε = 0 sends each point to its least reduced cost."""

    def one(j: int) -> PlanMoments:
        x, a = problem.clouds[j], problem.cloud_weights[j]
        k, step = len(points), max(1, _BLOCK // len(points))
        mass, first, second, dual = np.zeros(k), np.zeros_like(points), np.zeros(k), 0.0
        for begin in range(0, len(x), step):
            part, share = x[begin : begin + step], a[begin : begin + step]
            costs = cost_matrix(part, points)
            reduced = costs - v[j]
            least = reduced.min(1)
            dual += float(share @ least)
            if eps > 0:
                plan = np.exp((least[:, None] - reduced) / eps)
                plan *= (share / plan.sum(1))[:, None]
            else:
                plan = np.zeros_like(costs)
                plan[np.arange(len(part)), reduced.argmin(1)] = share
            mass += plan.sum(0)
            first += plan.T @ part
            second += np.einsum("nd,nd->n", part, part) @ plan
        return PlanMoments(mass, first, second, dual)

    return parallel_map(one, len(problem.clouds), sizes=[float(len(x)) for x in problem.clouds])


def _targets(problem: BarycenterProblem, points: FloatArray, moments: list[PlanMoments]) -> FloatArray:
    return mixed_means(problem.mixing, [s.mass for s in moments], [s.first for s in moments], points)


def _feasible_cost(points: FloatArray, weights: FloatArray, s: PlanMoments) -> float:
    r"""The cost of the plan made feasible: fractions of whole columns are reassigned, from atom k to atom l.

    Reassigning column k costs $\sum_i P_{ik} |x_i - y_l|^2$, known from the moments; the least is a small transport problem.
    Any plan of it gives an upper bound, also one that the simplex has left early: its status only decides how close the bound is.
    """
    used, needed = np.flatnonzero(s.mass > 0), np.flatnonzero(weights > 0)
    mass, y = s.mass[used], points[needed]
    costs = (s.second[used, None] - 2 * s.first[used] @ y.T) / mass[:, None] + np.einsum("kd,kd->k", y, y)
    costs = np.maximum(costs, 0.0)
    plan, _, _ = NetworkSimplex().plan(mass / mass.sum(), weights[needed], costs)
    return float((plan * costs).sum())


def _state(
    problem: BarycenterProblem,
    points: FloatArray,
    weights: FloatArray,
    v: list[FloatArray],
    moments: list[PlanMoments],
    eps: float,
) -> State:
    """An upper bound on F, and by how much the dual bounds of the potentials fall short of it."""
    upper = float(problem.mixing @ [_feasible_cost(points, weights, s) for s in moments])
    lower = float(problem.mixing @ [s.dual + float(weights @ u) for s, u in zip(moments, v, strict=True)])
    excess = np.asarray(sum(t * u for t, u in zip(problem.mixing, v, strict=True)), dtype=np.float64)
    any_weights = float(problem.mixing @ [s.dual for s in moments]) + float(excess.min())  # Σ_k w_k excess_k is no less
    moves = points - _targets(problem, points, moments) if problem.fixed is None else np.zeros_like(points)
    stationarity = (float(weights @ np.square(moves).sum(1)) / upper) ** 0.5 if upper > 0 else 0.0
    return State(
        points, weights, upper, stationarity, masses_gap=0.0 if problem.masses is not None else max(upper - any_weights, 0.0),
        distortion_gap=max(upper - lower, 0.0), transport=Sinkhorn(eps),
    )  # fmt: skip
