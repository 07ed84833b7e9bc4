"""Gaussian mixtures: one component and several, overlapping and apart, thin in one direction, of very unequal weights."""

from collections.abc import Mapping

import numpy as np

from quantization import GaussianMixture
from theory_checks.laws.case import Family, Make


def mixture(rng: np.random.Generator, dim: int, m: int, *, apart: float, flat: float = 1.0) -> GaussianMixture:
    """m components: weights unequal, at least 1/10m; means ``apart`` deviations away; the last eigenvalue times ``flat``."""
    rotations = np.linalg.qr(rng.standard_normal((m, dim, dim)))[0]
    spectra = rng.uniform(0.3, 1.0, (m, dim))
    spectra[:, -1] *= flat
    covs = np.einsum("mij,mj,mkj->mik", rotations, spectra, rotations)
    weights = 0.1 / m + 0.9 * rng.dirichlet(np.ones(m))
    return GaussianMixture(weights, apart * rng.standard_normal((m, dim)), (covs + covs.transpose(0, 2, 1)) / 2)


def _unequal(rng: np.random.Generator, dim: int, m: int) -> GaussianMixture:
    """Weights over four orders of magnitude."""
    even, masses = mixture(rng, dim, m, apart=2.0), 10.0 ** -np.linspace(0, 4, m)
    return GaussianMixture(masses / masses.sum(), even.means, even.covs)


MIXTURE_KINDS: Mapping[str, Make[GaussianMixture]] = {
    "one Gaussian": lambda rng, dim, size: mixture(rng, dim, 1, apart=1.0),
    "overlapping mixture": lambda rng, dim, size: mixture(rng, dim, size, apart=0.7),
    "separated mixture": lambda rng, dim, size: mixture(rng, dim, size, apart=20.0),
    "near-singular mixture": lambda rng, dim, size: mixture(rng, dim, size, apart=1.0, flat=1e-10),
    "very unequal weights": _unequal,
}

MIXTURES = Family("Gaussian mixtures on R^d", MIXTURE_KINDS, (1, 2, 3, 4, 5, 6, 64), (2, 3, 5), "components", (2, 3, 4, 5, 6))
