"""Grids of paths: quantizers of Gaussian processes in L²[0, T], by quantizing coordinates of their Karhunen-Loève expansions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, to_host
from quantization.grids.product import ProductGrid, product_grid
from quantization.grids.shares import MOST_CODES
from quantization.iteration import solve_tasks
from quantization.laws import Gaussian
from quantization.processes import KarhunenLoeve, Process
from quantization.solution import Solution
from quantization.task import make_task
from quantization.validation import checked_count

_BLOCK = 2**22  # numbers of a block of paths


@dataclass(frozen=True, eq=False)
class FunctionalGrid:
    r"""N weighted paths $x_k(t) = E X_t + \sum_{i \le m} c_{ki}\, e_i(t)$ near a Gaussian process.

    Attributes
    ----------
    process : Process
        What was quantized.
    expansion : KarhunenLoeve
        The first m terms of its expansion.
    coordinates : ProductGrid or Solution
        The codes c (N, m) of $(\sqrt{\lambda_i}\, \xi_i)_{i \le m}$.
    distortion : float
        $E \int_0^T |X_t - \hat X_t|^2 dt = \sum_{i \le m} E|\sqrt{\lambda_i}\, \xi_i - c_i|^2 + \sum_{i > m} \lambda_i$.
    distortion_error : float
        An estimate of its error: that of quadrature where the expansion is not in closed form, 1.96 standard errors where
        coordinates are sampled; else 0.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> grid = qz.functional_grid(qz.BrownianMotion(), 10)
    >>> grid.shape, grid.paths(np.linspace(0, 1, 50)).shape, grid.weights.shape
    ((5, 2), (10, 50), (10,))
    """

    process: Process
    expansion: KarhunenLoeve
    coordinates: ProductGrid | Solution
    distortion: float
    distortion_error: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers of codes of the coordinates of a product, or (N,)."""
        return self.coordinates.shape if isinstance(self.coordinates, ProductGrid) else (self.coordinates.measure.size,)

    @property
    def weights(self) -> FloatArray:
        """The masses of the paths' cells, (N,), of sum 1."""
        return to_host(self.coordinates.measure.weights_float64)

    @property
    def truncation(self) -> float:
        r"""$\sum_{i > m} \lambda_i$, the part of the distortion that lies in the terms left out."""
        return max(self.expansion.trace - float(self.expansion.eigenvalues.sum()), 0.0)

    def __len__(self) -> int:
        return len(self.coordinates) if isinstance(self.coordinates, ProductGrid) else self.coordinates.measure.size

    def paths(self, times: Array, index: IntArray | None = None) -> FloatArray:
        """Quantized paths on a grid of times.

        Parameters
        ----------
        times : array (n,)
            In [0, T], in any order.
        index : array (m,) of int, optional
            Which paths, in [0, N); ``None`` is all of them.

        Returns
        -------
        array (N, n) or (m, n)

        Raises
        ------
        ValueError
            For times outside [0, T].
        """
        times = self.checked_times(times)
        if isinstance(self.coordinates, ProductGrid):
            codes = self.coordinates.points_at(np.arange(len(self)) if index is None else index)
        else:
            codes = to_host(self.coordinates.points)
            codes = codes if index is None else codes[np.asarray(index)]
        return self.process.mean(times) + codes @ self.expansion.functions(times).T

    def expect(self, f: Callable[[FloatArray], FloatArray], times: Array) -> FloatArray:
        r"""The cubature $\sum_k w_k f(x_k)$ for $E f(X)$, f a function of paths on a grid of times, in blocks.

        Parameters
        ----------
        f : callable
            Vectorized: maps paths (m, n) to values (m, ...).
        times : array (n,)
            In [0, T].

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            For times outside [0, T], and where f does not return one value per path.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> grid, times = qz.functional_grid(qz.BrownianMotion(), 1000), np.linspace(0, 1, 201)
        >>> round(float(grid.expect(lambda x: np.square(x).mean(1), times)), 3)  # below E ∫ W² = ½ by the distortion, .035
        0.465
        """
        return expect_paths(self, f, times)

    def checked_times(self, times: Array) -> FloatArray:
        """Times (n,) in [0, T], checked.

        Parameters
        ----------
        times : array (n,)

        Returns
        -------
        array (n,)
        """
        times, horizon = to_host(times), self.process.horizon
        if times.ndim != 1 or not len(times) or not ((times >= 0) & (times <= horizon)).all():
            raise ValueError(f"times must be an array (n,) in [0, {horizon:g}]; received {times!r}")
        return times


