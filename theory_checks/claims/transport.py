"""Optimal transport: a plan and its potentials certify each other, and distances are distances."""

import numpy as np

import quantization as qz
from theory_checks.cells import codebook, host, largest_cost
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.rounding import root_error, round_off, transport_round_off


@claim(
    statement=r"a plan with marginals $a, b$ is optimal where $u_i + v_j \le |x_i - y_j|^2$ and $\langle u, a\rangle + "
    r"\langle v, b\rangle"
    r" = \langle \pi, c\rangle$",
    reference="flamary2021",
    laws=FINITE,
)
def plans_and_potentials_certify_each_other(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Marginals of the plan, feasibility of the potentials, and the gap between primal and dual cost; the worst of the three.

    Slack: marginals are sums of at most N = n + k masses, $\gamma_N$; costs and gap as in
    :func:`~theory_checks.rounding.transport_round_off`, twice, for the potentials are found from the plan's.
    """
    rng = np.random.default_rng(seed)
    nu = qz.DiscreteMeasure(codebook(law, k, rng), rng.dirichlet(np.ones(k)))
    coupling = qz.transport(law, nu)
    return _certified(law, nu, np.asarray(coupling.plan), coupling)


@plans_and_potentials_certify_each_other.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Every point sent to its nearest code, whatever the codes' weights are."""
    rng = np.random.default_rng(seed)
    nu = qz.DiscreteMeasure(codebook(law, k, rng), rng.dirichlet(np.ones(k)))
    plan = np.eye(k)[np.asarray(nu.assign(law.points))] * host(law)[1][:, None]
    return _certified(law, nu, plan, qz.transport(law, nu))


def _certified(mu: qz.DiscreteMeasure, nu: qz.DiscreteMeasure, plan: np.ndarray, coupling: qz.Coupling) -> Evidence:
    (x, a), (y, b) = host(mu), host(nu)
    u, v = (np.asarray(potential) for potential in coupling.potentials)
    costs = np.square(x[:, None] - y).sum(2)
    size = mu.size + nu.size
    slack = 2 * transport_round_off(mu.size, nu.size, largest_cost(mu, nu))
    return worst(
        [
            Evidence(float(np.abs(plan.sum(1) - a).max()), 0.0, round_off(size, 1.0)),
            Evidence(float(np.abs(plan.sum(0) - b).max()), 0.0, round_off(size, 1.0)),
            Evidence(float((u[:, None] + v - costs).max()), 0.0, slack),
            equal(float((plan * costs).sum()), float(u @ a + v @ b), slack),
            equal(coupling.cost, float((plan * costs).sum()), slack),
        ]
    )


@claim(
    statement=r"$W_2(\mu, \nu + t) = (W_2(\mu, \nu)^2 + |t|^2)^{1/2}$ for measures of one mean, and $W_2(\mu, \mu) = 0$",
    reference="flamary2021",
    laws=FINITE,
)
def translations_are_told_apart(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|W_2(\mu, \nu + t) - (W_2(\mu, \nu)^2 + |t|^2)^{1/2}| = 0$ for ν on random codes, moved to the mean of μ.

    $|x - y - t|^2 = |x - y|^2 - 2 \langle x - y, t\rangle + |t|^2$, whose middle term has mean 0 under any plan. Slack: the
    network simplex's error of either squared distance, and $\gamma_{2n+d+8}$ of the means times the largest distance; through
    the root.
    """
    return _translated(law, k, seed, squared=True)


@translations_are_told_apart.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$W_2(\mu, \nu + t) = W_2(\mu, \nu) + |t|$, as if the distances were added along one line."""
    return _translated(law, k, seed, squared=False)


def _translated(law: qz.DiscreteMeasure, k: int, seed: int, *, squared: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    (points, masses), weights = host(law), rng.dirichlet(np.ones(k))
    codes = codebook(law, k, rng)
    codes = codes + (masses @ points - weights @ codes)
    reach = largest_cost(law, qz.DiscreteMeasure(codes)) ** 0.5
    t = reach * rng.standard_normal(law.dim) / law.dim**0.5
    here, there = (qz.wasserstein(law, qz.DiscreteMeasure(y, weights)) for y in (codes, codes + t))
    length = float(np.linalg.norm(t))
    expected = float(np.hypot(here, length)) if squared else here + length
    largest = largest_cost(law, qz.DiscreteMeasure(codes + t))
    magnitude = largest**0.5 * float(np.abs(points).max() + np.abs(codes).max() + length) * law.dim**0.5
    error = 2 * transport_round_off(law.size, k, largest) + round_off(2 * law.size + law.dim + 8, 4 * magnitude)
    return worst(
        [
            equal(there, expected, root_error(there**2, error)),
            Evidence(qz.wasserstein(law, law), 0.0, transport_round_off(law.size, law.size, largest_cost(law, law)) ** 0.5),
        ]
    )
