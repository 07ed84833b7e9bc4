"""A smooth decoder and a smooth loss, with Lipschitz constants that can be computed."""

from dataclasses import dataclass

import numpy as np

from quantization import DiscreteMeasure
from theory_checks.cells import FloatArray


@dataclass(frozen=True)
class Network:
    r"""A decoder $g(z) = \tanh(A z)$ and the loss $\ell(x, \theta) = \log(1 + e^{\theta \cdot x})$, with $|t'| \le 1$, $|t''|
    \le \frac{4}{3\sqrt3}$, $|\sigma'| \le \frac14$, $|\sigma''| \le \frac1{6\sqrt3}$ for tanh and the logistic σ.
    """

    inner: FloatArray
    theta: FloatArray

    def gradients(self, z: FloatArray) -> FloatArray:
        r"""$\nabla_\theta \ell(g(z), \theta) = \sigma(\theta \cdot x)\, x$, (n, d) → (n, m)."""
        x = np.tanh(z @ self.inner.T)
        return x / (1 + np.exp(-x @ self.theta))[:, None]

    def curvature(self, along: FloatArray) -> float:
        r"""A Lipschitz constant of $\nabla_z (v \cdot \nabla_\theta \ell)(g(z))$ for a direction v (m,).

        With $\phi(t) = \sigma(\theta \cdot t)\,v \cdot t$: $\|\nabla^2 \phi\| \le \frac{1}{6\sqrt3} \|v\|_1 |\theta|^2 +
        \frac12 |\theta| |v|$ and $|\partial_i \phi| \le \frac14 |\theta_i| \|v\|_1 + |v_i|$; times $\|A\|^2$ for the chain
        rule.
        """
        total, length = float(np.abs(along).sum()), float(np.linalg.norm(self.theta))
        second = total * length**2 / (6 * 3**0.5) + length * float(np.linalg.norm(along)) / 2
        first = 4 / (3 * 3**0.5) * float((np.abs(self.theta) * total / 4 + np.abs(along)).max())
        return float(np.linalg.norm(self.inner, 2)) ** 2 * (second + first)

    def steepness(self, along: FloatArray) -> float:
        r"""A Lipschitz constant of $v \cdot \nabla_\theta \ell(g(z))$ itself."""
        return float(np.linalg.norm(self.inner, 2)) * float(
            np.linalg.norm(np.abs(self.theta) * np.abs(along).sum() / 4 + np.abs(along))
        )


def network(law: DiscreteMeasure, rng: np.random.Generator) -> Network:
    """A random network for the points of a law."""
    return Network(rng.standard_normal((3, law.dim)) / law.dim**0.5, rng.standard_normal(3))
