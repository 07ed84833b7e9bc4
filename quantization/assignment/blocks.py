"""Nearest codes by array operations alone: for small work, for tensors on a GPU, and for any order r.

The search is a blocked matrix product, centred at the codebook's mean so that float32 does not cancel, and as exact as direct
differences in float64: those decide the rows whose two best scores lie within a bound on the product's round-off.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from quantization.arrays import Array, FloatArray, IntArray, asarray_like, double, dtype_of, epsilon, is_torch, namespace, to_host
from quantization.assignment.bounds import direct_margin, score_error
from quantization.assignment.cells import Sums
from quantization.assignment.r_means import Stiffness, wants_tensors
from quantization.precision import full_precision

_BLOCK_ENTRIES = 2**21  # float64 entries of the largest temporary of a block: 16 MB


def labels_by_blocks(points: Array, codes: FloatArray) -> tuple[Array, Array]:
    """The index of the nearest code of each point, and the squared distance to it in float64; (n, d), (K, d) → (n,), (n,)."""
    search = _Search(points, codes)
    found = [search.block(block) for block in _blocks(points, len(codes))]
    labels, squared = ([part[i] for part in found] for i in (0, 1))
    return namespace(points).concatenate(labels), namespace(points).concatenate(squared)


def sums_by_blocks(
    points: Array, weights: Array, codes: FloatArray, r: float, variance: bool = False, labels: Array | None = None
) -> Sums:
    """The sums over the cells of ``codes``, of order r; what overflows float64 becomes infinite.

    variance: whether the spread of the costs is wanted. labels: (n,) the nearest codes, where they are known.
    """
    k, search, start, total = len(codes), _Search(points, codes), 0, None
    for block in _blocks(points, k):
        rows = slice(start, start + len(block))
        known, squared, difference = search.block(block, None if labels is None else labels[rows])
        block_weights = weights[rows]
        start = rows.stop
        with np.errstate(over="ignore", invalid="ignore"):
            masses, shifts = _sum_by_label(known, block_weights, difference, k)
            cost, pulls, stiffness = squared, shifts, None
            if r != 2:
                cost = squared ** (r / 2)
                pulls, stiffness = _pulls(known, block_weights, difference, squared, cost, r, k, epsilon(points) / 2, variance)
            mass, spread = float(block_weights.sum()), None
            if variance:
                mean = float(block_weights @ cost) / mass if mass > 0 else 0.0
                spread = float(block_weights @ (cost - mean) ** 2)
            part = Sums(masses, shifts, pulls, float(block_weights @ cost), mass, spread, stiffness)
            total = part if total is None else total + part
    assert total is not None
    return total


def products_by_blocks(
    points: Array, weights: Array, codes: FloatArray, r: float, labels: Array, vectors: FloatArray
) -> FloatArray:  # fmt: skip
    r"""The sums over cells of $w |x - c|^{r-4} \langle x - c, v \rangle (x - c)$, for a vector v a cell, (K, d)."""
    xp, k, search, start, total = namespace(points), len(codes), _Search(points, codes), 0, np.zeros(codes.shape)
    ways = asarray_like(vectors, points, dtype=xp.float64)
    for block in _blocks(points, k):
        rows = slice(start, start + len(block))
        known, squared, difference = search.block(block, labels[rows])
        off, start = squared > 0, rows.stop
        bent = xp.where(off, xp.where(off, squared, 1.0) ** (r / 2 - 2) * weights[rows], 0.0)
        total = total + _sum_by_label(known, bent * (difference * ways[known]).sum(1), difference, k)[1]
    return total


def squared_distances(points: Array, code: Array) -> Array:
    r"""$|x_i - c|^2$ for one code, by direct differences: (n, d), (d,) → (n,) in float64; zero only where $x_i = c$."""
    parts: list[Array] = []
    with np.errstate(over="ignore"):
        for block in _blocks(points, 1):
            difference = double(block) - double(code)
            parts.append((difference * difference).sum(1))
    return namespace(points).concatenate(parts)


def _blocks(points: Array, k: int) -> Iterator[Array]:
    rows = max(1, _BLOCK_ENTRIES // max(k, points.shape[1]))
    for start in range(0, len(points), rows):
        yield points[start : start + rows]


class _Search:
    r"""A codebook made ready for points of one kind.

    Scores are $\tfrac12|c_k|^2 - \langle x, c_k\rangle$ after a shift to the codes' mean and a scaling by a power of two that
    makes the longest code about 1, so that products neither overflow nor lose digits to underflow. They are computed in the
    points' precision, float32 at least. Codes that the certificate of :mod:`quantization.assignment.bounds` does not rule out,
    with the longest code in the place of each, are compared by direct differences.
    """

    def __init__(self, points: Array, codes: FloatArray) -> None:
        xp = namespace(points)
        work = points[:1]
        if epsilon(work) > 1e-6:
            work = work.float() if is_torch(work) else work.astype(np.float32)
        self._dtype = work.dtype
        self.exact = asarray_like(codes, points, dtype=xp.float64)
        self._centre = asarray_like(codes.mean(0), work)
        centred = codes - to_host(self._centre)
        with np.errstate(over="ignore"):
            length = float(np.sqrt(np.square(centred).sum(1).max()))
        exponent = int(np.frexp(length)[1]) if np.isfinite(length) else 0
        self._scale = 2.0 ** -min(max(exponent, -120), 120)
        with np.errstate(over="ignore", invalid="ignore"):
            centred = centred * self._scale
            half_squares = np.square(centred).sum(1) / 2
            self._codes, self._half_squares = asarray_like(centred, work), asarray_like(half_squares, work)
        self._top = float(half_squares.max())
        self._error, self._margin = score_error(points.shape[1], dtype_of(work)), direct_margin(points.shape[1])

    def block(self, block: Array, labels: Array | None = None) -> tuple[Array, Array, Array]:
        """Labels, squared distances and differences x − c in float64, of some of the points."""
        xp = namespace(block)
        if labels is None:
            labels = xp.zeros_like(block[:, 0], dtype=xp.int64) if len(self.exact) == 1 else self._labels(block)
        with np.errstate(over="ignore", invalid="ignore"):
            difference = double(block) - self.exact[labels]
            return labels, (difference * difference).sum(1), difference

    def _labels(self, block: Array) -> Array:
        xp = namespace(block)
        with full_precision(block.device.type if is_torch(block) else None), np.errstate(over="ignore", invalid="ignore"):
            x = (
                (block.to(self._dtype) if is_torch(block) else block.astype(self._dtype, copy=False)) - self._centre
            ) * self._scale
            scores = self._half_squares - x @ self._codes.T
            labels = scores.argmin(1)
            length, reach = xp.sqrt((x * x).sum(1)), (2 * self._top) ** 0.5
            gamma, vanishing = self._error
            slack = 2 * (gamma * (length * reach + self._top) + vanishing * (1 + length + reach))
            slack = slack + self._margin * (length + reach) ** 2
            best = scores.gather(1, labels[:, None]) if is_torch(scores) else np.take_along_axis(scores, labels[:, None], 1)
            behind = scores > best + slack[:, None]  # not where something overflowed: nothing is known there
            doubtful = behind.sum(1) < len(self.exact) - 1
            if bool(doubtful.any()):
                labels[doubtful] = self._decide(block[doubtful], ~behind[doubtful])
        return labels

    def _decide(self, block: Array, rivals: Array) -> Array:
        """The nearest code of each row among its ``rivals``, by direct differences in float64; the lowest index wins a tie."""
        rows, codes = rivals.nonzero(as_tuple=True) if is_torch(rivals) else rivals.nonzero()
        squared = np.empty(len(rows))
        chunk = max(1, _BLOCK_ENTRIES // block.shape[1])
        for start in range(0, len(rows), chunk):
            some = slice(start, start + chunk)
            difference = double(block[rows[some]]) - self.exact[codes[some]]
            squared[some] = to_host((difference * difference).sum(1))
        host_rows, host_codes = _indices(rows), _indices(codes)
        order = np.lexsort((host_codes, squared, host_rows))
        first = np.unique(host_rows[order], return_index=True)[1]
        return asarray_like(host_codes[order][first], block, dtype=namespace(block).int64)


def _pulls(
    labels: Array, weights: Array, difference: Array, squared: Array, cost: Array, r: float, k: int, rounding: float,
    variance: bool,
) -> tuple[FloatArray, Stiffness]:  # fmt: skip
    """The sums of $w |x - c|^{r-2} (x - c)$ over the points off the codes, and those that tell how far codes may go.

    Without second derivatives where a variance is wanted: the codes that a batch is measured with take no step of its own.
    """
    xp = namespace(squared)
    off, nothing = squared > 0, xp.zeros_like(weights)
    reweighted = xp.where(off, weights * xp.where(off, squared, 1.0) ** (r / 2 - 1), nothing)
    total, pulls = _sum_by_label(labels, reweighted, difference, k)
    atoms, gap_weights, gaps = np.zeros(k), np.zeros(k), np.full(pulls.shape, np.inf)
    if r < 2:
        if not bool(off.all()):
            atoms = _sum_by_label(labels, xp.where(off, nothing, weights), difference, k)[0]
        away = xp.where(off & (weights > 0), squared, np.inf)
        least = _least_by_label(labels, away, k)
        rows = (away <= least[labels]) & (away < np.inf)
        few, ways = _indices(labels[rows]), to_host(difference[rows])
        found, first = np.unique(few, return_index=True)
        gaps[found] = ways[first]
        gap_weights = np.bincount(few, to_host(weights[rows]) * (ways == gaps[few]).all(1), minlength=k).astype(
            np.float64, copy=False
        )
    costs = _sum_by_label(labels, weights * cost, difference[:, :1], k)[0]
    tensors, dim = None, difference.shape[1]
    if wants_tensors(dim, r) and not variance:
        bent = reweighted / xp.where(off, squared, 1.0)
        tensors = np.stack([_sum_by_label(labels, bent, difference[:, i : i + 1] * difference, k)[1] for i in range(dim)], axis=1)
    return pulls, Stiffness(costs, total, atoms, gaps, gap_weights, rounding, tensors)


def _least_by_label(labels: Array, values: Array, k: int) -> Array:
    """Per code the least of ``values``, (k,), where they live."""
    if is_torch(values):
        return (
            namespace(values)
            .full((k,), np.inf, dtype=values.dtype, device=values.device)
            .scatter_reduce_(0, labels, values, "amin")
        )
    least = np.full(k, np.inf)
    np.minimum.at(least, labels, values)
    return least


def _indices(x: Array) -> IntArray:
    return np.asarray(x.cpu() if is_torch(x) else x, dtype=np.int64)


def _sum_by_label(labels: Array, weights: Array, difference: Array, k: int) -> tuple[FloatArray, FloatArray]:
    """Per code the sums of w and of w (x − c), on the host.

    By matrix products on a GPU, where scatter-add is not deterministic.
    """
    if not is_torch(labels):
        membership = scipy.sparse.csr_array((weights, labels, np.arange(len(labels) + 1)), shape=(len(labels), k)).T
        return np.bincount(labels, weights, minlength=k).astype(np.float64, copy=False), membership @ difference
    torch: Any = namespace(labels)
    if labels.is_cuda:
        membership = torch.nn.functional.one_hot(labels, k).double() * weights[:, None]
        return to_host(membership.sum(0)), to_host(membership.T @ difference)
    masses = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, weights)
    shifts = torch.zeros(k, difference.shape[1], dtype=torch.float64).index_add_(0, labels, difference * weights[:, None])
    return to_host(masses), to_host(shifts)
