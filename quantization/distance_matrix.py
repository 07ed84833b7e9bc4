"""All distances between samples and codes: matrix products, and direct differences where digits would cancel."""

import numpy as np
from scipy.spatial.distance import cdist

from quantization.arrays import Array, FloatArray
from quantization.threads import parallel_rows

_BLOCK_NUMBERS = 2**16  # float64 numbers of a block of distances or of rows: 512 kB, which stay in the cache
_RTOL = 1e-10  # to which squared distances are right
_FEW = 1 / 8  # of the pairs of a block, up to which they are measured one by one


def distance_matrix(points: Array, codes: FloatArray) -> Array:
    r"""$|x_i - c_k|$, (n, K), in the dtype of the points; squares are right to 1e-10 of themselves, 0 where $x_i = c_k$.

    Parameters
    ----------
    points : (n, d) array of float32 or float64
    codes : (K, d) array

    Returns
    -------
    (n, K) array

    Notes
    -----
    $|x|^2 + |c|^2 - 2 \langle x, c \rangle$, about the mean of the codes, is off by at most $(d + 3) ε (|x|^2 + |c|^2)$:
    d + 3 roundings of u = ε/2 each, of terms whose absolute values sum to at most twice that; d + 8 pays for the rounding
    of the shift and the second order. Where this exceeds 1e-10 of the result, the differences themselves are squared.
    """
    n, d = points.shape
    distances, codes = np.empty((n, len(codes)), dtype=points.dtype), np.asarray(codes, dtype=np.float64)
    centre = codes.mean(0)
    centred = np.ascontiguousarray((codes - centre).T)
    with np.errstate(over="ignore"):
        squares = np.einsum("dk,dk->k", centred, centred)
    least = (d + 8) * np.finfo(np.float64).eps / _RTOL  # of a squared distance, as a share of |x|² + |c|²
    size = max(1, _BLOCK_NUMBERS // max(d, len(codes)))

    def measure(rows: slice) -> None:
        for start in range(rows.start, rows.stop, size):
            some = slice(start, min(start + size, rows.stop))
            squared = _block(np.asarray(points[some], dtype=np.float64), codes, centre, centred, squares, least)
            np.sqrt(squared, out=distances[some], casting="same_kind")

    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if n * max(d, len(codes)) <= 4 * _BLOCK_NUMBERS:
            measure(slice(0, n))  # which takes less than to wake a thread
        else:
            parallel_rows(measure, n)
    return distances


def _block(
    x: FloatArray, codes: FloatArray, centre: FloatArray, centred: FloatArray, squares: FloatArray, least: float
) -> FloatArray:
    shifted = x - centre
    sums = np.einsum("nd,nd->n", shifted, shifted)[:, None] + squares
    squared = shifted @ centred
    squared *= -2
    squared += sums
    sums *= least
    doubtful = ~(squared >= sums) | (sums == 0)  # also where squares left the range of float64
    count = np.count_nonzero(doubtful)
    if count > _FEW * doubtful.size or not np.isfinite(sums).all():
        return np.asarray(cdist(x, codes, "sqeuclidean"), dtype=np.float64)
    if count:
        i, k = np.nonzero(doubtful)
        squared[i, k] = np.square(x[i] - codes[k]).sum(1)
    return squared
