r"""Random laws to check claims on: Gaussian mixtures, finite measures, grids; the awkward kinds by name.

A case is a handful of numbers, and a law is a function of it. Hypothesis draws those numbers in the tests, a numpy ``Generator``
draws them for the command, and a case copied from a report gives the same law again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantization import DiscreteMeasure, GaussianMixture

L = TypeVar("L")
FloatArray = NDArray[np.float64]
Make = Callable[[np.random.Generator, int, int], L]  # (rng, dim, size)

CODES = (2, 3, 4, 5, 6)
_SEEDS: int = 2**31


@dataclass(frozen=True)
class Case:
    """Generated inputs: a kind of law in R^dim, its size, the number k of codes, and the seed of all that is random."""

    kind: str
    dim: int
    size: int
    k: int
    seed: int


@dataclass(frozen=True)
class Family(Generic[L]):
    """The laws that a claim is for.

    words: what they are. kinds: name → a function (rng, dim, size) → law. dims, sizes: what those may be; ``size`` is ``unit``.
    """

    words: str
    kinds: Mapping[str, Make[L]]
    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    unit: str

    def law(self, case: Case) -> L:
        """The law of a case; its random numbers are independent of those that a claim draws from ``case.seed``."""
        return self.kinds[case.kind](np.random.default_rng([case.seed, 1]), case.dim, case.size)

    def cases(self, rng: np.random.Generator, rounds: int) -> Iterator[Case]:
        """``rounds`` cases of every kind."""
        for _ in range(rounds):
            for kind in self.kinds:
                dim, size, k = (choices[rng.integers(len(choices))] for choices in (self.dims, self.sizes, CODES))
                yield Case(kind, dim, size, k, int(rng.integers(_SEEDS)))


def _mixture(rng: np.random.Generator, dim: int, m: int, *, apart: float, flat: float = 1.0) -> GaussianMixture:
    """m components: weights unequal, at least 1/10m; means ``apart`` deviations away; the last eigenvalue times ``flat``."""
    rotations = np.linalg.qr(rng.standard_normal((m, dim, dim)))[0]
    spectra = rng.uniform(0.3, 1.0, (m, dim))
    spectra[:, -1] *= flat
    covs = np.einsum("mij,mj,mkj->mik", rotations, spectra, rotations)
    weights = 0.1 / m + 0.9 * rng.dirichlet(np.ones(m))
    return GaussianMixture(weights, apart * rng.standard_normal((m, dim)), (covs + covs.transpose(0, 2, 1)) / 2)


_MIXTURES: Mapping[str, Make[GaussianMixture]] = {
    "one Gaussian": lambda rng, dim, size: _mixture(rng, dim, 1, apart=1.0),
    "overlapping mixture": lambda rng, dim, size: _mixture(rng, dim, size, apart=0.7),
    "separated mixture": lambda rng, dim, size: _mixture(rng, dim, size, apart=20.0),
    "near-singular mixture": lambda rng, dim, size: _mixture(rng, dim, size, apart=1.0, flat=1e-10),
}


def _draws(rng: np.random.Generator, dim: int, n: int, kind: str) -> DiscreteMeasure:
    """n draws of a mixture, with unequal weights."""
    return DiscreteMeasure(_MIXTURES[kind](rng, dim, 3).sample(n, rng), rng.dirichlet(np.ones(n)))


def _repeated(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """n points of equal weight, of which about n/3, and at least 7, are distinct."""
    distinct = max(n // 3, 7)
    points = _mixture(rng, dim, 2, apart=2.0).sample(distinct, rng)
    return DiscreteMeasure(points[np.concatenate([np.arange(distinct), rng.integers(distinct, size=n - distinct)])])


def _lattice(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """n points of equal weight on the integer lattice: equal distances abound."""
    line = np.concatenate([np.arange(7), rng.integers(0, 7, n - 7)])
    return DiscreteMeasure(np.column_stack([line, rng.integers(0, 3, (n, dim - 1))]).astype(np.float64))


def _heavy(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """Weights over six orders of magnitude, most of the mass on one point."""
    masses = 10.0 ** rng.uniform(-6, -1, n)
    masses[0] = 10.0
    return DiscreteMeasure.from_masses(_mixture(rng, dim, 2, apart=2.0).sample(n, rng), masses)


def _remote(rng: np.random.Generator, dim: int, n: int) -> DiscreteMeasure:
    """A unit spread about 1000 away from the origin, where |x|² + |y|² − 2x·y cancels."""
    points = _mixture(rng, dim, 2, apart=1.0).sample(n, rng) + 1e3 * rng.standard_normal(dim)
    return DiscreteMeasure(points, rng.dirichlet(np.ones(n)))


_FINITE: Mapping[str, Make[DiscreteMeasure]] = {
    "one Gaussian": lambda rng, dim, size: _draws(rng, dim, size, "one Gaussian"),
    "overlapping mixture": lambda rng, dim, size: _draws(rng, dim, size, "overlapping mixture"),
    "separated mixture": lambda rng, dim, size: _draws(rng, dim, size, "separated mixture"),
    "near-singular mixture": lambda rng, dim, size: _draws(rng, dim, size, "near-singular mixture"),
    "repeated points": _repeated,
    "lattice": _lattice,
    "one heavy point": _heavy,
    "far from the origin": _remote,
}

MIXTURES = Family("Gaussian mixtures on R^d", _MIXTURES, (1, 2, 3, 4, 5, 6), (2, 3, 5), "components")
# Sizes are primes above every k: with equal weights no k divides the points evenly, so cell masses are never all equal.
FINITE = Family("finitely many weighted points of R^d", _FINITE, (1, 2, 3, 4, 5, 6), (11, 23, 47, 97), "points")
UNIFORM_GRID = Family[DiscreteMeasure](
    "U[0, 1], as n equal masses at (i − ½)/n",
    {"grid": lambda rng, dim, size: DiscreteMeasure((np.arange(size)[:, None] + 0.5) / size)},
    (1,),
    (503, 1009, 2003),
    "points",
)


def codebook(mu: DiscreteMeasure, k: int, rng: np.random.Generator) -> FloatArray:
    """k codes in general position near the points of ``mu``, (k, d): almost surely no point is as near to one as to another."""
    points: FloatArray = np.asarray(mu.points)
    chosen = points[rng.choice(len(points), size=k, replace=False)]
    return chosen + 0.3 * spread(mu) * rng.standard_normal(chosen.shape)


def spread(mu: DiscreteMeasure) -> float:
    r"""$(E|X - EX|^2 / d)^{1/2}$: the standard deviation of a coordinate."""
    weights: FloatArray = np.asarray(mu.weights)
    centred: FloatArray = mu.points - weights @ mu.points
    return float(np.sqrt(weights @ np.square(centred).sum(1) / mu.dim))
