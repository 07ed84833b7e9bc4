"""Samples in a sparse matrix (CSR): their cells by sparse products; few rows at a time are made dense."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np

from quantization.arrays import FloatArray, IntArray, rounded, summed_by
from quantization.assignment import nearest
from quantization.assignment.cells import Cells, relocated, stationarity
from quantization.status import TooFewPoints
from quantization.stream import Batch
from quantization.validation import check_magnitude

_BLOCK_NUMBERS = 2**21  # float64 numbers of a block of scores, or of rows made dense: 16 MB
_CANCELLED = 1e10  # times its bound on round-off: a squared distance that large is right to ten digits


@dataclass(frozen=True, eq=False)
class SparseSamples:
    r"""$\sum_i w_i \delta_{x_i}$ on the rows of a CSR matrix (n, d), as a law whose cells of order 2 are computed exactly.

    Parameters
    ----------
    points : scipy.sparse CSR matrix or array (n, d)
        float32 or float64, finite, with sorted indices and no duplicate entries; never written to.
    weights : (n,) array of float64
        Nonnegative, of sum 1.

    Notes
    -----
    Labels are those that direct differences in float64 decide: a row whose two best scores $|c_k|^2 - 2 \langle x, c_k\rangle$
    lie within the bound on their round-off, or whose squared distance cancels, is made dense and measured directly.
    """

    points: Any
    weights: FloatArray
    _norms: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.points.nnz:
            check_magnitude(self.points.data[:, None], 2.0)
        object.__setattr__(self, "_norms", squared_norms(self.points))

    kind: ClassVar[str] = "sparse samples"

    @property
    def like(self) -> Any:
        """An array whose dtype codes take."""
        return np.empty((1, self.points.shape[1]), dtype=self.points.dtype)

    def nearest(self, codes: FloatArray) -> tuple[IntArray, FloatArray]:
        """The index of the nearest code of each row, (n,), and the squared distance to it, (n,); the lowest index wins a tie."""
        return nearest_codes(self.points, codes, self._norms)

    def cells(self, codes: FloatArray) -> Cells:
        """The cells of ``codes``: a function of the labels alone, so that codes come to rest where no label changes."""
        labels, squared = self.nearest(codes)
        masses = summed_by(labels, self.weights, len(codes))
        nonempty = masses > 0
        means = np.where(nonempty[:, None], self._sums(labels, len(codes)) / np.where(nonempty, masses, 1.0)[:, None], codes)
        gradient = 2 * masses[:, None] * (codes - means)
        distortion = float(self.weights @ squared)
        return Cells(masses, means, gradient, distortion, stationarity(gradient, masses, distortion, 2.0))

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        """See :class:`~quantization.exact_law.ExactLaw`: the codes of empty cells move to the rows that cost the most."""
        codes = rounded(codes, self.like)
        c = self.cells(codes)
        while not c.masses.all() and np.isfinite(c.distortion):
            codes = relocated(codes, c.masses, self.weights * self.nearest(codes)[1], self._place)
            c = self.cells(codes)
        return codes, c

    def _place(self, row: int, among: IntArray) -> tuple[FloatArray, FloatArray]:
        code = self.dense(np.array([row]))
        squared = [block for _, block in _squared_blocks(self.points[among], code, self._norms[among])]
        return code[0], self.weights[among] * np.concatenate(squared)[:, 0]

    def d2_sampling(self, k: int, rng: np.random.Generator) -> IntArray:
        r"""The indices (k,) of starting codes: each drawn with probability ∝ $w_i \min_j |x_i - c_j|^2$, the best of some kept.

        The best of 2 + ⌊log k⌋ draws, by the total cost that is left. Raises ``ValueError`` where there are fewer distinct rows.
        """
        trials, chosen = 2 + int(np.log(k)), [_drawn(self.weights, rng.random(1))[0]]
        costs = self.squared_distances(self.dense(np.array(chosen)))[:, 0]
        while len(chosen) < k:
            mass = self.weights * costs
            if not mass.max() > 0:
                raise TooFewPoints(k, len(chosen))
            candidates = _drawn(mass, rng.random(trials))
            left = np.minimum(costs[:, None], self.squared_distances(self.dense(candidates)))
            best = int((self.weights @ left).argmin())
            chosen.append(candidates[best])
            costs = left[:, best]
        return np.array(chosen, dtype=np.int64)

    def random_points(self, k: int, rng: np.random.Generator) -> IntArray:
        """The indices (k,) of rows drawn by weight without replacement."""
        support = np.flatnonzero(self.weights)
        if len(support) < k:
            raise TooFewPoints(k, len(self.distinct(k)))
        return rng.choice(support, size=k, replace=False, p=self.weights[support] / self.weights[support].sum())

    def distinct(self, most: int) -> IntArray:
        """The indices of the first rows of positive weight that differ from all before, at most ``most``."""
        found: dict[tuple[bytes, bytes], int] = {}
        indptr, indices, data = self.points.indptr, self.points.indices, self.points.data
        for i in np.flatnonzero(self.weights):
            entries = slice(indptr[i], indptr[i + 1])
            stored = data[entries] != 0
            found.setdefault((indices[entries][stored].tobytes(), data[entries][stored].tobytes()), int(i))
            if len(found) == most:
                break
        return np.array(list(found.values()), dtype=np.int64)

    def squared_distances(self, codes: FloatArray) -> FloatArray:
        r"""$|x_i - c_k|^2$, (n, K); zero only where $x_i = c_k$."""
        squared = np.empty((self.points.shape[0], len(codes)))
        for rows, block in _squared_blocks(self.points, codes, self._norms):
            squared[rows] = block
        return squared

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in random order, of which a batch at a time is made dense."""
        order = rng.permutation(len(self.weights))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield Batch(self.dense(chosen).astype(self.points.dtype), self.weights[chosen] * len(order))

    def dense(self, rows: Any) -> FloatArray:
        """Some of the rows as a dense array in float64."""
        return self.points[rows].toarray().astype(np.float64)

    def _sums(self, labels: IntArray, k: int) -> FloatArray:
        """The weighted sums of the rows of each cell, (K, d)."""
        (n, d), starts = self.points.shape, self.points.indptr
        sums = np.zeros(k * d)
        # Blocks of about so many stored numbers.
        cuts: list[int] = np.searchsorted(starts, np.arange(0, int(self.points.nnz), _BLOCK_NUMBERS)).tolist()
        for first, last in pairwise(sorted({0, *cuts, int(n)})):
            entries = slice(starts[first], starts[last])
            counts = np.diff(starts[first : last + 1])
            places = np.repeat(labels[first:last] * d, counts) + self.points.indices[entries]
            np.add.at(sums, places, np.repeat(self.weights[first:last], counts) * self.points.data[entries])
        return sums.reshape(k, d)


