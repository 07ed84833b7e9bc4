"""Codes of prescribed masses beside free ones and, where it is installed, k-means-constrained: ``python -m benchmarks.masses``.

Everyone begins at the same codes. Costs are those of the exact assignment to the codes returned. Wall seconds of one run, after a
short one that loads and compiles; the tables are Markdown.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import quantization as qz


def main(arguments: list[str] | None = None) -> None:
    """Print the tables of the works asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.masses", description=__doc__.split("\n\n")[0])
    parser.add_argument("--works", nargs="*", default=list(WORKS), choices=list(WORKS), help="which (default: all)")
    for name in parser.parse_args(arguments).works:
        print(f"\n{WORKS[name].__doc__}\n\n| | seconds | steps | cost | gap / cost |\n|---|---|---|---|---|")
        for who, run in WORKS[name]().items():
            start = time.perf_counter()
            answers = run()
            print(_row(who, time.perf_counter() - start, answers), flush=True)


def _row(who: str, seconds: float, answers: list[qz.Solution]) -> str:
    cost = sum(float(s.distortion) for s in answers)
    gap = max(s.masses_gap / s.distortion for s in answers)
    steps = sum(s.n_iter for s in answers) / len(answers)
    return f"| {who} | {seconds:.2f} | {steps:.0f} | {cost:.6g} | {gap:.1g} |"


def _clusters(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Clusters of several sizes and spreads."""
    rng = np.random.default_rng(seed)
    centres, shares = 3 * rng.normal(size=(30, d)), rng.dirichlet(np.ones(30))
    return centres[rng.choice(30, size=n, p=shares)] + rng.normal(size=(n, d)) * rng.uniform(0.5, 2, size=(n, 1))


def _pairs(x: Any, k: int, **options: Any) -> dict[str, Callable[[], list[qz.Solution]]]:
    """Uniform and free masses from the same codes."""
    qz.quantize(x[:1000], 5, masses="uniform", rng=0)
    qz.quantize(x[:1000], 5, rng=0)
    codes = qz.quantize(x, k, max_iter=0, rng=0).points
    return {
        'masses="uniform"': lambda: [qz.quantize(x, k, masses="uniform", init=codes, rng=0, **options)],
        'masses="free"': lambda: [qz.quantize(x, k, init=codes, rng=0, **options)],
    }


def _constrained(x: Any, k: int) -> dict[str, Callable[[], list[qz.Solution]]]:
    if find_spec("k_means_constrained") is None:
        return {}
    from k_means_constrained import KMeansConstrained

    codes = qz.quantize(x, k, max_iter=0, rng=0).points

    def run() -> list[qz.Solution]:
        peer = KMeansConstrained(k, size_min=len(x) // k, size_max=-(-len(x) // k), init=codes, n_init=1).fit(x)
        return [qz.quantize(x, k, masses="uniform", init=peer.cluster_centers_, max_iter=0, rng=0)]

    return {"k-means-constrained (and one assignment of ours, for its cost)": run}


def _small() -> dict[str, Callable[[], list[qz.Solution]]]:
    """2,300 × 50, K = 10, to each one's default tolerance"""
    x = _clusters(2300, 50)
    return _pairs(x, 10) | _constrained(x, 10)


def _medium() -> dict[str, Callable[[], list[qz.Solution]]]:
    """23,000 × 50, K = 10, to each one's default tolerance"""
    x = _clusters(23_000, 50)
    return _pairs(x, 10)


def _classes() -> dict[str, Callable[[], list[qz.Solution]]]:
    """10 classes of 1300 × 4096 in float32, K = 50, by `quantize_many`"""
    laws = [_clusters(1300, 4096, seed).astype(np.float32) for seed in range(10)]
    codes = [s.points for s in qz.quantize_many(laws, 50, max_iter=0, rng=0)]
    qz.quantize_many(laws[:2], 50, masses="uniform", init=codes[:2], max_iter=1, rng=0)
    return {
        f'masses="{masses}"': lambda masses=masses: qz.quantize_many(laws, 50, masses=masses, init=codes, rng=0)
        for masses in ("uniform", "free")
    }


def _large() -> dict[str, Callable[[], list[qz.Solution]]]:
    """1,000,000 × 32 in float32, K = 256, 10 steps"""
    return _pairs(_clusters(1_000_000, 32).astype(np.float32), 256, max_iter=10)


WORKS = {"small": _small, "medium": _medium, "classes": _classes, "large": _large}

if __name__ == "__main__":
    main()