class _Paths(Protocol):
    """Weighted paths that can be had some at a time."""

    @property
    def weights(self) -> FloatArray: ...
    def __len__(self) -> int: ...
    def paths(self, times: Array, index: IntArray | None = None) -> FloatArray: ...


def expect_paths(grid: _Paths, f: Callable[[FloatArray], FloatArray], times: Array) -> FloatArray:
    r"""$\sum_k w_k f(x_k)$ over a grid's paths at times (n,), in blocks."""
    total, weights = np.zeros(()), grid.weights
    rows = max(1, _BLOCK // max(1, np.size(times)))
    for start in range(0, len(grid), rows):
        index = np.arange(start, min(start + rows, len(grid)))
        values = np.asarray(f(grid.paths(times, index)), dtype=np.float64)
        if values.shape[:1] != (len(index),):
            raise ValueError(
                f"f must return one value per path, an array of shape ({len(index)}, ...); received shape {values.shape}"
            )
        total = total + np.tensordot(weights[index], values, 1)
    return total


def functional_grid(process: Process, n: int | Sequence[int], *, leading: int | None = None) -> FunctionalGrid:
    r"""At most n weighted paths with small $E \int_0^T |X_t - \hat X_t|^2 dt$.

    Parameters
    ----------
    process : Process
        A Gaussian process: :class:`BrownianMotion`, :class:`BrownianBridge`, :class:`OrnsteinUhlenbeck`,
        :class:`FractionalBrownianMotion`, :class:`GaussianProcess`, or anything with their methods.
    n : int or sequence of int
        Paths at most, or the shares of the coordinates.
    leading : int, optional
        ``None`` takes the best product of grids on the line, its shares found by a complete search. A number d takes n codes for
        the first d coordinates together, which is better where d suffices: optimal for d = 1, the best found on exact cells for
        d = 2, by competitive learning beyond.

    Returns
    -------
    FunctionalGrid

    Raises
    ------
    ValueError
        For bad input.

    Notes
    -----
    The distortion of a product is $\sum_i \lambda_i D_{N_i} + \sum_{i > m} \lambda_i$ with the least distortions D of N(0, 1). It
    falls like 1/log N. Exchanging two shares so that the larger one goes to the larger eigenvalue costs nothing, so that no
    coordinate beyond the first log₂ n has two codes.

    References
    ----------
    luschgy2002, pages2005.

    Examples
    --------
    >>> import quantization as qz
    >>> product, planar = (qz.functional_grid(qz.BrownianMotion(), 10, leading=d) for d in (None, 2))
    >>> product.shape, round(product.distortion, 6), round(planar.distortion, 6)
    ((5, 2), 0.098446, 0.092146)
    """
    if not isinstance(process, Process):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise ValueError(f"process must be a Gaussian process, such as qz.BrownianMotion(); received {process!r}")
    if leading is not None:
        expansion = _expansion(process, checked_count("leading", leading))
        law = Gaussian(np.zeros(leading), np.diag(expansion.eigenvalues))
        k = checked_count("n", n)
        (solution,) = solve_tasks([make_task(law, k, 2.0, None, None, 1, 0, None)])
        return _grid(process, expansion, solution, float(solution.distortion), 1.96 * solution.distortion_se)
    searched = isinstance(n, int | np.integer)
    terms = max(1, checked_count("n", n, most=MOST_CODES).bit_length() - 1) if searched else len(n)
    expansion = _expansion(process, terms)
    product = product_grid([Gaussian([0.0], [[v]]) for v in expansion.eigenvalues], n)
    if searched:  # coordinates without a second code belong to the terms left out
        terms = max(1, *(i + 1 for i, share in enumerate(product.shape) if share > 1), 1)
        product, expansion = ProductGrid(product.factors[:terms], product.distortions[:terms]), expansion.first(terms)
    return _grid(process, expansion, product, product.distortion, 0.0)


def _expansion(process: Process, m: int) -> KarhunenLoeve:
    expansion = process.karhunen_loeve(m)
    values = np.asarray(expansion.eigenvalues)
    if values.shape != (m,) or not (values >= 0).all() or not values.sum() <= expansion.trace * (1 + 1e-9):
        raise ValueError(
            f"the expansion must have {m} eigenvalues ≥ 0 whose sum is at most the integral of the variance; "
            f"received {values} and {expansion.trace:g}"
        )
    return expansion


def _grid(
    process: Process, expansion: KarhunenLoeve, codes: ProductGrid | Solution, resolved: float, se: float
) -> FunctionalGrid:
    m = len(expansion.eigenvalues)
    truncation = max(expansion.trace - float(expansion.eigenvalues.sum()), 0.0)
    return FunctionalGrid(process, expansion, codes, resolved + truncation, se + (m + 1) * expansion.quadrature_error)
