r"""
Semi-discrete transport
=======================

The optimal transport from a law to finitely many points: prices are found for which the power cell of every point has the
weight of the point. For a Gaussian in the plane cells are integrated exactly; for other laws the distance has a confidence
interval.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

law = qz.Gaussian([0.0, 0.0], [[1.0, 0.4], [0.4, 0.6]])
rng = np.random.default_rng(4)
points = rng.normal(size=(12, 2))
exact = qz.transport(law, points)
print(exact.status, "W_2² =", exact.cost, "gap", exact.gap)

# %%
# The same law, known by its draws alone:
found = qz.semidiscrete(law, points, rng=0)
print(f"between {found.dual.low:.4f} and {found.upper.high:.4f}; masses missed by {found.mass_error:.4f}")

x = law.sample(6000, np.random.default_rng(1))
squared = np.square(x[:, None] - points).sum(2)
cells = {"Voronoi cells": squared.argmin(1), "cells of mass 1/12": (squared - found.potentials).argmin(1)}
fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharex=True, sharey=True)
for ax, (name, labels) in zip(axes, cells.items(), strict=True):
    ax.scatter(*x.T, s=2, c=labels, cmap="tab20")
    ax.scatter(*points.T, c="black", s=30)
    masses = np.bincount(labels, minlength=12) / len(x)
    ax.set(title=f"{name}: masses {masses.min():.3f} to {masses.max():.3f}", aspect="equal")
plt.show()
