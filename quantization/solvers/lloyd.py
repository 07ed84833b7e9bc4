r"""Lloyd's algorithm, $x_k \leftarrow E[X \mid X \in V_k]$, on weighted samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from quantization.arrays import FloatArray
from quantization.exact.samples import Samples
from quantization.problem import OTHER_ORDERS, Problem, checked_tolerance
from quantization.solver import State
from quantization.status import Status

if TYPE_CHECKING:
    from quantization.compiled.steps import Step


@dataclass(frozen=True)
class Lloyd:
    r"""$x_k \leftarrow E[X \mid X \in V_k]$ until $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2} \le$ ``rtol``.

    For finite measures, r = 2. The distortion falls by at least $\sum_k w_k |x_k - E[X|V_k]|^2$ a step and never rises. A code
    whose cell is empty moves to the point that costs the most, which never raises the distortion either. ``rtol = 0`` takes
    every step of the budget unless a step leaves all codes in place or, by round-off, would raise the distortion: then the
    answer is a fixed point as far as the dtype of the points can tell. Source: lloyd1982.
    """

    rtol: float = 1e-6
    exhausted: ClassVar[Status] = Status.STALLED

    def __post_init__(self) -> None:
        checked_tolerance(self.rtol)

    def refuses(self, problem: Problem) -> str | None:
        if problem.exact is None:
            return (
                "Lloyd needs cells that can be computed: samples, a law with a density on the line, a Gaussian mixture in the "
                f"plane; received {problem.kind}. Use CLVQ(), or quantize a sample"
            )
        if problem.r != 2:
            return f"Lloyd's centroid step is for r = 2; received r = {problem.r:g}; {OTHER_ORDERS}"
        return None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        assert problem.exact is not None
        before: FloatArray | None = None
        least = np.inf
        while True:
            for descent in problem.exact.descents(codes, problem.passes) if isinstance(problem.exact, Samples) else ():
                step = None
                for step in descent.steps(codes):
                    if step.distortion * (1 - step.distortion_rtol) > least:
                        return
                    yield _state(step)
                if step is not None:
                    if step.at_rest:
                        return
                    codes, before, least = step.following(), None, step.distortion * (1 + step.distortion_rtol)
            codes, c = problem.exact.occupied(codes)
            if c.distortion > least or (before is not None and _same(codes, before)):
                return
            yield State(codes, c.masses, c.distortion, c.stationarity)
            before, least, codes = codes, c.distortion, c.means


def _state(step: "Step") -> State:
    """A step as a state: its distortion an estimate, unless it is as good as measured."""
    error = step.distortion_rtol
    return State(
        step.codes, step.masses, step.distortion, step.stationarity, estimated=error > 0, distortion_rtol=error or np.inf,
        measure=step.measure,
    )  # fmt: skip


def _same(codes: FloatArray, before: FloatArray) -> bool:
    """Whether no code has moved; looked at the first coordinates first, as almost always one of these has."""
    return np.array_equal(codes[:, 0], before[:, 0]) and np.array_equal(codes, before)
