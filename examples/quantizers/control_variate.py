r"""
A quantizer as control variate
==============================

:math:`f(\hat X)` has a known expectation and is near :math:`f(X)`: a control variate for any f. Or the cells are strata,
with more draws where f varies more. The grid is made once for all f.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

law = qz.Gaussian([0.0, 0.0], np.eye(2))
grid = qz.quantize(law, 100, rng=0)
functions = {
    "|x|": lambda x: np.hypot(x[:, 0], x[:, 1]),
    "max(x₁, x₂)": lambda x: x.max(1),
    "basket call": lambda x: np.maximum((np.exp(0.2 * x[:, 0]) + np.exp(0.3 * x[:, 1])) / 2 - 1, 0),
    "(x₁ − 2)⁺": lambda x: np.maximum(x[:, 0] - 2, 0),
}
n = 20_000
plain = {name: f(law.sample(n, np.random.default_rng(0))).std() / n**0.5 for name, f in functions.items()}

# %%
# The standard error of each way, as each estimates it from its own evaluations.
methods = {"control": "control variate", "proportional": "strata, proportional", "neyman": "strata, Neyman's"}
errors = {
    method: [qz.expect(f, law, grid, n, method=method, rng=0).standard_error for f in functions.values()] for method in methods
}

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for i, (method, label) in enumerate(methods.items()):
    ratios = [(plain[name] / error) ** 2 for name, error in zip(functions, errors[method], strict=True)]
    bars = ax.bar(np.arange(len(functions)) + 0.27 * (i - 1), ratios, 0.25, label=label)
    ax.bar_label(bars, fmt="%.0f")
ax.set_xticks(range(len(functions)), functions)
ax.set(ylabel="variance of plain Monte Carlo over it", yscale="log")
ax.legend()
plt.show()
