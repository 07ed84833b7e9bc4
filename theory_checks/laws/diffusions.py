"""Diffusions of Gaussian mixtures with a common covariance, to be run backwards: VP and VE, by the SDE and by the ODE."""

from itertools import product

import numpy as np

from quantization import GaussianMixture
from theory_checks.diffusion import Diffusion
from theory_checks.laws.case import Family, Make

# How far means may lie from their middle, in standard deviations: C grows like exp(R²/s²), and must not make the bound vacuous.
_REACH = {1: 2.5, 2: 2.0, 3: 1.6, 6: 1.2, 64: 0.7}


def data(rng: np.random.Generator, dim: int, m: int, reach: float) -> GaussianMixture:
    """m components N(m_i, s² I) with means within ``reach`` · s of the origin, the first two opposite each other at that
    distance.
    """
    s, directions = rng.uniform(0.4, 0.9), rng.standard_normal((m, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.concatenate([[1.0, 1.0], rng.uniform(0, 1, m - 2)])
    directions[1] = -directions[0]
    weights = 0.1 / m + 0.9 * rng.dirichlet(np.ones(m))
    return GaussianMixture(
        weights, reach * s * lengths[:, None] * directions, np.broadcast_to(s * s * np.eye(dim), (m, dim, dim))
    )


def _diffusion(preserving: bool, stochastic: bool, reach: float = np.inf) -> Make[Diffusion]:
    def make(rng: np.random.Generator, dim: int, size: int) -> Diffusion:
        mixture = data(rng, dim, size, float(rng.uniform(0.3, min(reach, _REACH[dim]))))
        return Diffusion(mixture, preserving, stochastic, begin=0.01, end=5.0 if preserving else 16.0)

    return make


_WAYS = {
    f"{name}, {way}": _diffusion(preserving, stochastic)
    for (name, preserving), (way, stochastic) in product({"VP": True, "VE": False}.items(), {"SDE": True, "ODE": False}.items())
}

DIFFUSIONS = Family[Diffusion](
    "diffusions of mixtures of N(m, s² I), VP and VE, SDE and probability-flow ODE",
    _WAYS,
    tuple(_REACH),
    (2, 3, 5),
    "components",
    (16, 32, 64),
)
# With modes further apart four codes are too few for a rate to show.
ON_THE_LINE = Family[Diffusion](
    "diffusions of mixtures of N(m, s²) on the line, VP and VE",
    {"VP, SDE": _diffusion(True, True, reach=1.5), "VE, SDE": _diffusion(False, True, reach=1.5)},
    (1,),
    (2, 3),
    "components",
    (64,),
)
# With means this near to their middle the flow's Lipschitz constants, both ways, leave a slope little room.
FLOWS = Family[Diffusion](
    "probability flows of mixtures of N(m, s² I), VP and VE",
    {"VP, ODE": _diffusion(True, False, reach=0.7), "VE, ODE": _diffusion(False, False, reach=0.7)},
    (1, 2, 3),
    (2, 3),
    "components",
    (64,),
)
