"""What users call: the coupling of two measures, and the distance between them."""

from typing import Any

from quantization.arrays import Array
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.coupling import Coupling, TransportMethod, TransportResult
from quantization.optimal_transport.monotone import Monotone
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.status import Status
from quantization.validation import checked_order


def transport(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, *, r: float = 2.0, method: TransportMethod | None = None
) -> Coupling:
    r"""$\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r$ over couplings $\pi$ of ``mu`` and ``nu``.

    An array (n, d) stands for the uniform measure on its rows. method: ``None`` is ``Monotone()``, by sorting, on the line and
    ``NetworkSimplex()``, the network simplex, elsewhere; ``Sinkhorn(reg)`` for measures too large for it, with an upper and a lower bound;
    ``Voronoi()`` where the weights of ``nu`` are free. Everything is computed in float64, from direct differences; the result is
    in the array kind of ``mu``. Source: flamary2021, santambrogio2015.
    """
    source, found = _found(mu, nu, r, method)
    return Coupling.of(found, source.points)


def wasserstein(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, *, r: float = 2.0, method: TransportMethod | None = None
) -> float:
    r"""$W_r(\mu, \nu) = (\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r)^{1/r}$, the root taken.

    Arguments as for :func:`transport`. On the line in O(n log n), without any (n, m) array. With ``Sinkhorn`` it is an upper
    bound, the cost of a feasible plan. Raises ``RuntimeError`` where the method did not finish: see :func:`transport` for the
    coupling and its status.
    """
    _, found = _found(mu, nu, r, method)
    if found.status is not Status.CONVERGED:
        raise RuntimeError(
            f"transport was not solved: {found.status.value} Raise NetworkSimplex's max_pivots or Sinkhorn's max_iter"
        )
    return max(found.cost, 0.0) ** (1 / r)


def pair(mu: Any, nu: Any) -> tuple[DiscreteMeasure, DiscreteMeasure]:
    """Both as measures in one space."""
    source, target = (m if isinstance(m, DiscreteMeasure) else DiscreteMeasure(m) for m in (mu, nu))
    if source.dim != target.dim:
        raise ValueError(f"mu and nu must live in one space; received dimensions {source.dim} and {target.dim}")
    return source, target


def _found(mu: Any, nu: Any, r: float, method: Any) -> tuple[DiscreteMeasure, TransportResult]:
    r = checked_order(r)
    source, target = pair(mu, nu)
    if method is None:
        method = Monotone() if source.dim == 1 else NetworkSimplex()
    if isinstance(method, type) or not callable(getattr(method, "couple", None)):
        raise ValueError(f"method must be NetworkSimplex(...), Monotone(), Sinkhorn(reg) or Voronoi(); received {method!r}")
    return source, method.couple(source, target, r)
