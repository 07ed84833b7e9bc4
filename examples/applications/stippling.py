r"""
Stippling
=========

A drawing by dots of equal weight: the darkness of the picture is a measure on the plane, and the dots are its best K points of
equal masses. With free masses dots are the denser the darker the picture is, and their areas are their masses.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import quantization as qz

image = load_sample_image("china.jpg")[100:400:5, 180:480:5] / 255.0
darkness = (1 - image.mean(2)) ** 2
rows, columns = np.indices(darkness.shape)
page = np.stack([columns.ravel(), -rows.ravel()], axis=1).astype(float)
ink = qz.DiscreteMeasure.from_unnormalized(page, darkness.ravel())

uniform = qz.quantize(ink, 400, masses="uniform", max_iter=5, rng=0)
free = qz.quantize(ink, 1200, max_iter=100, rng=0)

fig, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
axes[0].imshow(image, extent=(0, 60, -60, 0))
axes[1].scatter(*uniform.points.T, s=7, c="black", linewidths=0)
axes[1].set_title("400 dots of equal mass", fontsize=10)
axes[2].scatter(*free.points.T, s=6000 * free.weights, c="black", linewidths=0)
axes[2].set_title("1200 dots, areas are masses", fontsize=10)
for ax in axes:
    ax.set(aspect="equal", xlim=(0, 60), ylim=(-60, 0))
    ax.set_axis_off()
plt.show()
