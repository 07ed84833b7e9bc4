"""What is asked of the loop, checked before any work: a problem with its solver, its start, its restarts and its budget."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from quantization.arrays import Array, to_host
from quantization.empirical.sparse_samples import SparseSamples
from quantization.exact_law import has_global_search, has_hessian, has_prices
from quantization.initialization import GivenCodes, GlobalSearch, InitLike, KMeansPlusPlus, RandomPoints, as_initialization
from quantization.laws_2d.balanced_mixture_law import BalancedMixture2D
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D
from quantization.make_problem import LawLike, make_problem, read_again
from quantization.measure import DiscreteMeasure
from quantization.problem import Initialization, Problem
from quantization.shards import in_parts
from quantization.solvers.balanced import Balanced
from quantization.solvers.balanced_1d import Balanced1D, on_the_line
from quantization.solvers.base import Solver, Task, max_iter_of
from quantization.solvers.clvq import CLVQ
from quantization.solvers.lloyd import Lloyd
from quantization.solvers.newton import Newton
from quantization.status import TooFewPoints
from quantization.validation import checked_count, checked_distinct, checked_masses, checked_rng

_USUAL_STEPS = 20  # that a run takes at least, as a rule

# Which solver and start a problem gets when none is named: the first match wins.
_DEFAULTS: list[tuple[Callable[[Problem], bool], Solver, Initialization]] = [
    (lambda problem: problem.masses is not None and on_the_line(problem), Balanced1D(), RandomPoints()),
    (lambda problem: problem.masses is not None and has_prices(problem.exact), Newton(), KMeansPlusPlus()),
    (lambda problem: problem.masses is not None, Balanced(), KMeansPlusPlus()),
    (
        lambda problem: has_hessian(problem.exact) and has_global_search(problem.exact),
        Newton(),
        GlobalSearch(exhaustive=False),
    ),
    (lambda problem: has_global_search(problem.exact), Lloyd(), GlobalSearch(exhaustive=False)),
    (lambda problem: problem.exact is not None, Lloyd(), KMeansPlusPlus()),
    (lambda problem: True, CLVQ(), KMeansPlusPlus()),
]


def _repeated(measure: DiscreteMeasure, k: int) -> GivenCodes | None:
    """All distinct points in turn, until there are k codes, where they are fewer: codes of prescribed masses may coincide."""
    points, weights = measure.points, measure.weights_float64
    try:
        checked_distinct(points, weights, k)
    except TooFewPoints:
        distinct = np.unique(to_host(points)[to_host(weights) > 0], axis=0)
        return GivenCodes(np.resize(distinct, (k, distinct.shape[1])))
    return None


def make_task(
    law: LawLike, k: int, r: float, solver: Solver | None, init: InitLike, n_init: int, rng: object,
    max_iter: int | None, masses: Array = "free",
) -> Task:  # fmt: skip
    """The arguments of ``quantize`` as a task; ``ValueError`` for what is not one."""
    masses_free = isinstance(masses, str) and masses == "free"
    problem = make_problem(in_parts(law) if masses_free and isinstance(solver, Lloyd | None) else law, k, r)
    problem = replace(problem, masses=checked_masses(masses, problem.k))
    if problem.masses is not None and problem.r != 2:
        raise ValueError(f"prescribed masses are for r = 2; received r = {problem.r:g}. Leave r out, or take masses='free'")
    if problem.masses is not None and isinstance(problem.exact, GaussianMixture2D):
        problem = replace(problem, exact=BalancedMixture2D(problem.exact, problem.masses))
    n_init = checked_count("n_init", n_init)
    default_solver, default_init = next((s, i) for fits, s, i in _DEFAULTS if fits(problem))
    if problem.masses is not None and problem.measure is not None and init is None:
        default_init = _repeated(problem.measure, problem.k) or default_init
    if solver is not None and (isinstance(solver, type) or not callable(getattr(solver, "solve", None))):
        raise ValueError(f"solver must be Lloyd(...), Newton(...), CLVQ(...) or Balanced(...); received {solver!r}")
    solver = default_solver if solver is None else solver
    if isinstance(solver, Lloyd):
        problem = read_again(problem)
    init = default_init if init is None else as_initialization(init)
    steps = max_iter_of(solver, max_iter)
    problem = replace(problem, steps=min(steps, _USUAL_STEPS), restarts=n_init)
    if problem.masses is not None and not getattr(solver, "takes_masses", False):
        raise ValueError(f'{solver!r} leaves masses free; received prescribed ones. Use Balanced(), or masses="free"')
    reason = solver.incompatibility(problem)
    if reason:
        raise ValueError(reason)
    init.check(problem)
    if problem.measure is not None and not (problem.masses is not None and isinstance(init, GivenCodes)):
        checked_distinct(problem.measure.points, problem.measure.weights_float64, problem.k)
    elif isinstance(problem.exact, SparseSamples) and len(problem.exact.distinct(problem.k)) < problem.k:
        raise TooFewPoints(problem.k, len(problem.exact.distinct(problem.k)))
    return Task(problem, solver, init, checked_rng(rng).spawn(n_init), steps, max_iter is None)
