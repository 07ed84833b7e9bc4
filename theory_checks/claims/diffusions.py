r"""Quantization trees of diffusions: how far they are from the scheme they quantize, and what they keep of it."""

import numpy as np

import quantization as qz
from theory_checks.claim import MODERATE, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import SCHEMES
from theory_checks.laws.processes import MeanReverting
from theory_checks.rounding import round_off

_RESIDUAL = 1e-8  # to which grids of a tree are stationary, with a digit to spare


@claim(
    statement=r"$W_2(\bar X_T, \hat X_T) \le \sum_{t \le T} L^{T-t} D_t^{1/2}$ for a scheme of slope L",
    reference="pages2015recursive",
    laws=SCHEMES,
    effort=MODERATE,
)
def trees_are_near_their_scheme(law: MeanReverting, k: int, seed: int) -> Evidence:
    r"""The distance of the last date's grid from the normal law of the scheme, exact on the line.

    With the same noise $|\mathcal E(x, Z) - \mathcal E(y, Z)| = |1 - \theta h|\,|x - y|$, so each date adds its own error to L
    times that of the date before. Slack: the distance's own gap is within $\gamma_{1000}$ of the second moment about the mean.
    """
    return _distance(law, k, whole=True)


@trees_are_near_their_scheme.control
def _(law: MeanReverting, k: int, seed: int) -> Evidence:
    """Half of the last date's error alone."""
    return _distance(law, k, whole=False)


def _distance(law: MeanReverting, k: int, *, whole: bool) -> Evidence:
    tree = qz.recursive_grid(law.diffusion, law.times, k)
    last, exact = len(law.times) - 1, law.at(len(law.times) - 1)
    errors = np.sqrt(tree.distortions)
    bound = float(np.abs(law.slope) ** np.arange(last, -1, -1) @ errors) if whole else errors[-1] / 2
    distance = qz.wasserstein(exact, tree.measure())
    return Evidence(distance, float(bound), round_off(1000, float(np.sqrt(exact.cov[0, 0]))))


@claim(
    statement=r"$E \hat X_{t+1} = E \mathcal E_t(\hat X_t, Z)$ and $E \hat X_{t+1}^2 + D_{t+1} = E \mathcal E_t(\hat X_t, Z)^2$",
    reference="pages2015recursive",
    laws=SCHEMES,
    effort=MODERATE,
)
def trees_keep_the_mean_and_split_the_second_moment(law: MeanReverting, k: int, seed: int) -> Evidence:
    r"""Over all dates, from the closed form of one step's moments, as grids are stationary.

    Slack: with centroids $m_k$, $|\sum w_k (x_k - m_k)| \le (\sum w_k |x_k - m_k|^2)^{1/2}$, the residual times $D^{1/2}$; the
    second moment adds that times $2 (E X^2)^{1/2}$. And $\gamma_{1000}$ of the second moment.
    """
    return _moments(law, k, factor=1.0)


@trees_keep_the_mean_and_split_the_second_moment.control
def _(law: MeanReverting, k: int, seed: int) -> Evidence:
    """Half the distortion."""
    return _moments(law, k, factor=0.5)


def _moments(law: MeanReverting, k: int, *, factor: float) -> Evidence:
    tree, found = qz.recursive_grid(law.diffusion, law.times, k), list[Evidence]()
    for date in range(len(law.times) - 1):
        d = float(tree.distortions[date + 1])
        first, second = (tree.expect(lambda x, p=p: x[:, 0] ** p, date) for p in (1, 2))
        second = law.slope**2 * second + law.volatility**2 * law.step
        own, squares = (tree.expect(lambda x, p=p: x[:, 0] ** p, date + 1) for p in (1, 2))
        slack = _RESIDUAL * d**0.5
        found.append(equal(own, law.slope * first, slack + round_off(1000, second**0.5)))
        found.append(equal(squares + factor * d, second, 2 * second**0.5 * slack + round_off(1000, second)))
    return worst(found)
