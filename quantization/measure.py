"""A probability measure on finitely many points of R^d."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from quantization import archive
from quantization.arrays import Array, asarray_like, double, is_torch, namespace, to_host
from quantization.assignment import cells, nearest, nearest_priced
from quantization.validation import checked_points, checked_prices, checked_probabilities, checked_weights


@dataclass(frozen=True, eq=False, init=False)
class DiscreteMeasure:
    r"""A probability measure on finitely many points, $\mu = \sum_{i=1}^n w_i \delta_{x_i}$ with $w_i \ge 0$, $\sum_i w_i = 1$.

    Parameters
    ----------
    points : array (n, d)
        numpy or torch, real and finite. The dtype, device and library are kept; integers become float64.
    weights : array (n,), optional
        Nonnegative, of sum 1 within round-off; ``None`` means 1/n each. Counts go through :meth:`from_unnormalized`.

    Attributes
    ----------
    points : array (n, d)
        The points as given, not copied.
    weights : array (n,)
        The weights in the dtype of the points.
    weights_float64 : array (n,)
        The weights in float64, on the device of the points, renormalized to a sum of 1. All sums use these: in float16 the
        weights 1/n of a million points are 5 % too small.
    graph : (tensor or None, tensor or None)
        Points and weights as they were given, where they are tensors that require a gradient; distances have it.

    Raises
    ------
    ValueError
        For anything that is not a probability measure.

    Notes
    -----
    Everything is checked here, once: code that receives a ``DiscreteMeasure`` need not check it again. What is written into the
    array of points afterwards is not checked.

    Examples
    --------
    >>> import quantization as qz
    >>> mu = qz.DiscreteMeasure([[0.0], [1.0], [4.0]], [0.5, 0.25, 0.25])
    >>> mu.size, mu.dim, mu.weights.tolist()
    (3, 1, [0.5, 0.25, 0.25])
    """

    points: Array
    weights: Array
    weights_float64: Array
    graph: tuple[Array | None, Array | None]  # points and weights as given, where they are tensors that require a gradient

    def __init__(self, points: Array, weights: Array | None = None) -> None:
        graph = (_requiring_gradient(points), _requiring_gradient(weights))
        object.__setattr__(self, "graph", graph)
        points, weights = (z if kept is None else kept.detach() for z, kept in zip((points, weights), graph, strict=True))
        points = checked_points(points)
        n = points.shape[0]
        if weights is None:
            host = np.full(n, 1.0 / n)
        else:
            host = checked_probabilities(weights, n, hint=". Use DiscreteMeasure.from_unnormalized for counts")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "weights", asarray_like(host, points))
        object.__setattr__(self, "weights_float64", asarray_like(host, points, dtype=namespace(points).float64))

    @classmethod
    def from_unnormalized(cls, points: Array, counts: Array) -> "DiscreteMeasure":
        r"""The measure $\sum_i (m_i / \sum_j m_j)\, \delta_{x_i}$ of counts or raw weights $m_i \ge 0$.

        Parameters
        ----------
        points : array (n, d)
            As for the class.
        counts : array (n,)
            Finite and nonnegative, at least one of them positive.

        Returns
        -------
        DiscreteMeasure

        Raises
        ------
        ValueError
            For bad input.

        Examples
        --------
        >>> import quantization as qz
        >>> qz.DiscreteMeasure.from_unnormalized([[0.0], [1.0]], [3, 1]).weights.tolist()
        [0.75, 0.25]
        """
        tensor, kept = _requiring_gradient(counts), _requiring_gradient(points)
        n = checked_points(points if kept is None else kept.detach()).shape[0]
        host = checked_weights(counts if tensor is None else tensor.detach(), n)
        # Dividing by the largest first keeps the total finite for masses near the ends of the floating range.
        host = host / host.max()
        measure = cls(points, host / host.sum())
        if tensor is not None:
            object.__setattr__(measure, "graph", (measure.graph[0], tensor / tensor.sum()))
        return measure

    @property
    def size(self) -> int:
        """The number n of points, those of weight zero included."""
        return int(self.points.shape[0])

    @property
    def dim(self) -> int:
        """The dimension d."""
        return int(self.points.shape[1])

    @property
    def requires_grad(self) -> bool:
        """Whether points or weights were given as tensors that require a gradient."""
        return self.graph[0] is not None or self.graph[1] is not None

    def __repr__(self) -> str:
        return f"DiscreteMeasure({self.size} points in R^{self.dim}, {self.points.dtype})"

    def assign(self, points: Array, prices: Array | None = None) -> Array:
        r"""The index of the nearest point of this measure, $\arg\min_k |y - x_k|$, for each of some points y.

        Parameters
        ----------
        points : array (m, d)
            Of the measure's array library.
        prices : array (K,), optional
            p of this measure's points, by which $\arg\min_k |y - x_k|^2 - p_k$ is asked: see :class:`Solution`.

        Returns
        -------
        array (m,)
            Integers, exact for the points' own floating-point values; the lowest index wins a tie.

        Raises
        ------
        ValueError
            For bad input.

        Examples
        --------
        >>> import quantization as qz
        >>> qz.DiscreteMeasure([[0.0], [1.0]]).assign([[0.2], [0.5], [3.0]]).tolist()
        [0, 0, 1]
        """
        points, codes = self._same_space(points), to_host(self.points)
        if prices is None:
            return nearest(points, codes).labels
        return nearest_priced(points, codes, checked_prices(prices, self.size)).labels

    def project(self, points: Array) -> "DiscreteMeasure":
        r"""The measure $\sum_k \mu(V_k)\, \delta_{y_k}$: of all measures on the points y the nearest to this one in every $W_r$.

        Parameters
        ----------
        points : array (K, d)
            Of the measure's array library.

        Returns
        -------
        DiscreteMeasure
            The same points in the same order, the masses of their Voronoi cells as weights; an empty cell has weight 0.

        Raises
        ------
        ValueError
            For bad input.

        References
        ----------
        graf2000.

        Examples
        --------
        >>> import quantization as qz
        >>> mu = qz.DiscreteMeasure([[0.0], [1.0], [4.0]], [0.5, 0.25, 0.25])
        >>> mu.project([[0.5], [3.0], [9.0]]).weights.tolist()
        [0.75, 0.25, 0.0]
        """
        points = self._same_space(points)
        masses = cells(self.points, self.weights_float64, to_host(points)).masses
        return DiscreteMeasure(points, masses / masses.sum())

    def expect(self, f: Callable[[Array], Array]) -> Array:
        r"""The integral $\int f \, d\mu = \sum_i w_i f(x_i)$.

        Parameters
        ----------
        f : callable
            Vectorized: maps the points (n, d) to values (n, ...).

        Returns
        -------
        array (...)
            Summed in float64, complex values in complex128.

        Raises
        ------
        ValueError
            Where f does not return one value per point.

        Examples
        --------
        >>> import quantization as qz
        >>> float(qz.DiscreteMeasure([[0.0], [1.0], [4.0]], [0.5, 0.25, 0.25]).expect(lambda x: x[:, 0] ** 2))
        4.25
        """
        values = f(self.points)
        if getattr(values, "shape", ())[:1] != (self.size,):
            raise ValueError(
                f"f must return one value per point, an array of shape ({self.size}, ...); received {_describe(values)}"
            )
        wide = double(values)
        return namespace(values).tensordot(asarray_like(to_host(self.weights_float64), wide), wide, 1)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        r"""Independent draws $X_1, \dots, X_n \sim \mu$.

        Parameters
        ----------
        n : int
            Number of draws.
        rng : numpy Generator

        Returns
        -------
        array (n, d)
            In the points' array library, dtype and device.

        Raises
        ------
        ValueError
            Where rng is not a Generator.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> qz.DiscreteMeasure([[0.0], [1.0]]).sample(5, np.random.default_rng(0)).shape
        (5, 1)
        """
        if not isinstance(rng, np.random.Generator):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise ValueError(f"rng must be a numpy Generator, such as np.random.default_rng(0); received {rng!r}")
        return self.points[rng.choice(self.size, size=n, p=to_host(self.weights_float64))]

    def save(self, path: str | Path) -> None:
        """Write points and float64 weights to a file (numpy's .npz, no pickle) that appears whole or not at all.

        Parameters
        ----------
        path : str or Path

        Examples
        --------
        >>> import tempfile, pathlib, quantization as qz
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "mu.npz"
        ...     qz.DiscreteMeasure([[0.0], [1.0]]).save(path)
        ...     qz.DiscreteMeasure.load(path)
        DiscreteMeasure(2 points in R^1, float64)
        """
        archive.write(path, {"points": self.points, "weights": to_host(self.weights_float64)})

    @classmethod
    def load(cls, path: str | Path) -> "DiscreteMeasure":
        """The measure that :meth:`save` wrote, as numpy arrays.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        DiscreteMeasure

        Raises
        ------
        ValueError
            For any other file, or a corrupted one.
        """
        stored = archive.read(path, "DiscreteMeasure", ("points", "weights"))
        return cls(stored["points"], stored["weights"])

    def _same_space(self, points: Array) -> Array:
        points = checked_points(points)
        if points.shape[1] != self.dim:
            raise ValueError(f"points must have the measure's dimension {self.dim}; received shape {tuple(points.shape)}")
        if is_torch(points) != is_torch(self.points):
            raise ValueError("points and measure must be of one array library; received numpy and torch. Convert one of them")
        return points


def _requiring_gradient(x: Array | None) -> Array | None:
    return x if is_torch(x) and namespace(x).is_grad_enabled() and cast(Any, x).requires_grad else None


def _describe(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
