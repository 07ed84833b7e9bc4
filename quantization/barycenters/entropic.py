"""Measures too large for the network simplex: entropic plans, of which only sums are kept, and bounds that hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, rounded
from quantization.barycenters.evaluation import mixed_means
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
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

_BLOCK = 2**20  # entries of a plan held at once, by each thread


@dataclass(frozen=True)
class Entropic:
    r"""The same alternation with plans $P_{ik} = a_i\, e^{(v_k - C_{ik})/\varepsilon} / \sum_l e^{(v_l - C_{il})/\varepsilon}$.

    For measures of more than some thousand points: no plan is held, a pass costs $\sum_j n_j K$ exponentials. It starts from the
    answer of the exact solver for ``pilot`` points drawn from each measure. A step fits the potentials to the points, in at
    most ``sweeps`` Sinkhorn iterations (free weights: the geometric mean of the plans' own, benamou2015), and moves the points.

    reg: ε relative to the cost of the start. The distortion reported is the cost of plans made feasible for the weights,
    an upper bound on F; ``Solution.distortion_gap`` and ``weights_gap`` reach down to what the potentials prove,
    for these weights and for any. Both are of the size of ε, so that the status is seldom CONVERGED.
    Source: cuturi2014, benamou2015.
    """

    reg: float = 0.003
    rtol: float = 1e-3
    sweeps: int = 30
    pilot: int = 2000
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        Sinkhorn(self.reg)
        checked_tolerance(self.rtol)
        checked_count("Entropic's sweeps", self.sweeps)
        checked_count("Entropic's pilot", self.pilot)

    def incompatibility(self, problem: Problem) -> str | None:
        if not isinstance(problem, BarycenterProblem):
            return f"Entropic is for barycenters; received {problem.kind}. Use Lloyd()"
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem, BarycenterProblem)
        centre = np.asarray(sum(t * (a @ x) for t, (x, a) in zip(problem.mixing, _pairs(problem), strict=True)))
        clouds, fixed = [x - centre for x in problem.clouds], None if problem.fixed is None else problem.fixed - centre
        about = replace(problem, clouds=clouds, fixed=fixed)  # about the mean, so that sums of |x|² lose nothing
        for state in self._about_the_mean(about, codes - centre, centre, rng):
            yield replace(state, points=state.codes() + centre if problem.fixed is None else problem.fixed)

    def _about_the_mean(
        self, problem: BarycenterProblem, codes: FloatArray, centre: FloatArray, rng: np.random.Generator
    ) -> Iterator[State]:
        points, weights, v = self._pilot(problem, codes, rng)
        points = rounded(points + centre, problem.like) - centre
        level = float(problem.mixing @ [float(s.value) for s in _sums(problem, points, v, 0.0)])
        eps = self.reg * level if level > 0 else self.reg
        sums: list[Sums] = []
        for warmer in (30.0, 10.0, 3.0, 1.0):  # ε falls by steps, the potentials follow
            v, weights, sums = self._fitted(problem, points, weights, v, warmer * eps)
        now = _state(problem, points, weights, v, sums, eps)
        yield now
        while problem.fixed is None:
            points = rounded(_targets(problem, points, sums) + centre, problem.like) - centre
            v, weights, sums = self._fitted(problem, points, weights, v, eps)
            following = _state(problem, points, weights, v, sums, eps)
            if not following.distortion < now.distortion:
                return
            yield following
            now = following

    def _pilot(
        self, problem: BarycenterProblem, codes: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
        """Points, weights and potentials from a sample of each measure, by the exact solver."""
        n = max(self.pilot, 2 * problem.k)
        drawn = [rng.choice(len(x), n, p=a) if len(x) > n else np.arange(len(x)) for x, a in _pairs(problem)]
        clouds = [x[i] for (x, _), i in zip(_pairs(problem), drawn, strict=True)]
        masses = [np.full(n, 1 / n) if len(x) > n else a for x, a in _pairs(problem)]
        small = replace(problem, clouds=clouds, masses=masses)
        solver = InteriorPoint(self.rtol) if problem.weights is None else FixedPoint(self.rtol)
        state = None
        for step, state in enumerate(solver.solve(small, codes, rng)):
            if state.within(self.rtol) or step >= 100:
                break
        assert state is not None
        costs = [cost_matrix(x, state.codes()) for x in clouds]
        if problem.weights is None:
            found = best_weights(costs, masses, problem.mixing, self.rtol)
            return state.codes(), found.weights, found.potentials
        potentials: list[FloatArray] = []
        for a, c in zip(masses, costs, strict=True):
            _, u, _ = NetworkSimplex().plan(a, problem.weights, c)
            potentials.append(c_transforms(u, a, c)[1])
        return state.codes(), state.masses(), potentials

    def _fitted(
        self, problem: BarycenterProblem, points: FloatArray, weights: FloatArray, v: list[FloatArray], eps: float
    ) -> "tuple[list[FloatArray], FloatArray, list[Sums]]":
        """Potentials whose plans have one second marginal between them, nearly, and that marginal."""
        for _ in range(self.sweeps):
            sums = _sums(problem, points, v, eps)
            logs = [np.log(np.maximum(s.mass, 1e-300)) for s in sums]
            if problem.weights is None:
                log_weights = np.asarray(sum(t * x for t, x in zip(problem.mixing, logs, strict=True)), dtype=np.float64)
                weights = np.exp(log_weights)
                weights = weights / weights.sum()
            else:
                weights = problem.weights
                log_weights = np.log(np.maximum(weights, 1e-300))
            missed = max(float(np.abs(s.mass - weights).sum()) / 2 for s in sums)
            if missed <= self.rtol:
                return v, weights, sums
            v = [u + eps * (log_weights - x) for u, x in zip(v, logs, strict=True)]
        return v, weights, _sums(problem, points, v, eps)


@dataclass(frozen=True, eq=False)
class Sums:
    r"""What is kept of a plan P with first marginal a. mass: (K,) $\sum_i P_{ik}$. pull: (K, d) $\sum_i P_{ik} x_i$.

    square: (K,) $\sum_i P_{ik} |x_i|^2$. cost: (K,) $\sum_i P_{ik} C_{ik}$. value: $\sum_i a_i \min_k (C_{ik} - v_k)$, a bound.
    """

    mass: FloatArray
    pull: FloatArray
    square: FloatArray
    cost: FloatArray
    value: float


def _pairs(problem: BarycenterProblem) -> list[tuple[FloatArray, FloatArray]]:
    return list(zip(problem.clouds, problem.masses, strict=True))


def _sums(problem: BarycenterProblem, points: FloatArray, v: list[FloatArray], eps: float) -> list[Sums]:
    """One pass over every measure; ε = 0 sends each point to its least reduced cost."""

    def one(j: int) -> Sums:
        x, a = problem.clouds[j], problem.masses[j]
        k, step = len(points), max(1, _BLOCK // len(points))
        mass, pull, square, cost, value = np.zeros(k), np.zeros_like(points), np.zeros(k), np.zeros(k), 0.0
        for begin in range(0, len(x), step):
            part, share = x[begin : begin + step], a[begin : begin + step]
            costs = cost_matrix(part, points)
            reduced = costs - v[j]
            least = reduced.min(1)
            value += float(share @ least)
            if eps > 0:
                plan = np.exp((least[:, None] - reduced) / eps)
                plan *= (share / plan.sum(1))[:, None]
            else:
                plan = np.zeros_like(costs)
                plan[np.arange(len(part)), reduced.argmin(1)] = share
            mass += plan.sum(0)
            pull += plan.T @ part
            square += np.einsum("nd,nd->n", part, part) @ plan
            cost += np.einsum("nk,nk->k", plan, costs)
        return Sums(mass, pull, square, cost, value)

    return parallel_map(one, len(problem.clouds), sizes=[float(len(x)) for x in problem.clouds])


def _targets(problem: BarycenterProblem, points: FloatArray, sums: list[Sums]) -> FloatArray:
    return mixed_means(problem.mixing, [s.mass for s in sums], [s.pull for s in sums], points)


def _feasible_cost(points: FloatArray, weights: FloatArray, s: Sums) -> float:
    r"""What the plan costs once it has been made feasible: whole shares of its columns are sent on, from atom k to atom l.

    Sending on column k costs $\sum_i P_{ik} |x_i - y_l|^2$, known from the sums; the best way is a small transport problem.
    """
    used, needed = np.flatnonzero(s.mass > 0), np.flatnonzero(weights > 0)
    mass, y = s.mass[used], points[needed]
    sent = (s.square[used, None] - 2 * s.pull[used] @ y.T) / mass[:, None] + np.einsum("kd,kd->k", y, y)
    sent = np.maximum(sent, 0.0)
    plan, _, _ = NetworkSimplex().plan(mass / mass.sum(), weights[needed], sent)
    return float((plan * sent).sum())


def _state(
    problem: BarycenterProblem, points: FloatArray, weights: FloatArray, v: list[FloatArray], sums: list[Sums], eps: float
) -> State:
    """An upper bound on F, and how far below it the bounds of the potentials lie."""
    upper = float(problem.mixing @ [_feasible_cost(points, weights, s) for s in sums])
    lower = float(problem.mixing @ [s.value + float(weights @ u) for s, u in zip(sums, v, strict=True)])
    excess = np.asarray(sum(t * u for t, u in zip(problem.mixing, v, strict=True)), dtype=np.float64)
    any_weights = float(problem.mixing @ [s.value for s in sums]) + float(excess.min())  # Σ_k w_k excess_k is no less
    moves = points - _targets(problem, points, sums) if problem.fixed is None else np.zeros_like(points)
    stationarity = (float(weights @ np.square(moves).sum(1)) / upper) ** 0.5 if upper > 0 else 0.0
    return State(
        points, weights, upper, stationarity, weights_gap=0.0 if problem.weights is not None else max(upper - any_weights, 0.0),
        distortion_gap=max(upper - lower, 0.0), transport=Sinkhorn(eps),
    )  # fmt: skip
