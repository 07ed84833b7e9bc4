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
    r"""What a method finds, on the host: a sparse plan or a dense one, and its potentials.

    Parameters
    ----------
    cost : float
        $\sum_{ik} \pi_{ik} |x_i - y_k|^r$ of the plan.
    u, v : array (n,) and (m,)
        Potentials, $u_i + v_k \le |x_i - y_k|^r$.
    status : Status
        CONVERGED, or BUDGET_SPENT where the method stopped early.
    sparse_plan : (rows, columns, masses), optional
        The plan's nonzero entries, arrays (p,) each.
    plan : array (n, m), optional
        The plan, where ``sparse_plan`` is None.
    marginal_error : float
        By how much the marginals missed the weights, in total variation, before the plan was made feasible.
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
    r"""A transport plan $\pi$ between two measures, with a certificate of its optimality.

    Attributes
    ----------
    cost : float
        $\sum_{ik} \pi_{ik} |x_i - y_k|^r$, no root.
    potentials : (u, v), arrays (n,) and (m,)
        $u_i + v_k \le |x_i - y_k|^r$ to round-off, so that $\sum_i u_i a_i + \sum_k v_k b_k$ is at most the least cost; at the
        optimum it equals the cost.
    status : Status
        CONVERGED, or BUDGET_SPENT where the method stopped early.
    marginal_error : float
        The total variation by which the method's own plan missed the weights; ``plan`` has been made feasible.

    Examples
    --------
    >>> import quantization as qz
    >>> coupling = qz.transport([[0.0], [1.0]], [[0.0], [3.0]])
    >>> coupling.cost, coupling.plan.tolist()
    (2.0, [[0.5, 0.0], [0.0, 0.5]])
    """

    cost: float
    potentials: tuple[Array, Array]
    status: Status
    marginal_error: float
    _found: TransportResult = field(repr=False)
    _like: Array = field(repr=False)

    @staticmethod
    def of(found: TransportResult, kind: Array) -> "Coupling":
        """What a method found, as a Coupling.

        Parameters
        ----------
        found : TransportResult
            On the host.
        kind : array
            Whose array library, dtype and device the coupling takes.

        Returns
        -------
        Coupling
        """
        potentials = (asarray_like(found.u, kind), asarray_like(found.v, kind))
        return Coupling(found.cost, potentials, found.status, found.marginal_error, found, kind)

    @property
    def plan(self) -> Array:
        """The plan as an array (n, m), of marginals a and b, made at each access."""
        found = self._found
        if found.plan is not None:
            return asarray_like(found.plan, self._like)
        assert found.sparse_plan is not None
        dense = np.zeros((len(found.u), len(found.v)))
        np.add.at(dense, found.sparse_plan[:2], found.sparse_plan[2])
        return asarray_like(dense, self._like)

    @property
    def sparse_plan(self) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
        r"""(rows, columns, masses), numpy arrays (p,): $\pi = \sum_p m_p \delta_{(i_p, k_p)}$; at most n + m − 1 if exact."""
        if self._found.sparse_plan is not None:
            return self._found.sparse_plan
        plan = self._found.plan
        assert plan is not None
        rows, columns = np.nonzero(plan)
        return rows, columns, plan[rows, columns]


class TransportMethod(Protocol):
    """A way to solve the transport problem of order r between two measures: the protocol of ``method=``.

    Examples
    --------
    The independent coupling, an upper bound:

    >>> import numpy as np, quantization as qz
    >>> from quantization.optimal_transport.coupling import TransportResult
    >>> class Independent:
    ...     def couple(self, source, target, r):
    ...         costs = np.linalg.norm(source.points[:, None] - target.points, axis=2) ** r
    ...         plan = np.outer(source.weights, target.weights)
    ...         u, v = costs.min(1), np.zeros(target.size)
    ...         return TransportResult(float((plan * costs).sum()), u, v, qz.Status.CONVERGED, plan=plan)
    >>> qz.transport([[0.0], [1.0]], [[0.0], [3.0]], method=Independent()).cost
    3.5
    """

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        """A plan between two measures, and its potentials.

        Parameters
        ----------
        source, target : DiscreteMeasure
            Of one dimension.
        r : float
            Order of the costs $|x_i - y_k|^r$.

        Returns
        -------
        TransportResult
            On the host.

        Raises
        ------
        ValueError
            Where the method is not for these measures, or costs overflow.
        """
        ...
