"""Optimal transport between discrete measures, exact by POT's network simplex; the one façade to POT."""

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, like, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import checked_count, checked_order
from quantization.solver import Status


@dataclass(frozen=True)
class Coupling:
    r"""A transport plan between two measures, and a certificate.

    plan: (n, m) with the two measures' weights as marginals. cost: $\sum_{ij} \pi_{ij} |x_i - y_j|^r$, no root.
    potentials: (u, v), (n,) and (m,), with $u_i + v_j \le |x_i - y_j|^r$ to round-off; at the optimum
    $\sum_i u_i a_i + \sum_j v_j b_j$ equals the cost.
    status: CONVERGED, or BUDGET_SPENT where the method stopped early.
    """

    plan: Array
    cost: float
    potentials: tuple[Array, Array]
    status: Status


class Method(Protocol):
    """A way to solve the transport problem: weights a (n,) and b (m,), costs (n, m) in, plan, (u, v) and status out."""

    def solve(
        self, a: FloatArray, b: FloatArray, costs: FloatArray
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray], Status]: ...


@dataclass(frozen=True)
class Exact:
    """The network simplex of POT, exact to round-off. max_pivots: pivots at most; running out becomes a status, never silent."""

    max_pivots: int = 10_000_000

    def __post_init__(self) -> None:
        checked_count("Exact's max_pivots", self.max_pivots)

    def solve(self, a: FloatArray, b: FloatArray, costs: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray], Status]:
        ot: Any = importlib.import_module("ot")  # not at the top: POT loads torch wherever it is installed
        # The simplex stops at an absolute tolerance, so it sees costs of the size of 1; a power of two loses no digit.
        exponent = int(np.frexp(costs.max())[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the solver's warning is read from its log instead
            plan, log = ot.emd(a, b, np.ldexp(costs, -exponent), numItermax=self.max_pivots, log=True, center_dual=False)
        status = Status.CONVERGED if log["warning"] is None else Status.BUDGET_SPENT
        return np.asarray(plan), _feasible(np.ldexp(np.asarray(log["u"]), exponent), a, costs), status


def transport(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, *, r: float = 2.0, method: Method | None = None
) -> Coupling:
    r"""$\min_\pi \sum_{ij} \pi_{ij} |x_i - y_j|^r$ over couplings $\pi$ of ``mu`` and ``nu``.

    Costs are direct differences in float64, (n, m) of them. The result is in the array kind of ``mu``. method: ``None`` is
    ``Exact()``. An array (n, d) stands for the uniform measure on its rows. Source: flamary2021.
    """
    r = checked_order(r)
    source, target = (m if isinstance(m, DiscreteMeasure) else DiscreteMeasure(m) for m in (mu, nu))
    if source.dim != target.dim:
        raise ValueError(f"mu and nu must live in one space; received dimensions {source.dim} and {target.dim}")
    method = Exact() if method is None else method
    if isinstance(method, type) or not callable(getattr(method, "solve", None)):
        raise ValueError(f"method must be Exact(...); received {method!r}")
    costs = _costs(to_host(source.points), to_host(target.points), r)
    if not np.isfinite(costs).all():
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64; scale the points down")
    plan, potentials, status = method.solve(to_host(source.masses), to_host(target.masses), costs)
    kind = source.points
    return Coupling(like(plan, kind), float((plan * costs).sum()), (like(potentials[0], kind), like(potentials[1], kind)), status)


def wasserstein(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, *, r: float = 2.0, method: Method | None = None
) -> float:
    r"""$W_r(\mu, \nu) = (\min_\pi \sum_{ij} \pi_{ij} |x_i - y_j|^r)^{1/r}$, the root taken.

    Raises ``RuntimeError`` where the method did not finish: see :func:`transport` for the coupling and its status.
    """
    coupling = transport(mu, nu, r=r, method=method)
    if coupling.status is not Status.CONVERGED:
        raise RuntimeError(f"the transport was not solved: {coupling.status.value} Raise Exact(max_pivots=...)")
    return max(coupling.cost, 0.0) ** (1 / r)


def _costs(x: FloatArray, y: FloatArray, r: float) -> FloatArray:
    costs = np.empty((len(x), len(y)))
    with np.errstate(over="ignore"):
        for i, point in enumerate(x):
            costs[i] = np.square(y - point).sum(1)
        return costs if r == 2 else costs ** (r / 2)


def _feasible(u: FloatArray, a: FloatArray, costs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The c-transforms v of ``u`` (where a has mass) and of that v: no u_i + v_j above its cost, and no less dual value."""
    v = np.full(costs.shape[1], np.inf)
    for i in np.flatnonzero(a):
        np.minimum(v, costs[i] - u[i], out=v)
    return np.array([(row - v).min() for row in costs]), v
