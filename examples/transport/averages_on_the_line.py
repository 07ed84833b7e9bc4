r"""
Averaging laws on the line
==========================

On the line the barycenter has the mean of the quantile functions as its quantile function. It is found exactly, for laws and for
samples, and then quantized: it keeps the shape where a mixture has two humps.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz

laws = [stats.norm(-3, 0.7), stats.norm(3, 1.3)]
solution = qz.barycenter(laws, 15, rng=0).require()
limit = stats.norm(0, 1.0)  # means and standard deviations are averaged
print("W_2 to N(0, 1):", qz.wasserstein(limit, solution.measure))
print("of its best 15 codes:", qz.quantize(limit, 15, rng=0).distortion ** 0.5)

z = np.linspace(-6.5, 7.5, 600)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for law in laws:
    ax.plot(z, law.pdf(z), c="0.5")
ax.plot(z, np.mean([law.pdf(z) for law in laws], axis=0), "--", label="the mixture")
ax.plot(z, limit.pdf(z), label="the barycenter")
ax.stem(solution.points.ravel(), solution.weights, linefmt="C3-", markerfmt="C3o", basefmt=" ", label="its 15 codes")
ax.legend()
plt.show()
