r"""
Optimal grids of the planar Gaussian
====================================

In the plane the cells of a Gaussian, or of a mixture of Gaussians, are polygons, and masses, means and Hessians are integrals
along their edges. Newton's method with a search over starts gives the published grids, to all digits.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz
from quantization import plot

normal = qz.Gaussian([0.0, 0.0], np.eye(2))
mixture = qz.GaussianMixture([0.6, 0.4], [[-1.5, 0.0], [1.5, 0.5]], [np.eye(2), [[0.3, 0.2], [0.2, 0.4]]])

fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, law, name in zip(axes, (normal, mixture), ("N(0, I)", "two components"), strict=True):
    solution = qz.quantize(law, 30, rng=0).require()
    plot.voronoi(solution, law, ax, samples=500)
    ax.set_title(f"{name}: $D_2$ = {solution.distortion:.10f}")
plt.show()

# %%
# The residual is that of round-off, and there is no sampling error.
print(solution.stationarity, solution.distortion_se, solution.weights.sum())
