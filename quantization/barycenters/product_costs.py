"""Squared distances by products in float32: many dimensions, while points still move by more than their rounding."""

import numpy as np

from quantization.arrays import FloatArray
from quantization.barycenters.problem import BarycenterProblem
from quantization.threads import parallel_map

_LEAST_DIM = 64  # below which transports take longer than costs
_SAFE = 2.0**60  # coordinates below it have products in the range of float32


class ProductCosts:
    r"""$|x|^2 + |y|^2 - 2\langle x, y \rangle$ about the barycenter's mean, norms in float64: costs on the way to an answer.

    centre: (d,). rows: the measures' points about it in float32, (n_j, d) each. squares: their $|x|^2$, (n_j,) each.
    """

    def __init__(self, problem: BarycenterProblem) -> None:
        pairs = list(zip(problem.clouds, problem.cloud_weights, strict=True))
        self.centre = np.asarray(problem.mixing @ np.array([a @ x for x, a in pairs]))
        self.rows = parallel_map(lambda j: (pairs[j][0] - self.centre).astype(np.float32), len(pairs))
        self.squares = [np.einsum("nd,nd->n", x, x, dtype=np.float64) for x in self.rows]

    @staticmethod
    def pays(problem: BarycenterProblem) -> bool:
        """Whether costs take most of the time, and float32 holds them."""
        return problem.dim >= _LEAST_DIM and max(float(np.abs(x).max()) for x in problem.clouds) < _SAFE

    def __call__(self, points: FloatArray) -> list[FloatArray]:
        """C_j, (n_j, K) each."""
        y = points - self.centre
        single, square = y.astype(np.float32), np.einsum("kd,kd->k", y, y)

        def one(j: int) -> FloatArray:
            costs = (self.rows[j] @ single.T).astype(np.float64)
            costs *= -2.0
            costs += self.squares[j][:, None]
            costs += square
            return np.maximum(costs, 0.0, out=costs)

        return parallel_map(one, len(self.rows))
