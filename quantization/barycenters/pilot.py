"""Measures of many points: where a solver begins on them, found on samples of them."""

from dataclasses import replace

import numpy as np

from quantization.arrays import FloatArray
from quantization.barycenters.problem import BarycenterProblem
from quantization.solvers.base import Solver, State

_MANY = 4096  # atoms of the largest measure, above which samples pay
_SAMPLED, _MOST_STEPS = 2000, 100


def needs_pilot(problem: BarycenterProblem) -> bool:
    """Whether a measure has so many points that its samples should be solved first."""
    return max(len(x) for x in problem.clouds) > _MANY


def sampled(problem: BarycenterProblem, rng: np.random.Generator, atoms: int = _SAMPLED) -> BarycenterProblem:
    """The problem for samples of so many atoms of each measure that has more."""
    n = max(atoms, 2 * problem.k)
    pairs = list(zip(problem.clouds, problem.cloud_weights, strict=True))
    chosen = [rng.choice(len(x), n, p=a) if len(x) > n else np.arange(len(x)) for x, a in pairs]
    clouds = [x[i] for (x, _), i in zip(pairs, chosen, strict=True)]
    masses = [np.full(n, 1 / n) if len(x) > n else a for x, a in pairs]
    return replace(problem, clouds=clouds, cloud_weights=masses)


def last_state(solver: Solver, problem: BarycenterProblem, codes: FloatArray, rng: np.random.Generator) -> State:
    """Where a solver ends, after a hundred steps at the latest."""
    state: State | None = None
    for step, state in enumerate(solver.solve(problem, codes, rng)):
        if state.within(solver.rtol) or step >= _MOST_STEPS:
            break
    assert state is not None
    return state
