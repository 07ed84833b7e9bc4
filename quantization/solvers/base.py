"""What a solver is: one generator of states, and what many problems at once mean for it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np

from quantization.arrays import Array, FloatArray, SparsePlan
from quantization.clvq_state import CLVQState
from quantization.problem import Initialization, Problem
from quantization.status import Status
from quantization.validation import checked_count

_DEFAULT_MAX_ITER = 300


@dataclass(slots=True)
class State:
    """A solver's codebook after some steps, with what the step itself measured of it, on the host.

    points, weights: codes (K, d) and masses (K,) of the cells, or functions that make them where that takes longer than a step.
    estimated: whether the numbers are estimates; the loop then measures the last codebook again if the law allows it.
    distortion_rtol: how far an estimated distortion may be off, relative to itself. measure: makes the codes, and their
    distortion and stationarity as they are, where the solver knows a shorter way than a new search; the weights are right.
    resolution: computes the residual that rounding codes to the points' dtype leaves, below which no tolerance can be asked for.
    companion: the running companion weights of a stochastic solver. clvq_state: what it needs to go on from here.
    masses_gap, distortion_gap, transport, prices, sparse_plan: see Solution. gap_tolerance: up to which the first is allowed,
    whatever rtol. finish: makes the state that is returned, where a step's own is computed with less care. ended: why the solver
    can't go on, where it knows.
    """

    points: FloatArray | Callable[[], Array]
    weights: FloatArray | Callable[[], FloatArray]
    distortion: float
    stationarity: float
    distortion_se: float = 0.0
    estimated: bool = False
    companion: FloatArray | None = None
    clvq_state: CLVQState | None = None
    distortion_rtol: float = np.inf
    resolution: Callable[[], float] | None = None
    masses_gap: float = 0.0
    gap_tolerance: float = 0.0
    distortion_gap: float = 0.0
    transport: Any = None
    ended: Status | None = None
    measure: Callable[[], tuple[FloatArray, float, float]] | None = None
    prices: FloatArray | None = None
    sparse_plan: SparsePlan | None = None
    finish: Callable[[], "State"] | None = None

    def codes(self) -> Array:
        """The codes, (K, d), on the host or on the device of the points."""
        return self.points() if callable(self.points) else self.points

    def masses(self) -> FloatArray:
        """The masses of the cells, (K,), on the host."""
        return self.weights() if callable(self.weights) else self.weights

    def within(self, rtol: float) -> bool:
        """Whether the residual is within the tolerance; a tolerance of zero is met by an exact fixed point alone.

        The square of the residual is what moving the points could take off the distortion, as a share: so is a gap, in the
        weights or of the distortion itself.
        """
        allowed = max(rtol * rtol * self.distortion, self.gap_tolerance)
        if self.ended is not None or max(self.masses_gap, self.distortion_gap) > allowed:
            return False
        if self.stationarity <= rtol or rtol == 0 or self.resolution is None:
            return self.stationarity <= rtol
        return self.stationarity <= self.resolution()


class Solver(Protocol):
    """A method of quantization, the protocol of whatever ``solver=`` takes: a frozen dataclass whose fields are its options.

    Attributes
    ----------
    rtol : float
        The stationarity at which a run has converged.
    exhausted : Status
        The status of a run whose generator ended by itself above that tolerance.
    takes_masses : bool, optional
        Whether it prescribes the masses of the codes where ``problem.masses`` holds any; where it does not say so, it is not
        asked.

    Examples
    --------
    Lloyd's algorithm with steps 1.5 times as long:

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import numpy as np, quantization as qz
    >>> from quantization.solvers.base import State
    >>> @dataclass(frozen=True)
    ... class Overrelaxed:
    ...     rtol: float = 1e-3
    ...     exhausted: ClassVar[qz.Status] = qz.Status.STALLED
    ...     def incompatibility(self, problem):
    ...         return None if problem.exact is not None and problem.r == 2 else "cells must be computed exactly, and r = 2"
    ...     def solve(self, problem, codes, rng):
    ...         while True:
    ...             codes, c = problem.exact.relocate_empty_cells(codes)
    ...             yield State(codes, c.masses, c.distortion, c.stationarity)
    ...             codes = codes + 1.5 * (c.means - codes)
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> qz.quantize(x, 4, solver=Overrelaxed(), rng=0).converged
    True
    """

    exhausted: ClassVar[Status]

    @property
    def rtol(self) -> float: ...

    def incompatibility(self, problem: Problem) -> str | None:
        """Why this solver does not fit a problem.

        Parameters
        ----------
        problem : Problem
            K codes of order r for a law, in whatever form the law came.

        Returns
        -------
        str or None
            A sentence that says what was received and what to use instead, for the ValueError; None where it fits.
        """
        ...

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        """The states of one run: that of the start, then one per step.

        Parameters
        ----------
        problem : Problem
            As for :meth:`incompatibility`.
        codes : array (K, d)
            The start, in float64 on the host.
        rng : numpy Generator
            The only source of randomness.

        Yields
        ------
        State
            Codes, masses, distortion and stationarity. The loop stops asking when the tolerance is met or the budget is spent.
        """
        ...


class Resumable(Solver, Protocol):
    """A solver that goes on where an earlier run stopped, as if it had never stopped."""

    def resume(self, problem: Problem, state: CLVQState, rng: np.random.Generator) -> Iterator[State]: ...


Observe = Callable[[int, State], bool]  # (number of the run, its state) → whether it should go on


class BatchSolver(Solver, Protocol):
    """A solver with a faster way for many runs at once: restarts of one problem, or many problems on a GPU.

    Run i is of problems[i], begins at inits[i] and draws from rngs[i] as :func:`solve_one` does. Every state goes to
    ``observe(i, state)``, the start first; where it answers False, run i has ended. ``gains_together``: whether problems of this
    kind, each different, gain from being in one call; restarts of one problem are in one call anyway.
    """

    def gains_together(self, problem: Problem) -> bool: ...

    def solve_batch(
        self,
        problems: Sequence[Problem],
        inits: Sequence[Initialization],
        rngs: Sequence[np.random.Generator],
        observe: Observe,
    ) -> None: ...


# By the method that tells them apart: an isinstance of a Protocol takes twenty times as long.


def resumes(solver: Solver) -> TypeGuard[Resumable]:
    """Whether a solver goes on where an earlier run stopped."""
    return hasattr(solver, "resume")


def solves_batches(solver: Solver) -> TypeGuard[BatchSolver]:
    """Whether a solver has a faster way for many runs at once."""
    return hasattr(solver, "solve_batch")


@dataclass(frozen=True, eq=False)
class Task:
    """A problem with its solver and start, a generator for each run (restart) and a budget of steps.

    default_budget: whether the budget is the solver's own and not the caller's.
    """

    problem: Problem
    solver: Solver
    init: Initialization
    rngs: Sequence[np.random.Generator]
    max_iter: int
    default_budget: bool = False


class ProblemError(ValueError):
    """An error of one problem of a batch, and the number of its run."""

    def __init__(self, run: int, reason: str) -> None:
        super().__init__(reason)
        self.run = run


def begin(solver: Solver, problem: Problem, init: Initialization, rng: np.random.Generator) -> Iterator[State]:
    """The states of one run, from the start that ``init`` draws or from where an earlier run of the solver stopped."""
    init_rng, solver_rng = rng.spawn(2)
    state = getattr(init, "clvq_state", None)
    if state is not None and resumes(solver):
        return solver.resume(problem, state, solver_rng)
    return solver.solve(problem, np.asarray(init.draw(problem, init_rng), dtype=np.float64), solver_rng)


def solve_one(
    solver: Solver, problem: Problem, init: Initialization, rng: np.random.Generator, run: int, observe: Observe
) -> None:
    """One run of a solver, until it is done or ``observe`` has seen enough."""
    for state in begin(solver, problem, init, rng):
        if not observe(run, state):
            return


def max_iter_of(solver: Solver, max_iter: int | None) -> int:
    """``max_iter``, checked; where it is None 300, but no bound for a solver whose own ``epochs`` end it."""
    if max_iter is not None:
        return checked_count("max_iter", max_iter, least=0)
    return _DEFAULT_MAX_ITER if getattr(solver, "epochs", None) is None else sys.maxsize
