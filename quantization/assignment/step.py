"""A step of Lloyd's algorithm as an assignment strategy reports it."""

from collections.abc import Callable
from dataclasses import dataclass

from quantization.arrays import FloatArray


@dataclass(slots=True)
class Step:
    r"""The cells of one codebook, whose labels are certified.

    codes: (K, d), or makes them. masses: (K,) of the cells. distortion: $D_2$; distortion_rtol: how far off it may be, 0 where it
    is
    as good as measured. stationarity: $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2}$. following: makes the centroids of the cells,
    rounded to the points' dtype. at_rest: no label changed since the step before, or the centroids are the codes. measure: where
    the distortion is off, makes the codes, the distortion and the stationarity as they are.
    """

    codes: FloatArray | Callable[[], FloatArray]
    masses: FloatArray
    distortion: float
    distortion_rtol: float
    stationarity: float
    following: Callable[[], FloatArray]
    at_rest: bool
    measure: Callable[[], tuple[FloatArray, float, float]] | None = None
