"""The one noun: a probability measure on finitely many points of R^d."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantization import archive
from quantization.arrays import (
    Array,
    FloatArray,
    all_finite,
    as_floating,
    check_exact,
    double,
    epsilon,
    is_torch,
    least_positive,
    like,
    namespace,
    to_host,
)
from quantization.voronoi import cells, nearest

_ROUND_OFF = 32 * np.finfo(np.float64).eps  # of numpy's pairwise sum of up to 1e9 weights that were divided by their sum


@dataclass(frozen=True, eq=False, init=False)
class DiscreteMeasure:
    r"""$\mu = \sum_{i=1}^n w_i \delta_{x_i}$ with $w_i \ge 0$ and $\sum_i w_i = 1$.

    points: (n, d), numpy or torch, real and finite; the dtype, device and library are kept (integers become float64).
    weights: (n,), nonnegative, summing to 1 within round-off; ``None`` means 1/n each. They are renormalized in float64 and
    shown in the dtype of the points. Raw masses go through :meth:`from_masses`.
    masses: the same weights in float64, where the points live. Everything is computed with these: in float16 the weights
    1/n of a million points are 5 % too small.

    The points are not copied: what is written into the array afterwards is not checked again. Raises ``ValueError`` for anything
    that is not a probability measure. Checked once, here: what holds a ``DiscreteMeasure``
    need not check again.
    """

    points: Array
    weights: Array
    masses: Array

    def __init__(self, points: Any, weights: Any = None) -> None:
        points = _checked_points(points)
        n = points.shape[0]
        if weights is None:
            host = np.full(n, 1.0 / n)
        else:
            host = _checked_masses(weights, n)
            total, slack = host.sum(), _sum_slack(weights)
            if not abs(total - 1.0) <= slack:
                raise ValueError(
                    f"weights must sum to 1 (within {slack:g}); received a sum of {total:.17g}. "
                    "Use DiscreteMeasure.from_masses for raw masses"
                )
            # Weights that were normalized before stay the same to the last bit.
            host = host / total if abs(total - 1.0) > _ROUND_OFF else host.copy()
        masses = like(host, points, dtype=namespace(points).float64)
        object.__setattr__(self, "points", points)
        object.__setattr__(
            self, "weights", masses.to(points.dtype) if is_torch(points) else masses.astype(points.dtype, copy=False)
        )
        object.__setattr__(self, "masses", masses)

    @classmethod
    def from_masses(cls, points: Any, masses: Any) -> "DiscreteMeasure":
        r"""$\sum_i (m_i / \sum_j m_j)\, \delta_{x_i}$ from raw masses (n,) ≥ 0, at least one of them positive."""
        points = _checked_points(points)
        host = _checked_masses(masses, points.shape[0])
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
        masses = cells(self.points, self.masses, to_host(points)).masses
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
        return namespace(values).tensordot(like(to_host(self.masses), wide), wide, 1)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        r"""n independent draws $X_1, \dots, X_n \sim \mu$, an array (n, d) of the points' own kind."""
        if not isinstance(rng, np.random.Generator):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise ValueError(f"rng must be a numpy Generator, such as np.random.default_rng(0); received {rng!r}")
        return self.points[rng.choice(self.size, size=n, p=to_host(self.masses))]

    def save(self, path: str | Path) -> None:
        """Write points and float64 weights to ``path`` (numpy's .npz, no pickle); the file appears whole or not at all."""
        archive.write(path, {"points": self.points, "weights": to_host(self.masses)})

    @classmethod
    def load(cls, path: str | Path) -> "DiscreteMeasure":
        """The measure that :meth:`save` wrote to ``path``, as numpy arrays."""
        stored = archive.read(path, "DiscreteMeasure", ("points", "weights"))
        return cls(stored["points"], stored["weights"])

    def _same_space(self, points: Any) -> Array:
        points = _checked_points(points)
        if points.shape[1] != self.dim:
            raise ValueError(f"points must have the measure's dimension {self.dim}; received shape {tuple(points.shape)}")
        if is_torch(points) != is_torch(self.points):
            raise ValueError("points and measure must be of one array library; received numpy and torch. Convert one of them")
        return points


def _checked_points(given: Any) -> Array:
    points = as_floating(given)
    if points.ndim != 2 or 0 in points.shape:
        hints = {1: "; write x[:, None] for points on the line", 3: "; for a list of batches write Stream(batches)"}
        hint = hints.get(points.ndim, "")
        raise ValueError(f"points must have shape (n, d) with n, d ≥ 1; received shape {tuple(points.shape)}{hint}")
    if not all_finite(points):
        bad = int((~namespace(points).isfinite(points)).any(1).sum())
        raise ValueError(
            f"points must be finite; received {bad} of {points.shape[0]} rows with NaN or infinite entries. Drop or repair them"
        )
    check_exact(given, points)
    return points


def _checked_masses(masses: Any, n: int) -> FloatArray:
    host = to_host(as_floating(masses, "weights"))
    if host.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), one per point; received shape {host.shape}")
    if not np.isfinite(host).all():
        raise ValueError("weights must be finite; received NaN or infinite entries")
    if (host < 0).any():
        raise ValueError(f"weights must be nonnegative; received {int((host < 0).sum())} negative, the least {host.min():g}")
    if not (host > 0).any():
        raise ValueError(f"weights must not all be zero; received {n} zeros")
    return host


def _sum_slack(weights: Any) -> float:
    """How far from 1 the sum of honest weights of this dtype may lie: their rounding, and units for a sum made in it.

    2^22 units for float64, 2^10 for float32, 2^3 below, where tiny weights are also rounded to a fixed spacing each.
    """
    weights = as_floating(weights, "weights")
    eps = epsilon(weights)
    return eps * (2**22 if eps < 1e-12 else 2**10 if eps < 1e-5 else 2**3) + len(weights) * least_positive(weights) / 2


def _describe(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
