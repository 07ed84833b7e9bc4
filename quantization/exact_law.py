"""Laws whose Voronoi cells are computed to round-off: the cells of any codebook on request, and what some can do beside."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from quantization.arrays import Array, FloatArray, epsilon, rounded
from quantization.assignment.cells import Cells
from quantization.assignment.step import Step

if TYPE_CHECKING:
    import scipy


_ROUND_OFF = 8  # of a centroid that is a mean of points about its code, in units of the code


class ExactLaw(Protocol):
    """A law of which the Voronoi cells of any codebook (K, d) are computed to round-off. It knows the order r it was made for.

    It may keep what it computed (sorted data, norms, the last labels), but no answer depends on what was asked before, but for
    the last bits of sums.
    """

    def cells(self, codes: FloatArray) -> Cells:
        """The cells of ``codes``, in their order."""
        ...

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes`` with those whose cells are empty moved to where they help most, and their cells; never a higher distortion.

        Raises ``ValueError`` where the law has fewer distinct points than there are codes.
        """
        ...


class HasGlobalSearch(ExactLaw, Protocol):
    """An exact law whose best codebook is found from afar: by a dynamic programme, or by many starts that cost little."""

    def search(self, k: int, rng: np.random.Generator, *, exhaustive: bool = False) -> FloatArray:
        """Codes (k, d) in the basin of the global optimum, as far as a search over a coarse version of the law can tell.

        exhaustive: whether none may be better, where that can be found.
        """
        ...


class HasHessian(ExactLaw, Protocol):
    """An exact law with a density, whose distortion has second derivatives."""

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        r"""$\nabla^2 D_r$, (K d, K d), code by code (entry k d + i is coordinate i of code k)."""
        ...


class HasPrices(HasHessian, Protocol):
    """An exact law of prescribed masses: its cells are those of $|y - x_k|^2 - p_k$, at prices that give them these masses."""

    def certificate(self, codes: FloatArray) -> tuple[FloatArray, float]:
        """The prices (K,) for ``codes``, of least entry 0, and by how much the cost exceeds the dual value at these prices."""
        ...


class MovingCells:
    """The cells of a codebook whose codes move to their centroids, or towards their r-means, computed from the beginning.

    like: an array whose dtype codes are rounded to. r: the order.
    """

    def __init__(self, law: ExactLaw, codes: FloatArray, like: Array, r: float = 2.0) -> None:
        self._law, self._like, self._r, self._masses = law, like, r, np.full(len(codes), np.nan)
        self._codes: FloatArray = codes

    def step(self) -> Step:
        """The cells of the current codes, those of empty cells relocated; some stay empty only where nothing is finite."""
        self._codes, c = self._law.relocate_empty_cells(self._codes)
        # Labels are not known here. Where none has changed the masses have not, and the centroids are the codes to round-off.
        unchanged = bool((self._masses == c.masses).all())
        self._masses = c.masses
        return self._kept(c, unchanged)

    def _kept(self, c: Cells, unchanged: bool) -> Step:
        """The step that these cells of the codes at hand make; unchanged: whether labels are those of the step before."""
        self._following = rounded(c.means if c.moved is None else c.moved, self._like)
        still = bool((self._following == self._codes).all())
        if unchanged:
            limit = resolution(self._like, self._codes, c.masses, c.distortion, self._r, c.curvatures)
            unchanged = c.stationarity <= _ROUND_OFF * limit
        at_rest = unchanged or (still and c.curvatures is None)  # which are at the centroids or r-means
        stuck = still and not at_rest
        return Step(self._codes, c.masses, c.distortion, 0.0, c.stationarity, at_rest, stuck=stuck, curvatures=c.curvatures)

    def advance(self) -> None:
        """On to the codes that follow."""
        self._codes = self._following


class HasMovingCells(ExactLaw, Protocol):
    """An exact law that remembers from one step of Lloyd's algorithm to the next what it can."""

    def moving_cells(self, codes: FloatArray, steps: int, restarts: int) -> MovingCells:
        """The cells of ``codes``, which are about to move.

        steps, restarts: about how many there will be, for what is worth preparing.
        """
        ...

    def restarts_in_parallel(self, k: int, steps: int, restarts: int) -> bool:
        """Whether several runs are faster in a thread each than one after the other; a function of the problem's shape."""
        ...

    def prepare(self, k: int, steps: int, restarts: int) -> None:
        """Make what several runs share, before threads ask for it."""
        ...


# By the method that tells them apart: an isinstance of a Protocol takes twenty times as long.


def has_global_search(law: Any) -> TypeGuard[HasGlobalSearch]:
    """Whether ``law`` is an exact law with a global search."""
    return hasattr(law, "search")


def has_hessian(law: Any) -> TypeGuard[HasHessian]:
    """Whether ``law`` is an exact law with second derivatives."""
    return hasattr(law, "hessian")


def has_prices(law: Any) -> TypeGuard[HasPrices]:
    """Whether ``law`` is an exact law of prescribed masses."""
    return hasattr(law, "certificate")


def has_moving_cells(law: Any) -> TypeGuard[HasMovingCells]:
    """Whether ``law`` is an exact law with moving cells of its own."""
    return hasattr(law, "moving_cells")


def resolution(
    like: Array, codes: FloatArray | Callable[[], FloatArray], masses: FloatArray, distortion: float, r: float = 2.0,
    curvatures: FloatArray | None = None,
) -> float:  # fmt: skip
    r"""$(\sum_k |u\, S_k c_k|^2 / w_k)^{1/2} / D_r^{(r-1)/r}$: the residual that rounding codes leaves.

    u: the unit round-off of ``like``. S: (K,) the curvatures of the cells, by default $\max(1, r - 1)\, w_k D_r^{(r-2)/r}$, the
    masses for r = 2.
    """
    unit = epsilon(like) / 2
    if not 0 < distortion < np.inf:
        return 0.0
    codes = codes() if callable(codes) else codes
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        scale = np.float64(distortion) ** (1 / r)
        if curvatures is None:
            squares, unit = masses, max(1.0, r - 1) * unit
        else:
            squares, scale = np.where(masses > 0, np.square(curvatures) / masses, 0.0), distortion / scale
        return unit * float(np.sqrt(squares @ np.einsum("kd,kd->k", codes, codes)) / scale)
