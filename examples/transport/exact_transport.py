r"""
Exact transport with its certificate
====================================

:math:`W_2^2(\mu, \nu) = \min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^2`. The plan gives an upper bound and the dual potentials a lower
one; ``gap`` is the difference, and the status is CONVERGED only where it is closed.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 150)
x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * rng.normal(size=(150, 2))
y = rng.normal((3.5, 0), 0.5, (100, 2))

coupling = qz.transport(x, y)
print(coupling.status, "cost", coupling.cost, "gap", coupling.gap)
print("W_2 =", qz.wasserstein(x, y), " W_1 =", qz.wasserstein(x, y, r=1))

rows, columns = np.nonzero(coupling.plan)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for i, k in zip(rows, columns, strict=True):
    ax.plot([x[i, 0], y[k, 0]], [x[i, 1], y[k, 1]], c="0.6", lw=60 * coupling.plan[i, k])
u, v = coupling.potentials
ax.scatter(*x.T, c=u, s=20, zorder=2)
ax.scatter(*y.T, c=v, s=20, marker="s", zorder=2, cmap="plasma")
ax.set(title="the optimal plan; colours are the dual potentials", aspect="equal")
plt.show()
