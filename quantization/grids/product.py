"""Product grids of independent coordinates: optimal grids on the line, with the best shares of N codes among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, to_host
from quantization.grids.marginals import marginal
from quantization.grids.shares import MOST_CODES, best_shares
from quantization.make_problem import LawLike
from quantization.measure import DiscreteMeasure
from quantization.validation import checked_count, checked_points

_BLOCK = 2**16  # codes of a block of an expectation
_MOST = 2**62


@dataclass(frozen=True, eq=False)
class ProductGrid:
    r"""The product $\bigotimes_i \sum_j w_{ij} \delta_{x_{ij}}$ of grids on the line: $N = \prod_i N_i$ codes, none stored.

    Codes are counted with the last coordinate fastest, as in ``numpy.unravel_index(index, grid.shape)``.

    Attributes
    ----------
    factors : tuple of DiscreteMeasure
        The grids of the coordinates, each of points (N_i, 1), in rising order.
    distortions : array (d,)
        $E |X_i - \hat X_i|^2$ of each coordinate, exact.

    Examples
    --------
    >>> import quantization as qz
    >>> grid = qz.product_grid([qz.Gaussian([0.0], [[4.0]]), qz.Gaussian([0.0], [[1.0]])], (1414, 707))
    >>> len(grid), grid.shape, grid.points_at(0).round(3).tolist()
    (999698, (1414, 707), [[-11.036, -5.163]])
    """

    factors: tuple[DiscreteMeasure, ...]
    distortions: FloatArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers $N_i$ of codes of the coordinates."""
        return tuple(factor.size for factor in self.factors)

    @property
    def dim(self) -> int:
        """The number d of coordinates."""
        return len(self.factors)

    @property
    def distortion(self) -> float:
        r"""$E |X - \hat X|^2 = \sum_i E |X_i - \hat X_i|^2$."""
        return float(self.distortions.sum())

    def __len__(self) -> int:
        return prod(self.shape)

    def points_at(self, index: int | IntArray) -> FloatArray:
        """The codes of some indices.

        Parameters
        ----------
        index : int or array (m,) of int
            Each in [0, N).

        Returns
        -------
        array (m, d)

        Raises
        ------
        ValueError
            For an index out of range.
        """
        parts = self._unravelled(index)
        return np.stack([to_host(f.points)[part, 0] for f, part in zip(self.factors, parts, strict=True)], axis=1)

    def weights_at(self, index: int | IntArray) -> FloatArray:
        """The masses of the cells of some codes, products of those of their coordinates.

        Parameters
        ----------
        index : int or array (m,) of int
            Each in [0, N).

        Returns
        -------
        array (m,)

        Raises
        ------
        ValueError
            For an index out of range.
        """
        parts = self._unravelled(index)
        weights = [to_host(f.weights_float64)[part] for f, part in zip(self.factors, parts, strict=True)]
        return np.asarray(np.prod(weights, axis=0), dtype=np.float64)

    @cached_property
    def measure(self) -> DiscreteMeasure:
        """All N codes with their weights, made when first asked for."""
        every = np.arange(len(self))
        return DiscreteMeasure.from_unnormalized(self.points_at(every), self.weights_at(every))

    def predict(self, x: Array) -> IntArray:
        """The index of the nearest code of each of some points, found coordinate by coordinate.

        Parameters
        ----------
        x : array (n, d)

        Returns
        -------
        array (n,)
            Integers in [0, N).

        Raises
        ------
        ValueError
            For points of another dimension.

        Examples
        --------
        >>> import quantization as qz
        >>> grid = qz.product_grid([qz.Gaussian([0.0], [[1.0]])] * 2, (2, 3))
        >>> grid.predict([[-1.0, 0.1], [2.0, 9.0]]).tolist()
        [1, 5]
        """
        x = to_host(checked_points(x))
        if x.shape[1] != self.dim:
            raise ValueError(f"x must have the grid's dimension {self.dim}; received shape {x.shape}")
        labels = np.zeros(len(x), dtype=np.int64)
        for i, factor in enumerate(self.factors):
            labels = labels * factor.size + to_host(factor.assign(x[:, i : i + 1])).astype(np.int64)
        return labels

    def expect(self, f: Callable[[FloatArray], FloatArray]) -> FloatArray:
        r"""The cubature $\sum_k w_k f(x_k)$ for $E f(X)$, in blocks of codes, so that memory does not grow with N.

        Parameters
        ----------
        f : callable
            Vectorized: maps codes (n, d) to values (n, ...).

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            Where f does not return one value per code.

        Examples
        --------
        >>> import quantization as qz
        >>> grid = qz.product_grid([qz.Gaussian([1.0], [[1.0]])] * 3, 1000)
        >>> round(float(grid.expect(lambda x: x.sum(1))), 9)
        3.0
        """
        total = np.zeros(())
        for start in range(0, len(self), _BLOCK):
            index = np.arange(start, min(start + _BLOCK, len(self)))
            values = np.asarray(f(self.points_at(index)), dtype=np.float64)
            if values.shape[:1] != (len(index),):
                raise ValueError(
                    f"f must return one value per code, an array of shape ({len(index)}, ...); received shape {values.shape}"
                )
            total = total + np.tensordot(self.weights_at(index), values, 1)
        return total

    def _unravelled(self, index: int | IntArray) -> tuple[IntArray, ...]:
        flat = np.atleast_1d(np.asarray(index))
        whole = flat.ndim == 1 and np.issubdtype(flat.dtype, np.integer)
        if not whole or (len(flat) and not 0 <= flat.min() <= flat.max() < len(self)):
            raise ValueError(f"index must hold integers in [0, {len(self)}); received {index!r}")
        return tuple(np.unravel_index(flat, self.shape))


