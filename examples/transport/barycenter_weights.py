r"""
Barycenters with free, uniform and prescribed weights
=====================================================

K points near four measures at once: :math:`F(\nu) = \frac14 \sum_j W_2^2(\mu_j, \nu)` is made small. Free weights are
optimized with the points and do no worse than uniform ones.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz
from quantization import plot

rng = np.random.default_rng(2)
clouds = [
    np.concatenate([rng.normal(rng.uniform(-3, 3, 2), 0.4, (250, 2)), rng.normal(rng.uniform(-3, 3, 2), 0.8, (100, 2))])
    for _ in range(4)
]
prescribed = np.repeat([3.0, 1.0], 10)
kinds = {"free": "free", "uniform": "uniform", "prescribed, 3 : 1": prescribed / prescribed.sum()}

fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", sharex=True, sharey=True)
for ax, (name, weights) in zip(axes, kinds.items(), strict=True):
    solution = qz.barycenter(clouds, 20, atom_weights=weights, rng=0)
    plot.barycenter(solution, clouds, ax)
    ax.set_title(f"{name}: F = {solution.distortion:.4f}")
    print(f"{name}: {solution.status}, the weights could gain at most {solution.masses_gap:.1e}")
plt.show()
