"""What users call: one problem, its snapshots, many problems at once, and the distortion of a codebook."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal, TypeVar, cast

import numpy as np

from quantization.arrays import Array, FloatArray, is_torch, to_host
from quantization.assignment import nearest
from quantization.estimate import expected
from quantization.initialization import InitLike
from quantization.interval import DRAWS, Estimate
from quantization.iteration import snapshots, solve_tasks
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.precision import full_precision
from quantization.shards import in_parts
from quantization.solution import Solution
from quantization.solvers.base import ProblemError, Solver, Task, solves_batches
from quantization.status import ConvergenceWarning, Status, TooFewPoints
from quantization.task import make_task
from quantization.threads import parallel_map
from quantization.validation import checked_confidence, checked_count, checked_each, checked_list, checked_rng

_WORTH_A_THREAD = 2**19  # n K (d + 8), below which a problem is mostly Python, for whose lock threads wait

Rng = int | np.random.Generator | None
Answer = TypeVar("Answer")


def quantize(
    law: LawLike,
    k: int,
    *,
    r: float = 2.0,
    masses: Array = "free",
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    max_iter: int | None = None,
    rng: Rng = None,
) -> Solution:
    r"""A K-point measure with small distortion $D_r(x) = E \min_k |X - x_k|^r$, its weights the masses of the Voronoi cells.

    Then $W_r(\mu, \sum_k w_k \delta_{x_k})^r = D_r(x)$. With ``masses`` given: small $W_2^2(\mu, \sum_k w_k \delta_{x_k})$.

    Parameters
    ----------
    law : array (n, d), DiscreteMeasure, Law, Shards, Stream or frozen scipy.stats distribution
        What is quantized: numpy or torch, dense or (samples) CSR. A memmap (n, d ≥ 2) of more than 32 MB is read in parts, as
        :class:`Shards` are.
    k : int
        Number of codes, at most the number of distinct points.
    r : float, default 2
        Order ≥ 1 of the distortion; 2 for sparse samples and where masses are prescribed. :class:`Lloyd` says how codes move.
    masses : {"free", "uniform"} or array (k,), default "free"
        The weights of the codes: "free" as above, "uniform" 1/k each, or positive numbers of sum 1: those of the returned codes,
        in this order. The codes are then the best for these masses: clusters of equal or given size. r = 2.
    solver : Solver, optional
        ``None`` takes :class:`Newton` for densities on the line and Gaussian mixtures in the plane, :class:`Lloyd` for samples
        and shards, and :class:`CLVQ` otherwise; :class:`Balanced` where masses are prescribed.
    init : optional
        ``None`` takes :class:`GlobalSearch` on the line (not exhaustive) and in that plane and "k-means++" otherwise. Else
        "k-means++", "random", "global", an :class:`Initialization`, codes (k, d), a DiscreteMeasure, an earlier Solution (which
        resumes CLVQ), or a callable ``init(points, k, rng)`` that returns codes.
    n_init : int, default 1
        Independent runs, of which the least distortion is kept.
    max_iter : int, optional
        Steps (CLVQ: mini-batches) of each run; ``None`` is 300, or as many as the solver's ``epochs`` take if it has any.
    rng : int, numpy Generator or None
        Equal seeds give equal results; ``None`` draws a fresh one.

    Returns
    -------
    Solution
        Codes, weights, distortion, stationarity, and why the solver stopped.

    Raises
    ------
    ValueError
        For bad input, before any work.

    Warns
    -----
    ConvergenceWarning
        Where the default ``max_iter`` was spent, or a solver stalled, above the solver's tolerance.

    References
    ----------
    graf2000, pages2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> solution = qz.quantize(x, 5, rng=0)
    >>> solution.points.shape, solution.converged
    ((5, 2), True)
    """
    task = make_task(law, k, r, solver, init, n_init, rng, max_iter, masses)
    try:
        (solution,) = solve_tasks([task])
    except ProblemError as error:
        raise ValueError(str(error)) from error.__cause__
    _warn_unless_converged(task, solution, "")
    return solution


def iterate(
    law: LawLike,
    k: int,
    *,
    r: float = 2.0,
    masses: Array = "free",
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    max_iter: int | None = None,
    rng: Rng = None,
) -> Iterator[Solution]:
    """The snapshots of :func:`quantize`, the start first and the answer last: ``for`` watches a solve, ``break`` stops it.

    A snapshot's status is RUNNING. Runs follow one another, each with its own final snapshot; the best of those comes last.
    Arguments are checked at the call, before the first snapshot. A start that takes long tells how far it is where
    ``init=KMeansPlusPlus(on_progress=...)`` says whom to tell.

    Parameters
    ----------
    law, k, r, masses, solver, init, n_init, max_iter, rng
        As for :func:`quantize`.

    Returns
    -------
    Iterator[Solution]
        One Solution a step.

    Raises
    ------
    ValueError
        For bad input.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> distortions = [s.distortion for s in qz.iterate(x, 5, rng=0)]
    >>> distortions[-1] <= distortions[0]
    True
    """
    return snapshots(make_task(law, k, r, solver, init, n_init, rng, max_iter, masses))


def quantize_many(
    laws: Iterable[Any],
    k: int | Sequence[int],
    *,
    r: float = 2.0,
    masses: Array = "free",
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    max_iter: int | None = None,
    rng: Rng | Sequence[int | np.random.Generator] = None,
    on_error: Literal["raise", "fewer"] = "raise",
) -> list[Solution]:
    r"""For each law $\mu_i$ a $k_i$-point measure with small distortion $E_{\mu_i} \min_k |X - x_k|^r$.

    ``quantize_many(laws, k, rng=seeds)[i]`` is ``quantize(laws[i], k, rng=seeds[i])``, whatever the other problems and the number
    of threads: to the last bit on a CPU where BLAS runs with one thread in both (each problem has one here), to round-off on a
    GPU. Laws and streams are drawn from in worker threads.

    Parameters
    ----------
    laws : list, or array (m, n, d)
        Each of a kind that :func:`quantize` takes, of any size and dimension. Inputs are not copied.
    k : int or sequence of int
        Codes, one number for all or one per law.
    r, solver, n_init, max_iter
        As for :func:`quantize`.
    masses : "free", "uniform", array (k,), or a list of these
        One for all, or a list or array (m, k) of one per law.
    init : optional
        One for all, or a list of Solutions, initializations or arrays (k_i, d), one per law.
    rng : int, numpy Generator, None, or a list of them
        One per law; or one for all, of which problem i gets the i-th of ``np.random.default_rng(rng).spawn(m)``.
    on_error : {"raise", "fewer"}
        What becomes of a law with fewer distinct points than codes: a ValueError, or as many codes as it has distinct points,
        with a ConvergenceWarning.

    Returns
    -------
    list[Solution]

    Raises
    ------
    ValueError
        Which names the law ("law 3: ..."); all arguments are checked before any problem is solved.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(3, 100, 2))
    >>> [len(s.points) for s in qz.quantize_many(x, [2, 3, 4], rng=0)]
    [2, 3, 4]
    """
    listed = checked_list(laws, "laws", "laws, one per problem", "law")
    if on_error not in ("raise", "fewer"):
        raise ValueError(f'on_error must be "raise" or "fewer"; received {on_error!r}')
    if not listed:
        return []
    count = len(listed)
    ks: list[Any] = checked_each("k", k, count) or [k] * count
    inits, given = _inits(init, count), _masses(masses, count)
    rngs = checked_each("rng", rng, count) or checked_rng(rng).spawn(count)
    with ExitStack() as held:
        for device in {_device(law) for law in listed} - {None}:
            held.enter_context(full_precision(device))
        listed = parallel_map(lambda i: _naming(i, lambda: _checked(listed[i])), count)
        tasks: list[Task] = []
        for i in range(count):  # in order, as a generator may be the rng of several
            options = (r, solver, inits[i], n_init, rngs[i], max_iter, given[i])
            tasks.append(_naming(i, lambda o=options, i=i: _task(i, listed[i], ks[i], *o, fewer=on_error == "fewer")))
        together = [i for i in range(count) if _gains_together(tasks[i])]
        answers = _solve_together(tasks, together) | _solve_alone(tasks, sorted({*range(count)} - {*together}))
    solutions = [answers[i] for i in range(count)]
    for i, (task, solution) in enumerate(zip(tasks, solutions, strict=True)):
        _warn_unless_converged(task, solution, f"law {i}: ")
    return solutions


def distortion(
    law: LawLike, points: Array | DiscreteMeasure | Solution, *, r: float = 2.0, confidence: float = 0.95, draws: int = DRAWS,
    rng: Rng = None,
) -> Estimate:  # fmt: skip
    r"""$D_r(x) = E \min_k |X - x_k|^r$: no factor ½, no root, summed over coordinates.

    Exact (to float64 round-off) for samples, shards and for laws whose cells are computed exactly. For other laws the mean over
    ``draws`` independent draws, for a stream over its first ``draws`` points (taken for independent), with a confidence interval.

    Parameters
    ----------
    law
        As for :func:`quantize`.
    points : array (K, d), DiscreteMeasure or Solution
        The codebook.
    r : float, default 2
        Order ≥ 1.
    confidence : float
        Of the interval, in (0, 1).
    draws : int
        Of a law that can only be sampled.
    rng : int, numpy Generator or None

    Returns
    -------
    Estimate
        ``value``, ``low``, ``high``, ``standard_error``; ``float()`` takes it.

    Raises
    ------
    ValueError
        For bad input.

    Warns
    -----
    RuntimeWarning
        Where the draws speak against a finite E|X|^{2r}, without which no interval can hold.

    Notes
    -----
    The interval is Student's, corrected for the skewness of the costs by Hall's cubic transformation, so that it reaches further
    up than down. It assumes E|X|^{2r} < ∞ and covers with the stated probability as draws → ∞ (to O(1/draws) where the costs have
    enough moments). The draws of a :class:`QuasiMonteCarlo` law make up for one another: they are shared out over its independent
    replicates, a power of two of points each, and the spread of those gives the standard error and a plain Student interval.

    References
    ----------
    hall1992, lecuyer2023.

    Examples
    --------
    >>> import quantization as qz
    >>> float(qz.distortion(qz.Gaussian([0.0], [[1.0]]), [[0.0]]))  # the variance
    1.0
    """
    codes = _codes(points)
    confidence = checked_confidence(confidence)
    problem = make_problem(in_parts(law), len(codes), r)
    draws, generator = checked_count("draws", draws, least=2), checked_rng(rng)
    if codes.shape[1] != problem.dim:
        raise ValueError(f"points must have the law's dimension {problem.dim}; received shape {codes.shape}")
    if problem.exact is not None:
        value = problem.exact.cells(codes).distortion
        return Estimate(value, value, value)
    return expected(problem, lambda x: to_host(nearest(x, codes).squared) ** (problem.r / 2), generator, draws, confidence)


def _codes(points: Array | DiscreteMeasure | Solution) -> FloatArray:
    """Codes given as an array, a measure or a solution, (K, d)."""
    measure = getattr(points, "measure", points)
    return to_host(measure.points if isinstance(measure, DiscreteMeasure) else DiscreteMeasure(measure).points)


def _task(i: int, law: LawLike, k: int, *options: Any, fewer: bool) -> Task:
    """The task; where its law has too few distinct points and that is allowed, for as many codes as it has."""
    try:
        return make_task(law, k, *options)
    except TooFewPoints as error:
        if not fewer or not isinstance(options[-1], str):
            raise
        message = f"law {i} has {error.distinct} distinct points, fewer than k = {k}: they are its codes"
        warnings.warn(message, ConvergenceWarning, stacklevel=6)
        return make_task(law, error.distinct, *options)


def _warn_unless_converged(task: Task, solution: Solution, name: str) -> None:
    """Where the budget was the solver's own: whoever names a budget knows that it may be spent. Draws have noise, and say so."""
    unreached = solution.status in (Status.STALLED, Status.BUDGET_SPENT) and solution.distortion_se == 0
    if unreached and task.default_budget and task.solver.rtol > 0 and getattr(task.solver, "warns", False):
        gap = f", gap in the masses {solution.masses_gap:.3g}" if solution.masses_gap > 0 else ""
        warnings.warn(
            f"{name}{solution.status.value} Stationarity {solution.stationarity:.3g}{gap} after {solution.n_iter} steps of "
            f"{solution.solver!r}; set max_iter, or the solver's rtol",
            ConvergenceWarning,
            stacklevel=3,
        )