def is_csr(points: Any) -> bool:
    """Whether these are rows of a sparse matrix in CSR."""
    return getattr(points, "format", None) == "csr"


def sparse_samples(matrix: Any) -> SparseSamples:
    """The uniform measure on the rows of a CSR matrix, checked; integers and float16 become float64."""
    shape: tuple[int, ...] = matrix.shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"points must have shape (n, d) with n, d ≥ 1; received a sparse matrix of shape {shape}")
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"points must be real numbers; received a sparse matrix of dtype {matrix.dtype}")
    matrix = matrix if matrix.dtype in (np.float32, np.float64) else matrix.astype(np.float64)
    if not np.isfinite(matrix.data).all():
        bad = int((~np.isfinite(matrix.data)).sum())
        raise ValueError(
            f"points must be finite; received a sparse matrix with {bad} NaN or infinite entries. Drop or repair them"
        )
    return SparseSamples(canonical_csr(matrix), np.full(shape[0], 1 / shape[0]))


def canonical_csr(matrix: Any) -> Any:
    """A CSR matrix with sorted indices and no duplicates: itself, or a copy where it is not so."""
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def squared_norms(points: Any) -> FloatArray:
    r"""$|x_i|^2$ for the rows of a CSR matrix, (n,), in float64."""
    n, starts = int(points.shape[0]), cast(IntArray, points.indptr)
    rows = np.repeat(np.arange(n), starts[1:] - starts[:-1])
    return summed_by(rows, np.square(points.data, dtype=np.float64), n)


