"""The work that is timed: data, starting codes and steps, the same for everyone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Problem:
    """Points (n, d) and a codebook (K, d) for every restart."""

    points: Array
    starts: list[Array]


@dataclass(frozen=True)
class Work:
    """Some problems, K codes, and the steps that everyone takes on them; goal: the ratio to scikit-learn's Lloyd to reach."""

    name: str
    title: str
    steps: int
    goal: float
    problems: Callable[[], list[Problem]]


def _normal(n: int, d: int, k: int, restarts: int = 1) -> Callable[[], list[Problem]]:
    def make() -> list[Problem]:
        rng = np.random.default_rng(0)
        points = rng.standard_normal((n, d), dtype=np.float32)
        return [Problem(points, [_chosen(points, k, rng) for _ in range(restarts)])]

    return make


def _latents(count: int, n: int, d: int, k: int, restarts: int = 1, rank: int = 64) -> Callable[[], list[Problem]]:
    """Points near a subspace, with variances that fall like 1/j, as the latents of images have."""

    def make() -> list[Problem]:
        problems: list[Problem] = []
        for seed in range(count):
            rng = np.random.default_rng(seed)
            inside = rng.standard_normal((n, rank)) * (1 + np.arange(rank)) ** -0.5
            points = inside @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d))
            points = points.astype(np.float32)
            problems.append(Problem(points, [_chosen(points, k, rng) for _ in range(restarts)]))
        return problems

    return make


def _chosen(points: Array, k: int, rng: np.random.Generator) -> Array:
    return points[rng.choice(len(points), k, replace=False)].copy()


WORKS = [
    Work("plane", "200,000 × 2, K = 1000, 20 steps", 20, 0.10, _normal(200_000, 2, 1000)),
    Work("medium", "1,000,000 × 32, K = 256, 10 steps", 10, 0.60, _normal(1_000_000, 32, 256)),
    Work("latents", "20 problems of 1300 × 4096, K = 50, 10 steps", 10, 0.65, _latents(20, 1300, 4096, 50)),
    Work("restarts", "the same, 10 restarts each", 10, 0.065, _latents(20, 1300, 4096, 50, restarts=10)),
    Work("wide", "10 problems of 1300 × 16384, K = 10, 10 steps", 10, 0.90, _latents(10, 1300, 16384, 10)),
    Work("line", "1,000,000 × 1, K = 100, 20 steps", 20, 0.08, _normal(1_000_000, 1, 100)),
]
