"""The works: measures to mix, all made from seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray


@dataclass(frozen=True)
class Work:
    """Some problems of one kind. make(seed): the clouds (n_j, d), each with equal weights. k: atoms of the barycenter."""

    name: str
    title: str
    k: int
    seeds: tuple[int, ...]
    rounds: int
    make: Callable[[int], list[FloatArray]]
    goal: str

    def start(self, seed: int, clouds: list[FloatArray]) -> FloatArray:
        """K different points of all clouds together."""
        pool = np.concatenate(clouds)
        return pool[np.random.default_rng([seed, 1]).choice(len(pool), self.k, replace=False)]


def two_components(seed: int, count: int, n: int, d: int) -> list[FloatArray]:
    """Clouds of two anisotropic Gaussian components with random shares, shapes and places."""
    rng, clouds = np.random.default_rng(seed), list[FloatArray]()
    for _ in range(count):
        parts: list[Any] = []
        for size in rng.multinomial(n, rng.dirichlet([5.0, 5.0])):
            shape = 0.5 * rng.normal(size=(d, d)) * np.exp(rng.normal(size=d) / 2)[:, None]
            parts.append(rng.normal(size=(size, d)) @ shape + 1.5 * rng.normal(size=d))
        clouds.append(np.concatenate(parts))
    return clouds


def latents(seed: int, count: int, n: int, d: int) -> list[FloatArray]:
    """Clouds like latents: 64 directions that all share and weak noise in all d, about different means near 30."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(64, d))
    return [rng.normal(size=(n, 64)) @ directions + rng.normal(size=(n, d)) + 30 + rng.normal(size=d) for _ in range(count)]


WORKS = (
    Work(
        "plane",
        "Four planar measures of 500 points, K = 100",
        100,
        tuple(range(8)),
        1,
        lambda seed: two_components(seed, 4, 500, 2),
        "0.15 % below POT in at most 1.5 s",
    ),
    Work(
        "medium",
        "10 measures of 2,000 points in d = 16, K = 200",
        200,
        (0,),
        1,
        lambda seed: two_components(seed, 10, 2000, 16),
        "below POT in at most 60 s",
    ),
    Work(
        "latents",
        "5 measures of 1,300 points in d = 4096, K = 50",
        50,
        (0,),
        1,
        lambda seed: latents(seed, 5, 1300, 4096),
        "not slower than POT",
    ),
)
