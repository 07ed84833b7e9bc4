r"""
Four bits for the weights of a network
======================================

Weights of language models are stored as indices into 16 levels (NF4 takes quantiles of the normal law). The codebook that is
optimal for the given weights has a smaller error; so have pairs of weights, quantized by 256 planar codes, at the same 4 bits.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import quantization as qz

x, y = load_digits(return_X_y=True)
x = x / 16
network = MLPClassifier((128, 128), max_iter=60, early_stopping=True, random_state=0).fit(x[:1200], y[:1200])
kept = [w.copy() for w in network.coefs_]
weights = np.concatenate([w.ravel() for w in kept])
scale = weights.std()


def accuracy(reconstructed):
    """Of the network with these weights, on digits it has not seen."""
    parts = np.split(reconstructed, np.cumsum([w.size for w in kept])[:-1])
    network.coefs_ = [part.reshape(w.shape) for part, w in zip(parts, kept, strict=True)]
    return network.score(x[1200:], y[1200:])


def nearest(levels):
    """Each weight replaced by the nearest level."""
    levels = np.asarray(levels).reshape(-1, 1)
    return levels[np.abs(weights[:, None] - levels.T).argmin(1), 0]


# %%
# Sixteen levels for single weights: equally spaced, quantiles of the normal law, optimal for the normal law, optimal for these.
quantiles = stats.norm.ppf((np.arange(16) + 0.5) / 16) * scale
gaussian = qz.quantize(stats.norm(), 16, rng=0).points * scale
own = qz.quantize(weights[:, None], 16, rng=0).require()
pairs = qz.quantize(weights.reshape(-1, 2), 256, rng=0)
rows = {
    "16 equally spaced": nearest(np.linspace(weights.min(), weights.max(), 16)),
    "quantiles of N(0, s²)": nearest(quantiles),
    "optimal for N(0, s²)": nearest(gaussian),
    "optimal for these weights": nearest(own.points),
    "256 codes for pairs": pairs.points[pairs.predict(weights.reshape(-1, 2))].ravel(),
}
errors = {name: np.square(new - weights).mean() / scale**2 for name, new in rows.items()}
print(f"full precision: accuracy {accuracy(weights):.4f}")
for name, new in rows.items():
    print(f"{name}: error {errors[name]:.4f} of the variance, accuracy {accuracy(new):.4f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.barh(list(errors), list(errors.values()))
left.invert_yaxis()
left.set(xlabel="mean squared error / variance", title="4 bits a weight")
right.hist2d(*weights.reshape(-1, 2).T / scale, bins=120, range=[[-4, 4]] * 2, cmap="Greys", norm="log")
right.scatter(*pairs.points.T / scale, s=6, c="crimson")
right.set(title="256 codes for pairs of weights", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
plt.show()
