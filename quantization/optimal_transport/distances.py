"""What users call: the coupling of two measures or laws, and the distance between them."""

from quantization.arrays import Array
from quantization.gradients import root
from quantization.make_problem import LawLike, known_law
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.coupling import Coupling, LawTransport, TransportMethod, TransportResult
from quantization.optimal_transport.few_points import couple_few, pays
from quantization.optimal_transport.law_pairs import couple_laws
from quantization.optimal_transport.monotone import Monotone
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.status import Status
from quantization.validation import checked_order

_HINTS = {
    Status.BUDGET_SPENT: "Raise NetworkSimplex's max_pivots or Sinkhorn's max_iter",
    Status.STALLED: "Leave out points so far away that round-off of their costs hides all others",
}


def transport(mu: LawLike, nu: LawLike, *, r: float = 2.0, method: TransportMethod | None = None) -> Coupling:
    r"""An optimal coupling of two measures, $\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r$ over the plans $\pi$ between them.

    Parameters
    ----------
    mu, nu : DiscreteMeasure, array (n, d) or law
        An array stands for the uniform measure on its rows. Laws are coupled where that can be done with a certificate:
        frozen scipy.stats laws and mixtures of Gaussians on the line, with each other or with measures on the line, by
        $\int_0^1 |F^{-1}(u) - G^{-1}(u)|^r\,du$; two Gaussians of any dimension for r = 2, by $W_2^2 = |m_1 - m_2|^2 +
        \operatorname{tr}(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2})$, or with equal covariances for any r;
        a mixture of Gaussians in the plane with a measure for r = 2, by power cells; any law with a measure for r = 2, by
        :func:`semidiscrete` on draws of a fixed seed. Such couplings have a cost, a gap and a status, and no plan.
    r : float, default 2
        Order ≥ 1.
    method : TransportMethod, optional
        ``None`` is :class:`Monotone` on the line and :class:`NetworkSimplex` elsewhere; for r = 2 and large measures, one of far
        fewer points, the solver of prescribed masses, exact as well. :class:`Sinkhorn` is for measures too large for it, with an
        upper and a lower bound; :class:`NearestCode` where the weights of ``nu`` are free.

    Returns
    -------
    Coupling
        Computed in float64 from direct differences; in the array library, dtype and device of ``mu``.

    Raises
    ------
    ValueError
        For bad input, where costs overflow, and for laws without finite moments of order r.

    References
    ----------
    flamary2021, gelbrich1990, santambrogio2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 3))
    >>> coupling = qz.transport(x, y)
    >>> u, v = coupling.potentials
    >>> bool(abs(u.mean() + v.mean() - coupling.cost) < 1e-9)  # the dual value certifies the plan
    True
    """
    found, source, target = _solved(mu, nu, r, method)
    return Coupling.of(found, source, target, float(r))


def wasserstein(mu: LawLike, nu: LawLike, *, r: float = 2.0, method: TransportMethod | None = None) -> float | Array:
    r"""The distance $W_r(\mu, \nu) = (\min_\pi \sum_{ik} \pi_{ik} |x_i - y_k|^r)^{1/r}$, the root taken.

    Parameters
    ----------
    mu, nu, r, method
        As for :func:`transport`.

    Returns
    -------
    float, or tensor
        A tensor where points or weights require a gradient, as the cost of :func:`transport` is. On the line in O(n log n),
        without any (n, m) array. With ``Sinkhorn`` an upper bound, the cost of a feasible plan.

    Raises
    ------
    ValueError
        For bad input, where costs overflow, and for laws without finite moments of order r.
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
    >>> round(qz.wasserstein(qz.Gaussian([0.0], [[1.0]]), qz.Gaussian([3.0], [[25.0]])), 9)  # (3² + (5 − 1)²)^½
    5.0
    """
    found, source, target = _solved(mu, nu, r, method)
    if isinstance(found, LawTransport) and found.status is not Status.CONVERGED:
        raise RuntimeError(f"the transport cost {found.cost:.9g} may be off by {found.gap:.3g}. transport() returns both")
    if found.status is not Status.CONVERGED:
        gap = Coupling.of(found, source, target, r).gap
        raise RuntimeError(
            f"transport was not solved, the cost {found.cost:.3g} exceeds the least one by up to {gap:.3g}: {found.status.value} "
            + _HINTS.get(found.status, "")
        )
    return root(Coupling.of(found, source, target, r).cost, r)


def pair(mu: DiscreteMeasure | Array, nu: DiscreteMeasure | Array) -> tuple[DiscreteMeasure, DiscreteMeasure]:
    """Both as measures, of one dimension."""
    source, target = (m if isinstance(m, DiscreteMeasure) else DiscreteMeasure(m) for m in (mu, nu))
    if source.dim != target.dim:
        raise ValueError(f"mu and nu must have the same dimension; received dimensions {source.dim} and {target.dim}")
    return source, target


def checked_pair(
    mu: LawLike, nu: LawLike, r: float, method: TransportMethod | None
) -> tuple[DiscreteMeasure | object, DiscreteMeasure | object]:
    """Both as what they are, checked together with the method."""
    source, target = known_law(mu, r), known_law(nu, r)
    if method is not None and (isinstance(method, type) or not callable(getattr(method, "couple", None))):
        raise ValueError(f"method must be NetworkSimplex(...), Monotone(), Sinkhorn(reg) or NearestCode(); received {method!r}")
    if isinstance(source, DiscreteMeasure) and isinstance(target, DiscreteMeasure):
        return pair(source, target)
    if method is not None:
        raise ValueError(f"a method is for two measures; received a law and {method!r}. Leave method out, or give samples")
    return source, target


def _solved(
    mu: LawLike, nu: LawLike, r: float, method: TransportMethod | None
) -> tuple[TransportResult | LawTransport, DiscreteMeasure | None, DiscreteMeasure | None]:
    r = checked_order(r)
    source, target = checked_pair(mu, nu, r, method)
    if not (isinstance(source, DiscreteMeasure) and isinstance(target, DiscreteMeasure)):
        found = couple_laws(source, target, r)
        first, second = (m if isinstance(m, DiscreteMeasure) else None for m in (source, target))
        return found, first, second
    if method is None:
        method = Monotone() if source.dim == 1 else NetworkSimplex()
        found = couple_few(source, target) if r == 2 and source.dim > 1 and pays(source.size, target.size) else None
        if found is not None:
            return found, source, target
    return method.couple(source, target, r), source, target
