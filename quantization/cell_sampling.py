"""Draws of a law within the cells of a quantizer: by rejection, among a measure's points, in the boxes of a product grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray, to_host
from quantization.assignment import nearest
from quantization.estimate import measured
from quantization.laws import FrozenLaw, GaussianMixture
from quantization.make_problem import known_law, make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.quasi_monte_carlo import Replicated

_MASS_DRAWS = 2**20  # for masses that are not exact
_BLOCK, _MOST_DRAWS = 2**16, 2**28  # of rejection: draws of a round, and of all
_STANDARD_ERRORS = 3  # by which a distortion that is measured is taken larger


class Product(Protocol):
    """A product of grids on the line, as :class:`~quantization.ProductGrid` is one: its cells are boxes."""

    @property
    def factors(self) -> tuple[DiscreteMeasure, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def measure(self) -> DiscreteMeasure: ...

    @property
    def distortion(self) -> float: ...


def is_product(codebook: Any) -> TypeGuard[Product]:
    """Whether a codebook is a product of grids."""
    return hasattr(codebook, "factors")


class CellSampler(Protocol):
    """The cells of a quantizer under a law that can be drawn from.

    masses: (K,). centroids: (K, d), the cells' means m. codes: (K, d). distortion: $E|X - m_{\\hat k}|^2$. draws: how many the
    masses were measured on; 0 where they are exact.
    """

    @property
    def masses(self) -> FloatArray: ...

    @property
    def centroids(self) -> FloatArray: ...

    @property
    def codes(self) -> FloatArray: ...

    @property
    def distortion(self) -> float: ...

    @property
    def draws(self) -> int: ...

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Independent draws (n, d), and the cells that they lie in."""
        ...

    def fill(self, counts: IntArray, rng: np.random.Generator) -> FloatArray:
        """So many independent draws in each cell, (Σ counts, d), cell by cell."""
        ...


def sampler_of(law: Any, codebook: FloatArray, rng: np.random.Generator) -> CellSampler:
    """The Voronoi cells of codes (K, d) under any law to draw from."""
    problem = make_problem(law, len(codebook), 2.0)
    if problem.measure is None and problem.law is None:
        raise ValueError(f"the law must be one to draw from, or a measure; received {problem.kind}. Take a sample of it")
    if isinstance(problem.law, Replicated):
        raise ValueError("draws of QuasiMonteCarlo depend on one another; give the law itself, or marginals with their grid")
    if problem.dim != codebook.shape[1]:
        raise ValueError(f"codes must have the law's dimension {problem.dim}; received {codebook.shape[1]}")
    cells, error = measured(problem, codebook, rng, _MASS_DRAWS)
    shifts = float(cells.masses @ np.square(cells.means - codebook).sum(1))
    distortion = cells.distortion + _STANDARD_ERRORS * error - shifts
    given = cells.masses, cells.means, codebook, max(distortion, 0.0), 0 if problem.exact is not None else _MASS_DRAWS
    return _Members.of(problem, *given) if problem.measure is not None else _Rejection(problem, *given)


def boxes_of(law: Any, grid: Product) -> CellSampler:
    """The cells of a product grid under the marginals (a list) that it was made of."""
    return _Boxes.of(law, grid)


@dataclass(frozen=True)
class _Rejection:
    """Voronoi cells of a law that can be sampled: what falls into a cell that is full already is thrown away."""

    problem: Problem
    masses: FloatArray
    centroids: FloatArray
    codes: FloatArray
    distortion: float
    draws: int

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        points = to_host(self.problem.draw(n, rng))
        return points, np.asarray(nearest(points, self.codes).labels)

    def fill(self, counts: IntArray, rng: np.random.Generator) -> FloatArray:
        ends = np.cumsum(counts)
        filled, used = np.empty((int(ends[-1]), self.problem.dim)), 0
        missing = counts.copy()
        while missing.any():
            if used > _MOST_DRAWS:
                k = int(np.argmax(missing))
                raise ValueError(
                    f"{used} draws of the law were not enough to fill all cells: cell {k} has mass {self.masses[k]:.3g}. Take "
                    "fewer codes, or method='control'"
                )
            points, labels = self.draw(_BLOCK, rng)
            used += _BLOCK
            order = np.argsort(labels, kind="stable")
            starts = np.searchsorted(labels[order], np.arange(len(counts) + 1))
            for k in np.flatnonzero(missing):
                taken = order[starts[k] : starts[k + 1]][: missing[k]]
                place = ends[k] - missing[k]
                filled[place : place + len(taken)] = points[taken]
                missing[k] -= len(taken)
        return filled


