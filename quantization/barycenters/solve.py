"""What users call: ``barycenter``, and its snapshots."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from quantization.arrays import Array, to_host
from quantization.barycenters.entropic import Entropic
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.limits import Limit, known_limit
from quantization.barycenters.line import VoronoiMasses
from quantization.barycenters.problem import BarycenterProblem, make_barycenter_problem
from quantization.initialization import GivenCodes, InitLike, KMeansPlusPlus, as_initialization
from quantization.iteration import snapshots, solve_tasks
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Initialization
from quantization.solution import Solution
from quantization.solvers.base import Solver, Task
from quantization.task import make_task
from quantization.validation import checked_count, checked_list, checked_rng

_SOLVERS = (FixedPoint, InteriorPoint, Entropic)
_EXACT_ATOMS = 2**14  # of the largest measure, up to which the network simplex ends within seconds
_EXACT_COSTS = 2**25  # of all measures together, up to which costs and plans are held in memory, 40 bytes each


def barycenter(
    measures: Iterable[LawLike],
    k: int | None = None,
    *,
    mixing: Array | None = None,
    atom_weights: str | Array = "free",
    points: Array | None = None,
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    rng: int | np.random.Generator | None = None,
    max_iter: int = 300,
    draws: int = 2000,
) -> Solution:
    r"""A Wasserstein barycenter: a K-point measure ν with small $F(\nu) = \sum_j \lambda_j W_2^2(\mu_j, \nu)$.

    Parameters
    ----------
    measures : list of arrays (n_j, d), DiscreteMeasures and laws, or array (m, n, d)
        The $\mu_j$. A law enters by ``draws`` independent draws, but for Gaussians alone, one of them nonsingular at least, and
        on the line, where frozen scipy.stats laws and mixtures enter by their quantile functions.
    k : int, optional
        Atoms of ν, at most the points of all measures together; not needed with ``points``.
    mixing : array (m,), optional
        $\lambda_j \ge 0$ of sum 1; ``None`` is equal ones.
    atom_weights : {"free", "uniform"} or array (k,)
        The weights of ν: optimized too, equal, or prescribed.
    points : array (k, d), optional
        Fixes the points of ν, so that only its weights are free.
    solver : Solver, optional
        ``None`` takes :class:`InteriorPoint` for free weights, :class:`FixedPoint` for others, and :class:`Entropic` where a
        measure has more than 16,384 points or there are more than 2^25 costs of all measures; ``Solution.transport`` says how F
        was computed.
    init : optional
        As for :func:`quantize`; codes are drawn from all measures together, each moved to the barycenter's mean.
    n_init : int, default 1
        Independent runs, of which the least F is kept.
    rng : int, numpy Generator or None
        Equal seeds give equal results; ``None`` draws a fresh one.
    max_iter : int, default 300
        Steps of each run.
    draws : int, default 2000
        Independent draws that stand for a law.

    Returns
    -------
    Solution
        ``distortion`` is F itself, from exact transports, never a smoothed one; with Entropic it is an upper bound that exceeds F
        by ``distortion_gap`` at most. ``masses_gap`` and ``stationarity`` certify the answer.

    Raises
    ------
    ValueError
        For bad input, before any work.

    Notes
    -----
    With free weights a run starts from its uniform solution and never ends above it. One measure is quantized by
    :func:`quantize`. On the line $F(\nu) = F_\infty + W_2^2(\bar\nu, \nu)$, $\bar\nu$ that of the mean
    of the quantile functions, whose quantizer is exact. Of several Gaussians the barycenter is Gaussian (alvarez2016) and is
    quantized:
    ``distortion`` is the upper value $F_\infty + D_K$ of F and ``distortion_gap`` what lies between it and a lower bound on
    $F_\infty$.

    References
    ----------
    agueh2011, alvarez2016, cuturi2014, ge2019.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> nu = qz.barycenter([x, x + 4.0], 5, rng=0)
    >>> bool(np.allclose(nu.weights @ nu.points, x.mean(0) + 2.0, atol=0.01))  # the mean of the means
    True
    """
    task, limit = barycenter_task(measures, k, mixing, atom_weights, points, solver, init, n_init, rng, max_iter, draws)
    solution = solve_tasks([task])[0]
    return solution if limit is None else limit.solution(solution)


def iterate_barycenter(
    measures: Iterable[LawLike],
    k: int | None = None,
    *,
    mixing: Array | None = None,
    atom_weights: str | Array = "free",
    points: Array | None = None,
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    rng: int | np.random.Generator | None = None,
    max_iter: int = 300,
    draws: int = 2000,
) -> Iterator[Solution]:
    """The snapshots of :func:`barycenter`, the start first and the answer last, as :func:`iterate` gives them.

    Parameters
    ----------
    measures, k, mixing, atom_weights, points, solver, init, n_init, rng, max_iter, draws
        As for :func:`barycenter`.

    Returns
    -------
    Iterator[Solution]
        One Solution per step.

    Raises
    ------
    ValueError
        For bad input, at the call.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> objectives = [s.distortion for s in qz.iterate_barycenter(x, 3, rng=0)]
    >>> objectives[-1] <= objectives[0]
    True
    """
    task, limit = barycenter_task(measures, k, mixing, atom_weights, points, solver, init, n_init, rng, max_iter, draws)
    return snapshots(task) if limit is None else map(limit.solution, snapshots(task))


def barycenter_task(
    measures: Iterable[LawLike], k: int | None, mixing: Array | None, atom_weights: str | Array, points: Array | None,
    solver: Solver | None, init: InitLike, n_init: int, rng: int | np.random.Generator | None, max_iter: int, draws: int,
) -> tuple[Task, Limit | None]:  # fmt: skip
    """The task of :func:`barycenter`; beside it the limit where the task is to quantize that."""
    rng = checked_rng(rng)
    n_init, max_iter = checked_count("n_init", n_init), checked_count("max_iter", max_iter, least=0)
    draws, measures = checked_count("draws", draws), checked_list(measures, "measures", "measures or laws", "measure")
    if not measures:
        raise ValueError("measures must not be empty; received none. Give at least one measure")
    problem = make_barycenter_problem(measures, k, mixing, atom_weights, points, draws, rng)
    known = problem.fixed is None and (problem.masses is None or len(problem.laws) == 1)
    if not isinstance(solver, _SOLVERS) and (problem.dim == 1 or known):
        limit = known_limit(problem.laws, problem.mixing)
        if limit is not None and (problem.masses is None or (problem.masses.all() and not _few(limit, problem.k))):
            return _limit_task(problem, limit, solver, init, n_init, rng, max_iter), limit
    solver = _default_solver(problem) if solver is None else solver
    if not isinstance(solver, _SOLVERS):
        raise ValueError(f"solver must be InteriorPoint(...), FixedPoint(...) or Entropic(...); received {solver!r}")
    refusal = solver.incompatibility(problem)
    if refusal:
        raise ValueError(refusal)
    begin = _initialization(problem, init)
    begin.check(problem)
    return Task(problem, solver, begin, rng.spawn(n_init), max_iter), None


def _limit_task(
    problem: BarycenterProblem, limit: Limit, solver: Solver | None, init: InitLike, n_init: int, rng: np.random.Generator,
    max_iter: int,
) -> Task:  # fmt: skip
    """To quantize the limit; where points are given, or it has fewer atoms than asked for, to weight these."""
    begin, law = None, limit.law
    if problem.fixed is not None:
        begin = _initialization(problem, init)
    elif problem.dim == 1 and isinstance(law, DiscreteMeasure) and _few(limit, problem.k):
        begin = GivenCodes(np.resize(to_host(law.points), (problem.k, problem.dim)))
    if begin is None:
        masses = "free" if problem.masses is None else problem.masses
        task = make_task(law, problem.k, 2.0, solver, init, n_init, rng, max_iter, masses)
    elif solver is not None:
        raise ValueError(f"with the points known nothing is left to solve on the line; received {solver!r}. Leave solver out")
    else:
        task = Task(make_problem(law, problem.k, 2.0), VoronoiMasses(), begin, rng.spawn(1), max_iter)
    return replace(task, problem=replace(task.problem, like=problem.like))


def _few(limit: Limit, k: int) -> bool:
    """Whether the limit has fewer atoms than asked for."""
    return isinstance(limit.law, DiscreteMeasure) and len(limit.law.points) < k


def _default_solver(problem: BarycenterProblem) -> Solver:
    """By size and by what is free."""
    sizes = [len(x) for x in problem.clouds]
    if max(sizes) > _EXACT_ATOMS or sum(sizes) * problem.k > _EXACT_COSTS:
        return Entropic()
    return InteriorPoint() if problem.masses is None else FixedPoint()


def _initialization(problem: BarycenterProblem, init: InitLike) -> Initialization:
    if problem.fixed is not None:
        if init is not None:
            raise ValueError("with points given there is nothing to start from; received init. Leave one of them out")
        return GivenCodes(problem.fixed)
    return KMeansPlusPlus() if init is None else as_initialization(init)
