r"""A diffusion of a Gaussian mixture with a common covariance s² I, run backwards with its exact score; all in closed form.

Forward, $X_t = \alpha_t X_0 + \sigma_t Z$: variance-preserving (VP) with $\alpha_t^2 = e^{-t}$, $\sigma_t^2 = 1 - e^{-t}$, or
exploding (VE) with $\alpha = 1$, $\sigma_t^2 = t$. Then $X_t \sim \sum_i \pi_i N(\alpha_t m_i, v_t I)$, $v_t = \alpha_t^2 s^2 +
\sigma_t^2$. Backwards in time, $dY = [cY + g \nabla \log p_t(Y)]\,dt + \text{noise}$: c = ½, g = 1 (VP, SDE), g = ½ (VP, ODE);
c = 0, g = 1 and ½ (VE).
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from math import exp, sqrt

import numpy as np

from quantization import GaussianMixture
from theory_checks.cells import FloatArray


@dataclass(frozen=True, eq=False)
class Diffusion:
    """From time ``end`` down to ``begin``, of X_0 a mixture whose means lie within ``radius`` of their middle.

    data: the law of X_0, all covariances s² I. stochastic: the reverse SDE, or the probability-flow ODE.
    """

    data: GaussianMixture
    preserving: bool
    stochastic: bool
    begin: float
    end: float

    @cached_property
    def data_variance(self) -> float:
        """s², of the first component."""
        return float(self.data.covs[0, 0, 0])

    @cached_property
    def radius(self) -> float:
        r"""$R = \max_i |m_i - c|$, c the middle of the means' bounding box."""
        middle = (self.data.means.max(0) + self.data.means.min(0)) / 2
        return float(np.sqrt(np.square(self.data.means - middle).sum(1).max()))

    def alpha(self, t: float) -> float:
        """α_t, the factor of X_0 at time t."""
        return exp(-t / 2) if self.preserving else 1.0

    def noise_variance(self, t: float) -> float:
        """σ_t², the variance of the noise added up to time t."""
        return -np.expm1(-t) if self.preserving else t

    def variance(self, t: float) -> float:
        """v_t, the variance of a component of X_t."""
        return self.alpha(t) ** 2 * self.data_variance + self.noise_variance(t)

    def law(self, t: float) -> GaussianMixture:
        """The law of X_t, for any covariances of the data."""
        eye = np.eye(self.data.dim)
        return GaussianMixture(
            self.data.weights, self.alpha(t) * self.data.means, self.alpha(t) ** 2 * self.data.covs + self.noise_variance(t) * eye
        )

    def constant(self) -> float:
        r"""C with $W_2(\mu_\delta, \nu_\delta) \le C\, W_2(\mu_T, \nu_T)$, in closed form (METHOD: Theorem 1 made explicit).

        $\exp \int (c + g \Lambda_t) dt$ with $\Lambda_t = -1/v_t + \alpha_t^2 R^2 / v_t^2$, the largest eigenvalue that
        $\nabla^2 \log p_t = -I/v_t + \alpha_t^2 \operatorname{Cov}(m \mid x) / v_t^2$ can have.
        """
        early, late = self.variance(self.begin), self.variance(self.end)
        lost = self.noise_variance(self.end) - self.noise_variance(self.begin) if self.preserving else late - early
        whole = early / late * exp(self.radius**2 * lost / (early * late))
        if not self.stochastic:
            return sqrt(whole)
        return whole * exp(-(self.end - self.begin) / 2) if self.preserving else whole

    def largest_rate(self, t: float) -> float:
        r"""$c + g \Lambda_t$, the largest eigenvalue of the drift's derivative: the rate at which paths may separate."""
        v = self.variance(t)
        return self._drift + self._score_weight * (-1 / v + self.alpha(t) ** 2 * self.radius**2 / v**2)

    def least_rate(self, t: float) -> float:
        r"""$c - g/v_t$, the least eigenvalue of the drift's derivative."""
        return self._drift - self._score_weight / self.variance(t)

    @property
    def _drift(self) -> float:
        return 0.5 if self.preserving else 0.0

    @property
    def _score_weight(self) -> float:
        return 1.0 if self.stochastic else 0.5

    def times(self, steps: int) -> FloatArray:
        """Times from ``end`` to ``begin``, evenly spaced in log(t + s² ...): where the score is steep, steps are short."""
        offset = self.data_variance + 1e-3
        return np.geomspace(self.end + offset, self.begin + offset, steps + 1) - offset

    def backwards(self, start: FloatArray, times: FloatArray, noise: FloatArray | None) -> FloatArray:
        """Euler's scheme from ``start`` (n, d) at times[0] to times[-1], for the SDE with normals ``noise`` (steps, n, d)."""
        y = start.copy()
        for i, (now, then) in enumerate(itertools.pairwise(times)):
            h = now - then
            y = y + h * (self._drift * y + self._score_weight * self.law(now).score(y))
            if noise is not None:
                y += np.sqrt(h) * noise[i]
        return y

    def euler_constants(self, times: FloatArray) -> tuple[float, float]:
        r"""The largest and the least factor by which the scheme stretches distances: the products of the larger and of the
        smaller of $|1 + h(c + g\Lambda)|$ and $|1 + h(c - g/v)|$.

        Every step is $y \mapsto y + h\,b(y) + \text{noise}$, whose symmetric derivative has its eigenvalues between the two.
        """
        most = least = 1.0
        for now, then in itertools.pairwise(times):
            h = now - then
            steps = abs(1 + h * self.largest_rate(now)), abs(1 + h * self.least_rate(now))
            most, least = most * max(steps), least * min(steps)
        return most, least

    def posterior(self, y: FloatArray, weights: FloatArray) -> GaussianMixture:
        r"""The law of the reverse SDE at ``begin``, started from $\sum_k w_k \delta_{y_k}$ at ``end``: that of X_δ given X_T,
        mixed.

        Given $X_T = y$ the components have posterior weights, means $m_i' + \frac{a v_\delta}{v_T}(y - a m_i')$ and the
        variance $v_\delta (1 - a^2 v_\delta / v_T)$, with $m_i' = \alpha_\delta m_i$ and $a = \alpha_T / \alpha_\delta$.
        """
        a, early, late = self.alpha(self.end) / self.alpha(self.begin), self.variance(self.begin), self.variance(self.end)
        means = self.alpha(self.begin) * self.data.means
        offsets = y[:, None] - a * means
        logits = np.log(self.data.weights) - np.square(offsets).sum(2) / (2 * late)
        shares = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        centres = means + a * early / late * offsets
        variance = early * (1 - a * a * early / late)
        count, d = shares.size, y.shape[1]
        covs = np.broadcast_to(variance * np.eye(d), (count, d, d))
        return GaussianMixture((weights[:, None] * shares).ravel(), centres.reshape(count, d), covs)
