"""Many independent problems at once, such as one a class: spread over threads on a CPU, solved together on a GPU."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar, cast

import numpy as np

from quantization.arrays import is_torch
from quantization.iterate import answer
from quantization.measure import DiscreteMeasure
from quantization.precision import full_precision
from quantization.problem import generator
from quantization.solution import Solution
from quantization.solver import Solver
from quantization.task import Task, task
from quantization.threads import spread

Answer = TypeVar("Answer")


def quantize_many(
    measures: Iterable[Any],
    k: int | Sequence[int],
    *,
    r: float = 2.0,
    solver: Solver | None = None,
    start: Any = None,
    restarts: int = 1,
    seed: int | np.random.Generator | Sequence[int | np.random.Generator] = 0,
    max_steps: int | None = None,
) -> list[Solution]:
    r"""For each measure $\mu_i$ a $k_i$-point measure with small distortion $E_{\mu_i} \min_k |X - x_k|^r$.

    measures: a list of laws, each of a kind that :func:`quantization.quantize` takes and of any size and dimension; or an array
    (m, n, d). k: codes, one number for all or one per measure. seed: one per measure; or one for all, of which problem i gets
    the i-th of ``np.random.default_rng(seed).spawn(m)``. start: one for all, or a list of Solutions, starts or arrays (k_i, d),
    one per measure. The rest as for :func:`quantization.quantize`. Inputs are not copied.

    ``quantize_many(measures, k, seed=seeds)[i]`` is ``quantize(measures[i], k, seed=seeds[i])``, whatever the other problems and
    the number of threads: to the last bit on a CPU where BLAS runs with one thread in both (each problem has one here), to
    round-off on a GPU. Laws and streams are drawn from in worker threads.

    Raises ``ValueError`` that names the problem ("measure 3: ..."); all arguments are checked before any problem is solved.
    """
    laws = _laws(measures)
    if not laws:
        return []
    count = len(laws)
    ks: list[Any] = _each("k", k, count) or [k] * count
    starts, seeds = _starts(start, count), _each("seed", seed, count) or generator(seed).spawn(count)
    with ExitStack() as held:
        for device in {_device(law) for law in laws} - {None}:
            held.enter_context(full_precision(device))
        laws = spread(lambda i: _naming(i, lambda: _checked(laws[i])), count)
        tasks: list[Task] = []
        for i in range(count):  # in order, as a generator may be the seed of several
            options = (laws[i], ks[i], r, solver, starts[i], restarts, seeds[i], max_steps)
            tasks.append(_naming(i, lambda o=options: task(*o)))
        in_step = [i for i in range(count) if tasks[i].in_step]
        apart = [i for i in range(count) if not tasks[i].in_step]
        answers = {**_together(tasks, in_step), **_apart(tasks, apart)}
    return [answers[i] for i in range(count)]


def _apart(tasks: list[Task], which: list[int]) -> dict[int, Solution]:
    """The answers of some tasks, one thread each."""
    measures = [tasks[i].problem.measure for i in which]
    sizes = [0.0 if measure is None else float(measure.size * measure.dim) for measure in measures]
    answers = spread(lambda j: _naming(which[j], lambda: answer(tasks[which[j]])), len(which), sizes=sizes)
    return dict(zip(which, answers, strict=True))


def _together(tasks: list[Task], which: list[int]) -> dict[int, Solution]:
    """The answers of some tasks on a GPU, where problems of about one size take each step together."""
    if not which:
        return {}
    from quantization.cuda.batch import Refused, solve

    try:
        return dict(zip(which, solve([tasks[i] for i in which]), strict=True))
    except Refused as error:
        raise ValueError(f"measure {which[error.index]}: {error}") from error


def _laws(measures: Any) -> list[Any]:
    listed = type(measures).__name__ not in ("str", "dict") and hasattr(measures, "__iter__")
    if not listed or getattr(measures, "ndim", 3) != 3:
        received = f"an array of shape {tuple(measures.shape)}" if hasattr(measures, "shape") else type(measures).__name__
        raise ValueError(
            "measures must be a list of laws, one per problem, or an array (m, n, d), and [measure] for a single one; "
            f"received {received}"
        )
    return list(measures)


def _checked(law: Any) -> Any:
    """``law`` with its array, if it is one, checked: as a measure, which need not be checked again."""
    return DiscreteMeasure(law) if hasattr(law, "__array__") else law


def _device(law: Any) -> str | None:
    points = law.points if isinstance(law, DiscreteMeasure) else law
    return str(points.device.type) if is_torch(points) else None


def _each(name: str, value: Any, count: int) -> list[Any] | None:
    """A sequence of one value per problem as a list, of checked length; None for a single value."""
    if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return None
    values = list(value)
    if len(values) != count:
        raise ValueError(f"{name} must be one for all or one per measure, {count} of them; received {len(values)}")
    return values


def _starts(start: Any, count: int) -> list[Any]:
    """A start per problem: a list of Solutions, measures, starts or arrays of codes holds one each; a list of rows is one."""
    values = cast(Sequence[Any], start) if isinstance(start, list | tuple) else ()
    own = values and all(
        s is None or isinstance(s, DiscreteMeasure | Solution) or hasattr(s, "draw") or getattr(s, "ndim", 0) == 2 for s in values
    )
    return (_each("start", start, count) if own else None) or [start] * count


def _naming(i: int, work: Callable[[], Answer]) -> Answer:
    """The answer of ``work``, its errors named by the measure they belong to."""
    try:
        return work()
    except ValueError as error:
        raise ValueError(f"measure {i}: {error}") from error
    except Exception as error:
        error.add_note(f"in measure {i} of quantize_many")
        raise
