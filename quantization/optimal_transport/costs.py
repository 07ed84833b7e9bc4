r"""Costs $|x - y|^r$ in float64: all of them, or those of some pairs; nothing is lost where points are close and far from 0."""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray
from quantization.distance_matrix import squared_distance_matrix

_DIRECT = 48  # dimensions up to which differences are as fast as a matrix product
_BLOCK = 2**22  # numbers of a block of differences


def cost_matrix(x: FloatArray, y: FloatArray, r: float = 2.0) -> FloatArray:
    """(n, m) costs for x (n, d) and y (m, d). ``ValueError`` where they leave the range of float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        if x.shape[1] > _DIRECT:
            squared = squared_distance_matrix(x, y)
        else:
            squared = np.asarray(cast(Any, scipy.spatial.distance.cdist)(x, y, "sqeuclidean"), dtype=np.float64)
        costs = squared if r == 2 else squared ** (r / 2)
    if not np.isfinite(costs).all():
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64; scale the points down")
    return costs


def pair_costs(x: FloatArray, y: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp], r: float = 2.0) -> FloatArray:
    r"""(p,), $|x_{i_p} - y_{k_p}|^r$ by direct differences."""
    squared, step = np.empty(len(rows)), max(1, _BLOCK // x.shape[1])
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        difference = x[rows[part]] - y[columns[part]]
        squared[part] = np.einsum("pd,pd->p", difference, difference)
    return squared if r == 2 else squared ** (r / 2)


def c_transforms(u: FloatArray, a: FloatArray, costs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The c-transform v of ``u`` (where a has mass) and that of v: no u_i + v_k exceeds its cost, and no dual value is lost."""
    v = np.full(costs.shape[1], np.inf)
    for i in np.flatnonzero(a):
        np.minimum(v, costs[i] - u[i], out=v)
    return np.array([(row - v).min() for row in costs]), v
