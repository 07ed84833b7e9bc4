"""Optimal transport: a plan and its potentials certify each other, and distances are distances."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from scipy.optimize import linprog

import quantization as qz
from quantization.gradients import cost_gradients
from quantization.optimal_transport.coupling import TransportResult
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


@claim(
    statement=r"no plan costs less than $\langle \pi, c\rangle - \text{gap}$, whatever plan and potentials a coupling has",
    reference="santambrogio2015",
    laws=FINITE,
)
def the_gap_bounds_the_excess(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The cost of the independent coupling and of the optimal one less that of the linear program, against their gaps.

    Slack: the program's solver meets constraints to 1e-10, with costs divided by their maximum: $N 10^{-10} \max c$ of N = n + k
    constraints whose multipliers are at most max c; and :func:`~theory_checks.rounding.transport_round_off`.
    """
    independent, optimal, least, slack = _beside_a_program(law, k, seed)
    return worst([Evidence(float(c.cost) - least, c.gap, slack) for c in (independent, optimal)])


@the_gap_bounds_the_excess.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """As if the independent coupling were optimal."""
    independent, _, least, slack = _beside_a_program(law, k, seed)
    return Evidence(float(independent.cost) - least, 0.0, slack)


class _Independent:
    """The product of both measures, with the potentials of the nearest codes."""

    def couple(self, source: qz.DiscreteMeasure, target: qz.DiscreteMeasure, r: float) -> TransportResult:
        (x, a), (y, b) = host(source), host(target)
        costs, plan = np.square(x[:, None] - y).sum(2) ** (r / 2), np.outer(a, b)
        return TransportResult(float((plan * costs).sum()), costs.min(1), np.zeros(len(b)), qz.Status.CONVERGED, plan=plan)