def product_grid(marginals: Sequence[LawLike], n: int | Sequence[int]) -> ProductGrid:
    r"""The product of optimal grids on the line of least $E|X - \hat X|^2 = \sum_i D_i(N_i)$, of at most N codes.

    Parameters
    ----------
    marginals : sequence of laws on the line
        Those of the independent coordinates: frozen continuous ``scipy.stats`` distributions, Gaussians and mixtures,
        measures, samples (m, 1).
    n : int or sequence of int
        At most so many codes, 10⁹ at most, whose best shares are searched; or the shares $N_i$ themselves.

    Returns
    -------
    ProductGrid

    Raises
    ------
    ValueError
        For a law that is not on the line, or known by sampling alone.

    Notes
    -----
    The search is complete: a dynamic programme over all shares of product at most N, with the distortions $D_i$ of those grids
    that :func:`quantization.quantize` finds. Gaussians are one law but for their scale; of others the same object is quantized
    once. A coordinate that gets one code is replaced by its mean. A finite measure gets no more codes than it has points.
    On the way to the best shares hundreds of grids are quantized: seconds for 10⁴ codes, about a minute for 10⁶. Shares that are
    given take their own grids alone, a fraction of a second.

    References
    ----------
    pages2015, pages2005.

    Examples
    --------
    >>> import quantization as qz
    >>> from scipy import stats
    >>> grid = qz.product_grid([qz.Gaussian([0.0], [[9.0]]), stats.expon()], 20)
    >>> grid.shape, len(grid.measure.weights)
    ((10, 2), 20)
    """
    if hasattr(marginals, "__array__") or not hasattr(marginals, "__len__") or not len(marginals):
        raise ValueError(
            f"marginals must be a nonempty list of laws on the line, one per coordinate; received {type(marginals).__name__}"
        )
    distinct = {id(law): (law, i) for i, law in reversed(list(enumerate(marginals)))}
    known = {key: marginal(law, i) for key, (law, i) in distinct.items()}
    laws = [known[id(law)] for law in marginals]
    curves, scales = [law.curve for law in laws], np.array([law.scale**2 for law in laws])
    if isinstance(n, int | np.integer):
        shares = best_shares(checked_count("n", n, most=MOST_CODES), curves, scales)
    else:
        shares = tuple(checked_count(f"n[{i}]", share) for i, share in enumerate(n))
        if len(shares) != len(laws):
            raise ValueError(f"n must be a number, or {len(laws)} shares, one per coordinate; received {len(shares)}")
        if prod(shares) > _MOST:
            raise ValueError(f"a grid can have 2^62 codes at most; received shares {shares}")
    factors = tuple(law.grid(share) for law, share in zip(laws, shares, strict=True))
    return ProductGrid(factors, scales * np.array([curve.distortion(share) for curve, share in zip(curves, shares, strict=True)]))
