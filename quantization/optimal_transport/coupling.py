"""A transport plan with its certificate, and what a method that finds one is."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, asarray_like
from quantization.measure import DiscreteMeasure
from quantization.status import Status


@dataclass(frozen=True, eq=False)
class TransportResult:
    r"""What a method finds, on the host: a plan of few sparse_plan, or a dense one.

    sparse_plan: (rows, columns, masses), (p,) each, the plan's nonzero entries; or plan: (n, m). u, v: (n,) and (m,).
    marginal_error: in total variation, how far the marginals were from the weights before the plan was made feasible.
    """

    cost: float
    u: FloatArray
    v: FloatArray
    status: Status
    sparse_plan: tuple[NDArray[np.intp], NDArray[np.intp], FloatArray] | None = None
    plan: FloatArray | None = None
    marginal_error: float = 0.0


@dataclass(frozen=True, eq=False)
class Coupling:
    r"""A transport plan between two measures, and a certificate.

    plan: (n, m) with the two measures' weights as marginals. sparse_plan: its nonzero entries (i, k, mass), of which an exact plan has
    at most n + m − 1. cost: $\sum_{ik} \pi_{ik} |x_i - y_k|^r$, no root.
    potentials: (u, v), (n,) and (m,), with $u_i + v_k \le |x_i - y_k|^r$ to round-off, so that
    $\sum_i u_i a_i + \sum_k v_k b_k$ is no more than the least cost; at the optimum it equals the cost.
    status: CONVERGED, or BUDGET_SPENT where the method stopped early.
    marginal_error: the total variation by which the method's own plan missed the weights; the plan given here has been repaired.
    """

    cost: float
    potentials: tuple[Array, Array]
    status: Status
    marginal_error: float
    _found: TransportResult = field(repr=False)
    _like: Array = field(repr=False)

    @staticmethod
    def of(found: TransportResult, kind: Array) -> "Coupling":
        """What was found, in the array kind of ``kind``."""
        potentials = (asarray_like(found.u, kind), asarray_like(found.v, kind))
        return Coupling(found.cost, potentials, found.status, found.marginal_error, found, kind)

    @property
    def plan(self) -> Array:
        """The plan as an (n, m) array, made when it is asked for."""
        found = self._found
        if found.plan is not None:
            return asarray_like(found.plan, self._like)
        assert found.sparse_plan is not None
        dense = np.zeros((len(found.u), len(found.v)))
        np.add.at(dense, found.sparse_plan[:2], found.sparse_plan[2])
        return asarray_like(dense, self._like)

    @property
    def sparse_plan(self) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
        """(rows, columns, masses), (p,) numpy arrays each: $\\pi = \\sum_p m_p \\delta_{(i_p, k_p)}$."""
        return _nonzero(self._found.plan) if self._found.sparse_plan is None else self._found.sparse_plan


class TransportMethod(Protocol):
    """A way to solve the transport problem of order r between two measures."""

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult: ...


def _nonzero(plan: FloatArray | None) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    assert plan is not None
    rows, columns = np.nonzero(plan)
    return rows, columns, plan[rows, columns]
