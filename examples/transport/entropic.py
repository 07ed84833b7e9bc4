r"""
Entropic transport, bounded from both sides
===========================================

Sinkhorn's plan is rounded to one with the right marginals, an upper bound on :math:`W_2^2`; its potentials are made feasible, a
lower bound. Neither depends on ε being small.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

rng = np.random.default_rng(0)
x, y = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) * [2, 0.5] + [1, 0]
exact = qz.transport(x, y).cost

regs = np.geomspace(0.01, 3, 9)
couplings = [qz.transport(x, y, method=qz.Sinkhorn(reg)) for reg in regs]
upper = np.array([c.cost for c in couplings])
lower = upper - [c.gap for c in couplings]
divergence = [qz.sinkhorn_divergence(x, y, reg) for reg in regs]

fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
ax.fill_between(regs, lower, upper, alpha=0.3, label="certified: between plan and dual")
ax.axhline(exact, c="black", lw=1, label="exact $W_2^2$")
ax.semilogx(regs, divergence, "o-", label="Sinkhorn divergence")
ax.set(xlabel="ε")
ax.legend()
plt.show()
