r"""
Clusters of equal size
======================

With ``masses="uniform"`` every code stands for the same mass: the best K points *of equal weights*, in
:math:`W_2`. Samples go to codes by an optimal plan, whose dual gap is the certificate.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(3)
x = np.concatenate([rng.normal((0, 0), 0.5, (900, 2)), rng.normal((4, 0), 1.2, (300, 2))])

fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
for ax, masses in zip(axes, ("free", "uniform"), strict=True):
    solution = qz.quantize(x, 12, masses=masses, n_init=5, rng=0)
    labels = solution.predict(x)
    sizes = np.bincount(labels, minlength=12)
    print(f"{masses}: distortion {solution.distortion:.4f}, sizes {sorted(sizes.tolist())}, gap {solution.masses_gap:.1e}")
    ax.scatter(*x.T, c=labels, s=6, cmap="tab20")
    ax.scatter(*solution.points.T, facecolors="none", edgecolors="black", s=2500 * solution.weights)
    ax.set(title=f"{masses} masses: $W_2^2$ = {solution.distortion:.4f}", aspect="equal")
plt.show()
