"""What users call: ``barycenter``, and its snapshots."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantization.barycenters.entropic import Entropic
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.problem import BarycenterProblem, listed, pose_barycenter
from quantization.iterate import answer, snapshots
from quantization.problem import checked_count, generator
from quantization.solution import Solution
from quantization.solver import Solver
from quantization.starts import Given, KMeansPlusPlus, Start, as_start
from quantization.task import Task, task

_SOLVERS = (FixedPoint, InteriorPoint, Entropic)
_EXACT_ATOMS = 8192  # of the largest measure, up to which the network simplex is used


def barycenter(
    measures: Any,
    k: int | None = None,
    *,
    mixing: Any = None,
    weights: Any = "free",
    points: Any = None,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int = 100,
    draws: int = 2000,
) -> Solution:
    r"""A K-point measure ν with small $F(\nu) = \sum_j \lambda_j W_2^2(\mu_j, \nu)$, a Wasserstein barycenter.

    measures: a list of arrays (n_j, d), DiscreteMeasures and laws, or an array (m, n, d). Laws enter by ``draws`` independent
    draws each. k: atoms of ν, at most the points of all measures together. mixing: λ, (m,) ≥ 0 with sum 1; ``None``: equal.
    weights: of ν, "free" (optimized too), "uniform", or an array (k,). points: (k, d) holds the
    points, so that only the weights are free.

    solver: ``None`` takes InteriorPoint() for free weights, FixedPoint() for others, and Entropic() where a measure has more than
    8,192 points; ``Solution.transport`` says how F was computed. start: as for
    :func:`quantization.quantize`; what is drawn is drawn from all measures together, each moved to the barycenter's mean.
    restarts: independent runs, the least F kept. seed: an int or a numpy Generator. max_steps: steps of each run.

    ``Solution.distortion`` is F itself, from exact transports, never a smoothed one (with Entropic an upper bound on F, that
    exceeds it by ``distortion_gap`` at most). With free weights a run starts from
    its uniform solution and never ends above it; ``weights_gap`` and ``stationarity`` certify the answer. One measure with free
    weights is quantization, and goes to :func:`quantization.quantize`. Raises ``ValueError`` for bad input.
    Source: agueh2011, cuturi2014, ge2019.
    """
    return answer(_task(measures, k, mixing, weights, points, solver, start, restarts, seed, max_steps, draws))


def iterate_barycenter(
    measures: Any,
    k: int | None = None,
    *,
    mixing: Any = None,
    weights: Any = "free",
    points: Any = None,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator = 0,
    max_steps: int = 100,
    draws: int = 2000,
) -> Iterator[Solution]:
    """The snapshots of :func:`barycenter`, the start first and the answer last, as :func:`quantization.iterate` gives them."""
    return snapshots(_task(measures, k, mixing, weights, points, solver, start, restarts, seed, max_steps, draws))


def _task(
    measures: Any, k: Any, mixing: Any, weights: Any, points: Any, solver: Any, start: Any, restarts: Any, seed: Any,
    max_steps: Any, draws: Any,
) -> Task:  # fmt: skip
    rng = generator(seed)
    restarts, max_steps = checked_count("restarts", restarts), checked_count("max_steps", max_steps, least=0)
    draws, measures = checked_count("draws", draws), listed(measures)
    problem = pose_barycenter(measures, k, mixing, weights, points, draws, rng)
    alone = len(problem.clouds) == 1 and problem.weights is None and problem.fixed is None
    if alone and not isinstance(solver, _SOLVERS):
        return task(_the_one(measures, mixing), problem.k, 2.0, solver, start, restarts, rng, max_steps)
    solver = _usual(problem) if solver is None else solver
    if not isinstance(solver, _SOLVERS):
        raise ValueError(f"solver must be InteriorPoint(...), FixedPoint(...) or Entropic(...); received {solver!r}")
    refusal = solver.refuses(problem)
    if refusal:
        raise ValueError(refusal)
    begin = _start(problem, start)
    begin.check(problem)
    return Task(problem, solver, begin, rng.spawn(restarts), max_steps)


def _usual(problem: BarycenterProblem) -> Solver:
    """By size and by what is free."""
    if max(len(x) for x in problem.clouds) > _EXACT_ATOMS:
        return Entropic()
    return InteriorPoint() if problem.weights is None else FixedPoint()


def _start(problem: BarycenterProblem, start: Any) -> Start:
    if problem.fixed is not None:
        if start is not None:
            raise ValueError("with points given there is nothing to start from; received a start. Leave one of them out")
        return Given(problem.fixed)
    return KMeansPlusPlus() if start is None else as_start(start)


def _the_one(measures: list[Any], mixing: Any) -> Any:
    """The only measure with a share of the mixture."""
    return measures[0] if mixing is None else measures[int(np.argmax(np.asarray(mixing)))]
