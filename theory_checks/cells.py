r"""What claims measure of a codebook on a finite measure: the gradient of its distortion, its centroids, its distance from a
tie.

Nearest codes come from ``DiscreteMeasure.assign``, which is under test; the sums are plain ones, shared with no solver.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization import DiscreteMeasure

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Partition:
    r"""The Voronoi partition of a finite measure: masses (K,), centroids $E[X | X \in V_k]$ (K, d), an empty cell's own code.

    gradient: $\nabla_k D_2(x) = 2 \sum_{X_i \in V_k} w_i (x_k - X_i)$, (K, d).
    """

    masses: FloatArray
    centroids: FloatArray
    gradient: FloatArray


def partition(mu: DiscreteMeasure, codes: FloatArray) -> Partition:
    """The Voronoi partition of ``mu`` by ``codes`` (K, d)."""
    points, weights = host(mu)
    labels = np.asarray(DiscreteMeasure(codes).assign(points))
    masses, residuals = np.zeros(len(codes)), np.zeros(codes.shape)
    np.add.at(masses, labels, weights)
    np.add.at(residuals, labels, weights[:, None] * (points - codes[labels]))
    nonempty = masses > 0
    centroids = codes.copy()
    centroids[nonempty] += residuals[nonempty] / masses[nonempty, None]
    return Partition(masses, centroids, -2 * residuals)


def gap(mu: DiscreteMeasure, codes: FloatArray) -> float:
    r"""$\min_i (d_{(2)}(X_i) - d_{(1)}(X_i))$, distances to the two nearest codes.

    No cell changes while each code moves by less than half of it.
    """
    points, _ = host(mu)
    distances = np.sqrt(np.square(points[:, None] - codes).sum(2))
    nearest_two = np.partition(distances, 1, axis=1)[:, :2]
    return float((nearest_two[:, 1] - nearest_two[:, 0]).min())


def host(mu: DiscreteMeasure) -> tuple[FloatArray, FloatArray]:
    """Points (n, d) and weights (n,) as float64 numpy arrays."""
    return np.asarray(mu.points, dtype=np.float64), np.asarray(mu.weights, dtype=np.float64)


def largest_cost(mu: DiscreteMeasure, nu: DiscreteMeasure) -> float:
    r"""$\max_{ij} |x_i - y_j|^2$."""
    return float(np.square(host(mu)[0][:, None] - host(nu)[0]).sum(2).max())


def codebook(mu: DiscreteMeasure, k: int, rng: np.random.Generator) -> FloatArray:
    """k codes in general position near the points of ``mu``, (k, d): almost surely no point is as near to one as to another."""
    points: FloatArray = np.asarray(mu.points)
    chosen = points[rng.choice(len(points), size=k, replace=False)]
    return chosen + 0.3 * coordinate_std(mu) * rng.standard_normal(chosen.shape)


def coordinate_std(mu: DiscreteMeasure) -> float:
    r"""$(E|X - EX|^2 / d)^{1/2}$: the standard deviation of a coordinate."""
    weights: FloatArray = np.asarray(mu.weights)
    centred: FloatArray = mu.points - weights @ mu.points
    return float(np.sqrt(weights @ np.square(centred).sum(1) / mu.dim))
