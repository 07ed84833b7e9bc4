"""Pushing two laws forward by one map: the first step from a quantizer of the latent law to a distilled data set."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host, largest_cost
from theory_checks.claim import claim
from theory_checks.evidence import Evidence
from theory_checks.laws import FINITE
from theory_checks.rounding import root_error, round_off, transport_round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$W_2(g_\# \mu, g_\# \nu) \le \operatorname{Lip}(g)\, W_2(\mu, \nu)$",
    reference="tan2026",
    laws=FINITE,
)
def pushforward_is_lipschitz(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$W_2(g_\#\mu, g_\#\nu) \le \|B\| \|A\|\, W_2(\mu, \nu)$ for ν a codebook of μ and $g(z) = B \tanh(A(z - c))$.

    Slack: the network simplex's error of either squared distance, carried through the root. An image is a product, a
    contraction and a product, of vectors no longer than $\rho = \|B\| \|A\| \max |z - c|$ in the end: rounded by at most $2 d
    \gamma_{2d+8} \rho$, which for the images of both measures moves $W_2$ by twice that. And $\gamma_{d^2+8}$ for the norms.
    """
    rng = np.random.default_rng(seed)
    nu = law.project(codebook(law, k, rng))
    inner, outer = (rng.standard_normal((law.dim, law.dim)) for _ in range(2))
    centre = host(law)[0].mean(0)
    lipschitz = float(np.linalg.norm(outer, 2) * np.linalg.norm(inner, 2))
    return _compare(law, nu, lambda z: np.tanh((z - centre) @ inner.T) @ outer.T, lipschitz)


@pushforward_is_lipschitz.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Half the Lipschitz constant, for a map that multiplies every distance by it."""
    rng = np.random.default_rng(seed)
    nu = law.project(codebook(law, k, rng))
    rotation = np.linalg.qr(rng.standard_normal((law.dim, law.dim)))[0]
    centre = host(law)[0].mean(0)
    return _compare(law, nu, lambda z: 2 * (z - centre) @ rotation.T, 1.0)


def _compare(mu: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, g: Callable[[FloatArray], FloatArray], lipschitz: float) -> Evidence:
    images = [qz.DiscreteMeasure(g(points), weights) for points, weights in map(host, (mu, nu))]
    before, after = qz.wasserstein(mu, nu), qz.wasserstein(*images)
    reach = max(largest_cost(mu, mu), largest_cost(mu, nu)) ** 0.5  # at least max |z − c|, as c lies among the points of μ
    slack = root_error(after**2, transport_round_off(mu.size, nu.size, largest_cost(*images)))
    slack += lipschitz * root_error(before**2, transport_round_off(mu.size, nu.size, largest_cost(mu, nu)))
    slack += round_off(2 * mu.dim + 8, 4 * mu.dim * lipschitz * reach) + round_off(mu.dim**2 + 8, lipschitz * before)
    return Evidence(after, lipschitz * before, slack)
