"""Transport to points whose weights are free: each point of the source goes to its nearest one."""

from dataclasses import dataclass

import numpy as np

from quantization.arrays import to_host
from quantization.assignment import nearest
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import pair_costs
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status


@dataclass(frozen=True)
class NearestCode:
    r"""Transport to free weights, $\min_b W_r^r(\mu, \sum_k b_k \delta_{y_k}) = \sum_i a_i \min_k |x_i - y_k|^r$.

    This is the distortion of the points y. The weights of the second measure are ignored: the plan's second marginal is
    ``mu.project(points).weights``. No (n, m) array is made.

    References
    ----------
    graf2000.

    Examples
    --------
    >>> import quantization as qz
    >>> coupling = qz.transport([[0.0], [1.0], [4.0]], [[0.5], [4.0]], method=qz.NearestCode())
    >>> round(coupling.cost, 9)  # (0.25 + 0.25 + 0) / 3
    0.166666667
    """

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        labels = np.asarray(to_host(nearest(source.points, to_host(target.points)).labels), dtype=np.intp)
        rows, a = np.arange(source.size), to_host(source.weights_float64)
        costs = pair_costs(to_host(source.points), to_host(target.points), rows, labels, r)
        return TransportResult(float(a @ costs), costs, np.zeros(target.size), Status.CONVERGED, (rows, labels, a))
