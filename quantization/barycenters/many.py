"""Barycenters of many lists of measures at once, in threads."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, cast

import numpy as np

from quantization.arrays import Array
from quantization.barycenters.limits import Limit
from quantization.barycenters.problem import BarycenterProblem
from quantization.barycenters.solve import barycenter_task
from quantization.initialization import InitLike
from quantization.iteration import solve_tasks
from quantization.make_problem import LawLike
from quantization.solution import Solution
from quantization.solvers.base import Solver, Task
from quantization.status import ConvergenceWarning, TooFewPoints
from quantization.threads import parallel_map
from quantization.validation import checked_each, checked_rng

Answer = TypeVar("Answer")


def barycenter_many(
    problems: Iterable[Iterable[LawLike]],
    k: int | Sequence[int] | None = None,
    *,
    mixing: Array | None = None,
    atom_weights: str | Array = "free",
    points: Array | None = None,
    solver: Solver | None = None,
    init: InitLike = None,
    n_init: int = 1,
    rng: int | np.random.Generator | Sequence[int | np.random.Generator] | None = None,
    max_iter: int = 300,
    draws: int = 2000,
    on_error: Literal["raise", "fewer"] = "raise",
) -> list[Solution]:
    r"""For each list of measures a K-point measure ν with small $F(\nu) = \sum_j \lambda_j W_2^2(\mu_j, \nu)$, in threads.

    ``barycenter_many(problems, k, rng=seeds)[i]`` is ``barycenter(problems[i], k, rng=seeds[i])``, whatever the other problems
    and the number of threads, to the last bit where BLAS runs with one thread in both (each problem has one here). One set of
    measures mixed in several ways is that set several times: ``barycenter_many([measures] * m, k, mixing=mixings)``.

    Parameters
    ----------
    problems : list of lists of measures, or array (problems, m, n, d)
        Each of a kind that :func:`barycenter` takes. Inputs are not copied.
    k : int or sequence of int, optional
        Atoms, one number for all or one per problem; not needed with ``points``.
    mixing : array (m,), or a list of these or an array (problems, m), optional
        One for all, or one per problem.
    atom_weights, points, solver, init, n_init, max_iter, draws
        As for :func:`barycenter`, the same for all.
    rng : int, numpy Generator, None, or a list of them
        One per problem; or one for all, of which problem i gets the i-th of ``np.random.default_rng(rng).spawn(count)``.
    on_error : {"raise", "fewer"}
        What becomes of a problem with fewer points than atoms: a ValueError, or as many atoms as it has points, with a
        ConvergenceWarning.

    Returns
    -------
    list[Solution]

    Raises
    ------
    ValueError
        Which names the problem ("problem 3: ..."); all arguments are checked before any problem is solved.

    References
    ----------
    agueh2011.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(3, 2, 50, 2))  # three pairs of measures
    >>> [len(nu.points) for nu in qz.barycenter_many(x, [2, 3, 4], rng=0)]
    [2, 3, 4]
    """
    if not hasattr(problems, "__iter__") or getattr(problems, "ndim", 4) != 4:
        shape = getattr(problems, "shape", None)
        received = type(problems).__name__ if shape is None else f"an array of shape {tuple(shape)}"
        raise ValueError(f"problems must be a list of lists of measures, or an array (problems, m, n, d); received {received}")
    if on_error not in ("raise", "fewer"):
        raise ValueError(f'on_error must be "raise" or "fewer"; received {on_error!r}')
    listed = [measures if hasattr(measures, "ndim") else list(measures) for measures in problems]
    count = len(listed)
    ks: list[Any] = checked_each("k", k, count, "problem") or [k] * count
    mixings = (checked_each("mixing", mixing, count, "problem") if _is_nested(mixing) else None) or [mixing] * count
    rngs = checked_each("rng", rng, count, "problem") or checked_rng(rng).spawn(count)

    def task(i: int, k: int | None, rng: Any) -> tuple[Task, Limit | None]:
        return barycenter_task(listed[i], k, mixings[i], atom_weights, points, solver, init, n_init, rng, max_iter, draws)

    def checked(i: int) -> tuple[Task, Limit | None]:
        try:
            return task(i, ks[i], rngs[i])
        except TooFewPoints as error:
            if on_error == "raise" or not isinstance(atom_weights, str):
                raise
            message = f"problem {i} has {error.distinct} points, fewer than k = {error.k}: that many atoms are enough"
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
            return task(i, error.distinct, rngs[i])

    def solve(i: int) -> Solution:
        own, limit = tasks[i]
        solution = solve_tasks([own])[0]
        return solution if limit is None else limit.solution(solution)

    tasks = [_naming(i, lambda i=i: checked(i)) for i in range(count)]  # in order, as a generator may be the rng of several
    sizes = [sum(map(len, t.problem.clouds), 0.0) if isinstance(t.problem, BarycenterProblem) else 0.0 for t, _ in tasks]
    return parallel_map(lambda i: _naming(i, lambda: solve(i)), count, sizes=sizes)


def _is_nested(mixing: Array | None) -> bool:
    """Whether it holds one mixing per problem."""
    if isinstance(mixing, list | tuple):
        return any(hasattr(m, "__len__") for m in cast(Sequence[Any], mixing))
    return getattr(mixing, "ndim", 1) == 2


def _naming(i: int, work: Callable[[], Answer]) -> Answer:
    """The answer of ``work``, its errors named by the problem they belong to."""
    try:
        return work()
    except ValueError as error:
        raise ValueError(f"problem {i}: {error}") from error
