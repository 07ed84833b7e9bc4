"""The one answer: a weighted codebook with its distortion, how stationary it is, and why the solver stopped."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantization.arrays import FloatArray
from quantization.measure import DiscreteMeasure
from quantization.progress import Progress
from quantization.solver import Solver
from quantization.status import Status

if TYPE_CHECKING:
    from quantization.transport.coupling import Method


class NotConverged(RuntimeError):
    """Raised by :meth:`Solution.require` on an answer that is not stationary to the tolerance asked for."""


@dataclass(frozen=True)
class Trace:
    """What every step saw, the start included: arrays of their true length steps + 1.

    distortion, stationarity: (steps + 1,); running estimates from mini-batches where the solver is stochastic, and of some six
    digits where Lloyd's steps are taken on inner products in float32. The solution's own are measured.
    companion: (K,) the running companion weights at the end of a stochastic solver, else None.
    progress: how far a stochastic solver had come (three arrays (K, d)): started from this solution it goes on from there.
    """

    distortion: FloatArray
    stationarity: FloatArray
    companion: FloatArray | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Solution:
    r"""A K-point measure $\sum_k w_k \delta_{x_k}$ near a law, and what is known of it.

    measure: the codes with the masses of their Voronoi cells, in the kind of array the law came in.
    distortion: $D_r = E \min_k |X - x_k|^r$ of these very codes. distortion_se: its standard error, 0 where exact.
    stationarity: $(\sum_k w_k |x_k - E[X | V_k]|^2 / D_2)^{1/2}$, 0 at a stationary codebook.
    steps: steps taken. solver: the solver that took them, with its options.

    Of a barycenter, distortion is $F = \sum_j \lambda_j W_2^2(\mu_j, \nu)$, stationarity $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$
    with T_k the λ-mean of what the optimal plans send to x_k. weights_gap: by how much other weights on these points could lower
    F, at most; 0 where they are given, or the best as a quantizer's are. transport: the method that F was computed by, None for
    quantizers. distortion_gap: by how much it may exceed the true F; 0 for exact transport.
    """

    measure: DiscreteMeasure
    distortion: float
    distortion_se: float
    stationarity: float
    status: Status
    steps: int
    trace: Trace
    solver: Solver
    weights_gap: float = 0.0
    distortion_gap: float = 0.0
    transport: "Method | None" = None

    def require(self) -> "Solution":
        """This solution if it converged; raises :class:`NotConverged` otherwise."""
        if self.status is not Status.CONVERGED:
            gap = f", gap in the weights {self.weights_gap:.3g}" if self.weights_gap > 0 else ""
            remedy = "Raise max_steps, or" if self.status is Status.BUDGET_SPENT else "More steps would not lower it; raise"
            raise NotConverged(
                f"{self.status.value} Stationarity {self.stationarity:.3g}{gap} after {self.steps} steps of {self.solver!r}. "
                f"{remedy} the solver's rtol"
            )
        return self

    def save(self, path: str | Path) -> None:
        """Write the whole answer to ``path`` (numpy's .npz, no pickle); the file appears whole or not at all.

        ``DiscreteMeasure.load`` reads its codes and weights. A solver of one's own is kept by its ``repr``.
        """
        from quantization import storage  # not at the top: it needs this module

        storage.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Solution":
        """The solution that :meth:`save` wrote to ``path``, as numpy arrays; ``ValueError`` for any other or a damaged file."""
        from quantization import storage  # not at the top: it needs this module

        return storage.load(path)