def _gains_together(task: Task) -> bool:
    return solves_batches(task.solver) and task.solver.gains_together(task.problem)


def _solve_alone(tasks: list[Task], which: list[int]) -> dict[int, Solution]:
    """The answers of some tasks, one thread each; small ones all in this thread, as two would wait for Python's lock."""
    problems = [tasks[i].problem for i in which]
    sizes = [0.0 if p.measure is None else float(p.measure.size * p.k * (p.dim + 8)) for p in problems]
    threads = 1 if 0 < sum(sizes) < _WORTH_A_THREAD * len(sizes) else None
    answers = parallel_map(
        lambda j: _naming(which[j], lambda: solve_tasks([tasks[which[j]]])[0]), len(which), sizes=sizes, threads=threads
    )
    return dict(zip(which, answers, strict=True))


def _solve_together(tasks: list[Task], which: list[int]) -> dict[int, Solution]:
    """The answers of some tasks in one batch, as on a GPU, where problems of about one size take each step together."""
    if not which:
        return {}
    try:
        return dict(zip(which, solve_tasks([tasks[i] for i in which]), strict=True))
    except ProblemError as error:
        owners = [i for i in which for _ in tasks[i].rngs]
        raise ValueError(f"law {owners[error.run]}: {error}") from error


def _checked(law: LawLike) -> Any:
    """``law`` with its array, if it is one, checked: as a measure, which need not be checked again."""
    array = hasattr(law, "__array__") and not isinstance(cast(Any, law), np.memmap)
    return DiscreteMeasure(law) if array else law


