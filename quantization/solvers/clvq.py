r"""Competitive learning, $x_k \leftarrow x_k - \gamma_n |x_k - X_n|^{r-2} (x_k - X_n)$ for the nearest code, on any law."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment import sums_of_cells
from quantization.assignment.cells import Cells
from quantization.clvq_state import CLVQState
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.solvers.idle_codes import relocate_idle_codes
from quantization.solvers.schedules import CountPower, RobbinsMonro, Schedule
from quantization.status import Status
from quantization.validation import checked_count, checked_tolerance

__all__ = ["CLVQ", "CountPower", "RobbinsMonro", "Schedule"]


@dataclass(frozen=True)
class CLVQ:
    r"""Competitive learning: stochastic gradient descent on $\tfrac12 D_2$ in mini-batches, for samples, laws and streams.

    Of any order r: on $\tfrac1r D_r$ then, each code's steps in units of its cell's curvature.

    Parameters
    ----------
    batch : int, default 1024
        Points per mini-batch (a stream keeps its own). One step is one mini-batch; over samples, whole passes in random order,
        remainders included.
    epochs : int, optional
        Passes at most, of 2^17 draws each over a law, and without ``max_iter`` the only budget; ``None`` leaves it to
        ``max_iter``.
    schedule : Schedule, default CountPower(0.55, delay=0.75)
        :class:`CountPower` (a step size per code) or :class:`RobbinsMonro` (one for all).
    averaging : bool, default True
        Answer with the mean of the points that each code has won, those of batch n weighted by $n^p$, p the ``recency``: to first
        order the mean of the iterates (Polyak and Ruppert). Else with the last iterate.
    recency : float, default 3
        The p ≥ 0 above. With p = 0 the mean is asymptotically as good as any, $n\,E|\nabla D_2(\bar x_n)|^2 \to 4 D_2^*$;
        p multiplies this by $(p+1)^2/(2p+1)$ and forgets the start like $n^{-(p+1)}$ instead of $n^{-1}$.
    relocate : bool, default True
        Move codes that win nothing for long, and are worth little where they are, to where cells cost much.
    rtol : float, default 1e-6
        The residual to call CONVERGED at the end; the noise of a mini-batch never stops a run.

    Notes
    -----
    Companion weights and distortion are running means, of the iterates, with the weights $n^p$. They are the answer's own for a
    stream; for samples the final codes are measured exactly, for laws on independent draws. With ``init`` a Solution of CLVQ, of
    the same order, the run goes on where that one stopped: quantizing one stream and then another is quantizing the two after
    each other. With ``init`` its ``measure`` a new run begins at its codes.

    References
    ----------
    pages2015, polyak1992.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(5000, 2))
    >>> solution = qz.quantize(x, 5, solver=qz.CLVQ(batch=256, epochs=4), rng=0)
    >>> solution.n_iter  # four passes of ceil(5000 / 256) mini-batches
    80
    """

    batch: int = 1024
    epochs: int | None = None
    schedule: Schedule = field(default_factory=lambda: CountPower(0.55, delay=0.75))
    averaging: bool = True
    recency: float = 3.0
    relocate: bool = True
    rtol: float = 1e-6
    exhausted: ClassVar[Status] = Status.BUDGET_SPENT

    def __post_init__(self) -> None:
        checked_count("CLVQ's batch", self.batch)
        checked_count("CLVQ's epochs", 1 if self.epochs is None else self.epochs)
        checked_tolerance(self.rtol)
        if not 0 <= self.recency < np.inf:
            raise ValueError(f"recency must be a finite number ≥ 0; received {self.recency!r}")
        if isinstance(self.schedule, type) or not callable(getattr(self.schedule, "steps", None)):
            raise ValueError(f"schedule must be CountPower(...) or RobbinsMonro(...); received {self.schedule!r}")

    def incompatibility(self, problem: Problem) -> str | None:
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        return self.resume(problem, CLVQState.begin(codes, problem.r), rng)

    def resume(self, problem: Problem, state: CLVQState, rng: np.random.Generator) -> Iterator[State]:
        """The states of a run that goes on from an earlier one.

        Parameters
        ----------
        problem : Problem
            As for ``solve``.
        state : CLVQState
            ``trace.clvq_state`` of the earlier solution.
        rng : numpy Generator

        Yields
        ------
        State
            The first where the earlier run stopped.
        """
        if state.r != problem.r:  # of another order: its codes are a start
            state = CLVQState.begin(state.codes, problem.r)
        started, r = False, problem.r
        for batch in problem.batches(self.batch, rng, self.epochs):
            size = float(batch.masses.sum())
            if size == 0:
                continue
            sums = sums_of_cells(batch.points, batch.masses / size, state.codes, r, variance=True)
            c = sums.cells(state.codes, r)
            if not started:
                yield self._state(state) if state.steps else _batch_state(state, c)
            if not np.isfinite(c.distortion):
                yield _batch_state(state, c)
                return
            fractions = self.schedule.steps(state.steps, c.masses * size, state.won, len(batch.points))
            state = state.updated(fractions, c, size, self.recency, sums.stiffness and sums.stiffness.costs)
            if self.relocate:
                state = relocate_idle_codes(state, batch, c.distortion, problem, rng)
            started = True
            yield self._state(state)

    def _state(self, state: CLVQState) -> State:
        codes, weights = state.mean if self.averaging else state.codes, state.weights
        measured = weights, state.distortion, state.stationarity, state.distortion_se
        return State(codes, *measured, estimated=True, companion=weights, clvq_state=state)


def _batch_state(state: CLVQState, c: Cells) -> State:
    """The current codes as one batch measures them."""
    return State(state.codes, c.masses, c.distortion, c.stationarity, estimated=True, companion=c.masses, clvq_state=state)
