r"""
Zador's theorem in numbers
==========================

:math:`K^2 \min_x D_2(x) \to \frac1{12} \bigl(\int f^{1/3}\bigr)^3` on the line. Exact optima up to K = 400 show the limit and
how fast it is approached.
"""

import matplotlib.pyplot as plt
from scipy import integrate, stats

import quantization as qz

laws = {"normal": stats.norm(), "exponential": stats.expon(), "logistic": stats.logistic(), "uniform": stats.uniform()}
ks = [2, 5, 10, 20, 50, 100, 200, 400]

fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
for name, law in laws.items():
    low, high = law.ppf([1e-40, 1]) if name == "exponential" else law.ppf([1e-30, 1 - 1e-15])
    low, high = (0.0, 90.0) if name == "exponential" else (0.0, 1.0) if name == "uniform" else (-60.0, 60.0)
    limit = integrate.quad(lambda z, law=law: law.pdf(z) ** (1 / 3), low, high, limit=500)[0] ** 3 / 12
    scaled = [k**2 * qz.quantize(law, k, rng=0).require().distortion / limit for k in ks]
    ax.semilogx(ks, scaled, "o-", label=name)
    print(f"{name}: limit {limit:.6f}, at K = 400 {scaled[-1]:.5f} of it")
ax.axhline(1, c="black", lw=1)
ax.set(xlabel="K", ylabel="$K^2 D_2$ / its limit")
ax.legend()
plt.show()
