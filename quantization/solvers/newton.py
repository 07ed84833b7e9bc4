r"""Newton's method on $\nabla D_r = 0$, damped as Levenberg's, for laws whose distortion has second derivatives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment.cells import Cells
from quantization.exact_law import ExactLaw, has_hessian, has_prices
from quantization.laws_1d.levenberg_marquardt import FIRST_DAMPING, newton_step
from quantization.problem import Problem
from quantization.solvers.base import State
from quantization.status import Status
from quantization.validation import checked_tolerance

_ROUND_OFF = 1e-12  # of a gap, the difference of two integrals, relative to the distortion


@dataclass(frozen=True)
class Newton:
    r"""Newton's method $x \leftarrow x - (\nabla^2 D_r + \lambda M)^{-1} \nabla D_r$, $M = r D_r^{(r-2)/r}\,\mathrm{diag}(w)$.

    For laws whose cells and second derivatives are computed: one with a density on the line (any order r), a Gaussian mixture in
    the plane (r = 2). There also for prescribed masses, with the derivatives of $W_2^2(\mu, \sum_k w_k \delta_{x_k})$: Newton's
    method on the prices of the cells finds their masses to 1e-9 of the least, or to round-off, at every step.

    Parameters
    ----------
    rtol : float, default 1e-10
        The residual to call CONVERGED. A run goes on to the floor of round-off, also past ``rtol``: codes err by up to K² times
        the residual.

    Notes
    -----
    The damping $\lambda$ falls as long as the distortion does what its second-order model says; it rises until the matrix is
    positive definite, no cell loses its mass and the distortion falls. Where the fall is below its round-off, a step is taken if
    it halves the residual or shrinks the correction that the same matrix asks for next. Convergence is quadratic where the
    Hessian is definite, and linear where it is singular (the Laplace law with K even).

    References
    ----------
    kitagawa2019, pages2015.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize(qz.Gaussian([0.0], [[1.0]]), 3, solver=qz.Newton(), rng=0)
    >>> solution.points.ravel().round(4).tolist()
    [-1.224, 0.0, 1.224]
    """

    rtol: float = 1e-10
    exhausted: ClassVar[Status] = Status.STALLED
    warns: ClassVar[bool] = True
    takes_masses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)

    def incompatibility(self, problem: Problem) -> str | None:
        if problem.masses is not None and not has_prices(problem.exact):
            return (
                "Newton takes masses for Gaussians and their mixtures in the plane; received "
                f"{problem.kind} in dimension {problem.dim}. Use Balanced() on samples"
            )
        if has_hessian(problem.exact):
            return None
        return (
            "Newton needs a law whose distortion has second derivatives: one with a density on the line, a Gaussian mixture in "
            f"the plane; received {problem.kind} in dimension {problem.dim}. Use Lloyd() or CLVQ()"
        )

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert has_hessian(problem.exact)
        codes, c = problem.exact.relocate_empty_cells(codes)
        damping = FIRST_DAMPING
        while True:
            shown = not c.stationarity <= self.rtol
            if shown:
                yield _state(problem.exact, codes, c)
            step = newton_step(problem.exact, problem.r, codes, c, damping, within=not shown)
            if step is None:
                break
            codes, c, damping = step
        if not shown:
            yield _state(problem.exact, codes, c)


def _state(law: ExactLaw, codes: FloatArray, c: Cells) -> State:
    prices, gap = law.certificate(codes) if has_prices(law) else (None, 0.0)
    return State(
        codes, c.masses, c.distortion, c.stationarity, masses_gap=gap, gap_tolerance=_ROUND_OFF * c.distortion, prices=prices
    )
