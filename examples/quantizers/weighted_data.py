r"""
Weighted data
=============

Counts, importance weights or areas: a :class:`~quantization.DiscreteMeasure` has a weight for every point. Here cities of
random sizes are served by ten depots; a depot's place minimizes the squared distance of the people, not of the cities.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(1)
cities = rng.uniform(0, 10, (400, 2))
people = rng.pareto(1.2, 400) + 0.1

# %%
# ``from_unnormalized`` takes weights of any sum.
weighted = qz.DiscreteMeasure.from_unnormalized(cities, people)
depots = qz.quantize(weighted, 10, n_init=20, rng=0).require()
unweighted = qz.quantize(cities, 10, n_init=20, rng=0).require()

# %%
# What depots that ignore the weights would cost the people:
print(depots.distortion, float(qz.distortion(weighted, unweighted)))

fig, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained", sharey=True)
for ax, solution, name in zip(axes, (depots, unweighted), ("people", "cities"), strict=True):
    ax.scatter(*cities.T, s=4 * people, c=solution.predict(cities), cmap="tab10", alpha=0.6)
    ax.scatter(*solution.points.T, marker="x", c="black", s=60)
    ax.set(title=f"depots for {name}: {float(qz.distortion(weighted, solution)):.3f} a head", aspect="equal")
plt.show()
