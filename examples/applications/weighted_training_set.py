r"""
Train on a few weighted points
==============================

A regression on 60 codes per class, each with the mass of its cell as sample weight, beside as many random points. For a smooth
loss the weighted gradient is right to second order in the distortion.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import quantization as qz


def model():
    """A logistic regression on polynomials of degree 3."""
    return make_pipeline(PolynomialFeatures(3), LogisticRegression(C=10, max_iter=2000))


x, y = make_moons(20_000, noise=0.3, random_state=0)
ks = [2, 4, 8, 16, 32]
full = model().fit(x, y)
grid = np.stack(np.meshgrid(np.linspace(-2, 3, 150), np.linspace(-1.5, 2, 120)), axis=-1).reshape(-1, 2)
truth = full.predict_proba(grid)[:, 1]

weighted, drawn = [], []
for k in ks:
    solutions = qz.quantize_many([x[y == c] for c in (0, 1)], k, n_init=3, rng=0)
    codes = np.concatenate([s.points for s in solutions])
    weights = np.concatenate([s.weights for s in solutions]) * len(x) / 2
    fitted = model().fit(codes, np.repeat([0, 1], k), logisticregression__sample_weight=weights)
    weighted.append(np.abs(fitted.predict_proba(grid)[:, 1] - truth).mean())
    errors = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        index = np.concatenate([rng.choice(np.flatnonzero(y == c), k, replace=False) for c in (0, 1)])
        random = model().fit(x[index], y[index], logisticregression__sample_weight=np.full(2 * k, len(x) / 2 / k))
        errors.append(np.abs(random.predict_proba(grid)[:, 1] - truth).mean())
    drawn.append(np.mean(errors))
    print(k, weighted[-1], drawn[-1])

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.loglog(ks, weighted, "o-", label="codes with the masses of their cells")
left.loglog(ks, drawn, "s--", label="random points")
left.set(xlabel="points per class", ylabel="mean difference to the fit on all 20,000")
left.legend()
learned = fitted.predict_proba(grid)[:, 1].reshape(120, 150)
right.contourf(*grid.reshape(120, 150, 2).transpose(2, 0, 1), learned, cmap="RdBu", alpha=0.5)
right.scatter(*codes.T, s=0.06 * weights, c=np.repeat([0, 1], k), cmap="RdBu", edgecolors="black")
right.set_title("32 codes per class, and what is learned from them")
plt.show()
