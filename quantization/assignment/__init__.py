"""Nearest codes and what the Voronoi cells of a codebook hold: one pass over data of any kind, by the way that fits its shape.

Large work in host memory goes to ``compiled``; small work and tensors on a GPU to ``portable``. Both are exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from quantization.arrays import Array, FloatArray, asarray_like, is_torch, namespace, range_exponent
from quantization.assignment.blocks import Costs, labelled, squared_distances, summed
from quantization.assignment.cells import Cells, Sums

if TYPE_CHECKING:
    from quantization.compiled.seeding import Costs as CompiledCosts
    from quantization.compiled.sweep import Sweep

__all__ = ["Assignment", "cells", "cells_of", "distances_to_codes", "nearest", "on_host", "squared_distances", "sweep"]

_WORTH_COMPILING = 2**21  # n K (d + 8) from which a pass, taken some dozen times, pays for loading the compiled code


@dataclass(frozen=True)
class Assignment:
    """For each point the index of its nearest code, (n,), and the squared distance to it, (n,) in float64."""

    labels: Array
    squared: Array


def nearest(points: Array, codes: FloatArray) -> Assignment:
    r"""$k(x) = \arg\min_k |x - c_k|$ and $|x - c_{k(x)}|^2$.

    As direct differences in float64 decide; the lowest index wins a tie.

    points: (n, d), numpy or torch, finite. codes: (K, d) on the host.
    """
    exponent = range_exponent(codes)
    if exponent:
        found = nearest(points * 2.0**-exponent, codes * 2.0**-exponent)
        with np.errstate(over="ignore"):
            return Assignment(found.labels, found.squared * 2.0**exponent * 2.0**exponent)
    passes = sweep(points, np.ones(len(points)), codes)
    if passes is None:
        return Assignment(*labelled(points, codes))
    labels, squared = passes.nearest(codes)
    double = namespace(points).float64
    return Assignment(asarray_like(labels, points, dtype=namespace(points).int64), asarray_like(squared, points, dtype=double))


def cells(points: Array, weights: Array, codes: FloatArray, r: float = 2.0) -> Cells:
    r"""Masses, centroids and distortion of the Voronoi cells of ``codes`` under $\sum_i w_i \delta_{x_i}$, in one pass.

    points: (n, d). weights: (n,) float64, where the points live. codes: (K, d) on the host. Sums are in float64, of differences
    to the own code, so that a spread far below the points' magnitude is not lost. What overflows float64 becomes infinite.
    """
    return _sums(points, weights, codes, r).cells(codes, r)


def cells_of(parts: Iterable[tuple[Array, Array]], codes: FloatArray, r: float = 2.0) -> Cells:
    """:func:`cells` of a measure that comes in parts, each of them (points, weights), at least one."""
    return reduce(add, (_sums(points, weights, codes, r) for points, weights in parts)).cells(codes, r)


def sweep(points: Array, weights: Array, codes: FloatArray) -> "Sweep | None":
    """Compiled passes over these samples with codebooks such as this, or None where they are not to be had or not worth it."""
    k = len(codes)
    if len(points) * k * (points.shape[1] + 8) < _WORTH_COMPILING or k == 1 or range_exponent(codes):
        return None
    if not on_host(points):
        return None
    compiled: Any = import_module("quantization.compiled.sweep")  # loads numba
    return compiled.Sweep(np.asarray(points), np.asarray(weights))


def distances_to_codes(points: Array, weights: Array, first: int, count: int) -> "Costs | CompiledCosts":
    """The squared distances that k-means++ keeps, for so many codes to be tried; ``first`` is the index of the first code."""
    if on_host(points) and len(points) * count * (points.shape[1] + 8) >= _WORTH_COMPILING:
        compiled: Any = import_module("quantization.compiled.seeding")
        return compiled.Costs(np.asarray(points), np.asarray(weights), first)
    return Costs(points, weights, first)


def on_host(points: Array) -> bool:
    """Whether numpy can look at the points where they lie."""
    return not is_torch(points) or (points.device.type == "cpu" and str(points.dtype) != "torch.bfloat16")


def _sums(points: Array, weights: Array, codes: FloatArray, r: float) -> Sums:
    exponent = range_exponent(codes)
    if exponent:
        return _sums(points * 2.0**-exponent, weights, codes * 2.0**-exponent, r).times(2.0**exponent, r)
    passes = sweep(points, weights, codes) if r == 2 else None
    return summed(points, weights, codes, r) if passes is None else passes.sums(codes)
