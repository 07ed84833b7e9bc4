"""Nearest codes and what the Voronoi cells of a codebook hold: the one pass over the data that every solver is built from.

The search is a blocked matrix product, centred at the codebook's mean so that float32 does not cancel, and *exact*: rows whose
two best scores lie within the product's round-off are settled by direct differences in float64.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from quantization.arrays import Array, FloatArray, double, epsilon, is_torch, like, namespace, to_host

_BLOCK_ENTRIES = 2**21  # float64 entries of the largest temporary of a block: 16 MB


@dataclass(frozen=True)
class Assignment:
    """For each point the index of its nearest code, (n,), and the squared distance to it, (n,) in float64."""

    labels: Array
    squared: Array


@dataclass(frozen=True)
class Cells:
    r"""The Voronoi cells of a codebook under a measure, order r.

    masses: (K,) the masses $\mu(V_k)$. means: (K, d) the centroids $E[X | X \in V_k]$, an empty cell's own code.
    distortion: $E \min_k |X - x_k|^r$. second_moment: $E \min_k |X - x_k|^{2r}$, for its standard error.
    costs: (n,) the terms $|x_i - x_{k(i)}|^r$ of that mean, where the points live.
    stationarity: $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2}$, 0 where both vanish.
    """

    masses: FloatArray
    means: FloatArray
    distortion: float
    second_moment: float
    costs: Array
    stationarity: float


def nearest(points: Array, codes: FloatArray) -> Assignment:
    r"""$k(x) = \arg\min_k |x - c_k|$ and $|x - c_{k(x)}|^2$, exact for the floating-point values given; ties go to the lowest index.

    points: (n, d), numpy or torch, finite. codes: (K, d) on the host.
    """
    xp = namespace(points)
    blocks = [_nearest_in(block, codes) for block in _blocks(points, len(codes))]
    labels, squared = ([part[i] for part in blocks] for i in (0, 1))
    return Assignment(xp.concatenate(labels), xp.concatenate(squared))


def cells(points: Array, weights: Array, codes: FloatArray, r: float = 2.0) -> Cells:
    r"""Masses, centroids and distortion of the Voronoi cells of ``codes`` under $\sum_i w_i \delta_{x_i}$, in one pass.

    points: (n, d). weights: (n,) float64, where the points live. codes: (K, d) on the host. Sums are in float64, of differences
    to the own code, so that a spread far below the points' magnitude is not lost.
    """
    xp, k = namespace(points), len(codes)
    masses, shifts, costs = np.zeros(k), np.zeros(codes.shape), []
    distortion = second_moment = squared_distortion = 0.0
    start = 0
    for block in _blocks(points, k):
        labels, squared, difference = _nearest_in(block, codes)
        block_weights = weights[start : start + len(block)]
        start += len(block)
        block_masses, block_shifts = _sum_by_label(labels, block_weights, difference, k)
        masses += block_masses
        shifts += block_shifts
        cost = squared if r == 2 else squared ** (r / 2)
        distortion += float(block_weights @ cost)
        second_moment += float(block_weights @ (cost * cost))
        squared_distortion += float(block_weights @ squared)
        costs.append(cost)
    occupied = masses > 0
    shifts[occupied] /= masses[occupied, None]
    shifts[~occupied] = 0.0
    residual = float(masses @ np.square(shifts).sum(1))
    stationarity = float(np.sqrt(residual / squared_distortion)) if residual > 0 else 0.0
    return Cells(masses, codes + shifts, distortion, second_moment, xp.concatenate(costs), stationarity)


def squared_distances(points: Array, code: Array) -> Array:
    r"""$|x_i - c|^2$ for one code, by direct differences: (n, d), (d,) → (n,) in float64; zero only where $x_i = c$."""
    parts: list[Array] = []
    for block in _blocks(points, 1):
        difference = double(block) - double(code)
        parts.append((difference * difference).sum(1))
    return namespace(points).concatenate(parts)


def _blocks(points: Array, k: int) -> Iterator[Array]:
    rows = max(1, _BLOCK_ENTRIES // max(k, points.shape[1]))
    for start in range(0, len(points), rows):
        yield points[start : start + rows]


def _nearest_in(block: Array, codes: FloatArray) -> tuple[Array, Array, Array]:
    """Labels, squared distances and differences x − c in float64, of one block."""
    xp = namespace(block)
    exact = like(codes, block, dtype=xp.float64)
    labels = xp.zeros_like(block[:, 0], dtype=xp.int64) if len(codes) == 1 else _labels(block, codes, exact)
    difference = double(block) - exact[labels]
    return labels, (difference * difference).sum(1), difference


def _labels(block: Array, codes: FloatArray, exact: Array) -> Array:
    xp = namespace(block)
    work = block if epsilon(block) < 1e-6 else block.astype(np.float32) if not is_torch(block) else block.float()
    centre = like(codes.mean(0), work)
    centred_codes = codes - to_host(centre)
    x, c = work - centre, like(centred_codes, work)
    half_squares = np.square(centred_codes).sum(1) / 2
    with _full_precision(work):
        scores = like(half_squares, work) - x @ c.T  # ½|x − c|² less the ½|x|² that all codes share
    labels = scores.argmin(1)
    # Round-off of a length-d inner product, probabilistic bound of Higham and Mary (2019) with a margin, and of the sum.
    reach = float(np.sqrt(2 * half_squares.max()))
    size = xp.sqrt((x * x).sum(1)) * reach + float(half_squares.max())
    slack = (8 + 4 * block.shape[1] ** 0.5) * epsilon(work) * size
    best = xp.take_along_axis(scores, labels[:, None], 1) if not is_torch(scores) else scores.gather(1, labels[:, None])
    rivals = scores <= best + slack[:, None]
    doubtful = rivals.sum(1) > 1
    if bool(doubtful.any()):
        labels[doubtful] = _settle(block[doubtful], exact, rivals[doubtful])
    return labels


def _settle(block: Array, exact: Array, rivals: Array) -> Array:
    """The nearest code of each row among its ``rivals``, by direct differences in float64; the lowest index wins a tie."""
    rows, codes = _nonzero(rivals)
    pairs = len(rows)
    squared = np.empty(pairs)
    chunk = max(1, _BLOCK_ENTRIES // block.shape[1])
    for start in range(0, pairs, chunk):
        some = slice(start, start + chunk)
        difference = double(block[rows[some]]) - exact[codes[some]]
        squared[some] = to_host((difference * difference).sum(1))
    host_rows, host_codes = (np.asarray(i.cpu() if is_torch(i) else i) for i in (rows, codes))
    order = np.lexsort((host_codes, squared, host_rows))
    first = np.unique(host_rows[order], return_index=True)[1]
    return like(host_codes[order][first], block, dtype=namespace(block).int64)


def _nonzero(mask: Array) -> tuple[Array, Array]:
    return mask.nonzero(as_tuple=True) if is_torch(mask) else mask.nonzero()


def _sum_by_label(labels: Array, weights: Array, difference: Array, k: int) -> tuple[FloatArray, FloatArray]:
    """Per code the sums of w and of w (x − c), on the host. By matrix products on a GPU, where scatter-add is not deterministic."""
    if not is_torch(labels):
        membership = sparse.csr_array((weights, labels, np.arange(len(labels) + 1)), shape=(len(labels), k)).T
        return np.bincount(labels, weights, minlength=k), membership @ difference
    torch: Any = namespace(labels)
    if labels.is_cuda:
        membership = torch.nn.functional.one_hot(labels, k).double() * weights[:, None]
        return to_host(membership.sum(0)), to_host(membership.T @ difference)
    masses = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, weights)
    shifts = torch.zeros(k, difference.shape[1], dtype=torch.float64).index_add_(0, labels, difference * weights[:, None])
    return to_host(masses), to_host(shifts)


@contextmanager
def _full_precision(x: Array) -> Iterator[None]:
    """No TF32 or bfloat16 inside float32 products, whatever the caller chose for training."""
    if not is_torch(x):
        yield
        return
    torch: Any = namespace(x)
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)
