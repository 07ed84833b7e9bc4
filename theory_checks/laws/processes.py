"""Gaussian processes whose Karhunen-Loève expansions are in closed form, on intervals and at rates drawn at random."""

from collections.abc import Mapping

import numpy as np

import quantization as qz
from theory_checks.laws.case import Family, Make

Closed = qz.BrownianMotion | qz.BrownianBridge | qz.OrnsteinUhlenbeck


def _horizon(rng: np.random.Generator) -> float:
    return float(2 ** rng.uniform(-3, 3))


def _reverting(start: str) -> Make[Closed]:
    def make(rng: np.random.Generator, dim: int, size: int) -> Closed:
        rate, volatility, horizon = (float(2 ** rng.uniform(-3, 3)) for _ in range(3))
        if start == "stationary":
            return qz.OrnsteinUhlenbeck(rate, volatility, horizon, "stationary")
        return qz.OrnsteinUhlenbeck(rate, volatility, horizon, float(rng.standard_normal()))

    return make


_KINDS: Mapping[str, Make[Closed]] = {
    "Brownian motion": lambda rng, dim, size: qz.BrownianMotion(_horizon(rng)),
    "Brownian bridge": lambda rng, dim, size: qz.BrownianBridge(_horizon(rng)),
    "Ornstein-Uhlenbeck from a point": _reverting("point"),
    "Ornstein-Uhlenbeck, stationary": _reverting("stationary"),
}
PROCESSES = Family[Closed](
    "Brownian motion, Brownian bridge and Ornstein-Uhlenbeck processes", _KINDS, (1,), (1,), "process", (2, 5, 10, 40, 200)
)
