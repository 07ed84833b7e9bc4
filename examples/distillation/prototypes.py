r"""
Prototypes for a linear head
============================

A frozen network gives features; each class is represented by K weighted points among them, and a linear classifier learns from
these alone. A run with ``train.protocol = "probe"`` compares ways to choose the points: optimal codes with the masses of their
cells, the real images nearest to them, random images. What it found is exported, and used on new images in a few lines.

Here the network is a small one, trained for some steps on the same training half of the digits. With
``features.source = "timm"`` it is any of timm's: ``python -m distill run imagenette-probe``.
"""

import json
import tempfile
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from safetensors.numpy import load_file

import distill
from distill.runs.export import export

recipe = tomllib.loads("""
name = "prototypes"
seeds = [0, 1, 2, 3, 4, 5]
methods = ["ddoq", "nearest", "random"]
comparisons = [["ddoq", "random"], ["nearest", "random"]]
distances = []
data = { source = "digits", size = 16, test_fraction = 0.5, seed = 0 }
codec.source = "none"
prior.source = "none"
decode = {}
teacher = { source = "train", width = 16, steps = 100, batch = 64, learning_rate = 5e-3, shift = 2 }
features = { source = "teacher", components = 24 }
select = { space = "features", k = [1, 2, 5, 10, 20], solver = "lloyd", batch = 256, max_iter = 100 }
train.protocol = "probe"
""")
run = distill.run(recipe, out=Path(tempfile.mkdtemp()) / "prototypes", workers=1)

# %%
# Differences in accuracy on the other half, with 95 % t intervals over six seeds, which vary the quantization and the draws.
for each in run.metrics["comparisons"]:
    low, high = each["seeds_low"], each["seeds_high"]
    print(f"{each['first']} - {each['second']}, {each['ipc']} a class: {each['difference']:.3f} [{low:.3f}, {high:.3f}]")

# %%
# The prototypes of one draw with their classifier. Beside them lie the network's weights and a card, whose lines turn images into
# features; the features of the codes themselves are at hand.
folder = export(run.folder, format="prototypes", method="ddoq", k=10).folder
print(sorted(path.name for path in folder.iterdir()))
found, about = load_file(folder / "prototypes.safetensors"), json.loads((folder / "prototypes.json").read_bytes())
print({name: tensor.shape for name, tensor in found.items()})
logits = found["points"] @ found["matrix"].T + found["bias"]
print("right on", about["top1"], "of unseen digits, and on", np.mean(logits.argmax(1) == found["labels"]), "of its prototypes")

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
names = {"ddoq": "codes, masses of their cells", "nearest": "real images nearest to codes", "random": "random images"}
for shift, (method, label) in enumerate(names.items()):
    rows = [row for row in run.metrics["rows"] if row["method"] == method]
    means, lows, highs = (np.array([row[key] for row in rows]) for key in ("top1_mean", "top1_low", "top1_high"))
    ks = np.array([row["ipc"] for row in rows]) * 1.04 ** (shift - 1)  # side by side
    left.errorbar(ks, means, (np.maximum(means - lows, 0), np.maximum(highs - means, 0)), fmt="o-", capsize=3, label=label)
left.set(xscale="log", xlabel="prototypes a class", ylabel="accuracy of a linear classifier")
left.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
left.minorticks_off()
left.legend()
for c in range(10):
    x, y, *_ = found["points"][found["labels"] == c].T
    right.scatter(x, y, 40 * found["weights"][found["labels"] == c], color=f"C{c}", alpha=0.7)
    right.annotate(str(c), (x.mean(), y.mean()), fontsize=14, ha="center", va="center")
right.set(title="ten per class, areas as weights", xlabel="first component", ylabel="second")
plt.show()
