r"""
One codebook for several domains
================================

Measurements of one thing by several instruments differ by a shift and a scale. Pooling them quantizes the differences between
the instruments; the barycenter averages the instruments first, and keeps the shape that they share.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)


def moons(n):
    """Two half circles, seen by one instrument."""
    a = rng.uniform(0, np.pi, n)
    upper = rng.integers(0, 2, n)[:, None]
    x = np.where(upper, np.stack([np.cos(a), np.sin(a)], 1), np.stack([1 - np.cos(a), 0.5 - np.sin(a)], 1))
    return x + 0.06 * rng.normal(size=(n, 2))


domains = [moons(400) * scale + shift for scale, shift in [(1.0, (0, 0)), (1.5, (2.5, 1.5)), (0.7, (-1.5, 2.0))]]
pooled = qz.quantize(np.concatenate(domains), 40, n_init=5, rng=0)
average = qz.barycenter(domains, 40, rng=0)

fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", sharex=True, sharey=True)
for ax, solution, name in zip(axes, (pooled, average), ("the pooled samples, quantized", "the barycenter"), strict=True):
    for x in domains:
        ax.scatter(*x.T, s=3, alpha=0.3)
    ax.scatter(*solution.points.T, s=2000 * solution.weights, facecolors="none", edgecolors="black")
    ax.set(title=name, aspect="equal")
plt.show()

# %%
# The mean squared distance to the three domains:
for name, solution in {"pooled": pooled, "barycenter": average}.items():
    print(name, np.mean([qz.wasserstein(x, solution.measure) ** 2 for x in domains]))
