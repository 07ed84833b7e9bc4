"""The network simplex: optimal plans, exact to round-off. The one façade to POT."""

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
    """The network simplex of POT, exact to round-off. max_pivots: pivots at most; running out becomes a status, never silent.

    (n, m) costs are held in memory. Source: bonneel2011, flamary2021.
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
        """The plan (n, m), its potential u (n,), not yet made feasible, and how the simplex ended."""
        ot: Any = importlib.import_module("ot")  # not at the top: POT loads torch wherever it is installed
        # The simplex stops at an absolute tolerance, so it sees costs of the size of 1; a power of two loses no digit.
        exponent = int(np.frexp(costs.max())[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the solver's warning is read from its log instead
            plan, log = ot.emd(a, b, np.ldexp(costs, -exponent), numItermax=self.max_pivots, log=True, center_dual=False)
        status = Status.CONVERGED if log["warning"] is None else Status.BUDGET_SPENT
        return np.asarray(plan), np.ldexp(np.asarray(log["u"]), exponent), status
