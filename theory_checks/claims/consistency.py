"""Consistency: the distortion of a codebook depends on the law no more than the Wasserstein distance does."""

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import host, largest_cost
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, root_error, round_off, transport_round_off
from theory_checks.laws import FINITE, codebook, spread

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$|e(\mu, x) - e(\nu, x)| \le W_2(\mu, \nu)$ for $e(\mu, x) = D_2(x)^{1/2}$, every codebook $x$",
    reference="liu2020",
    laws=FINITE,
)
def quantization_error_is_lipschitz_in_the_law(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|e(\mu, x) - e(\nu, x)| \le W_2(\mu, \nu)$ for ν the empirical measure of as many draws of μ.

    Slack: $\gamma_{2n+d+8}$ of either distortion and the network simplex's error of $W_2^2$, each carried through the root.
    """
    rng = np.random.default_rng(seed)
    return _compare(law, qz.DiscreteMeasure(law.sample(law.size, rng)), codebook(law, k, rng), constant=1.0)


@quantization_error_is_lipschitz_in_the_law.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The constant ½ in place of 1, for a translation towards a codebook far away: there $e$ falls by nearly all of $W_2$."""
    rng = np.random.default_rng(seed)
    points, weights = host(law)
    towards = rng.standard_normal(law.dim)
    towards *= spread(law) / np.linalg.norm(towards)
    return _compare(law, qz.DiscreteMeasure(points + towards, weights), codebook(law, k, rng) + 1e3 * towards, constant=0.5)


def _compare(mu: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, codes: FloatArray, *, constant: float) -> Evidence:
    of_mu, of_nu = (qz.distortion(law, codes).value for law in (mu, nu))
    distance = qz.wasserstein(mu, nu)
    slack = root_error(distance**2, transport_round_off(mu.size, nu.size, largest_cost(mu, nu)))
    slack += sum(root_error(value, round_off(2 * mu.size + mu.dim + 8, value)) for value in (of_mu, of_nu))
    return Evidence(abs(of_mu**0.5 - of_nu**0.5), constant * distance, slack)
