r"""
Options by recursive quantization
=================================

A diffusion becomes a Markov chain on a few optimal states per date: each grid is the optimal quantizer of one step of Euler's
scheme from the grid before, in closed form. The price of a put with 50 exercise
dates is the value of optimal stopping of that chain.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

stock = qz.Diffusion(100.0, drift=lambda t, x: 0.05 * x, volatility=lambda t, x: 0.2 * x)
times = np.linspace(0, 1, 51)
tree = qz.recursive_grid(stock, times, 60)


def put(time, x):
    """The payoff of a put of strike 100, discounted to today."""
    return np.exp(-0.05 * time) * np.maximum(100 - x[:, 0], 0)


american = tree.optimal_stopping(put)
european = np.exp(-0.05) * tree.expect(lambda x: np.maximum(100 - x[:, 0], 0))
print(f"American put {american.value:.4f}, European put {european:.4f}")

# %%
# The states of each date; black where it is best to exercise.
fig, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
for time, points, weights, stop in zip(times, tree.points, tree.weights, american.stops, strict=True):
    level = np.asarray(points)[:, 0]
    stop = np.asarray(stop) & (level < 100)
    ax.scatter(np.full(len(level), time), level, s=400 * np.asarray(weights), c=np.where(stop, "black", "C0"), linewidths=0)
ax.axhline(100, c="0.6", lw=1)
ax.set(xlabel="time", ylabel="price of the stock", ylim=(50, 180), title="areas are probabilities; black: exercise the put")
plt.show()
