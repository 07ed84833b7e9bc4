r"""The best weights on fixed points: one linear program over all plans together.

$$\min_{w, P_j \ge 0} \sum_j \lambda_j \langle C_j, P_j \rangle \quad\text{with}\quad P_j 1 = a_j,\; P_j^\top 1 = w,$$

whose dual is $\max_v \sum_j \lambda_j \sum_i a_{ji} \min_k (C_{jik} - v_{jk})$ over $\sum_j \lambda_j v_j \ge 0$. Every v gives a
lower bound, which certifies. ``primal_dual`` is fast and ends near the optimum, or at it where the program is well conditioned;
``column_generation`` goes on to the end from there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import FloatArray
from quantization.barycenters.column_generation import close_gap
from quantization.barycenters.primal_dual import PrimalDual
from quantization.threads import parallel_map

_NEGLIGIBLE = 1e-13  # of the mean cost: what all atoms together that the interior point leaves out may cost
_MOST_ATOMS = 2**14  # of all measures together, for which the simplex method of HiGHS takes seconds


@dataclass(frozen=True, eq=False)
class WeightSolution:
    r"""Nearly optimal plans that share their second marginal.

    weights: (K,), the common marginal. plans: (n_j, K) each. potentials: (K,) each, with $\sum_j \lambda_j v_j = 0$. bound: what
    they prove. value: at most what the plans cost once their second marginals agree to the last digit.
    """

    weights: FloatArray
    plans: list[FloatArray]
    potentials: list[FloatArray]
    bound: float
    value: float


def best_weights(
    costs: list[FloatArray], masses: list[FloatArray], mixing: FloatArray, rtol: float, near: WeightSolution | None = None
) -> WeightSolution:
    """The linear program for costs C_j (n_j, K), weights a_j > 0 and λ_j > 0, to a relative duality gap of ``rtol``.

    It stops earlier where round-off prevents more; ``bound`` and ``value`` then show the gap that is left. near: the solution for
    similar costs and the same masses.
    """
    k = costs[0].shape[1]
    if len(costs) == 1:
        return _single_measure(costs[0], masses[0], mixing)
    if k == 1 or not max(float(c.max()) for c in costs) > 0:
        weights, none = np.full(k, 1 / k), [np.zeros(k) for _ in costs]
        bound = lower_bound(costs, masses, mixing, none)
        return WeightSolution(weights, [np.outer(a, weights) for a in masses], none, bound, bound)
    kept = _costly_atoms(costs, masses, mixing)
    shares = [float(a[rows].sum()) for a, rows in zip(masses, kept, strict=True)]
    heavy = [a[rows] / share for a, rows, share in zip(masses, kept, shares, strict=True)]
    few = [c[rows] for c, rows in zip(costs, kept, strict=True)]
    start = None
    if near is not None:
        start = [p[rows] / share for p, rows, share in zip(near.plans, kept, shares, strict=True)], near.potentials
    inner, scaled = PrimalDual(few, heavy, mixing, start).solve(rtol)
    potentials = [v / share for v, share in zip(np.nan_to_num(scaled), mixing, strict=True)]
    plans = [_whole_plan(*each) for each in zip(inner, kept, costs, masses, potentials, strict=True)]
    bound, value = lower_bound(costs, masses, mixing, potentials), upper_bound(costs, mixing, plans)
    if not value - bound <= rtol * value and sum(len(a) for a in masses) <= _MOST_ATOMS:
        plans, potentials = close_gap(costs, masses, mixing, plans, potentials, rtol)
        bound, value = lower_bound(costs, masses, mixing, potentials), upper_bound(costs, mixing, plans)
    weights = np.asarray(sum(share * p.sum(0) for share, p in zip(mixing, plans, strict=True)), dtype=np.float64)
    return WeightSolution(weights / weights.sum(), plans, potentials, bound, value)


def _single_measure(costs: FloatArray, a: FloatArray, mixing: FloatArray) -> WeightSolution:
    """A single measure: each of its points goes to the nearest one."""
    labels, plan = costs.argmin(1), np.zeros_like(costs)
    rows = np.arange(len(a))
    plan[rows, labels] = a
    weights, value = plan.sum(0), float(mixing[0] * (a @ costs[rows, labels]))
    return WeightSolution(weights / weights.sum(), [plan], [np.zeros(len(weights))], value, value)


def lower_bound(costs: list[FloatArray], masses: list[FloatArray], mixing: FloatArray, potentials: list[FloatArray]) -> float:
    r"""$\sum_j \lambda_j \sum_i a_{ji} \min_k (C_{jik} - v_{jk})$ with $\sum_j \lambda_j v_j$ taken out of the v: the least cost
    under any weights is no less. Valid for the costs of any points, tight near those that the potentials belong to."""
    from quantization.barycenters import kernels  # loads numba

    excess = sum(share * v for share, v in zip(mixing, potentials, strict=True))
    each = parallel_map(lambda j: kernels.least_reduced_cost(costs[j], masses[j], potentials[j] - excess), len(costs))
    return float(mixing @ np.array(each))


def upper_bound(costs: list[FloatArray], mixing: FloatArray, plans: list[FloatArray]) -> float:
    """At most what plans cost once their second marginals agree: mass that does not fit pays the most there is to pay."""
    sums = [p.sum(0) for p in plans]
    common = sum(share * s for share, s in zip(mixing, sums, strict=True))
    each = [
        float(np.vdot(p, c)) + float(np.abs(s - common).sum()) / 2 * float(c.max())
        for p, c, s in zip(plans, costs, sums, strict=True)
    ]
    return float(mixing @ np.array(each))


def _costly_atoms(costs: list[FloatArray], masses: list[FloatArray], mixing: FloatArray) -> list[NDArray[np.bool_]]:
    """Which atoms matter by what they could cost: a mass of 1e-15 at a distance of 1e8 does, one of 1e-300 does not."""
    mean = float(mixing @ np.array([c.mean() for c in costs]))
    kept: list[NDArray[np.bool_]] = []
    for c, a, share in zip(costs, masses, mixing, strict=True):
        most = share * a * c.max(1)
        order = np.argsort(most)
        rows = np.ones(len(a), bool)
        rows[order[np.cumsum(most[order]) <= _NEGLIGIBLE * mean]] = False
        rows[np.argmax(a)] = True
        kept.append(rows)
    return kept


def _whole_plan(
    plan: FloatArray, rows: NDArray[np.bool_], costs: FloatArray, a: FloatArray, potentials: FloatArray
) -> FloatArray:
    """The plan of all atoms, from that of some: the others go where their reduced cost is least."""
    if rows.all():
        return plan
    whole, others = np.zeros_like(costs), np.flatnonzero(~rows)
    whole[rows] = plan * float(a[rows].sum())
    whole[others, (costs[others] - potentials).argmin(1)] = a[others]
    return whole