def nearest_codes(points: Any, codes: FloatArray, norms: FloatArray | None = None) -> tuple[IntArray, FloatArray]:
    r"""$\arg\min_k |x_i - c_k|$, (n,), and the squared distance, (n,), for the rows of a CSR matrix (n, d).

    As direct differences in float64 decide; the lowest index wins a tie. norms: $|x_i|^2$, where they are known.
    """
    n, norms = points.shape[0], squared_norms(points) if norms is None else norms
    labels, squared = np.empty(n, np.int64), np.empty(n)

    def measure(rows: IntArray, block: FloatArray) -> None:
        found = nearest(block, codes)
        labels[rows], squared[rows] = found.labels, found.squared

    for rows, scores, error in _scored(points, codes, norms):
        labels[rows] = best = scores.argmin(1)
        least = scores[np.arange(len(best)), best]
        squared[rows] = (norms[rows] + least).clip(0)
        doubtful = ((scores <= (least + 2 * error)[:, None]).sum(1) > 1) | (squared[rows] < _CANCELLED * error)
        _directly(points, rows.start + np.flatnonzero(doubtful), measure)
    return labels, squared


def sparse_distance_matrix(points: Any, codes: FloatArray) -> Any:
    r"""$|x_i - c_k|$, (n, K), in the dtype of the rows of a CSR matrix: squares to ten digits, zero only where $x_i = c_k$."""
    distances = np.empty((points.shape[0], len(codes)), dtype=points.dtype)
    for rows, block in _squared_blocks(points, codes, squared_norms(points)):
        distances[rows] = np.sqrt(block)
    return distances


def _squared_blocks(points: Any, codes: FloatArray, norms: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    r"""$|x_i - c_k|^2$ for blocks of rows, those that cancel by direct differences."""
    for rows, scores, error in _scored(points, codes, norms):
        scores += norms[rows, None]
        cancelled = scores < _CANCELLED * error[:, None]

        def measure(some: IntArray, dense: FloatArray, rows: slice = rows, block: Any = scores, pairs: Any = cancelled) -> None:
            for k, code in enumerate(codes):
                chosen = pairs[some - rows.start, k]
                block[some[chosen] - rows.start, k] = np.square(dense[chosen] - code).sum(1)

        _directly(points, rows.start + np.flatnonzero(cancelled.any(1)), measure)
        yield rows, scores


def _scored(points: Any, codes: FloatArray, norms: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    r"""For blocks of rows: $|c_k|^2 - 2 \langle x, c_k\rangle$, (b, K), and how far off a squared distance may be, (b,).

    Of a row of m stored numbers $|x|^2$ and the product are sums of m terms each, off by at most m u of the sums of their
    absolute values, u = ε/2. $|c_k|^2$ is off by at most 44 u, whatever d < 2^30 is, as numpy sums pairwise: 16 terms in each of
    8 running sums, 3 sums to join them, at most 23 halvings, a rounding each, and the square. Three roundings join the three. As
    $2 |x| |c| \le |x|^2 + |c|^2$, all is off by at most (max(m, 44) + 4) ε (|x|² + |c|²); 4 more pay for the second order.
    """
    squares = np.square(np.ascontiguousarray(codes)).sum(1)
    longest = int((points.indptr[1:] - points.indptr[:-1]).max())
    unit = (max(longest, 44) + 8) * np.finfo(np.float64).eps
    transposed = np.ascontiguousarray(codes.T)
    for rows in _blocks(points, len(codes)):
        scores = points[rows].astype(np.float64, copy=False) @ transposed
        scores *= -2
        scores += squares
        yield rows, scores, unit * (norms[rows] + squares.max())


def _blocks(points: Any, width: int) -> Iterator[slice]:
    """Rows in blocks of ``width`` numbers each."""
    size = max(1, _BLOCK_NUMBERS // max(width, 1))
    for start in range(0, points.shape[0], size):
        yield slice(start, min(start + size, points.shape[0]))


def _directly(points: Any, rows: IntArray, measure: Callable[[IntArray, FloatArray], None]) -> None:
    """``measure`` on these rows, some of them made dense at a time."""
    size = max(1, _BLOCK_NUMBERS // points.shape[1])
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        measure(some, points[some].toarray().astype(np.float64, copy=False))


def _drawn(mass: FloatArray, uniforms: FloatArray) -> IntArray:
    """Indices drawn with probability ∝ mass; never one of mass zero."""
    cumulative: FloatArray = mass.cumsum()
    levels: FloatArray = uniforms * float(cumulative[-1])
    return np.minimum(cumulative.searchsorted(levels, side="right"), np.flatnonzero(mass)[-1])
