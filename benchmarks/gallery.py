"""The pictures of the documentation: ``python -m benchmarks.gallery`` writes them to docs/pictures/."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy import stats

import quantization as qz
from benchmarks.barycenters.work import two_components
from quantization import plot

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
MIXTURE = qz.GaussianMixture(
    np.array([0.35, 0.25, 0.4]),
    np.array([[-2.0, 0.0], [1.5, 1.8], [1.2, -1.5]]),
    np.array([[[0.6, 0.3], [0.3, 0.4]], [[0.3, -0.15], [-0.15, 0.5]], [[0.8, 0.0], [0.0, 0.2]]]),
)


def draw(folder: Path = PICTURES) -> list[Path]:
    """Draw every picture; returns their paths."""
    matplotlib.use("Agg")
    samples = MIXTURE.sample(20_000, np.random.default_rng(0))
    solution = qz.quantize(samples, 60, rng=0)
    axes = {
        "plane": plot.voronoi(solution, samples),
        "line": plot.voronoi(qz.quantize(stats.gamma(2), 12, rng=0), stats.gamma(2)),
        "trace": plot.trace(solution),
        "barycenters": _barycenters(),
        "masses": _masses(),
        "paths": plot.paths(qz.functional_grid(qz.BrownianMotion(), 10)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in axes]
    for path, drawn in zip(paths, axes.values(), strict=True):
        drawn.figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
    return paths


def _barycenters() -> Any:
    """The same four measures and starting points with uniform and with free weights, side by side; returns the first Axes."""
    from matplotlib import pyplot

    clouds = two_components(2, 4, 500, 2)
    axes = pyplot.subplots(1, 2, figsize=(11, 4.8), layout="constrained", sharex=True, sharey=True)[1]
    for ax, weights in zip(axes, ("uniform", "free"), strict=True):
        solution = qz.barycenter(clouds, 40, atom_weights=weights, rng=0)
        plot.barycenter(solution, clouds, ax)
        ax.set_title(f"{weights} weights: $\\frac{{1}}{{4}}\\sum_j W_2^2 = {solution.distortion:.4f}$", fontsize=11)
    return axes[0]


def _masses() -> Any:
    """One law with free, uniform and prescribed masses, side by side; returns the first Axes."""
    from matplotlib import pyplot

    samples = MIXTURE.sample(1200, np.random.default_rng(0))
    given = np.repeat([4.0, 1.0], 6)
    axes = pyplot.subplots(1, 3, figsize=(11, 3.7), layout="constrained", sharex=True, sharey=True)[1]
    kinds = {"free": "free", "uniform": "uniform", "prescribed, 2/15 and 1/30": given / given.sum()}
    for ax, (name, masses) in zip(axes, kinds.items(), strict=True):
        solution = qz.quantize(samples, 12, masses=masses, n_init=10, rng=0)
        labels, codes = solution.predict(samples), solution.points
        ax.scatter(*samples.T, s=4, c=labels, cmap="tab20", linewidths=0, antialiaseds=False)
        ax.scatter(*codes.T, s=2000 * solution.weights, facecolors="none", edgecolors="black")
        ax.set_title(f"masses {name}: $W_2^2 = {solution.distortion:.4f}$", fontsize=11)
        ax.set_aspect("equal")
    return axes[0]


if __name__ == "__main__":
    for path in draw():
        print(path)
