r"""Nearest codes, and the masses, centroids and distortion of their Voronoi cells: the one subsystem that computes them.

A *strategy* is a way to do it, each in a file; all of them give the same labels, those that direct differences in float64 decide:

* ``low_dim``: few dimensions: a scan over all codes, or a walk over lists of neighbouring codes;
* ``gemm``: many dimensions: matrix products, certified by the round-off bound of ``bounds``;
* ``gram_matrix``: few points, many dimensions, many steps or restarts: all inner products once;
* ``blocks``: numpy and torch operations alone: any order r, small work, tensors on a GPU.

:func:`select_strategy` is the only place that chooses. GPUs solve whole batches of problems beside this: ``padding_groups``,
``torch_blocks`` and ``triton_blocks``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from operator import add
from typing import Any, Protocol

import numpy as np

from quantization.arrays import (
    Array,
    FloatArray,
    asarray_like,
    device_of,
    double,
    dtype_of,
    is_torch,
    namespace,
    range_exponent,
    rounded,
)
from quantization.assignment.blocks import labels_by_blocks, squared_distances, sums_by_blocks
from quantization.assignment.cells import Cells, Sums
from quantization.assignment.step import LabelledCells

__all__ = [
    "Assignment",
    "Strategy",
    "cells",
    "cells_of",
    "host_array",
    "make_strategy",
    "nearest",
    "nearest_priced",
    "select_strategy",
    "squared_distances",
    "sums_of_cells",
]

_WORTH_COMPILING = 2**17  # n K (d + 8) times the steps, below which array operations take less than loading compiled code
_FEW_DIMENSIONS = 8


def select_strategy(
    n: int, d: int, k: int, dtype: Any, device: str = "cpu", *, r: float = 2.0, steps: int = 1, restarts: int = 1
) -> str:
    """The strategy for n points in d dimensions and k codes: a function of the problem alone.

    Parameters
    ----------
    n, d, k : int
    dtype : floating dtype of the points
    device : str
    r : float
        Order of the distortion.
    steps, restarts : int
        How many codebooks are to be tried in a run, and runs of the same points.

    Returns
    -------
    str
        "blocks", "low_dim", "gemm" or "gram_matrix".
    """
    if device != "cpu" or k == 1:
        return "blocks"
    if n * k * (d + 8) * steps * restarts < _WORTH_COMPILING:
        return "blocks"
    size = np.dtype(dtype).itemsize
    if size == 2:  # codes are rounded to float16 and bfloat16 in numpy and torch
        return "gemm"
    if d <= _FEW_DIMENSIONS:
        return "low_dim"
    return "gram_matrix" if r == 2 and _matrix_pays(n, d, k, size, steps * restarts) else "gemm"


def _matrix_pays(n: int, d: int, k: int, size: int, passes: int) -> bool:
    """Whether the Gram matrix fits in memory and takes less time than it saves in so many passes, restarts times steps.

    It takes the arithmetic of n / 2K passes, which with few codes wait for memory as long as with 40; often only half of the
    passes are taken, as Lloyd converges.
    """
    fits = 4 * n * n <= 2**25 + n * d * size // 4
    return fits and d >= 64 and passes > 1 and n <= 0.4 * max(k, 40) * passes


class Strategy(Protocol):
    """Samples and a way to assign them to their nearest codes."""

    def nearest(self, codes: FloatArray) -> tuple[Any, FloatArray]:
        """The index of the nearest code of every point, (n,) int32, and the squared distance to it, (n,)."""
        ...

    def sums(self, codes: FloatArray) -> Sums:
        """The sums over the cells of ``codes`` (K, d), r = 2."""
        ...

    def distances(self, codes: FloatArray, labels: Any) -> FloatArray:
        """The squared distance of every point to the code of its label, (n,), by direct differences in float64."""
        ...

    def moving_cells(self, codes: FloatArray) -> LabelledCells:
        """The cells of ``codes``, which are about to move."""
        ...


def make_strategy(name: str, points: Array, weights: Array) -> Strategy:
    """The strategy of that name for samples on the CPU; numba loads here."""
    host = host_array(points), np.asarray(weights)
    if name == "low_dim":
        return import_module("quantization.assignment.low_dim").LowDim(*host)
    if name == "gemm":
        return import_module("quantization.assignment.gemm").Gemm(*host, partial(rounded, reference=points))
    if name == "gram_matrix":
        return import_module("quantization.assignment.gram_matrix").GramMatrix(*host)
    raise ValueError(f'a strategy must be "low_dim", "gemm" or "gram_matrix"; received {name!r}')


@dataclass(frozen=True)
class Assignment:
    """For each point the index of its nearest code, (n,), and the squared distance to it, (n,) in float64."""

    labels: Array
    squared: Array


def nearest(points: Array, codes: FloatArray, *, strategy: str | None = None) -> Assignment:
    r"""$k(x) = \arg\min_k |x - c_k|$ and $|x - c_{k(x)}|^2$.

    As direct differences in float64 decide; the lowest index wins a tie.

    points: (n, d), numpy or torch, finite. codes: (K, d) on the host.
    """
    exponent = _exponent(points, codes)
    if exponent:
        found = nearest(double(points) * 2.0**-exponent, codes * 2.0**-exponent, strategy=strategy)
        with np.errstate(over="ignore"):
            return Assignment(found.labels, found.squared * 2.0**exponent * 2.0**exponent)
    name = _selected(points, codes) if strategy is None else strategy
    if name == "blocks":
        return Assignment(*labels_by_blocks(points, codes))
    labels, squared = make_strategy(name, points, np.full(len(points), 1 / len(points))).nearest(codes)
    xp = namespace(points)
    return Assignment(asarray_like(labels, points, dtype=xp.int64), asarray_like(squared, points, dtype=xp.float64))


def nearest_priced(points: Array, codes: FloatArray, prices: FloatArray) -> Assignment:
    r"""$\arg\min_k |x - c_k|^2 - p_k$ and $|x - c_k|^2 - p_k + \max_j p_j \ge 0$ there: a nearest code in one dimension more.

    points: (n, d). codes: (K, d). prices: (K,). Both on the host.
    """
    heights, xp = np.sqrt(prices.max() - prices), namespace(points)
    flat = xp.concatenate([points, xp.zeros_like(points[:, :1])], 1)
    return nearest(flat, np.column_stack([codes, heights]))


def cells(
    points: Array, weights: Array, codes: FloatArray, r: float = 2.0, *, variance: bool = False, strategy: str | None = None
) -> Cells:
    r"""Masses, centroids and distortion of the Voronoi cells of ``codes`` under $\sum_i w_i \delta_{x_i}$, in one pass.

    points: (n, d). weights: (n,) float64, where the points live. codes: (K, d) on the host. Sums are in float64, of differences
    to the own code, so that a spread far below the points' magnitude is not lost. What overflows float64 becomes infinite.
    variance: whether that of the costs is wanted too.
    """
    return sums_of_cells(points, weights, codes, r, variance, strategy).cells(codes, r)


def cells_of(parts: Iterable[tuple[Array, Array]], codes: FloatArray, r: float = 2.0, *, variance: bool = False) -> Cells:
    """:func:`cells` of a measure that comes in parts, each of them (points, weights), at least one."""
    return reduce(add, (sums_of_cells(points, weights, codes, r, variance, None) for points, weights in parts)).cells(codes, r)


def sums_of_cells(
    points: Array, weights: Array, codes: FloatArray, r: float = 2.0, variance: bool = False, strategy: str | None = None
) -> Sums:
    """The sums that :func:`cells` are made of: those of parts of a measure are added."""
    exponent = _exponent(points, codes)
    if exponent:
        scaled = sums_of_cells(double(points) * 2.0**-exponent, weights, codes * 2.0**-exponent, r, variance, strategy)
        return scaled.times(2.0**exponent, r)
    name = _selected(points, codes) if strategy is None else strategy
    if name == "blocks":
        return sums_by_blocks(points, weights, codes, r, variance)
    made = make_strategy(name, points, weights)
    if r == 2 and not variance:
        return made.sums(codes)
    labels = asarray_like(made.nearest(codes)[0], points, dtype=namespace(points).int64)
    return sums_by_blocks(points, weights, codes, r, variance, labels)


def on_host(points: Array) -> bool:
    """Whether numpy can look at the points where they lie."""
    return not is_torch(points) or points.device.type == "cpu"


def host_array(points: Array) -> Any:
    """Points on the CPU as a numpy array: the same memory, but for bfloat16, which numpy has not, a copy in float32."""
    if is_torch(points) and str(points.dtype) == "torch.bfloat16":
        return points.float().numpy()
    return np.asarray(points)


def _exponent(points: Array, codes: FloatArray) -> int:
    """The e for which codes / 2^e, and points beside tiny codes, are about 1; 0 where squares stay in the range of float64."""
    exponent = range_exponent(codes)
    largest = max(float(points.max()), -float(points.min())) if exponent < 0 else 0.0
    if largest == 0:
        return exponent
    return 0 if largest > 2.0**-300 else max(exponent, int(np.frexp(largest)[1]))


def _selected(points: Array, codes: FloatArray, r: float = 2.0) -> str:
    n, d = points.shape
    return select_strategy(n, d, len(codes), dtype_of(points), device_of(points), r=r)
