r"""Newton's method on $\nabla D_r = 0$, damped as Levenberg's, for laws whose distortion has second derivatives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from quantization.arrays import FloatArray
from quantization.cells import Cells
from quantization.exact.protocol import Smooth
from quantization.problem import OTHER_ORDERS, Problem, checked_tolerance
from quantization.solver import State
from quantization.status import Status

_FIRST_DAMPING = 1e-2
_TRIALS = 40
_DISCERNIBLE = 1e-11
"""The relative fall of the distortion that its round-off leaves three digits of. Below it the gradient decides."""
_ROUND_OFF = 1e-12
_LOSS = 1e-3
"""What a cell must keep of its mass in a step. A code that leaves all of it behind sits where nothing tells it the way back."""


@dataclass(frozen=True)
class Newton:
    r"""$x \leftarrow x - (\nabla^2 D_r + \lambda M)^{-1} \nabla D_r$, $M = r D_r^{(r-2)/r}\,\mathrm{diag}(w)$, for smooth laws.

    For laws whose cells and second derivatives are computed: one with a density on the line, a Gaussian mixture in the plane;
    any order. $\lambda$ falls as long as the distortion does what its second-order model says and rises until the matrix is
    positive definite, no cell loses its mass and the distortion falls. Where the fall is below its round-off, a step is taken
    if it halves the residual or shrinks the correction that the same matrix asks for next.

    A run goes on to that floor, also past ``rtol``: codes err by up to K² times the residual. Convergence is quadratic where the
    Hessian is definite, and linear where it is singular (the Laplace law with K even). Source: pages2015.
    """

    rtol: float = 1e-10
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)

    def refuses(self, problem: Problem) -> str | None:
        if isinstance(problem.exact, Smooth):
            return None
        remedy = ". Use Lloyd() or CLVQ()" if problem.r == 2 else f" and r = {problem.r:g}; {OTHER_ORDERS}"
        return (
            "Newton needs a law whose distortion has second derivatives: one with a density on the line, a Gaussian mixture in "
            f"the plane; received {problem.kind} in dimension {problem.dim}{remedy}"
        )

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert isinstance(problem.exact, Smooth)
        codes, c = problem.exact.occupied(codes)
        damping = _FIRST_DAMPING
        while True:
            shown = not c.stationarity <= self.rtol
            if shown:
                yield State(codes, c.masses, c.distortion, c.stationarity)
            step = _step(problem.exact, problem.r, codes, c, damping, within=not shown)
            if step is None:
                break
            codes, c, damping = step
        if not shown:
            yield State(codes, c.masses, c.distortion, c.stationarity)


def _step(
    law: Smooth, r: float, codes: FloatArray, c: Cells, damping: float, *, within: bool
) -> tuple[FloatArray, Cells, float] | None:
    """The codes after one step, their cells and the damping to go on with; None where no step helps."""
    if c.distortion <= 0 or not c.gradient.any():
        return None
    gradient, hessian, least = c.gradient.ravel(), law.hessian(codes), _least_damping(len(codes))
    metric = np.repeat(r * c.masses * c.distortion ** ((r - 2) / r), codes.shape[1])
    fine = False
    for _ in range(_TRIALS):
        factor = _factor(hessian, damping * metric)
        if factor is None:
            damping *= 10
            continue
        move = factor.solve(-gradient)
        length = _length(move, metric)
        if not 0 < length < np.inf:
            return None
        predicted = (damping * length**2 - float(gradient @ move)) / 2
        if not fine and predicted <= _DISCERNIBLE * c.distortion:
            fine = True
            if damping > least:
                damping = least
                continue
        trial = codes + move.reshape(codes.shape)
        t = law.cells(trial)
        gain = c.distortion - t.distortion
        kept = bool((t.masses > _LOSS * c.masses).all())
        if fine:
            stays = kept and gain >= -_ROUND_OFF * c.distortion
            if stays and (
                t.stationarity <= c.stationarity / 2 or _length(factor.solve(-t.gradient.ravel()), metric) <= 0.75 * length
            ):
                return trial, t, damping
            if within or damping > 1:
                return None
            damping *= 100
        elif kept and gain > 1e-3 * predicted:
            damping *= 1 / 8 if gain > 0.75 * predicted else 1 if gain > 0.25 * predicted else 4
            return trial, t, max(damping, least)
        else:
            damping *= 10
    return None


def _factor(hessian: sparse.csc_array, diagonal: FloatArray) -> Any:
    """The triangular factors of ``hessian + diag(diagonal)``, or None where that is not positive definite.

    Pivots stay on the diagonal, so that their signs are those of the eigenvalues (Sylvester's law of inertia).
    """
    splu: Any = linalg.splu
    matrix = sparse.csc_array(hessian + sparse.diags_array(diagonal))
    try:
        factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError:  # exactly singular
        return None
    definite = np.array_equal(factor.perm_r, factor.perm_c) and bool((factor.U.diagonal() > 0).all())
    return factor if definite else None


def _least_damping(k: int) -> float:
    """Well below the least eigenvalue of a regular Hessian in this metric, about 10/K²; and not much less.

    Where the Hessian is singular, or the law invariant, as under rotations, a gradient's round-off moves codes by its inverse.
    """
    return min(1e-8, 1e-2 / k**2)


def _length(move: FloatArray, metric: FloatArray) -> float:
    """The norm of ``move``, without squares that vanish at tiny scales."""
    scaled = np.sqrt(metric) * move
    largest = float(np.abs(scaled).max())
    return largest * float(np.linalg.norm(scaled / largest)) if 0 < largest < np.inf else largest
