r"""
Interpolation between two shapes
================================

With ``mixing`` the barycenter travels along the Wasserstein geodesic from one measure to another.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)
t = rng.uniform(0, 2 * np.pi, 600)
heart = np.stack([16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)], axis=1) / 10
square = rng.uniform(-1, 1, (600, 2))
side = rng.integers(0, 2, 600)
square[np.arange(600), side] = np.sign(square[np.arange(600), side])

shares = [0.0, 0.25, 0.5, 0.75, 1.0]
problems = [[square, heart]] * len(shares)
solutions = qz.barycenter_many(problems, 80, mixing=[[1 - s, s] for s in shares], atom_weights="uniform", rng=0)

fig, axes = plt.subplots(1, len(shares), figsize=(12, 2.8), layout="constrained", sharex=True, sharey=True)
for ax, share, solution in zip(axes, shares, solutions, strict=True):
    ax.scatter(*solution.points.T, s=10, c="crimson")
    ax.set(title=f"{share:.2f}", aspect="equal")
plt.show()
