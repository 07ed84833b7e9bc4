r"""Codes of prescribed masses: the optimal plan between samples and codes, and codes to the centroids of what they receive."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from quantization.arrays import FloatArray, SparsePlan, is_torch, rounded, to_host
from quantization.assignment import host_array
from quantization.assignment.cells import stationarity
from quantization.empirical.sparse_samples import SparseSamples
from quantization.exact_law import resolution
from quantization.interval import DRAWS
from quantization.measure import DiscreteMeasure
from quantization.priced_cells import transport_bounds
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance

if TYPE_CHECKING:
    from quantization.assignment.capacities import CapacityPlan

_SAMPLE, _PER_CODE, _FINER = 2**16, 2**8, 4  # points of large problems by which codes move until these are as noisy; of them then
_APPROXIMATE = 20  # steps of large problems whose plans are not exact, at most
_GAP = 1e-9  # of the cost, and of the least mass: what a plan may be off
_CONFIDENCE, _OF_NOISE = 0.95, 0.5  # of each interval of a law that is sampled; residual at which a sample has told enough
_RESOLVED, _RESIDUAL, _OF_COST = 2, 2, 0.1  # half-widths of intervals, noise of a residual, share of the cost: what draws tell
_ROUNDED = 1e-6  # of a cost on the way: its round-off
_ROUND_OFF = 2.0**-48  # of priced costs, where the cost is nothing beside the prices


@dataclass(frozen=True)
class Balanced:
    r"""$\min_x W_2^2(\mu, \sum_k w_k \delta_{x_k})$ for prescribed masses w: optimal plans and centroids in turn.

    For samples and laws that can be drawn from, r = 2. Each step finds the optimal plan π between the samples and codes of these
    masses, and moves every code to the centroid $\sum_i \pi_{ik} x_i / w_k$ of what it receives; neither raises the cost. It is
    Lloyd's algorithm where the cells are those of $|y - x_k|^2 - p_k$, with prices p by which each has the mass asked for.

    Parameters
    ----------
    rtol : float, default 1e-3
        The residual $(\sum_k w_k |x_k - E[X|V_k]|^2 / W_2^2)^{1/2}$ to stop at, as for :class:`Lloyd`.
    draws : int, default 131072
        Of a law known by sampling: a sample of so many is solved, and judged by as many further draws for each number.

    Notes
    -----
    Of a law that is sampled the distortion is the cost of a coupling of the law itself with the codes, and ``masses_gap`` lies
    between the upper end of its interval and the lower end of the dual value's, of 95 % each; the residual is measured too. Both
    have noise, of about $4\,draws^{-1/2}$ and $(K / draws)^{1/2}$, below which no tolerance can be asked for: status CONVERGED is
    said up to twice as much, as long as neither could take 10 % off the cost.

    References
    ----------
    aurenhammer1998.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize([[0.0], [1.0], [2.0], [11.0]], 2, masses="uniform", solver=qz.Balanced(rtol=0), rng=0)
    >>> sorted(solution.points[:, 0].tolist()), solution.weights.tolist()
    ([0.5, 6.5], [0.5, 0.5])
    """

    rtol: float = 1e-3
    draws: int = DRAWS
    exhausted: ClassVar[Status] = Status.STALLED
    warns: ClassVar[bool] = True
    takes_masses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)
        checked_count("Balanced's draws", self.draws, least=2)

    def incompatibility(self, problem: Problem) -> str | None:
        if problem.masses is None:
            return 'Balanced is for prescribed masses; received masses="free". Use Lloyd(), or masses="uniform"'
        if isinstance(problem.exact, SparseSamples):
            return "Balanced needs dense samples; received a sparse matrix. Pass x.toarray(), or a projection"
        if problem.measure is None and problem.law is None:
            return f"Balanced needs samples in memory, or a law to draw from; received {problem.kind}. Quantize a sample"
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        if problem.measure is None:
            yield from self._of_law(problem, codes, rng)
            return
        run, least = _Run(problem, rounded(codes, problem.like)), np.inf
        while True:
            exact, careful = run.exact, run.careful
            state = run.state(run.codes, run.prices, certified=careful)
            if exact and not careful and (state.distortion > least or run.at_rest):  # on the way, plans and costs are rounded
                state = run.state(run.codes, state.prices, certified=True)
            if exact and state.distortion > least * (1 + _ROUNDED if run.careful > careful else 1):
                return
            if exact and run.at_rest:
                yield replace(state, ended=state.ended or Status.CONVERGED)
                return
            least = state.distortion if exact else np.inf
            yield state
            run.advance(state)

    def _of_law(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        """The states of a sample, until their residual is lost in its noise; the last one judged by the law."""
        sample = replace(problem, law=None, measure=DiscreteMeasure(problem.draw(self.draws, rng)))
        enough = max(self.rtol, _OF_NOISE * (problem.k / self.draws) ** 0.5)
        for state in self.solve(sample, codes, rng):
            judged = partial(self._judged, problem, state, rng.spawn(1)[0])
            if state.stationarity <= enough:
                yield judged()
                return
            yield replace(state, estimated=True, sparse_plan=None, masses_gap=0.0, finish=judged)

    def _judged(self, problem: Problem, state: State, rng: np.random.Generator) -> State:
        """A state of a sample with what fresh draws of the law say of its codes and prices."""
        w, codes = problem.masses, np.asarray(state.codes())
        prices = (state.finish() if state.finish else state).prices  # of a plan that is exact
        assert w is not None
        assert prices is not None
        assert problem.law is not None
        found = transport_bounds(problem.law, partial(problem.fresh, self.draws), codes, w, prices, rng, _CONFIDENCE)
        cost = found.upper.value
        residual = stationarity(2 * w[:, None] * (codes - found.targets), w, cost, 2.0)
        widths = found.upper.high - found.upper.value + found.dual.value - found.dual.low
        share = (problem.k / self.draws) ** 0.5  # of all mass, by which the cells of a sample are off
        noise = min(_RESIDUAL * share, _OF_COST**0.5)
        judged = State(
            codes, w, cost, residual, found.upper.standard_error, prices=prices, masses_gap=found.upper.high - found.dual.low,
            gap_tolerance=min(_RESOLVED * widths + share * cost, _OF_COST * cost), resolution=lambda: noise,
        )  # fmt: skip
        return judged if judged.within(self.rtol) else replace(judged, ended=Status.BUDGET_SPENT)


class _Run:
    """The codes and prices of a run, the centroids that follow, and whether plans are exact on the way by now, or certified."""

    def __init__(self, problem: Problem, codes: FloatArray) -> None:
        from quantization.assignment.capacities import CapacitatedAssignment  # needs numba

        assert problem.measure is not None
        assert problem.masses is not None
        points, weights = problem.measure.points, to_host(problem.measure.weights_float64)
        points = host_array(points.cpu() if is_torch(points) else points)
        self._support = np.flatnonzero(weights)
        whole = len(self._support) == len(weights)
        points, weights = (points, weights) if whole else (points[weights > 0], weights[weights > 0])
        self._assignment = CapacitatedAssignment(points, weights, problem.masses)
        self._step: int = 1 if self._assignment.small else max(1, len(weights) // max(_SAMPLE, _PER_CODE * problem.k))
        self._part: CapacitatedAssignment = self._assignment if self._step == 1 else self._assignment.part(self._step)
        self._like, self._masses = problem.like, problem.masses
        self.codes, self.following = codes, codes
        self.prices: FloatArray | None = None
        self.at_rest = False
        self._plan: CapacityPlan | None = None
        self._before: CapacityPlan | None = None  # that of the codes before
        self.exact, self._left = self._assignment.small, _APPROXIMATE
        self.careful = False  # whether plans and costs are certified at every step by now

    def advance(self, state: State) -> None:
        """On to the centroids, at prices by which what their cells cost on average, less the price, is what it was."""
        assert state.prices is not None
        self._before = self._plan
        self.prices = state.prices - np.square(self.following - self.codes).sum(1)
        self.codes = self.following

    def state(self, codes: FloatArray, prices: FloatArray | None, certified: bool) -> State:
        """The plan to some codes, with its certificate or as on the way."""
        w, exact = self._masses, self.exact or certified
        if exact:
            self._part = self._assignment
        plan = self._part.plan(codes, prices, certified) if exact else self._part.approximate(codes, prices)
        on_the_way = self._assignment.small and not certified
        sums, cost = self._part.following_sums(codes, plan) if on_the_way else self._part.sums(codes, plan)
        means = codes + sums / np.where(plan.received > 0, plan.received, 1.0)[:, None]
        if not exact:
            cost = max(cost + float(plan.prices @ (w - plan.received)), 0.0)  # the dual value, below that of any plan
        residual = stationarity(2 * w[:, None] * (codes - means), w, cost, 2.0)
        if self._part is not self._assignment:
            noise = (len(w) / len(self._part.points)) ** 0.5
            if residual < noise:
                self._step //= _FINER
                self._part = self._assignment.part(self._step) if self._step > 1 else self._assignment
            residual = max(residual, noise)
        state = State(
            codes, w, cost, residual, estimated=True, prices=plan.prices,
            resolution=partial(resolution, self._like, codes, w, cost),
            finish=partial(self.state, codes, plan.prices, certified=True),
        )  # fmt: skip
        if codes is self.codes:
            self.following = rounded(means, self._like)
            self.at_rest = np.array_equal(self.following, codes) or (self._before is not None and plan.joins(self._before))
            self._plan = plan
        self._left -= int(self._part is self._assignment)
        self.exact |= certified or self._left == 0
        self.careful |= certified and self._assignment.small
        if not certified:
            return state
        allowed = max(_GAP * cost, _ROUND_OFF * float(plan.prices.max()))
        met = plan.gap <= allowed and float(np.abs(plan.received - w).max()) <= _GAP * float(w.min())
        return replace(
            state, estimated=False, masses_gap=plan.gap, gap_tolerance=allowed, ended=None if met else Status.STALLED,
            sparse_plan=self._sparse_plan(plan), finish=None,
        )  # fmt: skip

    def _sparse_plan(self, plan: "CapacityPlan") -> SparsePlan:
        rows, columns, masses = plan.split
        rows = np.concatenate([np.arange(len(self._support)), rows])
        columns, masses = np.concatenate([plan.labels, columns]), np.concatenate([plan.parts, masses])
        order = np.argsort(rows, kind="stable")
        return self._support[rows[order]], columns[order].astype(np.intp), masses[order]
