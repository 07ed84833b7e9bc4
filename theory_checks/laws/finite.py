"""Finite measures: draws of every kind of mixture, repeated points, ties, one heavy point, points far from the origin; grids."""

from collections.abc import Mapping

import numpy as np

from quantization import DiscreteMeasure
from theory_checks.laws.case import Family, Make
from theory_checks.laws.mixtures import MIXTURE_KINDS, mixture


def _draws(rng: np.random.Generator, dim: int, n: int, kind: str) -> DiscreteMeasure:
    """n draws of a mixture, with unequal weights."""
    return DiscreteMeasure(MIXTURE_KINDS[kind](rng, dim, 3).sample(n, rng), rng.dirichlet(np.ones(n)))


def _repeated(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """n points of equal weight, of which about n/3, and at least 7, are distinct."""
    distinct = max(n // 3, 7)
    points = mixture(rng, dim, 2, apart=2.0).sample(distinct, rng)
    return DiscreteMeasure(points[np.concatenate([np.arange(distinct), rng.integers(distinct, size=n - distinct)])])


def _lattice(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """n points of equal weight on the integer lattice: equal distances abound."""
    line = np.concatenate([np.arange(7), rng.integers(0, 7, n - 7)])
    return DiscreteMeasure(np.column_stack([line, rng.integers(0, 3, (n, dim - 1))]).astype(np.float64))


def _heavy(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """Weights over six orders of magnitude, most of the mass on one point."""
    masses = 10.0 ** rng.uniform(-6, -1, n)
    masses[0] = 10.0
    return DiscreteMeasure.from_unnormalized(mixture(rng, dim, 2, apart=2.0).sample(n, rng), masses)


def _remote(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """A unit spread about 1000 away from the origin, where |x|² + |y|² − 2x·y cancels."""
    points = mixture(rng, dim, 2, apart=1.0).sample(n, rng) + 1e3 * rng.standard_normal(dim)
    return DiscreteMeasure(points, rng.dirichlet(np.ones(n)))


FINITE_KINDS: Mapping[str, Make[DiscreteMeasure]] = {
    **{kind: lambda rng, dim, size, kind=kind: _draws(rng, dim, size, kind) for kind in MIXTURE_KINDS},
    "repeated points": _repeated,
    "lattice": _lattice,
    "one heavy point": _heavy,
    "far from the origin": _remote,
}

# Sizes are primes above every k: with equal weights no k divides the points evenly, so cell masses are never all equal.
FINITE = Family(
    "finitely many weighted points of R^d",
    FINITE_KINDS,
    (1, 2, 3, 4, 5, 6, 64),
    (11, 23, 47, 97),
    "points",
    (2, 3, 4, 5, 6),
)
UNIFORM_GRID = Family[DiscreteMeasure](
    "U[0, 1], as n equal masses at (i − ½)/n",
    {"grid": lambda rng, dim, size: DiscreteMeasure((np.arange(size)[:, None] + 0.5) / size)},
    (1,),
    (503, 1009, 2003),
    "points",
    (2, 3, 4, 5, 6),
)
