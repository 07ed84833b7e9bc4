r"""
Quantize a cloud of points
==========================

K codes with small distortion :math:`D_2(x) = E \min_k |X - x_k|^2`. The weight of a code is the mass of its Voronoi cell, so that
:math:`D_2(x) = W_2^2(\mu, \sum_k w_k \delta_{x_k})`.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)
x = np.concatenate([rng.normal(m, s, (2000, 2)) for m, s in [((0, 0), 1.0), ((4, 1), 0.5), ((1, 4), 0.3)]])

# %%
# Three independent starts by k-means++, of which the best is kept. ``require`` raises unless Lloyd's algorithm converged.
solution = qz.quantize(x, 25, n_init=3, rng=0).require()
print(solution.status, solution.distortion, solution.n_iter)

# %%
# The area of a disc is the weight of its code.
labels = solution.predict(x)
fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
ax.scatter(*x.T, c=labels, s=2, cmap="tab20", alpha=0.5)
ax.scatter(*solution.points.T, s=3000 * solution.weights, facecolors="none", edgecolors="black")
ax.set(title=f"25 codes, distortion {solution.distortion:.4f}", aspect="equal")
plt.show()
