"""Laws whose Voronoi cells are computed to round-off: the cells of any codebook on request, and what some can do beside."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment.cells import Cells
from quantization.assignment.step import Step

if TYPE_CHECKING:
    import scipy


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

    def search(self, k: int, rng: np.random.Generator) -> FloatArray:
        """Codes (k, d) in the basin of the global optimum, as far as a search over a coarse version of the law can tell."""
        ...


class HasHessian(ExactLaw, Protocol):
    """An exact law with a density, whose distortion has second derivatives."""

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        r"""$\nabla^2 D_r$, (K d, K d), code by code (entry k d + i is coordinate i of code k)."""
        ...


class HasLloydSteps(ExactLaw, Protocol):
    """An exact law that remembers from one step of Lloyd's algorithm to the next what it can."""

    def lloyd_steps(self, codes: FloatArray, steps: int, restarts: int) -> Iterator[Step]:
        """The steps from ``codes``, that codebook first, until no label changes or the next codebook has an empty cell.

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


def has_lloyd_steps(law: Any) -> TypeGuard[HasLloydSteps]:
    """Whether ``law`` is an exact law with Lloyd steps of its own."""
    return hasattr(law, "lloyd_steps")
