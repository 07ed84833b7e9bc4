r"""
Expectations with few points
============================

For a stationary codebook and a function whose gradient is L-Lipschitz, :math:`|E f(X) - \sum_k w_k f(x_k)| \le \tfrac12 L D_2`:
second order, without random noise. A product grid does it in several dimensions without storing its points.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz


def f(x):
    """Smooth, with E f(X) = exp(−1/2)."""
    return np.cos(x).mean(1)


truth = np.exp(-0.5)
ks = np.unique(np.geomspace(2, 300, 14).astype(int))
line = [abs(qz.quantize(stats.norm(), int(k), rng=0).measure.expect(f) - truth) for k in ks]
drawn = [np.mean([abs(f(np.random.default_rng(seed).normal(size=(k, 1))).mean() - truth) for seed in range(200)]) for k in ks]

# %%
# Three independent coordinates: N points are shared out among them.
sizes = np.unique(np.geomspace(8, 20_000, 10).astype(int))
product = [abs(qz.product_grid([stats.norm()] * 3, int(n)).expect(f) - truth) for n in sizes]

fig, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
ax.loglog(ks, line, "o-", label="optimal quantizer on the line: $K^{-2}$")
ax.loglog(sizes, product, "s-", label="product grid in three dimensions: $N^{-2/3}$")
ax.loglog(ks, drawn, "x--", color="0.5", label="Monte Carlo: $n^{-1/2}$")
ax.set(xlabel="points", ylabel="error of the mean of a smooth function")
ax.legend()
plt.show()
