r"""
Digits, distilled
=================

A recipe in, a few weighted images of each class and evaluated students out. Each class is encoded, quantized in latent space,
and its codes are pushed through a diffusion model and the decoder; a student learns from the weighted images. The trainings are
much shorter here than in ``make demo``: the pictures are rougher and the accuracies lower.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import distill

# %%
# Giving the same command again resumes: what the folder holds is kept.
changes = ["seeds=[0]", "select.k=[5]", 'methods=["ddoq","random"]', "codec.steps=200", "prior.steps=200"]
changes += ["teacher.steps=150", "train.steps=100"]
run = distill.run("digits", out=Path(tempfile.mkdtemp()) / "digits", set=changes, workers=1)

# %%
# What students of the sets score on the test split:
for row in run.metrics["rows"]:
    print(row["method"], row["ipc"], row["top1_mean"])

# %%
# The set itself: images, classes and weights, which are the masses of the cells times a constant.
data = distill.load(run.folder, method="ddoq", ipc=5)
random = distill.load(run.folder, method="random", ipc=5)
fig, axes = plt.subplots(10, 11, figsize=(7.5, 7.5), layout="constrained")
for column, part in ((0, data), (6, random)):
    for c in range(10):
        for j, i in enumerate((part.labels == c).nonzero().ravel().tolist()):
            ax = axes[c, column + j]
            ax.imshow(part.images[i, 0], cmap="gray")
            if part is data:
                ax.set_title(f"{float(part.weights[i]):.2f}", fontsize=7)
for ax in axes.flat:
    ax.set_axis_off()
fig.suptitle("distilled, with weights; random images", fontsize=11)
plt.show()
