r"""
Evaluate an external distilled set
==================================

Any folder of images for each class (or parquet, tars, tensors of torch) can be evaluated: students of it beside students of
as many random real images, under one protocol. Here the set is made of the mean image of each class and four random ones.
"""

import csv
import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from distill.__main__ import main

folder = Path(tempfile.mkdtemp())
images, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
rows = []
for c in range(10):
    (folder / "set" / str(c)).mkdir(parents=True)
    chosen = [images[labels == c].mean(0), *images[rng.choice(np.flatnonzero(labels == c), 4, replace=False)]]
    for i, image in enumerate(chosen):
        picture = Image.fromarray((image.reshape(8, 8) * 255 / 16).astype(np.uint8)).resize((16, 16))
        picture.save(folder / "set" / str(c) / f"{i}.png")
        rows.append({"file_name": f"{c}/{i}.png", "weight": 2.0 if i == 0 else 0.75})

# %%
# ``metadata.csv`` may give weights.
with open(folder / "set" / "metadata.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, ["file_name", "weight"])
    writer.writeheader()
    writer.writerows(rows)

# %%
# On the command line: ``python -m distill evaluate FOLDER --recipe digits --set train.steps=100``.
arguments = ["evaluate", str(folder / "set"), "--recipe", "digits", "--out", str(folder / "run"), "--workers", "1"]
arguments += ["--set", "seeds=[0]", "--set", "train.steps=100", "--set", "teacher.steps=150"]
with redirect_stdout(io.StringIO()) as said:
    main(arguments)
print(said.getvalue()[-1500:])

shown = [np.asarray(Image.open(folder / "set" / str(c) / f"{i}.png")) for i in range(5) for c in range(10)]
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.imshow(np.array(shown).reshape(5, 10, 16, 16).transpose(0, 2, 1, 3).reshape(80, 160), cmap="gray")
ax.set_axis_off()
plt.show()
