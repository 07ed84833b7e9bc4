r"""
Dual grids, and bounds on an option's price
===========================================

A dual grid sends each point at random to one of the codes around it, so that :math:`E[\hat X | X] = X`. For a convex f the
expectation of :math:`f(\hat X)` is then an upper bound of that of f(X), for any codes, and means of cells give a lower bound.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz

corners = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
x = np.random.default_rng(0).beta(2, 4, size=(3000, 2))
grid = qz.dual_grid(x, 40, hull=corners, rng=0)
point = np.array([[0.45, 0.62]])
around, shares = grid.locate(point)

# %%
# A call on the better of two stocks, whose shocks are normal, cut at four standard deviations. Masses, means and weights are
# exact here, so the interval is proved: no draws, :math:`2 n^2` evaluations of f.
shocks = [stats.truncnorm(-4, 4)] * 2
volatility, strike = np.array([0.2, 0.3]), 1.1


def best_of_two(z):
    """The payoff, convex in the shocks."""
    return np.maximum(np.exp(volatility * z - volatility**2 / 2).max(1) - strike, 0)


sizes = [5, 10, 20, 40, 80]
brackets = [
    qz.bracket(best_of_two, shocks, qz.product_grid(shocks, (n, n)), [qz.dual_grid(law, n) for law in shocks]) for n in sizes
]
for n, found in zip(sizes, brackets, strict=True):
    print(f"{n} × {n} codes: between {found.low:.6f} and {found.high:.6f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
left.scatter(*x.T, s=2, alpha=0.3)
left.triplot(*grid.points.T, grid.triangulation.simplices, lw=0.7, color="gray")
left.scatter(*grid.points.T, s=600 * grid.weights + 4, color="C1", zorder=3)
left.plot(*point[0], "k*", ms=10)
for code, share in zip(around[0], shares[0], strict=True):
    left.plot(*np.stack([point[0], grid.points[code]], axis=1), "k", lw=0.5 + 4 * share)
left.set(title="a point, and its shares among three codes", aspect="equal")
right.fill_between(sizes, [b.low for b in brackets], [b.high for b in brackets], alpha=0.3, label="proved interval")
right.plot(sizes, [b.value for b in brackets], "o-", label="weighted by distortions")
right.set(xlabel="codes of each stock", xscale="log", title="a call on the better of two stocks")
right.set_xticks(sizes, [str(n) for n in sizes], minor=False)
right.minorticks_off()
right.legend()
plt.show()
