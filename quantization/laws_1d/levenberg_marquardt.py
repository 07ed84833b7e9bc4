r"""Levenberg-Marquardt steps down $D_r$: one at a time, or as many as distinguish local optima."""

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells

if TYPE_CHECKING:
    from quantization.exact_law import HasHessian

FIRST_DAMPING = 1e-2
_TRIALS = 40
_DISCERNIBLE = 1e-11
"""The relative fall of the distortion that is three digits above its round-off. Below it the gradient decides."""
_ROUND_OFF = 1e-12
_LOSS = 1e-3
"""The fraction of its mass that a cell must keep in a step: a code without mass has no gradient that would lead it back."""
_CONVERGED = 1e-9
"""The relative fall after which a descent that converges quadratically cannot gain anything that float64 resolves."""
_STEPS = 100
_SMALL, _DENSE = 64, 0.3  # a larger matrix of which this share is not zero is factored as a full one


def descend(law: "HasHessian", r: float, codes: FloatArray, goal: float = np.inf) -> tuple[FloatArray, float]:
    """The local optimum below ``codes`` (K, d), until its distortion falls by less than a billionth per step, and that.

    A descent that is unlikely to get below ``goal`` ends early: near its end a step gains far less than the one before.
    """
    codes, c = law.relocate_empty_cells(codes)
    damping = FIRST_DAMPING
    for _ in range(_STEPS):
        step = newton_step(law, r, codes, c, damping, within=True)
        if step is None:
            break
        before = c.distortion
        codes, c, damping = step
        gain = before - c.distortion
        if gain <= _CONVERGED * before or c.distortion - gain > goal:
            break
    return codes, c.distortion


def newton_step(
    law: "HasHessian", r: float, codes: FloatArray, c: Cells, damping: float, *, within: bool
) -> tuple[FloatArray, Cells, float] | None:
    """The codes after one step, their cells and the next damping; None where no step lowers the distortion."""
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
        keeps_mass = bool((t.masses > _LOSS * c.masses).all())
        if fine:
            stays = keeps_mass and gain >= -_ROUND_OFF * c.distortion
            if stays and (
                t.stationarity <= c.stationarity / 2 or _length(factor.solve(-t.gradient.ravel()), metric) <= 0.75 * length
            ):
                return trial, t, damping
            if within or damping > 1:
                return None
            damping *= 100
        elif keeps_mass and gain > 1e-3 * predicted:
            damping *= 1 / 8 if gain > 0.75 * predicted else 1 if gain > 0.25 * predicted else 4
            return trial, t, max(damping, least)
        else:
            damping *= 10
    return None


def tridiagonal(diagonal: FloatArray, between: FloatArray, at: IntArray, k: int) -> "scipy.sparse.csc_array":
    """The Hessian (k, k) of a law on the line: codes ``at``, in rising order, of which only neighbours share an end of a cell.

    diagonal: what is a code's alone. between: the entries of neighbours, which the diagonal takes on too.
    """
    rows, columns = np.concatenate([at, at[:-1], at[1:], at[:-1], at[1:]]), np.concatenate([at, at[1:], at[:-1], at[:-1], at[1:]])
    return scipy.sparse.csc_array((np.concatenate([diagonal, *4 * [between]]), (rows, columns)), shape=(k, k))


def _factor(hessian: "scipy.sparse.csc_array", diagonal: FloatArray) -> Any:
    """The triangular factors of ``hessian + diag(diagonal)``, or None where that is not positive definite.

    Pivots stay on the diagonal, so their signs are those of the eigenvalues (Sylvester's law of inertia).
    """
    n = hessian.shape[0]
    if n > _SMALL and hessian.nnz > _DENSE * n * n:
        try:
            return _Cholesky(scipy.linalg.cho_factor(hessian.toarray() + np.diag(diagonal), lower=True))
        except np.linalg.LinAlgError:
            return None
    splu: Any = scipy.sparse.linalg.splu
    matrix = scipy.sparse.csc_array(hessian + scipy.sparse.diags_array(diagonal))
    try:
        factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError:  # exactly singular
        return None
    definite = np.array_equal(factor.perm_r, factor.perm_c) and bool((factor.U.diagonal() > 0).all())
    return factor if definite else None


class _Cholesky(NamedTuple):
    factor: Any

    def solve(self, b: FloatArray) -> FloatArray:
        return np.asarray(cast(Any, scipy.linalg.cho_solve)(self.factor, b), dtype=np.float64)


def _least_damping(k: int) -> float:
    """Well below the least eigenvalue of a regular Hessian in this metric, about 10/K², but not far below.

    Where the Hessian is singular, as for laws that are invariant under rotations, the gradient's round-off over the damping moves
    the codes.
    """
    return min(1e-8, 1e-2 / k**2)


def _length(move: FloatArray, metric: FloatArray) -> float:
    """The norm of ``move`` in the metric, without underflow of squares."""
    scaled = np.sqrt(metric) * move
    largest = float(np.abs(scaled).max())
    return largest * float(np.linalg.norm(scaled / largest)) if 0 < largest < np.inf else largest