def _device(law: LawLike) -> str | None:
    points: Array = law.points if isinstance(law, DiscreteMeasure) else law
    return str(points.device.type) if is_torch(points) else None


def _inits(init: InitLike | Sequence[InitLike], count: int) -> list[Any]:
    """A start per problem: a list of Solutions, measures, initializations or arrays of codes holds one each; rows are one."""
    values = cast(Sequence[Any], init) if isinstance(init, list | tuple) else ()
    own = values and all(
        s is None or isinstance(s, DiscreteMeasure | Solution) or hasattr(s, "draw") or getattr(s, "ndim", 0) == 2 for s in values
    )
    return (checked_each("init", init, count) if own else None) or [init] * count


def _masses(masses: Array, count: int) -> list[Array]:
    """Masses per problem: a list of names or arrays and an array (m, k) hold one each; numbers are one for all."""
    own = getattr(masses, "ndim", 1) == 2 or _holds_several(masses)
    return (checked_each("masses", masses, count) if own else None) or [masses] * count


def _holds_several(masses: object) -> bool:
    """Whether a list or tuple holds names or arrays, and not numbers."""
    return isinstance(masses, list | tuple) and any(hasattr(m, "__len__") for m in cast(Sequence[Any], masses))


def _naming(i: int, work: Callable[[], Answer]) -> Answer:
    """The answer of ``work``, its errors named by the law they belong to."""
    try:
        return work()
    except ValueError as error:
        raise ValueError(f"law {i}: {error}") from error
    except Exception as error:
        error.add_note(f"in law {i} of quantize_many")
        raise
