"""What users call: the coupling of two measures, and the distance between them."""

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
    r"""An optimal coupling of two measures, $\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r$ over the plans $\pi$ between them.

    Parameters
    ----------
    mu, nu : DiscreteMeasure or array (n, d)
        An array stands for the uniform measure on its rows.
    r : float, default 2
        Order ≥ 1.
    method : TransportMethod, optional
        ``None`` is :class:`Monotone` on the line and :class:`NetworkSimplex` elsewhere. :class:`Sinkhorn` is for measures too
        large for it, with an upper and a lower bound; :class:`NearestCode` where the weights of ``nu`` are free.

    Returns
    -------
    Coupling
        Computed in float64 from direct differences; in the array library, dtype and device of ``mu``.

    Raises
    ------
    ValueError
        For bad input, and where costs overflow.

    References
    ----------
    flamary2021, santambrogio2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 3))
    >>> coupling = qz.transport(x, y)
    >>> u, v = coupling.potentials
    >>> bool(abs(u.mean() + v.mean() - coupling.cost) < 1e-9)  # the dual value certifies the plan
    True
    """
    source, found = _solved(mu, nu, r, method)
    return Coupling.of(found, source.points)


def wasserstein(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, *, r: float = 2.0, method: TransportMethod | None = None
) -> float:
    r"""The distance $W_r(\mu, \nu) = (\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r)^{1/r}$, the root taken.

    Parameters
    ----------
    mu, nu, r, method
        As for :func:`transport`.

    Returns
    -------
    float
        On the line in O(n log n), without any (n, m) array. With ``Sinkhorn`` an upper bound, the cost of a feasible plan.

    Raises
    ------
    ValueError
        For bad input, and where costs overflow.
    RuntimeError
        Where the method did not finish; :func:`transport` returns the coupling with its status.

    References
    ----------
    santambrogio2015.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.wasserstein([[0.0], [1.0]], [[3.0], [4.0]], r=1)
    3.0
    """
    _, found = _solved(mu, nu, r, method)
    if found.status is not Status.CONVERGED:
        raise RuntimeError(
            f"transport was not solved: {found.status.value} Raise NetworkSimplex's max_pivots or Sinkhorn's max_iter"
        )
    return max(found.cost, 0.0) ** (1 / r)


def pair(mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array) -> tuple[DiscreteMeasure, DiscreteMeasure]:
    """Both as measures, of one dimension."""
    source, target = (m if isinstance(m, DiscreteMeasure) else DiscreteMeasure(m) for m in (mu, nu))
    if source.dim != target.dim:
        raise ValueError(f"mu and nu must have the same dimension; received dimensions {source.dim} and {target.dim}")
    return source, target


def _solved(
    mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array, r: float, method: TransportMethod | None
) -> tuple[DiscreteMeasure, TransportResult]:
    r = checked_order(r)
    source, target = pair(mu, nu)
    if method is None:
        method = Monotone() if source.dim == 1 else NetworkSimplex()
    if isinstance(method, type) or not callable(getattr(method, "couple", None)):
        raise ValueError(f"method must be NetworkSimplex(...), Monotone(), Sinkhorn(reg) or NearestCode(); received {method!r}")
    return source, method.couple(source, target, r)
