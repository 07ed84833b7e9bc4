"""n points for a law, by optimal quantizers, kernel thinning, herding, Sobol and draws: ``python -m benchmarks.coresets``.

Everyone but Sobol is given the same pool of draws. Judged are the Wasserstein distance to 20,000 other draws and the maximum
mean discrepancy (MMD) to the law itself, in closed form; of digits, both to all images. The kernel is $\\exp(-|x - y|^2 / 2
h^2)$, h the median distance of draws; kernel thinning and herding are given it. Kernel thinning is that of goodpoints (``pip
install goodpoints``), left out where that is not installed. Mean ± standard error over seeds, as Markdown tables.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist

import quantization as qz

_JUDGES = 20_000
_MIXTURE = qz.GaussianMixture(
    [0.4, 0.3, 0.2, 0.1],
    [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0], [1.0, -3.0]],
    [[[1.0, 0.6], [0.6, 1.0]], [[0.3, 0.0], [0.0, 1.5]], [[0.5, -0.2], [-0.2, 0.4]], [[0.1, 0.0], [0.0, 0.1]]],
)


def digits() -> qz.DiscreteMeasure:
    """The 1797 images of 8 × 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits

    return qz.DiscreteMeasure(np.asarray(load_digits().data, dtype=np.float64))


LAWS: dict[str, tuple[str, Callable[[], Any], int]] = {  # with the size of the pool, a power of two
    "mixture": ("Gaussian mixture in the plane", lambda: _MIXTURE, 4096),
    "gaussian": ("N(0, I₈)", lambda: qz.Gaussian(np.zeros(8), np.eye(8)), 4096),
    "digits": ("Digits, 8 × 8 pixels", digits, 1024),
}


@dataclass(frozen=True)
class Task:
    """A pool of draws to be summed up in n points, with the kernel's bandwidth."""

    law: Any
    pool: np.ndarray
    n: int
    bandwidth: float
    seed: int

    def kernel(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The kernel's matrix."""
        return np.exp(-cdist(x, y, "sqeuclidean") / (2 * self.bandwidth**2))


def free(task: Task) -> qz.DiscreteMeasure | None:
    """Optimal quantizer, weighted by its masses."""
    return qz.quantize(task.pool, task.n, rng=task.seed).measure


def balanced(task: Task) -> qz.DiscreteMeasure | None:
    """Optimal quantizer of equal masses."""
    return qz.quantize(task.pool, task.n, masses="uniform", rng=task.seed).measure


def thinning(task: Task) -> qz.DiscreteMeasure | None:
    """Kernel thinning."""
    if find_spec("goodpoints") is None:
        return None
    matrix = task.kernel(task.pool, task.pool)
    rounds = (len(task.pool) // task.n).bit_length() - 1
    return qz.DiscreteMeasure(task.pool[import_module("goodpoints.kt").thin_K(matrix, matrix.copy(), rounds, seed=task.seed)])


def herding(task: Task) -> qz.DiscreteMeasure | None:
    """Kernel herding."""
    matrix = task.kernel(task.pool, task.pool)
    mean, sums, chosen = matrix.mean(1), np.zeros(len(matrix)), list[int]()
    for count in range(task.n):
        chosen.append(int((mean - sums / (count + 1)).argmax()))
        sums += matrix[chosen[-1]]
    return qz.DiscreteMeasure(task.pool[chosen])


def sobol(task: Task) -> qz.DiscreteMeasure | None:
    """Sobol points, scrambled."""
    if isinstance(task.law, qz.DiscreteMeasure):
        return None
    return qz.DiscreteMeasure(qz.QuasiMonteCarlo(task.law).sample(task.n, np.random.default_rng(task.seed)))


def draws(task: Task) -> qz.DiscreteMeasure | None:
    """Independent draws."""
    return qz.DiscreteMeasure(task.pool[: task.n])


METHODS: tuple[Callable[[Task], qz.DiscreteMeasure | None], ...] = (free, balanced, thinning, herding, sobol, draws)


def mmd(task: Task, nu: qz.DiscreteMeasure) -> float:
    """The maximum mean discrepancy between the law and a measure."""
    points, w = np.asarray(nu.points), nu.weights_float64
    if isinstance(task.law, qz.DiscreteMeasure):
        x = task.law.points
        whole, across = task.kernel(x, x).mean(), task.kernel(points, x).mean(1)
    else:
        m, c, shares = task.law.means, task.law.covs, task.law.weights
        whole = sum(s * _smoothed(task, m[i : i + 1], m, c + c[i], shares)[0] for i, s in enumerate(shares))
        across = _smoothed(task, points, m, c, shares)
    return float(np.sqrt(max(whole - 2 * w @ across + w @ task.kernel(points, points) @ w, 0.0)))


def _smoothed(task: Task, x: np.ndarray, means: np.ndarray, covs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """E k(x, Y) of a mixture Y: h^d det(h² I + C)^(-1/2) exp(-(x - m)' (h² I + C)^(-1) (x - m) / 2), summed."""
    total, square = np.zeros(len(x)), task.bandwidth**2
    for share, mean, cov in zip(shares, means, covs, strict=True):
        inner = np.eye(len(cov)) + cov / square
        away = np.linalg.solve(inner, (x - mean).T).T
        total += share * np.linalg.det(inner) ** -0.5 * np.exp(-((x - mean) * away).sum(1) / (2 * square))
    return total


def measured(name: str, n: int, seeds: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """For every method the pairs (W₂, MMD) of all seeds, (seeds, 2); and the MMD of the pools themselves, (seeds,)."""
    _, make, size = LAWS[name]
    law = make()
    bandwidth = float(np.median(pdist(np.asarray(law.sample(1000, np.random.default_rng(0))))))
    found: dict[str, list[tuple[float, float]]] = {}
    floor = list[float]()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        if isinstance(law, qz.DiscreteMeasure):
            pool, judge = law.points[rng.permutation(law.size)[:size]], law
        else:
            pool, judge = (np.asarray(law.sample(m, rng)) for m in (size, _JUDGES))
        task = Task(law, pool, n, bandwidth, seed)
        floor.append(mmd(task, qz.DiscreteMeasure(pool)))
        for method in METHODS:
            nu = method(task)
            if nu is not None:
                found.setdefault(str(method.__doc__).rstrip("."), []).append((qz.wasserstein(judge, nu), mmd(task, nu)))
    return {who: np.array(pairs) for who, pairs in found.items()}, np.array(floor)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables of the laws asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coresets", description=__doc__.split("\n\n")[0])
    parser.add_argument("--laws", nargs="*", default=list(LAWS), choices=list(LAWS), help="which (default: all)")
    parser.add_argument("--points", nargs="*", type=int, default=[16, 64], help="powers of two (default: 16 64)")
    parser.add_argument("--seeds", type=int, default=5, help="pools of draws (default: 5)")
    options = parser.parse_args(arguments)
    for name in options.laws:
        columns, floors = zip(*[measured(name, n, options.seeds) for n in options.points], strict=True)
        print(
            f"\n{LAWS[name][0]}; MMD of the pool itself: {_cell(floors[0])}\n\n| |"
            + "".join(f" W₂, n = {n} | MMD, n = {n} |" for n in options.points)
        )
        print("|---" * (1 + 2 * len(columns)) + "|")
        for who in columns[0]:
            cells = [_cell(column[who][:, j]) for column in columns for j in range(2)]
            print(f"| {who} | {' | '.join(cells)} |", flush=True)


def _cell(values: np.ndarray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{values.mean():.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
