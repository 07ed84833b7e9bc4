"""Idle codes of competitive learning, whose cells stay empty: which they are, and where they are relocated."""

import numpy as np

from quantization.arrays import FloatArray, IntArray, asarray_like, namespace, to_host
from quantization.assignment import nearest, squared_distances
from quantization.clvq_state import CLVQState
from quantization.problem import Problem
from quantization.stream import Batch

_PATIENCE = 16  # times K points; a code of mass 1/K wins none of so many with probability e^-16
_WORTH = 4  # each code taken for idle wrongly may raise the distortion by a quarter of D/K
_FURTHEST = 1024.0  # times D, a cap on the squared distances that the wait is proportional to


def relocate_idle_codes(
    state: CLVQState, batch: Batch, distortion: float, problem: Problem, rng: np.random.Generator
) -> CLVQState:
    """``state`` with its idle codes relocated to cells that cost much in this batch.

    An idle code moves next to the code j whose cell holds a point y drawn with probability ∝ its cost: to
    $x_j + (y - x_j)/\\sqrt{d}$. In any dimension the boundary between the two then lies about half a standard deviation from
    $x_j$, so that they share the cell and its count of points won. At most half as many move as there are points.
    """
    size, period = float(batch.masses.sum()), _PATIENCE / 2 * len(state.codes)
    if state.seen // period == (state.seen - size) // period:  # a search only now and then costs little
        return state
    total = np.inf if problem.measure is None else float(problem.measure.size)
    idle = idle_codes(state, distortion, total)
    if not len(idle):
        return state
    codes, won = state.codes.copy(), state.won.copy()
    found = nearest(batch.points, codes)
    labels, squared, masses = to_host(found.labels), to_host(found.squared), to_host(batch.masses)
    moved = 0
    for k in idle[: max(1, len(labels) // 2)]:
        costs = np.cumsum(masses * squared ** (state.r / 2))
        if not 0 < costs[-1] < np.inf:
            break
        i = int((costs <= rng.random() * costs[-1]).sum())
        j = int(labels[i])
        point = to_host(batch.points[i])
        codes[k] = codes[j] + (point - codes[j]) / codes.shape[1] ** 0.5
        won[k] = won[j] = won[j] / 2
        reached = to_host(
            squared_distances(batch.points, asarray_like(codes[k], batch.points, dtype=namespace(batch.points).float64))
        )
        labels = np.where(reached < squared, k, labels)
        squared = np.minimum(reached, squared)
        moved += 1
    return state.relocated(idle[:moved], codes, won)


def idle_codes(state: CLVQState, distortion: float, total: float) -> IntArray:
    r"""The codes whose loss would cost less than a quarter of D/K, a cell's mean share of the distortion, as far as is known.

    Losing code k costs at most about $w_k \delta_k^r$, $\delta_k$ its distance to the next code. After m points without a win,
    $w_k$ is taken to be 1/m, times a factor ≤ 1 of Good and Turing's kind: if the unseen mass were shared by all N codes idle
    for so long, about as many would have last won in the period before (one for one where rare wins are the reason). So k is idle
    when $m \ge 4 K \delta_k^r / D$ times that factor, and m ≥ 16 K; rare but costly cells are waited for, up to 4096 K points.
    Over ``total`` points in all, 2 ``total`` without a win include each of them.
    """
    k, idle = len(state.codes), state.idle
    patience = _PATIENCE * k
    suspects = np.flatnonzero(idle >= min(patience, 2 * total))
    if not len(suspects) or not distortion > 0:
        return suspects[:0]
    recently = int(((idle >= patience / 2) & (idle < patience)).sum())
    unseen = min(1.0, (recently + 1) / max(int((idle >= patience).sum()), 1))
    far = np.minimum(gaps(suspects, state.codes) ** (state.r / 2) / distortion, _FURTHEST)
    awaited = k * np.maximum(_PATIENCE, _WORTH * unseen * far)
    return suspects[idle[suspects] >= np.minimum(awaited, 2 * total)]


def gaps(which: IntArray, codes: FloatArray) -> FloatArray:
    """The squared distance of some of the codes to their nearest other one; infinite for a single code."""
    found = np.empty(len(which))
    with np.errstate(over="ignore"):
        for i, k in enumerate(which):
            squared = np.square(codes - codes[k]).sum(1)
            squared[k] = np.inf
            found[i] = squared.min()
    return found
