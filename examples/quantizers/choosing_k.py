r"""
How many codes?
===============

Zador's theorem: the least distortion falls like :math:`K^{-2/d}`, with d the dimension of the law. Clusters show as a fall that
is faster, up to their number; after it the slope is that of the dimension inside the clusters.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)
centres = rng.uniform(-10, 10, (8, 2))
clustered = np.concatenate([c + 0.4 * rng.normal(size=(500, 2)) for c in centres])
surface = rng.uniform(size=(4000, 2)) @ rng.normal(size=(2, 10))  # two dimensions in ten
laws = {"8 clusters in the plane": clustered, "a plane in ten dimensions": surface}

# %%
# Problems of one list are solved together.
ks = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256]
fig, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
for name, x in laws.items():
    solutions = qz.quantize_many([x] * len(ks), ks, n_init=5, rng=0)
    distortions = np.array([s.distortion for s in solutions])
    ax.loglog(ks, distortions / distortions[0], "o-", label=name)
    slope = np.polyfit(np.log(ks[-4:]), np.log(distortions[-4:]), 1)[0]
    print(f"{name}: slope {slope:.2f}, that is dimension {-2 / slope:.1f}")
ax.loglog(ks, 1 / np.array(ks), "k:", label="$1/K$: two dimensions")
ax.axvline(8, color="0.7", lw=1)
ax.set(xlabel="K", ylabel="share of the variance that is lost")
ax.legend()
plt.show()
