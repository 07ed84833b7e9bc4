r"""Lloyd's algorithm, $x_k \leftarrow E[X \mid X \in V_k]$, on weighted samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantization.arrays import FloatArray, double, rounded, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solution import State, Status
from quantization.starts import too_few_points
from quantization.voronoi import Cells, cells, squared_distances


@dataclass(frozen=True)
class Lloyd:
    r"""$x_k \leftarrow E[X \mid X \in V_k]$ until $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2} \le$ ``rtol``.

    For finite measures, r = 2. The distortion falls by at least $\sum_k w_k |x_k - E[X|V_k]|^2$ a step and never rises. A code whose
    cell is empty moves to the point that costs the most, which never raises the distortion either. ``rtol = 0`` takes every
    step of the budget unless a fixed point is met exactly. Source: lloyd1982.
    """

    rtol: float = 1e-6
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        if not 0 <= self.rtol < np.inf:
            raise ValueError(f"rtol must be a finite number ≥ 0; received {self.rtol!r}")

    def refuses(self, problem: Problem) -> str | None:
        if problem.measure is None:
            return (
                f"Lloyd needs samples, an array or a DiscreteMeasure; received {problem.kind}. Use CLVQ(), or quantize a sample"
            )
        if problem.r != 2:
            return f"Lloyd's centroid step is for r = 2; received r = {problem.r:g}"
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert problem.measure is not None
        measure, best = problem.measure, np.inf
        while True:
            codes = rounded(codes, measure.points)
            codes, c = _occupied(measure, codes, cells(measure.points, double(measure.weights), codes))
            if c.distortion >= best:
                return
            best = c.distortion
            yield State(codes, c.masses, c.distortion, c.stationarity)
            codes = c.means


def _occupied(measure: DiscreteMeasure, codes: FloatArray, c: Cells) -> tuple[FloatArray, Cells]:
    """The codes with every empty cell's code moved to the costliest points, and their cells."""
    weights = double(measure.weights)
    while not c.masses.all():
        codes, costs = codes.copy(), weights * c.costs
        for k in np.flatnonzero(c.masses == 0):
            costliest = int(costs.argmax())
            if not float(costs[costliest]) > 0:
                raise too_few_points(len(codes), int((c.masses > 0).sum() + np.searchsorted(np.flatnonzero(c.masses == 0), k)))
            codes[k] = to_host(measure.points[costliest])
            reached = weights * squared_distances(measure.points, measure.points[costliest])
            costs = costs - (costs - reached).clip(0)
        c = cells(measure.points, weights, codes)
    return codes, c
