"""Distances of many pairs at once beside a loop over POT, and on a GPU: ``python -m benchmarks.transport``.

1000 pairs of 100 × 100 planar points. POT runs with its defaults on numpy arrays, its costs by whichever of ``ot.dist`` and
scipy's ``cdist`` is faster. Wall seconds, medians of rounds that take turns in one process; the tables are Markdown. ``--device
cuda`` is for entropic transport of the same pairs as tensors, together and one by one.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

import quantization as qz

Run = Callable[[], Any]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transport", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=100, help="points of either measure (default: 100)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", help="entropic transport there, as cuda, instead of POT")
    asked = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, asked.pairs, asked.size, 2))
    if asked.device:
        print(_table(_entropic(x, y, asked.device), asked.rounds, "one by one"))
        return
    weights = rng.dirichlet(np.ones(asked.size), size=(2, asked.pairs))
    equal = np.full_like(weights, 1 / asked.size)
    for name, (a, b) in (("equal weights", equal), ("random weights", weights)):
        print(f"\n{asked.pairs} pairs of {asked.size} × {asked.size} points, {name}\n")
        print(_table(_exact(x, y, a, b), asked.rounds, "POT"), flush=True)


def _exact(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> dict[str, Run]:
    ot: Any = import_module("ot")
    mus, nus = ([qz.DiscreteMeasure(*m) for m in zip(z, w, strict=True)] for z, w in ((x, a), (y, b)))

    def loop(costs: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.array([ot.emd2(u, v, costs(s, t)) for s, t, u, v in zip(x, y, a, b, strict=True)])

    return {
        "POT, `ot.dist`": lambda: loop(ot.dist),
        "POT, `cdist`": lambda: loop(lambda s, t: cdist(s, t, "sqeuclidean")),
        "**wasserstein_many**": lambda: qz.wasserstein_many(mus, nus) ** 2,
    }


def _entropic(x: np.ndarray, y: np.ndarray, device: str) -> dict[str, Run]:
    torch: Any = import_module("torch")
    mus, nus = (torch.tensor(z, device=device) for z in (x, y))
    method = qz.Sinkhorn(0.1)
    return {
        "wasserstein one by one": lambda: np.array([qz.wasserstein(s, t, method=method) for s, t in zip(mus, nus, strict=True)]),
        "**wasserstein_many**": lambda: np.asarray(qz.wasserstein_many(mus, nus, method=method)),
    }


def _table(runs: dict[str, Run], rounds: int, peer: str) -> str:
    """Median seconds, how many times faster than the fastest of a peer's rows, and the largest difference to the first row."""
    answers = {name: run() for name, run in runs.items()}  # which also loads and compiles
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    best = min((n for n in runs if peer in n), key=lambda n: median(seconds[n]))
    first = next(iter(answers.values()))
    lines = [f"| | seconds | times as fast as {best} | largest relative difference |", "|---|---|---|---|"]
    for name, taken in seconds.items():
        ratio = median(s / t for s, t in zip(seconds[best], taken, strict=True))
        lines.append(f"| {name} | {median(taken):.2f} | {ratio:.2f} | {np.max(np.abs(answers[name] / first - 1)):.1g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
