"""Transport to points whose weights are free: everything goes to its nearest one."""

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
    r"""$\min_b W_r^r(\mu, \sum_k b_k \delta_{y_k}) = \sum_i a_i \min_k |x_i - y_k|^r$, the distortion of the points y.

    The weights of the second measure do not count: the plan's second marginal is ``mu.project(points).weights``. No (n, m)
    array is made. Source: graf2000.
    """

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        labels = np.asarray(to_host(nearest(source.points, to_host(target.points)).labels), dtype=np.intp)
        rows, a = np.arange(source.size), to_host(source.weights_float64)
        costs = pair_costs(to_host(source.points), to_host(target.points), rows, labels, r)
        return TransportResult(float(a @ costs), costs, np.zeros(target.size), Status.CONVERGED, (rows, labels, a))
