"""What the tests of the mathematics share: a fixed generator, and truths recomputed without the package."""

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def brute():
    """Brute force in numpy float64: the (n, K, d) differences written out, no blocks, no matrix product."""

    def squared(points, codes):
        x, c = np.asarray(points, dtype=np.float64), np.asarray(codes, dtype=np.float64)
        return np.square(x[:, None, :] - c[None, :, :]).sum(2)

    def voronoi(points, weights, codes):
        costs = squared(points, codes)
        labels = costs.argmin(1)
        x, w, means = (
            np.asarray(points, dtype=np.float64),
            np.asarray(weights, dtype=np.float64),
            np.array(codes, dtype=np.float64),
        )
        masses = np.array([w[labels == k].sum() for k in range(len(means))])
        for k in np.flatnonzero(masses):
            means[k] = np.average(x[labels == k], axis=0, weights=w[labels == k])
        return SimpleNamespace(labels=labels, masses=masses, means=means, distortion=float(w @ costs.min(1)))

    return SimpleNamespace(squared=squared, voronoi=voronoi)
