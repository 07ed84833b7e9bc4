"""What users call: ``barycenter``, and its snapshots."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantization.barycenters.entropic import Entropic
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.problem import BarycenterProblem, listed, make_barycenter_problem
from quantization.initialization import GivenCodes, KMeansPlusPlus, as_initialization
from quantization.iteration import snapshots, solve_tasks
from quantization.problem import Initialization
from quantization.solution import Solution
from quantization.solvers.base import Solver, Task
from quantization.task import make_task
from quantization.validation import checked_count, checked_rng

_SOLVERS = (FixedPoint, InteriorPoint, Entropic)
_EXACT_ATOMS = 8192  # of the largest measure, up to which the network simplex is used


def barycenter(
    measures: Any,
    k: int | None = None,
    *,
    mixing: Any = None,
    atom_weights: Any = "free",
    points: Any = None,
    solver: Solver | None = None,
    init: Any = None,
    n_init: int = 1,
    rng: int | np.random.Generator | None = None,
    max_iter: int = 100,
    draws: int = 2000,
) -> Solution:
    r"""A K-point measure ν with small $F(\nu) = \sum_j \lambda_j W_2^2(\mu_j, \nu)$, a Wasserstein barycenter.

    measures: a list of arrays (n_j, d), DiscreteMeasures and laws, or an array (m, n, d). Laws enter by ``draws`` independent
    draws each. k: atoms of ν, at most the points of all measures together. mixing: λ, (m,) ≥ 0 with sum 1; ``None``: equal.
    atom_weights: of ν, "free" (optimized too), "uniform", or an array (k,). points: (k, d) holds the
    points, so that only the weights are free.

    solver: ``None`` takes InteriorPoint() for free weights, FixedPoint() for others, and Entropic() where a measure has more than
    8,192 points; ``Solution.transport`` says how F was computed. init: as for
    :func:`quantization.quantize`; what is drawn is drawn from all measures together, each moved to the barycenter's mean.
    n_init: independent runs, the least F kept. rng: an int, a numpy Generator or None. max_iter: steps of each run.

    ``Solution.distortion`` is F itself, from exact transports, never a smoothed one (with Entropic an upper bound on F, that
    exceeds it by ``distortion_gap`` at most). With free weights a run starts from
    its uniform solution and never ends above it; ``weights_gap`` and ``stationarity`` certify the answer. One measure with free
    weights is quantization, and goes to :func:`quantization.quantize`. Raises ``ValueError`` for bad input.
    Source: agueh2011, cuturi2014, ge2019.
    """
    return solve_tasks([_task(measures, k, mixing, atom_weights, points, solver, init, n_init, rng, max_iter, draws)])[0]


def iterate_barycenter(
    measures: Any,
    k: int | None = None,
    *,
    mixing: Any = None,
    atom_weights: Any = "free",
    points: Any = None,
    solver: Solver | None = None,
    init: Any = None,
    n_init: int = 1,
    rng: int | np.random.Generator | None = None,
    max_iter: int = 100,
    draws: int = 2000,
) -> Iterator[Solution]:
    """The snapshots of :func:`barycenter`, the start first and the answer last, as :func:`quantization.iteration` gives them."""
    return snapshots(_task(measures, k, mixing, atom_weights, points, solver, init, n_init, rng, max_iter, draws))


def _task(
    measures: Any, k: Any, mixing: Any, atom_weights: Any, points: Any, solver: Any, init: Any, n_init: Any, rng: Any,
    max_iter: Any, draws: Any,
) -> Task:  # fmt: skip
    rng = checked_rng(rng)
    n_init, max_iter = checked_count("n_init", n_init), checked_count("max_iter", max_iter, least=0)
    draws, measures = checked_count("draws", draws), listed(measures)
    problem = make_barycenter_problem(measures, k, mixing, atom_weights, points, draws, rng)
    alone = len(problem.clouds) == 1 and problem.weights is None and problem.fixed is None
    if alone and not isinstance(solver, _SOLVERS):
        return make_task(_the_one(measures, mixing), problem.k, 2.0, solver, init, n_init, rng, max_iter)
    solver = _usual(problem) if solver is None else solver
    if not isinstance(solver, _SOLVERS):
        raise ValueError(f"solver must be InteriorPoint(...), FixedPoint(...) or Entropic(...); received {solver!r}")
    refusal = solver.incompatibility(problem)
    if refusal:
        raise ValueError(refusal)
    begin = _initialization(problem, init)
    begin.check(problem)
    return Task(problem, solver, begin, rng.spawn(n_init), max_iter)


def _usual(problem: BarycenterProblem) -> Solver:
    """By size and by what is free."""
    if max(len(x) for x in problem.clouds) > _EXACT_ATOMS:
        return Entropic()
    return InteriorPoint() if problem.weights is None else FixedPoint()


def _initialization(problem: BarycenterProblem, init: Any) -> Initialization:
    if problem.fixed is not None:
        if init is not None:
            raise ValueError("with points given there is nothing to start from; received init. Leave one of them out")
        return GivenCodes(problem.fixed)
    return KMeansPlusPlus() if init is None else as_initialization(init)


def _the_one(measures: list[Any], mixing: Any) -> Any:
    """The only measure with a share of the mixture."""
    return measures[0] if mixing is None else measures[int(np.argmax(np.asarray(mixing)))]
