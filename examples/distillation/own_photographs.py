r"""
Three folders of photographs
============================

A folder of images for each class is all that is needed: ``python -m distill run photos --set data.path=DIR``. Here the
classes are crops of two photographs that come with scikit-learn; everything is trained from scratch at 32 pixels, in seconds.
For photographs of real size take pretrained models: :doc:`/imagenet`.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import distill

folder = Path(tempfile.mkdtemp())
china, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")
regions = {"roof": china[180:420, 120:420], "sky": china[0:100, 0:640], "petals": flower[40:300, 200:500]}
rng = np.random.default_rng(0)
for name, region in regions.items():
    (folder / "photos" / name).mkdir(parents=True)
    for i in range(80):
        side = int(rng.integers(48, 96))
        top, left = (int(rng.integers(0, n - side + 1)) for n in region.shape[:2])
        crop = Image.fromarray(region[top : top + side, left : left + side]).resize((32, 32))
        crop.save(folder / "photos" / name / f"{i}.png")

# %%
# The recipe ``photos``, made smaller: a fifth of each class is held out for the test.
changes = [
    *(f"data.path={folder / 'photos'}", "data.size=32", "seeds=[0]", "methods=ddoq,random"),
    *("codec.latent_channels=4", "codec.channels=16,32", "codec.steps=120", "codec.batch=32", "codec.learning_rate=4e-3"),
    *("prior.layers=2", "prior.heads=2", "prior.head_width=16", "prior.steps=100", "prior.batch=32"),
    *("teacher.steps=60", "select.k=4", "decode.strength=0.2", "decode.steps=10", "train.steps=60"),
]
run = distill.run("photos", set=changes, out=folder / "run", workers=1)
print("the page to open:", run.folder / "report" / "index.html")

# %%
# Each class's four images with their weights.
data = distill.load(run.folder)
fig, axes = plt.subplots(3, 4, figsize=(6, 5), layout="constrained")
for row, c in zip(axes, range(3), strict=True):
    for ax, i in zip(row, (data.labels == c).nonzero().ravel().tolist(), strict=False):
        ax.imshow(data.images[i].permute(1, 2, 0))
        ax.set_title(f"{data.classes[c]}, {float(data.weights[i]):.2f}", fontsize=8)
for ax in axes.flat:
    ax.set_axis_off()
plt.show()
