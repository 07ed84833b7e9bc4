"""The one answer: a weighted codebook with its distortion, how stationary it is, and why the solver stopped."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantization.arrays import Array, FloatArray
from quantization.measure import DiscreteMeasure
from quantization.status import Status

if TYPE_CHECKING:
    from quantization.optimal_transport.coupling import TransportMethod
    from quantization.solvers.base import Solver
    from quantization.solvers.clvq_state import CLVQState


class NotConverged(RuntimeError):
    """Raised by :meth:`Solution.require` on an answer that is not stationary to the tolerance asked for."""


@dataclass(frozen=True)
class Trace:
    """What every step saw, the start included: arrays of their true length n_iter + 1.

    distortion, stationarity: (n_iter + 1,); running estimates from mini-batches where the solver is stochastic, and of some six
    digits where Lloyd's steps are taken on inner products in float32. The solution's own are measured.
    companion: (K,) the running companion weights at the end of a stochastic solver, else None.
    clvq_state: how far a stochastic solver had come (three arrays (K, d)): started from this solution it goes on from there.
    """

    distortion: FloatArray
    stationarity: FloatArray
    companion: FloatArray | None = None
    clvq_state: "CLVQState | None" = None


@dataclass(frozen=True)
class Solution:
    r"""A K-point measure $\sum_k w_k \delta_{x_k}$ near a law, and what is known of it.

    measure: the codes with the masses of their Voronoi cells, in the kind of array the law came in.
    distortion: $D_r = E \min_k |X - x_k|^r$ of these very codes. distortion_se: its standard error, 0 where exact.
    stationarity: $(\sum_k w_k |x_k - E[X | V_k]|^2 / D_2)^{1/2}$, 0 at a stationary codebook.
    n_iter: steps taken. solver: the solver that took them, with its options.

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
    n_iter: int
    trace: Trace
    solver: "Solver"
    weights_gap: float = 0.0
    distortion_gap: float = 0.0
    transport: "TransportMethod | None" = None

    @property
    def points(self) -> Array:
        """The codes, (K, d), in the kind of array the law came in."""
        return self.measure.points

    @property
    def weights(self) -> Array:
        """The masses of their Voronoi cells, (K,), of sum 1."""
        return self.measure.weights

    @property
    def converged(self) -> bool:
        """Whether the run ended within the solver's tolerance."""
        return self.status is Status.CONVERGED

    def predict(self, points: Any) -> Array:
        r"""$\arg\min_k |y - x_k|$ for each of ``points`` (m, d): the index of its nearest code, (m,); the lowest index wins a tie."""
        return self.measure.assign(points)

    def require(self) -> "Solution":
        """This solution if it converged; raises :class:`NotConverged` otherwise."""
        if not self.converged:
            gap = f", gap in the weights {self.weights_gap:.3g}" if self.weights_gap > 0 else ""
            remedy = "Raise max_iter, or" if self.status is Status.BUDGET_SPENT else "More steps would not lower it; raise"
            raise NotConverged(
                f"{self.status.value} Stationarity {self.stationarity:.3g}{gap} after {self.n_iter} steps of {self.solver!r}. "
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
