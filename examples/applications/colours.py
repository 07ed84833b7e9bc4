r"""
A photograph in sixteen colours
===============================

Pixels are points in the cube of colours. The best 16 colours, with the number of pixels that each stands for; equal masses
("as many pixels of every colour") look quite different.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import quantization as qz

image = load_sample_image("flower.jpg")[::2, ::2] / 255.0
pixels = image.reshape(-1, 3)
free = qz.quantize(pixels, 16, n_init=3, rng=0).require()
equal = qz.quantize(pixels[::20], 16, masses="uniform", rng=0)

fig, axes = plt.subplots(2, 3, figsize=(11, 4.6), layout="constrained", height_ratios=[8, 1])
axes[0, 0].imshow(image)
axes[0, 0].set_title("255³ colours")
for ax, strip, solution, name in zip(axes[0, 1:], axes[1, 1:], (free, equal), ("free", "uniform"), strict=True):
    ax.imshow(solution.points[solution.predict(pixels)].reshape(image.shape).clip(0, 1))
    error = float(qz.distortion(pixels, solution))
    ax.set_title(f"{name} masses: {10 * np.log10(3 / error):.1f} dB")
    order = np.argsort(-solution.weights)
    left = np.concatenate([[0], np.cumsum(solution.weights[order])[:-1]])
    strip.barh([0] * 16, solution.weights[order], left=left, color=solution.points[order].clip(0, 1))
for ax in axes.flat:
    ax.set_axis_off()
plt.show()
