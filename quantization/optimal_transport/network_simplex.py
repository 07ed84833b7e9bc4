"""The network simplex: optimal plans, exact to round-off. The only module that calls POT."""

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import c_transforms, cost_matrix, pair_costs
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status
from quantization.validation import checked_count


@dataclass(frozen=True)
class NetworkSimplex:
    """The network simplex of POT, exact to round-off; costs (n, m) are held in memory.

    Parameters
    ----------
    max_pivots : int, default 10000000
        Pivots at most; running out is the status BUDGET_SPENT, never silent.

    References
    ----------
    bonneel2011, flamary2021.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.transport([[0.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]], method=qz.NetworkSimplex()).cost
    4.0
    """

    max_pivots: int = 10_000_000

    def __post_init__(self) -> None:
        checked_count("NetworkSimplex's max_pivots", self.max_pivots)

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        x, y, a = to_host(source.points), to_host(target.points), to_host(source.weights_float64)
        costs = cost_matrix(x, y, r)
        plan, u, status = self.plan(a, to_host(target.weights_float64), costs)
        rows, columns = np.nonzero(plan)
        masses = plan[rows, columns]
        u, v = c_transforms(u, a, costs)
        return TransportResult(float(masses @ pair_costs(x, y, rows, columns, r)), u, v, status, (rows, columns, masses))

    def plan(self, a: FloatArray, b: FloatArray, costs: FloatArray) -> tuple[FloatArray, FloatArray, Status]:
        """The optimal plan of given costs.

        Parameters
        ----------
        a : array (n,)
            Weights of the source, of sum 1.
        b : array (m,)
            Weights of the target, of sum 1.
        costs : array (n, m)
            Nonnegative and finite.

        Returns
        -------
        plan : array (n, m)
        u : array (n,)
            The source's potential, not yet made feasible.
        status : Status
            How the simplex ended.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> half = np.array([0.5, 0.5])
        >>> qz.NetworkSimplex().plan(half, half, np.array([[0.0, 1.0], [1.0, 0.0]]))[0].tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        """
        ot: Any = importlib.import_module("ot")  # not at the top: POT loads torch wherever it is installed
        # The simplex stops at an absolute tolerance, so it sees costs of the size of 1; a power of two loses no digit.
        exponent = int(np.frexp(costs.max())[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the solver's warning is read from its log instead
            plan, log = ot.emd(a, b, np.ldexp(costs, -exponent), numItermax=self.max_pivots, log=True, center_dual=False)
        status = Status.CONVERGED if log["warning"] is None else Status.BUDGET_SPENT
        return np.asarray(plan), np.ldexp(np.asarray(log["u"]), exponent), status
