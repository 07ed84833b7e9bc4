r"""
Check a theorem on your own law
===============================

A claim is a theorem's statement with a check: observed ≤ bound + slack, the slack derived. Called with a law, a number of codes
and a seed it returns the evidence; its negative control, a false variant, must be rejected by the same check.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz
from theory_checks import CLAIMS

law = qz.DiscreteMeasure.from_unnormalized(np.random.default_rng(0).standard_normal((300, 2)), np.arange(1.0, 301.0))
names = [
    "lloyd_descends",
    "distortion_is_a_transport_cost",
    "cell_masses_are_the_best_weights",
    "gradient_of_the_distortion",
    "prescribed_masses_cost_no_less",
]
excess, false = [], []
for name in names:
    claim = CLAIMS[name]
    evidence = claim(law, 5, 0)
    print(f"{name}: {'holds' if evidence.holds else 'FAILS'} by {evidence.margin:.1e}\n    {claim.statement}")
    excess.append(max(evidence.excess, 1e-6))
    # The false variant, on a case of the claim's own: the same check must reject it.
    control = next(both[1] for case in claim.cases("brief", 0) if (both := claim.observe_both(case))[1] is not None)
    false.append(max(control.excess, 1e-6))

fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
ax.scatter(excess, names, label="the theorem")
ax.scatter(false, names, marker="x", label="a false variant")
ax.axvline(1, c="black", lw=1)
ax.set(xscale="log", xlabel="(observed − bound) / slack: at most 1 where the claim holds")
ax.legend()
plt.show()
