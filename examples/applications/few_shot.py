r"""
Prototypes for a few-shot head
==============================

A frozen network gives features; each class is represented by K codes, and a picture gets the class of the nearest code.
There is one problem per class; ``quantize_many`` solves them together. Features here are principal components of digits.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import quantization as qz

images, labels = load_digits(return_X_y=True)
train, test, train_labels, test_labels = train_test_split(images, labels, test_size=0.5, stratify=labels, random_state=0)
project = PCA(24, random_state=0).fit(train)
features, seen = project.transform(train), project.transform(test)
classes = [features[train_labels == c] for c in range(10)]

# %%
# Codes beside as many random pictures of each class, over twenty draws.
ks = [1, 2, 3, 5, 8, 12, 20]
prototypes, drawn = [], []
for k in ks:
    solutions = qz.quantize_many(classes, k, n_init=3, rng=0)
    codes = np.concatenate([s.points for s in solutions])
    prototypes.append(np.mean(np.square(seen[:, None] - codes).sum(2).argmin(1) // k == test_labels))
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chosen = np.concatenate([x[rng.choice(len(x), k, replace=False)] for x in classes])
        scores.append(np.mean(np.square(seen[:, None] - chosen).sum(2).argmin(1) // k == test_labels))
    drawn.append((np.mean(scores), np.std(scores)))
    print(k, round(float(prototypes[-1]), 4), "random:", round(float(drawn[-1][0]), 4))

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(ks, prototypes, "o-", label="codes")
left.errorbar(ks, *np.array(drawn).T, fmt="s--", capsize=3, label="random pictures")
left.set(xlabel="prototypes a class", ylabel="accuracy on unseen digits")
left.legend()
shown = project.inverse_transform(np.concatenate([s.points for s in qz.quantize_many(classes, 5, rng=0)]))
right.imshow(shown.reshape(10, 5, 8, 8).transpose(1, 2, 0, 3).reshape(40, 80), cmap="gray_r")
right.set_title("five codes of each class")
right.set_axis_off()
plt.show()
