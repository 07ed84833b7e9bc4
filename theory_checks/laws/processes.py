"""Gaussian processes: with Karhunen-Loève expansions in closed form, and as diffusions, at parameters drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class MeanReverting:
    r"""$dX = -\theta X\,dt + \sigma\,dW$; Euler's scheme $x \mapsto (1 - \theta h) x + \sigma \sqrt h Z$, is normal."""

    rate: float
    volatility: float
    start: float
    times: tuple[float, ...]

    @property
    def step(self) -> float:
        return self.times[1] - self.times[0]

    @property
    def slope(self) -> float:
        r"""$1 - \theta h$, by which one step of two paths with the same noise brings them together or apart."""
        return 1 - self.rate * self.step

    @property
    def diffusion(self) -> qz.Diffusion:
        return qz.Diffusion(self.start, lambda t, x: -self.rate * x, lambda t, x: self.volatility + 0 * x)

    def at(self, date: int) -> qz.Gaussian:
        """The law of Euler's scheme at a date after the first."""
        squares = self.slope ** (2 * np.arange(date))
        return qz.Gaussian([self.start * self.slope**date], [[self.volatility**2 * self.step * float(squares.sum())]])


def _reverting_scheme(sign: float) -> Make[MeanReverting]:
    def make(rng: np.random.Generator, dim: int, size: int) -> MeanReverting:
        horizon = _horizon(rng)
        # |1 − θ h| between a half and 1.1: paths that come together, or apart.
        rate = float(rng.uniform(0, 0.5) if sign > 0 else -rng.uniform(0, 0.1)) * size / horizon
        times = tuple(np.linspace(0, horizon, size + 1).tolist())
        return MeanReverting(rate, float(2 ** rng.uniform(-3, 3)), float(rng.standard_normal()), times)

    return make


SCHEMES = Family[MeanReverting](
    "Euler's scheme of linear diffusions with constant volatility",
    {"mean-reverting": _reverting_scheme(1.0), "explosive": _reverting_scheme(-1.0)},
    (1,),
    (2, 5, 12),
    "dates",
    (2, 5, 20, 60),
)
