r"""
An Asian option by quantized paths
==================================

The payoff depends on the mean of the whole path. Weighted paths of a functional quantizer of Brownian motion replace all
paths, so the price is one weighted sum. The error is roughly proportional to the distortion, which two grids extrapolate to zero.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rate, volatility, strike, right = 0.09, 0.3, 100.0, 8.8287588
nodes, weights = np.polynomial.legendre.leggauss(32)
times = (1 + nodes) / 2


def stock(paths, times):
    """Prices of the stock along paths of Brownian motion."""
    return 100 * np.exp((rate - volatility**2 / 2) * times + volatility * paths)


def payoff(paths):
    """Discounted, of the mean by Gauss' rule."""
    return np.exp(-rate) * np.maximum(stock(paths, times) @ weights / 2 - strike, 0)


sizes = [10, 96, 966, 9984]
grids = [qz.functional_grid(qz.BrownianMotion(), n) for n in sizes]
prices = np.array([float(grid.expect(payoff, times)) for grid in grids])
extrapolated = [qz.richardson_romberg(prices[i : i + 2], [g.distortion for g in grids[i : i + 2]]) for i in range(len(sizes) - 1)]
for grid, price, better in zip(grids[1:], prices[1:], extrapolated, strict=True):
    print(f"{len(grid)} paths: {price:.4f}, extrapolated {better:.4f}")

# %%
# Left: paths of the stock, dark where they have more weight. Right: errors.
fig, (left, middle) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
fine = np.linspace(0, 1, 201)
for path, weight in zip(stock(grids[1].paths(fine), fine), grids[1].weights, strict=True):
    left.plot(fine, path, "C0", lw=1, alpha=min(1.0, 0.1 + 20 * weight))
left.set(xlabel="time", ylabel="price of the stock", title=f"{len(grids[1])} weighted paths")
middle.loglog([len(g) for g in grids], np.abs(prices - right), "o-", label="weighted sum")
middle.loglog([len(g) for g in grids[1:]], np.abs(np.array(extrapolated) - right), "s-", label="extrapolated from two grids")
middle.set(xlabel="paths", title=f"error of the price, {right}")
middle.legend()
plt.show()
