"""Transport to points whose weights are free: everything goes to its nearest one."""

from dataclasses import dataclass

import numpy as np

from quantization.arrays import to_host
from quantization.measure import DiscreteMeasure
from quantization.status import Status
from quantization.transport.costs import pair_costs
from quantization.transport.coupling import Found
from quantization.voronoi import nearest


@dataclass(frozen=True)
class Voronoi:
    r"""$\min_b W_r^r(\mu, \sum_k b_k \delta_{y_k}) = \sum_i a_i \min_k |x_i - y_k|^r$, the distortion of the points y.

    The weights of the second measure do not count: the plan's second marginal is ``mu.project(points).weights``. No (n, m)
    array is made. Source: graf2000.
    """

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> Found:
        labels = np.asarray(to_host(nearest(source.points, to_host(target.points)).labels), dtype=np.intp)
        rows, a = np.arange(source.size), to_host(source.masses)
        costs = pair_costs(to_host(source.points), to_host(target.points), rows, labels, r)
        return Found(float(a @ costs), costs, np.zeros(target.size), Status.CONVERGED, (rows, labels, a))
