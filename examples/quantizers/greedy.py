r"""
A sequence of codes for every K
===============================

If K is not known in advance: each code is the best one to add to those before it, and the first k codes are a quantizer that
is nearly as good as the best of k, for every k.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz

sequence = qz.greedy_grid(stats.norm(), 60)
ks = np.unique(np.geomspace(2, 60, 18).astype(int))
best = np.array([qz.quantize(stats.norm(), int(k), rng=0).distortion for k in ks])
ratio = np.asarray(sequence.distortions)[ks - 1] / best
print(f"at most {ratio.max():.3f} times the optimum")

# %%
# Of samples the codes are samples: a ranking of the most informative ones.
x = np.random.default_rng(0).normal(size=(3000, 2)) * [2, 1]
chosen = qz.greedy_grid(x, 40)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.semilogx(ks, ratio, "o-")
left.set(xlabel="k", title="N(0, 1): distortion of the first k codes / optimum")
right.scatter(*x.T, s=2, alpha=0.3)
right.scatter(*chosen.points.T, c=np.arange(40), cmap="viridis", s=40)
for i, point in enumerate(chosen.points[:9]):
    right.annotate(str(i + 1), point, fontsize=11, fontweight="bold")
right.set(title="samples: the first 40, numbered in order of choice", aspect="equal")
plt.show()
