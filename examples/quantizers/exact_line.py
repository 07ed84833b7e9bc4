r"""
Exact quantizers of laws on the line
====================================

Any frozen continuous ``scipy.stats`` law is quantized to round-off: cells are integrated, not sampled, and Newton's method ends
where the gradient of :math:`D_2(x) = E \min_k |X - x_k|^2` vanishes. For a log-concave law this is the global optimum.
"""

import matplotlib.pyplot as plt
from scipy import stats

import quantization as qz
from quantization import plot

laws = {
    "N(0, 1)": stats.norm(),
    "Γ(2)": stats.gamma(2.0),
    "Student, 5 degrees of freedom": stats.t(5),
    "an arcsine law": stats.beta(0.5, 0.5),
}

# %%
# The optimal quantizer of N(0, 1) with two codes is ±√(2/π), of distortion 1 − 2/π.
two = qz.quantize(stats.norm(), 2, rng=0).require()
print(two.points.ravel(), two.distortion)

# %%
# Twelve codes each. Bars have the masses of the cells as areas, so that they approximate the density.
fig, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
for ax, (name, law) in zip(axes.flat, laws.items(), strict=True):
    solution = qz.quantize(law, 12, rng=0).require()
    plot.voronoi(solution, law, ax)
    ax.set_title(f"{name}: $D_2$ = {solution.distortion:.3e}, residual {solution.stationarity:.0e}", fontsize=9)
plt.show()
