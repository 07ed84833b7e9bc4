"""The interior-point method's passes over one measure's plan and slacks, compiled by numba: each reads them once.

Written for one plan P > 0 and its slacks S > 0, both (n, K), with D = P/S. A direction of the method is
dS_ik = −(du_i + dv_k) and dP_ik = t_ik − D_ik dS_ik, so it is never stored: du (n,) and dv (K,) determine it.
"""

# pyright: reportMissingTypeStubs=false
from typing import Any

import numpy as np

from quantization.compiler import unordered  # infinities and NaN do not occur in an interior


@unordered
def normal_sums(plan: Any, slack: Any, a: Any, scaled: Any, rows: Any, columns: Any, mass: Any, rhs: Any) -> float:
    """The sums of D that the normal equations need; returns the complementarity Σ P S.

    rows: (n,), Σ_k D. columns: (K,), Σ_i D. mass: (K,), Σ_i P. rhs: (K,), Σ_i D a_i / rows_i. scaled: (n, K), D/√rows.
    """
    n, k = plan.shape
    columns[:], mass[:], rhs[:] = 0.0, 0.0, 0.0
    gap = 0.0
    for i in range(n):
        total = 0.0
        for j in range(k):
            d = plan[i, j] / slack[i, j]
            scaled[i, j] = d
            total += d
            columns[j] += d
            mass[j] += plan[i, j]
            gap += plan[i, j] * slack[i, j]
        rows[i] = total
        root, share = 1 / np.sqrt(total), a[i] / total
        for j in range(k):
            rhs[j] += scaled[i, j] * share
            scaled[i, j] *= root
    return gap


@unordered
def predict(plan: Any, slack: Any, a: Any, rows: Any, dv: Any, du: Any, sums: Any, columns: Any, first: Any, second: Any) -> None:
    """The direction towards complementarity 0, and what the corrector needs of it.

    du: (n,) of that direction, from dv. sums: (5,) the largest −dP/P and −dS/S, then Σ P dS, Σ dP S and Σ dP dS.
    columns: (2, K) the sums over i of 1/S and of dP dS/S. first, second: (n,) those over k.
    columns 2 and 3, (K,) each: Σ_i D first_i / rows_i and Σ_i D second_i / rows_i.
    """
    n, k = plan.shape
    columns[:] = 0.0
    most_p, most_s, p_ds, dp_s, dp_ds = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        along = 0.0
        for j in range(k):
            along += plan[i, j] / slack[i, j] * dv[j]
        step = (a[i] - along) / rows[i]
        du[i] = step
        ones, bends = 0.0, 0.0
        for j in range(k):
            inverse = 1 / slack[i, j]
            ds = -(step + dv[j])
            relative = -1.0 - ds * inverse  # dP / P
            dp = plan[i, j] * relative
            most_p, most_s = max(most_p, -relative), max(most_s, -ds * inverse)
            p_ds += plan[i, j] * ds
            dp_s += dp * slack[i, j]
            dp_ds += dp * ds
            bend = dp * ds * inverse
            ones += inverse
            bends += bend
            columns[0, j] += inverse
            columns[1, j] += bend
        first[i], second[i] = ones, bends
        ones, bends = ones / rows[i], bends / rows[i]
        for j in range(k):
            d = plan[i, j] / slack[i, j]
            columns[2, j] += d * ones
            columns[3, j] += d * bends
    sums[0], sums[1], sums[2], sums[3], sums[4] = most_p, most_s, p_ds, dp_s, dp_ds


@unordered
def correct(
    plan: Any, slack: Any, g: Any, rows: Any, du: Any, dv: Any, centre: float, new_dv: Any, new_du: Any, most: Any
) -> None:
    """The corrected direction's du, from its dv and the right side g (n,); most: (2,) its largest −dP/P and −dS/S."""
    n, k = plan.shape
    most_p, most_s = 0.0, 0.0
    for i in range(n):
        along = 0.0
        for j in range(k):
            along += plan[i, j] / slack[i, j] * new_dv[j]
        step = (g[i] - along) / rows[i]
        new_du[i] = step
        for j in range(k):
            inverse = 1 / slack[i, j]
            before = -(du[i] + dv[j])
            bend = plan[i, j] * (-1.0 - before * inverse) * before
            ds = -(step + new_dv[j])
            dp = (centre - bend) * inverse - plan[i, j] * (1.0 + ds * inverse)
            most_p, most_s = max(most_p, -dp / plan[i, j]), max(most_s, -ds * inverse)
    most[0], most[1] = most_p, most_s


@unordered
def move(plan: Any, slack: Any, du: Any, dv: Any, centre: float, new_du: Any, new_dv: Any, primal: float, dual: float) -> None:
    """P and S a step further along the corrected direction, so far each."""
    n, k = plan.shape
    for i in range(n):
        for j in range(k):
            inverse = 1 / slack[i, j]
            before = -(du[i] + dv[j])
            bend = plan[i, j] * (-1.0 - before * inverse) * before
            ds = -(new_du[i] + new_dv[j])
            dp = (centre - bend) * inverse - plan[i, j] * (1.0 + ds * inverse)
            plan[i, j] += primal * dp
            slack[i, j] += dual * ds


@unordered
def least_reduced_cost(costs: Any, a: Any, v: Any) -> float:
    """Σ_i a_i min_k (C_ik − v_k)."""
    n, k = costs.shape
    total = 0.0
    for i in range(n):
        least = np.inf
        for j in range(k):
            least = min(least, costs[i, j] - v[j])
        total += a[i] * least
    return total
