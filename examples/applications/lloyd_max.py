r"""
A Lloyd–Max quantizer for signals
=================================

Sixteen levels (4 bits a sample) for a signal whose samples have a Laplace law. The optimal levels are exact; a uniform quantizer
over the same range loses decibels, as most samples are small.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import quantization as qz

law = stats.laplace(scale=1 / np.sqrt(2))  # variance 1
optimal = qz.quantize(law, 16, rng=0).require()
print(f"signal to noise: {-10 * np.log10(optimal.distortion):.3f} dB; the published optimum is 18.13 dB")

# %%
# Levels between −4 and 4, equally spaced, beside it, on a signal.
time = np.arange(4000)
rng = np.random.default_rng(0)
signal = law.rvs(4000, random_state=rng)
uniform = np.linspace(-4, 4, 16)[:, None]
for name, levels in {"Lloyd–Max": optimal.points, "uniform": uniform}.items():
    print(f"{name}: {-10 * np.log10(float(qz.distortion(signal[:, None], levels))):.2f} dB on the signal")

levels = optimal.points.ravel()
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", width_ratios=[2, 1])
left.plot(time[:120], signal[:120], c="0.6", label="signal")
left.step(time[:120], levels[optimal.predict(signal[:120, None])], where="mid", label="4 bits a sample")
left.legend()
z = np.linspace(-4, 4, 801)
right.plot(z, levels[optimal.predict(z[:, None])], label="Lloyd–Max")
right.plot(z, uniform.ravel()[np.abs(z[:, None] - uniform.T).argmin(1)], lw=1, label="uniform")
right.legend()
plt.show()
