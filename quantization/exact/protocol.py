"""What it is to be exact: the cells of any codebook on request."""

from typing import Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from quantization.arrays import FloatArray
from quantization.cells import Cells


@runtime_checkable
class ExactLaw(Protocol):
    """A law of which the Voronoi cells of any codebook (K, d) are computed to round-off. It knows the order r it was made for.

    It may keep what it computed (sorted data, norms, the last labels), but no answer depends on what was asked before, but for
    the last bits of sums.
    """

    def cells(self, codes: FloatArray) -> Cells:
        """The cells of ``codes``, in their order."""
        ...

    def occupied(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """``codes`` with those whose cells are empty moved to where they help most, and their cells; never a higher distortion.

        Raises ``ValueError`` where the law has fewer distinct points than there are codes.
        """
        ...


@runtime_checkable
class Searchable(ExactLaw, Protocol):
    """An exact law whose best codebook is found from afar: by a dynamic programme, or by many starts that cost little."""

    def search(self, k: int, rng: np.random.Generator) -> FloatArray:
        """Codes (k, d) in the basin of the global optimum, as far as a search over a coarse version of the law can tell."""
        ...


@runtime_checkable
class Smooth(ExactLaw, Protocol):
    """An exact law with a density, whose distortion has second derivatives."""

    def hessian(self, codes: FloatArray) -> sparse.csc_array:
        r"""$\nabla^2 D_r$, (K d, K d), code by code (entry k d + i is coordinate i of code k)."""
        ...
