r"""
The smile of a stochastic volatility
====================================

In Heston's model the variance of a stock is itself a diffusion. Both are quantized together, date by date, on products of two
grids. Prices of calls of all strikes come from the same chain; the volatility that a Black–Scholes price would need for each is
the smile.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize, stats

import quantization as qz

horizon, rate, strikes = 0.5, 0.03, np.linspace(80, 120, 17)


def heston(correlation, noise):
    """Log-price and variance; Brownian motions of this correlation."""

    def drift(t, x):
        variance = np.maximum(x[:, 1], 0)
        return np.stack([rate - variance / 2, 1.5 * (0.04 - variance)], 1)

    def volatility(t, x):
        root = np.sqrt(np.maximum(x[:, 1], 0))
        rest = np.sqrt(1 - correlation**2)
        return np.stack([np.stack([root, 0 * root], 1), noise * np.stack([correlation * root, rest * root], 1)], 1)

    return qz.Diffusion([np.log(100.0), 0.04], drift, volatility)


def black_scholes(sigma, strike):
    """The price of a call."""
    width = sigma * np.sqrt(horizon)
    d = (np.log(100 / strike) + rate * horizon) / width + width / 2
    return 100 * stats.norm.cdf(d) - strike * np.exp(-rate * horizon) * stats.norm.cdf(d - width)


def smile(tree):
    """The implied volatility of every strike."""
    prices = [np.exp(-rate * horizon) * tree.expect(lambda x, k=k: np.maximum(np.exp(x[:, 0]) - k, 0)) for k in strikes]
    return [optimize.brentq(lambda s, k=k, p=p: black_scholes(s, k) - p, 1e-3, 2) for k, p in zip(strikes, prices, strict=True)]


times = np.linspace(0, horizon, 11)
trees = {rho: qz.recursive_grid(heston(rho, 0.5), times, (30, 12)) for rho in (-0.7, 0.0, 0.7)}
smiles = {rho: smile(tree) for rho, tree in trees.items()}
for rho, values in smiles.items():
    print(f"correlation {rho}: " + ", ".join(f"{values[i]:.4f} at {strikes[i]:g}" for i in (0, 8, 16)))

# %%
# Left: the states of the last date at correlation −0.7, areas are probabilities. Right: the smiles.
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
last = trees[-0.7]
left.scatter(np.exp(last.points[-1][:, 0]), last.points[-1][:, 1], s=4000 * last.weights[-1], alpha=0.6, linewidths=0)
left.set(xlabel="price of the stock", ylabel="variance", title="360 states")
for rho, values in smiles.items():
    right.plot(strikes, values, "o-", ms=3, label=f"correlation {rho:g}")
right.set(xlabel="strike", ylabel="implied volatility")
right.legend()
plt.show()
