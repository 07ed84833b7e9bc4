r"""
Quantize a stream of batches
============================

Competitive learning (CLVQ) is stochastic gradient descent on the distortion: every mini-batch moves the nearest codes, and the
iterates are averaged. It takes batches one at a time, from a list, a torch DataLoader or a function that returns an iterable.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz


def batches():
    """The noisy spiral, 400 batches of 256 points; nothing is kept."""
    rng = np.random.default_rng(0)
    for _ in range(400):
        angle = 4 * np.pi * np.sqrt(rng.uniform(0.02, 1, 256))
        yield np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 4 + rng.normal(0, 0.12, (256, 2))


# %%
# One pass. ``iterate`` gives a snapshot a step, with the codes so far.
stream = qz.Stream(batches)
steps = {1: None, 20: None, 400: None}
for snapshot in qz.iterate(stream, 40, solver=qz.CLVQ(epochs=1), rng=0):
    if snapshot.n_iter in steps:
        steps[snapshot.n_iter] = snapshot.points
    last = snapshot
print(last.n_iter, last.distortion, "±", last.distortion_se)

sample = np.concatenate([batch for _, batch in zip(range(20), batches(), strict=False)])
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharex=True, sharey=True)
for ax, (n, codes) in zip(axes, steps.items(), strict=True):
    ax.scatter(*sample.T, s=1, alpha=0.3)
    if codes is not None:
        ax.scatter(*codes.T, c="crimson", s=25)
        ax.set_title(f"after {n} batches: {float(qz.distortion(sample, codes)):.4f}")
    ax.set_aspect("equal")
plt.show()