@dataclass(frozen=True)
class _Members:
    """Voronoi cells of a finite measure: draws are among its own points, with replacement."""

    points: FloatArray
    levels: FloatArray  # of the cumulated weights, points sorted by cell
    labels: IntArray
    masses: FloatArray
    centroids: FloatArray
    codes: FloatArray
    distortion: float
    draws: int

    @classmethod
    def of(cls, problem: Problem, *given: Any) -> "_Members":
        measure = problem.measure
        assert measure is not None
        points, weights = to_host(measure.points), to_host(measure.weights_float64)
        labels = np.asarray(nearest(points, given[2]).labels)
        order = np.argsort(labels, kind="stable")
        order = order[weights[order] > 0]
        return cls(points[order], np.cumsum(weights[order]), labels[order], *given)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        chosen = self._at(rng.random(n) * self.levels[-1], np.zeros(1, np.int64), np.full(1, len(self.levels)))
        return self.points[chosen], self.labels[chosen]

    def fill(self, counts: IntArray, rng: np.random.Generator) -> FloatArray:
        starts, ends = (np.searchsorted(self.labels, np.arange(len(counts)), side) for side in ("left", "right"))
        cell = np.repeat(np.arange(len(counts)), counts)
        below = np.concatenate([[0.0], self.levels])
        low, high = below[starts[cell]], below[ends[cell]]
        return self.points[self._at(low + rng.random(len(cell)) * (high - low), starts[cell], ends[cell])]

    def _at(self, levels: FloatArray, first: IntArray, end: IntArray) -> IntArray:
        """The points at these levels of the cumulated weights, round-off kept within the cell."""
        return np.clip(np.searchsorted(self.levels, levels, side="right"), first, end - 1)


@dataclass(frozen=True)
class _Boxes:
    """The cells of a product grid, boxes: a coordinate in an interval is its quantile function of a uniform level."""

    grid: Product
    marginals: list[Any]  # frozen distributions of scipy.stats
    levels: list[FloatArray]  # of each coordinate, its distribution function at the ends of its cells
    masses: FloatArray
    centroids: FloatArray
    codes: FloatArray
    distortion: float
    draws: int = 0

    @classmethod
    def of(cls, law: Any, grid: Product) -> "_Boxes":
        given: list[Any] = list(cast(Sequence[Any], law)) if isinstance(law, list | tuple) else [law]
        if len(given) != len(grid.factors):
            raise ValueError(
                f"with a product grid law must be the list of its {len(grid.factors)} marginals; received {len(given)}"
            )
        marginals = [_distribution(one, i) for i, one in enumerate(given)]
        levels = list[FloatArray]()
        for marginal, factor in zip(marginals, grid.factors, strict=True):
            x = to_host(factor.points)[:, 0]
            levels.append(np.concatenate([[0.0], marginal.cdf((x[1:] + x[:-1]) / 2), [1.0]]))
        masses = np.ones(1)
        for one in levels:
            masses = np.outer(masses, np.diff(one)).ravel()
        if not np.allclose(masses, to_host(grid.measure.weights_float64), rtol=1e-6, atol=1e-9):
            raise ValueError(
                "law must be the list of marginals that the product grid was made of; received others, with other masses"
            )
        codes = to_host(grid.measure.points)
        return cls(grid, marginals, levels, masses, codes, codes, grid.distortion)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        u = rng.random((n, len(self.levels)))
        parts = [np.searchsorted(one[1:-1], u[:, j], side="right") for j, one in enumerate(self.levels)]
        points = np.stack([marginal.ppf(u[:, j]) for j, marginal in enumerate(self.marginals)], axis=1)
        return points, np.ravel_multi_index(parts, self.grid.shape)

    def fill(self, counts: IntArray, rng: np.random.Generator) -> FloatArray:
        cell = np.repeat(np.arange(len(counts)), counts)
        u, parts = rng.random((len(cell), len(self.levels))), np.unravel_index(cell, self.grid.shape)
        columns = list[FloatArray]()
        for j, (marginal, levels) in enumerate(zip(self.marginals, self.levels, strict=True)):
            low, high = levels[parts[j]], levels[parts[j] + 1]
            columns.append(marginal.ppf(low + u[:, j] * (high - low)))
        return np.stack(columns, axis=1)


def _distribution(law: Any, i: int) -> Any:
    """A marginal as a frozen distribution of scipy.stats."""
    known = known_law(law, 2.0)
    if isinstance(known, FrozenLaw):
        return known.distribution
    if isinstance(known, GaussianMixture) and known.dim == 1 and len(known.weights) == 1:
        return scipy.stats.norm(known.means[0, 0], float(known.covs[0, 0, 0]) ** 0.5)
    kind = type(law).__name__
    raise ValueError(f"marginal {i} must be a Gaussian or a frozen scipy.stats distribution on the line; received {kind}")
