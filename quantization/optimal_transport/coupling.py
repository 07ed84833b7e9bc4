"""A transport plan with its certificate, and what a method that finds one is."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, asarray_like, to_host
from quantization.gradients import centred, cost_gradients, differentiable, tell_of_lost_gradients
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
        CONVERGED, BUDGET_SPENT where the method stopped early, or STALLED where its gap stays open.
    sparse_plan : (rows, columns, masses), optional
        The plan's nonzero entries, arrays (p,) each.
    plan : array (n, m), optional
        The plan, where ``sparse_plan`` is None.
    marginal_error : float
        By how much the marginals missed the weights, in total variation, before the plan was made feasible.
    gap : float, optional
        The cost less the dual value of the potentials, where the method knows it better than the difference of the two.
    """

    cost: float
    u: FloatArray
    v: FloatArray
    status: Status
    sparse_plan: tuple[NDArray[np.intp], NDArray[np.intp], FloatArray] | None = None
    plan: FloatArray | None = None
    marginal_error: float = 0.0
    gap: float | None = None

    def dense(self) -> FloatArray:
        """The plan as an array (n, m)."""
        if self.plan is not None:
            return self.plan
        assert self.sparse_plan is not None
        dense = np.zeros((len(self.u), len(self.v)))
        np.add.at(dense, self.sparse_plan[:2], self.sparse_plan[2])
        return dense

    def entries(self) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
        """The plan's nonzero entries: rows, columns and masses, (p,) each."""
        if self.sparse_plan is not None:
            return self.sparse_plan
        assert self.plan is not None
        rows, columns = np.nonzero(self.plan)
        return rows, columns, self.plan[rows, columns]


@dataclass(frozen=True)
class LawTransport:
    r"""What is known of an optimal coupling that involves a law: $W_r^r$, how far it may be off, and whether that is little.

    Parameters
    ----------
    cost : float
        $W_r^r$.
    gap : float
        A bound on what the cost exceeds $W_r^r$ by, or lies below it.
    status : Status
        CONVERGED, or STALLED where the gap is more than the method promises.
    """

    cost: float
    gap: float
    status: Status


@dataclass(frozen=True, eq=False)
class Coupling:
    r"""A transport plan $\pi$ between two measures, with a certificate of its optimality.

    Attributes
    ----------
    cost : float, or tensor
        $\sum_{ik} \pi_{ik} |x_i - y_k|^r$, no root. A tensor where points or weights require a gradient: that of the plan in the
        points, centred potentials in the weights; a subgradient where these are not unique.
    gap : float
        The cost less the dual value of the potentials, ≥ 0: no plan costs less than ``cost - gap``. Of the potentials as found,
        not yet rounded to the dtype of the points. Of a law, where both are integrals: how far the cost may be off.
    status : Status
        CONVERGED; BUDGET_SPENT where the method stopped early; STALLED where round-off keeps an exact method's gap open.
    marginal_error : float
        The total variation by which the method's own plan missed the weights; ``plan`` has been made feasible.

    Notes
    -----
    A coupling that involves a law has no potentials and no plan as arrays: to ask for them is a ``ValueError``.

    Examples
    --------
    >>> import quantization as qz
    >>> coupling = qz.transport([[0.0], [1.0]], [[0.0], [3.0]])
    >>> coupling.cost, coupling.plan.tolist()
    (2.0, [[0.5, 0.0], [0.0, 0.5]])
    """

    cost: float | Array
    gap: float
    status: Status
    marginal_error: float
    _found: TransportResult | LawTransport = field(repr=False)
    _like: Array = field(repr=False)

    @staticmethod
    def of(
        found: TransportResult | LawTransport, source: DiscreteMeasure | None, target: DiscreteMeasure | None, r: float
    ) -> "Coupling":
        """What was found between two marginals, as a Coupling.

        Parameters
        ----------
        found : TransportResult or LawTransport
            On the host.
        source, target : DiscreteMeasure or None
            The measures, None for a law. The coupling takes the first one's array library, dtype and device.
        r : float
            The order of the costs.

        Returns
        -------
        Coupling
        """
        like = next((m.points for m in (source, target) if m is not None), np.empty((0, 1)))
        if isinstance(found, LawTransport):
            tell_of_lost_gradients("the cost does not", source, target)
            return Coupling(found.cost, found.gap, found.status, 0.0, found, like)
        assert source is not None
        assert target is not None
        a, b = to_host(source.weights_float64), to_host(target.weights_float64)
        gap = found.gap
        if gap is None:
            gap = max(found.cost - float(found.u[a > 0] @ a[a > 0] + found.v[b > 0] @ b[b > 0]), 0.0)
        cost = found.cost
        if source.requires_grad or target.requires_grad:
            in_x, in_y = cost_gradients(to_host(source.points), to_host(target.points), *found.entries(), r)
            gradients = (in_x, centred(found.u), in_y, centred(found.v))
            cost = differentiable(cost, list(zip(source.graph + target.graph, gradients, strict=True)))
        return Coupling(cost, gap, found.status, found.marginal_error, found, like)

    @property
    def potentials(self) -> tuple[Array, Array]:
        r"""(u, v), arrays (n,) and (m,): $u_i + v_k \le |x_i - y_k|^r$ to round-off: their mean is at most the least cost.

        At the optimum $\sum_i u_i a_i + \sum_k v_k b_k$ equals the cost.
        """
        found = self._of_measures("potentials")
        return asarray_like(found.u, self._like), asarray_like(found.v, self._like)

    @property
    def plan(self) -> Array:
        """The plan as an array (n, m), of marginals a and b, made at each access."""
        return asarray_like(self._of_measures("plan").dense(), self._like)

    @property
    def sparse_plan(self) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
        r"""(rows, columns, masses), numpy arrays (p,): $\pi = \sum_p m_p \delta_{(i_p, k_p)}$; at most n + m − 1 if exact."""
        return self._of_measures("plan").entries()

    def _of_measures(self, asked: str) -> TransportResult:
        if isinstance(self._found, LawTransport):
            raise ValueError(
                f"a coupling that involves a law has no {asked} as arrays, but a cost with its gap. Give samples of the law"
            )
        return self._found


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
