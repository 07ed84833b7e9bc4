"""What the tests of barycenters share: the exact objective by POT alone, and clouds to mix."""

from types import SimpleNamespace

import numpy as np
import ot
import pytest


@pytest.fixture(scope="session")
def truth():
    """Σ λ_j W_2² recomputed without the package: differences written out, POT's emd2."""

    def objective(measures, mixing, points, weights):
        total = 0.0
        for (x, a), share in zip(measures, mixing, strict=True):
            costs = np.square(x[:, None, :] - points[None, :, :]).sum(2)
            total += share * ot.emd2(a, weights / weights.sum(), costs, numItermax=10**7)
        return total

    def clouds(seed, count=3, n=40, d=2):
        rng = np.random.default_rng(seed)
        return [rng.normal(size=(n + 3 * j, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) for j in range(count)]

    def even(clouds):
        return [(x, np.full(len(x), 1 / len(x))) for x in clouds]

    return SimpleNamespace(objective=objective, clouds=clouds, even=even)
