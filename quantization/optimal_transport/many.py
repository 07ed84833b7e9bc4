"""Distances of many pairs of measures at once, in threads."""

from collections.abc import Iterable

import numpy as np

from quantization.arrays import Array, asarray_like, double, is_torch, namespace, to_host
from quantization.make_problem import LawLike
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.coupling import TransportMethod
from quantization.optimal_transport.distances import checked_pair, wasserstein
from quantization.optimal_transport.network_simplex import NetworkSimplex, small_cost
from quantization.optimal_transport.sinkhorn import Sinkhorn
from quantization.optimal_transport.sinkhorn_batch import sinkhorn_costs
from quantization.threads import parallel_map
from quantization.validation import checked_list, checked_order

_SMALL = 2**20  # costs, up to which one compiled call solves a pair: Ctrl-C waits for it


def wasserstein_many(
    mus: Iterable[LawLike], nus: Iterable[LawLike], *, r: float = 2.0, method: TransportMethod | None = None
) -> Array:
    r"""The distances $W_r(\mu_i, \nu_i)$ of many pairs, in as many threads as are available.

    Parameters
    ----------
    mus, nus : lists of arrays (n_i, d), DiscreteMeasures and laws, or arrays (pairs, n, d)
        As many of either; pair i is made of both at i.
    r, method
        As for :func:`transport`. With :class:`Sinkhorn` pairs of tensors on a GPU are solved there, all in one tensor.

    Returns
    -------
    array (pairs,)
        In float64; a tensor where some measure requires a gradient.

    Raises
    ------
    ValueError
        For bad input, before any pair is solved, and where costs overflow.
    RuntimeError
        Where the method did not finish.

    References
    ----------
    santambrogio2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x, y = np.random.default_rng(0).normal(size=(2, 10, 30, 2))
    >>> distances = qz.wasserstein_many(x, y)
    >>> bool(np.allclose(distances, [qz.wasserstein(a, b) for a, b in zip(x, y)], rtol=1e-12, atol=0))
    True
    """
    r = checked_order(r)
    first, second = (
        checked_list(given, name, "arrays, DiscreteMeasures and laws", "x") for given, name in ((mus, "mus"), (nus, "nus"))
    )
    if len(first) != len(second):
        raise ValueError(f"mus and nus must be as many; received {len(first)} and {len(second)}")
    pairs = [checked_pair(mu, nu, r, method) for mu, nu in zip(first, second, strict=True)]

    def one(i: int) -> float | Array:
        if i in known:
            return known[i]
        mu, nu = pairs[i]
        if isinstance(mu, DiscreteMeasure) and isinstance(nu, DiscreteMeasure):
            exact = NetworkSimplex() if method is None and mu.dim > 1 else method
            if isinstance(exact, NetworkSimplex) and mu.size * nu.size <= _SMALL and not (mu.requires_grad or nu.requires_grad):
                (x, a), (y, b) = _support(mu), _support(nu)
                found = small_cost(a, b, cost_matrix(x, y, r), exact.max_pivots)
                if found is not None:
                    return found ** (1 / r)
        return wasserstein(mu, nu, r=r, method=method)

    sinkhorn, known = method if isinstance(method, Sinkhorn) else None, dict[int, float]()
    if sinkhorn is not None:  # on a GPU together; what its steps do not solve is left to Newton's, one by one
        batch = {
            i: (mu, nu)
            for i, (mu, nu) in enumerate(pairs)
            if isinstance(mu, DiscreteMeasure) and isinstance(nu, DiscreteMeasure) and _on_gpu(mu) and _on_gpu(nu)
        }
        costs, errors = sinkhorn_costs(list(batch.values()), r, sinkhorn)
        known = {i: c ** (1 / r) for i, c, e in zip(batch, costs.tolist(), errors, strict=True) if e <= sinkhorn.rtol}
    sizes = [float(getattr(mu, "size", 1) * getattr(nu, "size", 1)) for mu, nu in pairs]
    distances = parallel_map(one, len(pairs), sizes=sizes)
    tensors: list[Array] = [d for d in distances if is_torch(d)]
    if not tensors:
        return np.array(distances)
    return namespace(tensors[0]).stack([double(d if is_torch(d) else asarray_like(np.asarray(d), tensors[0])) for d in distances])


def _on_gpu(measure: DiscreteMeasure) -> bool:
    """Whether its points are there, and nobody asks for gradients."""
    return is_torch(measure.points) and measure.points.device.type != "cpu" and not measure.requires_grad


def _support(measure: DiscreteMeasure) -> tuple[np.ndarray, np.ndarray]:
    x, a = to_host(measure.points), to_host(measure.weights_float64)
    return (x, a) if a.all() else (x[a > 0], a[a > 0])
