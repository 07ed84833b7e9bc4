"""The one noun: a probability measure on finitely many points of R^d."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantization import archive
from quantization.arrays import (
    Array,
    asarray_like,
    double,
    is_torch,
    namespace,
    to_host,
)
from quantization.assignment import cells, nearest
from quantization.validation import checked_points, checked_weights, sum_slack

_ROUND_OFF = 32 * np.finfo(np.float64).eps  # of numpy's pairwise sum of up to 1e9 weights that were divided by their sum


@dataclass(frozen=True, eq=False, init=False)
class DiscreteMeasure:
    r"""$\mu = \sum_{i=1}^n w_i \delta_{x_i}$ with $w_i \ge 0$ and $\sum_i w_i = 1$.

    points: (n, d), numpy or torch, real and finite; the dtype, device and library are kept (integers become float64).
    weights: (n,), nonnegative, summing to 1 within round-off; ``None`` means 1/n each. They are renormalized in float64 and
    shown in the dtype of the points. Counts go through :meth:`from_unnormalized`.
    weights_float64: the same weights in float64, where the points live. Everything is computed with these: in float16 the weights
    1/n of a million points are 5 % too small.

    The points are not copied: what is written into the array afterwards is not checked again. Raises ``ValueError`` for anything
    that is not a probability measure. Checked once, here: what holds a ``DiscreteMeasure``
    need not check again.
    """

    points: Array
    weights: Array
    weights_float64: Array

    def __init__(self, points: Any, weights: Any = None) -> None:
        points = checked_points(points)
        n = points.shape[0]
        if weights is None:
            host = np.full(n, 1.0 / n)
        else:
            host = checked_weights(weights, n)
            total, slack = host.sum(), sum_slack(weights)
            if not abs(total - 1.0) <= slack:
                raise ValueError(
                    f"weights must sum to 1 (within {slack:g}); received a sum of {total:.17g}. "
                    "Use DiscreteMeasure.from_unnormalized for counts"
                )
            # Weights that were normalized before stay the same to the last bit.
            host = host / total if abs(total - 1.0) > _ROUND_OFF else host.copy()
        weights_float64 = asarray_like(host, points, dtype=namespace(points).float64)
        object.__setattr__(self, "points", points)
        object.__setattr__(
            self,
            "weights",
            weights_float64.to(points.dtype) if is_torch(points) else weights_float64.astype(points.dtype, copy=False),
        )
        object.__setattr__(self, "weights_float64", weights_float64)

    @classmethod
    def from_unnormalized(cls, points: Any, counts: Any) -> "DiscreteMeasure":
        r"""$\sum_i (m_i / \sum_j m_j)\, \delta_{x_i}$ from counts or raw weights $m_i \ge 0$, (n,), at least one positive."""
        points = checked_points(points)
        host = checked_weights(counts, points.shape[0])
        # Dividing by the largest first keeps the total finite for masses near the ends of the floating range.
        host = host / host.max()
        return cls(points, host / host.sum())

    @property
    def size(self) -> int:
        """The number n of points, those of weight zero included."""
        return int(self.points.shape[0])

    @property
    def dim(self) -> int:
        """The dimension d."""
        return int(self.points.shape[1])

    def __repr__(self) -> str:
        return f"DiscreteMeasure({self.size} points in R^{self.dim}, {self.points.dtype})"

    def assign(self, points: Any) -> Array:
        r"""$k(y) = \arg\min_k |y - x_k|$, the index of the nearest point of this measure, for each of ``points``.

        points: (m, d), of the same array library. Returns (m,) integers. Exact in the points' own floating-point values; the
        lowest index wins a tie.
        """
        return nearest(self._same_space(points), to_host(self.points)).labels

    def project(self, points: Any) -> "DiscreteMeasure":
        r"""$\sum_k \mu(V_k)\, \delta_{y_k}$, the nearest measure to this one in $W_r$, for every r, among those on ``points``.

        points: (K, d). The result has the same points in the same order, with the masses of their Voronoi cells as weights;
        empty cells keep a weight of zero.
        """
        points = self._same_space(points)
        masses = cells(self.points, self.weights_float64, to_host(points)).masses
        return DiscreteMeasure(points, masses / masses.sum())

    def expect(self, f: Callable[[Array], Array]) -> Array:
        r"""$\int f \, d\mu = \sum_i w_i f(x_i)$ for a vectorized ``f``: (n, d) → (n, ...). Returns an array of shape (...).

        Summed in float64, complex values in complex128.
        """
        values = f(self.points)
        if getattr(values, "shape", ())[:1] != (self.size,):
            raise ValueError(
                f"f must return one value per point, an array of shape ({self.size}, ...); received {_describe(values)}"
            )
        wide = double(values)
        return namespace(values).tensordot(asarray_like(to_host(self.weights_float64), wide), wide, 1)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        r"""n independent draws $X_1, \dots, X_n \sim \mu$, an array (n, d) of the points' own kind."""
        if not isinstance(rng, np.random.Generator):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise ValueError(f"rng must be a numpy Generator, such as np.random.default_rng(0); received {rng!r}")
        return self.points[rng.choice(self.size, size=n, p=to_host(self.weights_float64))]

    def save(self, path: str | Path) -> None:
        """Write points and float64 weights to ``path`` (numpy's .npz, no pickle); the file appears whole or not at all."""
        archive.write(path, {"points": self.points, "weights": to_host(self.weights_float64)})

    @classmethod
    def load(cls, path: str | Path) -> "DiscreteMeasure":
        """The measure that :meth:`save` wrote to ``path``, as numpy arrays."""
        stored = archive.read(path, "DiscreteMeasure", ("points", "weights"))
        return cls(stored["points"], stored["weights"])

    def _same_space(self, points: Any) -> Array:
        points = checked_points(points)
        if points.shape[1] != self.dim:
            raise ValueError(f"points must have the measure's dimension {self.dim}; received shape {tuple(points.shape)}")
        if is_torch(points) != is_torch(self.points):
            raise ValueError("points and measure must be of one array library; received numpy and torch. Convert one of them")
        return points


def _describe(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
