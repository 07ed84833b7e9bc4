r"""Lloyd's algorithm, $x_k \leftarrow E[X \mid X \in V_k]$ or the r-mean, on samples and on laws whose cells are exact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, is_torch
from quantization.assignment.step import Step
from quantization.exact_law import MovingCells, has_hessian, has_moving_cells, resolution
from quantization.problem import Initialization, Problem
from quantization.solvers.base import Observe, State, solve_one
from quantization.status import Status
from quantization.threads import parallel_map
from quantization.validation import checked_tolerance

_ROUND_OFF = 1e-12  # of the distortion, below whose falls the residual of an r-mean still falls, where r ≠ 2
BATCHED_DEVICES = {"cuda"}  # on which all runs of a batch take their steps together


@dataclass(frozen=True)
class Lloyd:
    r"""$x_k \leftarrow E[X \mid X \in V_k]$ until $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2} \le$ ``rtol``.

    For finite measures and laws whose cells are computed exactly, and for shards and streams, which are read at every
    step. The distortion falls by at least $\sum_k w_k |x_k - E[X|V_k]|^2$ a step and never rises. A code whose cell is empty
    moves to the point that costs the most, which never raises the distortion either. Where no label changes the algorithm has
    converged, whatever the tolerance: the codes are the centroids of their own cells, as far as the dtype of the points can tell.

    For r ≠ 2, on samples, shards and streams, codes go towards the r-means $\arg\min_c E[|X - c|^r \mid V_k]$ of their cells, a
    step before each assignment, of which none raises the distortion. For r < 2 that is reweighting, Weiszfeld's step to the
    geometric median for r = 1, past points as Vardi and Zhang have it; for r > 2 it is Newton's, held back by a bound on the
    third derivatives (by conjugate gradients in more than 16 dimensions; there, for shards and streams, a step along the pull, as
    long as a bound on the curvature allows). The
    residual is $(\sum_k |\nabla_k D_r|^2 / r^2 w_k)^{1/2} / D_r^{(r-1)/r}$, the same as above for r = 2; at a point of the law
    with the shortest subgradient. Without a tolerance a run ends where no label changes and this is round-off.

    Parameters
    ----------
    rtol : float, default 1e-3
        The residual to stop at: its square is the share of the distortion that moving the codes to the centroids would take off.
        At the default the distortion is that of scikit-learn's default or less. 0 goes on until no label changes.

    References
    ----------
    lloyd1982, weiszfeld2009, vardi2000, nesterov2006.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, solver=qz.Lloyd(rtol=0), rng=0)
    >>> sorted(solution.points[:, 0].tolist())
    [0.5, 10.5]
    """

    rtol: float = 1e-3
    exhausted: ClassVar[Status] = Status.STALLED
    warns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)

    def incompatibility(self, problem: Problem) -> str | None:
        if problem.exact is None:
            return (
                "Lloyd needs cells that can be computed: samples, a law with a density on the line, a Gaussian mixture in the "
                f"plane; received {problem.kind}. Use CLVQ(), or quantize a sample"
            )
        if problem.r != 2 and has_hessian(problem.exact):
            return (
                f"Lloyd's steps of order r = {problem.r:g} are for samples, shards and streams; received {problem.kind}. "
                "Use Newton()"
            )
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        law, budget, least = problem.exact, (problem.steps, problem.restarts), np.inf
        assert law is not None
        cells = law.moving_cells(codes, *budget) if has_moving_cells(law) else MovingCells(law, codes, problem.like, problem.r)
        slack = 0.0 if problem.r == 2 else _ROUND_OFF
        while True:
            step = cells.step()
            if step.distortion * (1 - max(step.distortion_rtol, slack)) > least:
                return
            least = min(least, step.distortion * (1 + step.distortion_rtol))
            yield _state(problem, step)
            if step.at_rest or step.stuck:
                return
            cells.advance()

    def gains_together(self, problem: Problem) -> bool:
        """On a GPU, where one problem is too small for the device. On the line samples have a way of their own."""
        like = problem.like
        return (
            is_torch(like)
            and like.device.type in BATCHED_DEVICES
            and problem.measure is not None
            and problem.dim > 1
            and problem.r == 2
        )

    def solve_batch(
        self,
        problems: Sequence[Problem],
        inits: Sequence[Initialization],
        rngs: Sequence[np.random.Generator],
        observe: Observe,
    ) -> None:
        if self.gains_together(problems[0]):
            from quantization.solvers.lloyd_gpu import solve_together  # needs torch

            solve_together(problems, inits, rngs, observe)
            return

        def one(run: int) -> None:
            solve_one(self, problems[run], inits[run], rngs[run], run, observe)

        first, law = problems[0], problems[0].exact
        budget = first.k, first.steps, first.restarts
        if len(problems) > 1 and has_moving_cells(law) and law.restarts_in_parallel(*budget):
            law.prepare(*budget)
            parallel_map(one, len(problems))
        else:
            for run in range(len(problems)):
                one(run)


def _state(problem: Problem, step: Step) -> State:
    """A step as a state: its distortion an estimate, unless it is as good as measured."""
    error = step.distortion_rtol
    measured = step.codes, step.masses, step.distortion, problem.r, step.curvatures
    return State(
        step.codes, step.masses, step.distortion, step.stationarity, estimated=error > 0, distortion_rtol=error or np.inf,
        resolution=partial(resolution, problem.like, *measured), measure=step.measure,
        ended=Status.CONVERGED if step.at_rest else None,
    )  # fmt: skip
