r"""
Why weights matter
==================

On the optimal codes of N(0, 1) the masses of the cells are the best weights: :math:`W_2 \to 0`. Equal weights on the same points
do not converge: :math:`W_2 \to \sqrt3 - 1`. The best points *for* equal weights converge, more slowly.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz

ks = [2, 4, 8, 16, 32, 64, 128]
free, same, equal = [], [], []
for k in ks:
    solution = qz.quantize(stats.norm(), k, rng=0)
    free.append(solution.distortion**0.5)
    same.append(qz.wasserstein(stats.norm(), solution.points))
    equal.append(qz.quantize(stats.norm(), k, masses="uniform", rng=0).distortion ** 0.5)

fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
ax.loglog(ks, free, "o-", label="optimal codes, masses of their cells")
ax.loglog(ks, equal, "s-", label="best codes for equal masses")
ax.loglog(ks, same, "x-", label="optimal codes, weights 1/K")
ax.axhline(np.sqrt(3) - 1, c="black", lw=1, ls=":")
ax.set(xlabel="K", ylabel="$W_2$ to N(0, 1)")
ax.legend()
plt.show()