def _beside_a_program(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[qz.Coupling, qz.Coupling, float, float]:
    rng = np.random.default_rng(seed)
    nu = qz.DiscreteMeasure(codebook(law, k, rng), rng.dirichlet(np.ones(k)))
    (x, a), (y, b) = host(law), host(nu)
    costs, largest = np.square(x[:, None] - y).sum(2), largest_cost(law, nu)
    marginals = np.vstack([np.kron(np.eye(law.size), np.ones(k)), np.kron(np.ones(law.size), np.eye(k))])
    sums = np.concatenate([a / a.sum(), b / b.sum()])
    tight: Any = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    least = cast(Any, linprog)((costs / largest).ravel(), A_eq=marginals[:-1], b_eq=sums[:-1], options=tight).fun * largest
    slack = (law.size + k) * 1e-10 * largest + transport_round_off(law.size, k, largest)
    return qz.transport(law, nu, method=_Independent()), qz.transport(law, nu), float(least), slack


@claim(
    statement=r"$W_2^2(\sum a'_i \delta_{x'_i}, \nu) \ge W_2^2(\mu, \nu) + \langle u, a' - a\rangle$ where x' = x, and for "
    r"a' = a $\le W_2^2(\mu, \nu) + \langle g, x' - x\rangle + \sum a_i |x'_i - x_i|^2$, $g_i = 2 \sum_k \pi_{ik} (x_i - y_k)$",
    reference="santambrogio2015",
    laws=FINITE,
)
def potentials_and_displacements_are_the_gradients(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Both inequalities at a random step; the worse. With either sign of the step they leave no other gradient.

    Slack: :func:`~theory_checks.rounding.transport_round_off` of both costs.
    """
    return _first_order(law, k, seed, factor=1.0)


@potentials_and_displacements_are_the_gradients.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Three halves of either gradient."""
    return _first_order(law, k, seed, factor=1.5)


def _first_order(law: qz.DiscreteMeasure, k: int, seed: int, *, factor: float) -> Evidence:
    rng = np.random.default_rng(seed)
    nu = qz.DiscreteMeasure(codebook(law, k, rng), rng.dirichlet(np.ones(k)))
    (x, a), (y, _) = host(law), host(nu)
    mu = qz.DiscreteMeasure(x, a)
    coupling = qz.transport(mu, nu)
    u, here = np.asarray(coupling.potentials[0]), float(coupling.cost)
    g = factor * cost_gradients(x, y, *coupling.sparse_plan, 2.0)[0]
    found, shares, directions = list[Evidence](), rng.choice([-1.0, 1.0], len(a)), rng.standard_normal(x.shape)
    for sign in (1.0, -1.0):
        there = qz.DiscreteMeasure.from_unnormalized(x, a * (1 + 1e-3 * sign * shares))
        slack = 2 * transport_round_off(law.size, k, largest_cost(mu, nu))
        step = factor * float(u @ (host(there)[1] - a))
        found.append(Evidence(here + step, float(qz.transport(there, nu).cost), slack))
        move = sign * 1e-3 * largest_cost(mu, nu) ** 0.5 * directions
        moved = qz.DiscreteMeasure(x + move, a)
        slack = 2 * transport_round_off(law.size, k, max(largest_cost(mu, nu), largest_cost(moved, nu)))
        bound = here + float((g * move).sum()) + float(a @ np.square(move).sum(1))
        found.append(Evidence(float(qz.transport(moved, nu).cost), bound, slack))
    return worst(found)


@claim(
    statement=r"$|W_2(\mu, \nu_w) - W_2(\mu, \nu_{w'})| \le W_2(\nu_w, \nu_{w'})$ for two weights on the same points",
    reference="santambrogio2015",
    laws=FINITE,
)
def other_weights_are_no_farther_than_between_them(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The triangle inequality on one codebook. Slack: the network simplex's error of each square, through the root."""
    difference, between, slack = _weights_apart(law, k, seed)
    return Evidence(difference, between, slack)


@other_weights_are_no_farther_than_between_them.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """As if the distance did not depend on the weights."""
    difference, _, slack = _weights_apart(law, k, seed)
    return Evidence(difference, 0.0, slack)


def _weights_apart(law: qz.DiscreteMeasure, k: int, seed: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(seed)
    codes = codebook(law, k, rng)
    first, second = (qz.DiscreteMeasure(codes, rng.dirichlet(np.ones(k))) for _ in range(2))
    pairs = ((law, first), (law, second), (first, second))
    one, two, between = (float(qz.wasserstein(mu, nu)) for mu, nu in pairs)
    errors = [transport_round_off(mu.size, nu.size, largest_cost(mu, nu)) for mu, nu in pairs]
    return abs(one - two), between, sum(root_error(w * w, e) for w, e in zip((one, two, between), errors, strict=True))


@claim(
    statement=r"on the line uniform masses give $x_k = K \int_{(k-1)/K}^{k/K} Q$, and $W_2^2(\mu, \frac1K \sum_k \delta_{y_k}) = "
    r"W_2^2(\mu, \frac1K \sum_k \delta_{x_k}) + \frac1K \sum_k |x_k - y_k|^2$ for all ordered $y$",
    reference="santambrogio2015",
    laws=replace(FINITE, dims=(1,)),
)
def uniform_masses_are_blocks_of_quantiles(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The points of ``quantize(masses="uniform")`` against integrals of the quantile function, and random codes against these.

    $\int_{(k-1)/K}^{k/K} (Q - y_k)^2 = \int (Q - x_k)^2 + \frac1K (x_k - y_k)^2$. Slack: integrals are sums of at most n + K
    terms, $\gamma_{2n+2K+8}$ of K times the largest point, squared costs the same of twice the largest one.
    """
    return _blocks(law, k, seed, share=1.0)


@uniform_masses_are_blocks_of_quantiles.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Half of the squared distance between the codes."""
    return _blocks(law, k, seed, share=0.5)


def _blocks(law: qz.DiscreteMeasure, k: int, seed: int, *, share: float) -> Evidence:
    points, weights = host(law)
    order = np.argsort(points[:, 0], kind="stable")
    ends = np.append(np.append(0.0, np.cumsum(weights[order]))[:-1], 1.0)
    integral = np.append(0.0, np.cumsum(np.diff(ends) * points[order, 0]))
    expected = k * np.diff(np.interp(np.arange(k + 1) / k, ends, integral))
    sol = qz.quantize(law, k, masses="uniform", rng=seed).require()
    codes = np.sort(host(sol.measure)[0][:, 0])
    rng = np.random.default_rng(seed)
    reach = float(np.ptp(points)) + float(np.abs(points).max()) + 1.0
    rival = np.sort(codes + reach * rng.standard_normal(k))
    apart = share * float(np.square(rival - codes).mean())
    nu = qz.DiscreteMeasure(rival[:, None])
    rounding = 2 * law.size + 2 * k + 8
    largest = max(largest_cost(law, nu), reach**2)
    return worst(
        [
            Evidence(float(np.abs(codes - expected).max()), 0.0, round_off(rounding, 4 * k * float(np.abs(points).max()))),
            equal(qz.transport(law, nu).cost, sol.distortion + apart, round_off(rounding, 8 * k * largest)),
        ]
    )
