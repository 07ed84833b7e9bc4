r"""
What a certificate says
=======================

Every answer carries the proof of what it claims: a residual, a confidence interval or a duality gap.
"""

import matplotlib.pyplot as plt
import numpy as np

import quantization as qz

law = qz.GaussianMixture([0.5, 0.5], [[-2.0] * 3, [2.0] * 3], [np.eye(3), 0.5 * np.eye(3)])
x = law.sample(20_000, np.random.default_rng(0))

# %%
# The residual: a step to the centroids of the cells lowers the distortion by the share ``stationarity`` squared or more.
trace = []
for snapshot in qz.iterate(x, 30, solver=qz.Lloyd(rtol=1e-4), rng=0):
    trace.append(snapshot.stationarity)
print(snapshot.status)

# %%
# Of a law that is sampled the distortion is an interval. Draws laid out evenly make it narrow.
independent = qz.distortion(law, snapshot, draws=2**14, rng=0)
even = qz.distortion(qz.QuasiMonteCarlo(law), snapshot, draws=2**14, rng=0)
for name, e in (("independent draws", independent), ("scrambled Sobol points", even)):
    print(f"{name}: {e.value:.5f} in [{e.low:.5f}, {e.high:.5f}]")

# %%
# Transport: no plan costs less than cost − gap, by the dual potentials.
coupling = qz.transport(x[:500], snapshot.measure)
print(coupling.status, coupling.cost, coupling.gap)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
left.semilogy(trace)
left.set(xlabel="step of Lloyd's algorithm", title="stationarity")
for i, e in enumerate((independent, even)):
    right.errorbar([i], [e.value], [[e.value - e.low], [e.high - e.value]], fmt="o", capsize=6)
right.set(xlim=(-0.5, 1.5), title="distortion, 95 % intervals")
right.set_xticks([0, 1], ["independent", "scrambled Sobol"])
plt.show()
