r"""
Paths of a Gaussian process
===========================

A functional quantizer: weighted paths for Brownian motion, an Ornstein–Uhlenbeck process and a fractional Brownian motion.
The coordinates of the Karhunen–Loève expansion are independent, and a product of grids on the line is optimal among products.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz
from quantization import plot

processes = {
    "Brownian motion": qz.BrownianMotion(),
    "Ornstein–Uhlenbeck": qz.OrnsteinUhlenbeck(2.0),
    "fractional, H = 0.8": qz.FractionalBrownianMotion(0.8),
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for ax, (name, process) in zip(axes, processes.items(), strict=True):
    grid = qz.functional_grid(process, 20)
    plot.paths(grid, ax=ax)
    ax.set_title(f"{name}: {grid.shape}, $D$ = {grid.distortion:.4f}", fontsize=9)
plt.show()

# %%
# Expectations of functionals are weighted sums: of Brownian motion E exp(∫ W) = exp(1/6) = 1.18136.
times = np.linspace(0, 1, 401)
for n in (10, 100, 1000):
    grid = qz.functional_grid(qz.BrownianMotion(), n)
    print(n, grid.expect(lambda x: np.exp(np.trapezoid(x, times, axis=1)), times))
