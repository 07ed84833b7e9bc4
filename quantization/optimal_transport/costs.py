r"""Costs $|x - y|^r$ in float64 by differences: all of them, or those of some pairs; nothing is lost far from 0."""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray
from quantization.threads import check_stopped, parallel_rows

_LARGE, _MANY = 2**22, 8  # numbers to subtract, and dimensions, from which on compiled loops pay for being loaded
_BLOCK = 2**22  # numbers of a block of differences
_SAFE = 2.0**500  # coordinates below it have squares in the range of float64


def cost_matrix(x: FloatArray, y: FloatArray, r: float = 2.0) -> FloatArray:
    """(n, m) costs for x (n, d) and y (m, d). ``ValueError`` where they leave the range of float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        if x.size * len(y) >= _LARGE:
            squared = _in_blocks(np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64))
        else:
            squared = _cdist(x, y)
        costs = squared if r == 2 else squared ** (r / 2)
    if not np.isfinite(costs).all():
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64; scale the points down")
    return costs


def _cdist(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(cast(Any, scipy.spatial.distance.cdist)(x, y, "sqeuclidean"), dtype=np.float64)


def _in_blocks(x: FloatArray, y: FloatArray) -> FloatArray:
    """In threads, and in blocks between which Ctrl-C is heard."""
    many = x.shape[1] >= _MANY and max(np.abs(x).max(), np.abs(y).max()) < _SAFE
    squared, step = np.empty((len(x), len(y))), max(2, 16 * _BLOCK // y.size)

    def measure(rows: slice) -> None:
        for begin in range(rows.start, rows.stop, step):
            check_stopped()
            part = slice(begin, min(begin + step, rows.stop))
            if many:
                from quantization.optimal_transport import cost_kernels  # loads numba

                cost_kernels.squared_distances(x[part], y, squared[part])
            else:
                squared[part] = _cdist(x[part], y)

    parallel_rows(measure, len(x))
    return squared


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
