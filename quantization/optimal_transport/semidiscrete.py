r"""$W_2$ between a law that can be sampled and finitely many weighted points, with an error estimate."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from quantization.arrays import Array, FloatArray, asarray_like, to_host
from quantization.interval import DRAWS, Estimate
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import cost_matrix
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.priced_cells import transport_bounds
from quantization.problem import Problem
from quantization.validation import checked_confidence, checked_count, checked_rng

_PILOT, _PER_POINT = 2048, 4  # draws of the exact problem it starts from: in all, or per point of nu if those are more
_BATCH = 4096


@dataclass(frozen=True)
class SemiDiscrete:
    r"""Estimated bounds on $W_2^2(\mu, \nu)$ for a sampled law µ and $\nu = \sum_k w_k \delta_{y_k}$.

    Attributes
    ----------
    dual : Estimate
        On draws independent of the potentials, of $G(v) = E \min_k (|X - y_k|^2 - v_k) + \sum_k w_k v_k \le W_2^2$:
        ``dual.low`` is a lower bound on $W_2^2$ with at least the stated confidence.
    upper : Estimate
        On further draws, of the cost of a coupling, which is at least $W_2^2$: each cell of v goes to its own point, but for the
        shares that the optimal transport of the cells' masses to w sends on to others, at the mean costs of the cells.
        ``upper.high`` is an upper bound; what the shares still miss w by is paid at this transport's prices, which is right to
        first order: what is left out is of the order of K over the number of draws.
    mass_error : float
        The total variation between the masses that the cells of v received and ν, sampling noise included.
    potentials : array (K,)
        v, −∞ where ν has no mass.

    Notes
    -----
    Both intervals hold where $E|X|^4 < \infty$. Where scipy.stats or the draws speak against that there is none: the ends are 0
    and ∞.

    Examples
    --------
    >>> import quantization as qz
    >>> found = qz.semidiscrete(qz.Gaussian([0.0], [[1.0]]), [[-1.0], [1.0]], steps=20, draws=10_000, rng=0)
    >>> found.dual.low < 2 - 4 / 6.283185**0.5 < found.upper.high  # W_2^2 = 2 - 4/√(2π)
    True
    """

    dual: Estimate
    upper: Estimate
    mass_error: float
    potentials: Array

    @property
    def value(self) -> float:
        """The estimate of $W_2^2$: the dual value, which is at most $W_2^2$ and tends to it as the potentials become optimal."""
        return self.dual.value


def semidiscrete(
    law: LawLike,
    nu: DiscreteMeasure | Array,
    *,
    confidence: float = 0.95,
    steps: int = 300,
    draws: int = DRAWS,
    rng: int | np.random.Generator | None = None,
) -> SemiDiscrete:
    r"""$W_2^2(\mu, \sum_k w_k \delta_{y_k}) = \max_v E \min_k (|X - y_k|^2 - v_k) + \sum_k w_k v_k$ for a law known by sampling.

    Parameters
    ----------
    law : Law, QuasiMonteCarlo or frozen scipy.stats distribution
        µ; of scipy.stats a continuous one.
    nu : DiscreteMeasure or array (K, d)
        An array stands for the uniform measure on its rows.
    confidence : float, default 0.95
        Of the dual's interval, in (0, 1).
    steps : int, default 300
        Mini-batches of averaged stochastic gradient ascent, from the potentials of the exact transport of a sample.
    draws : int, default 131072
        Draws, independent of what is estimated on them, for each bound.
    rng : int, numpy Generator or None
        Equal seeds give equal results.

    Returns
    -------
    SemiDiscrete

    Raises
    ------
    ValueError
        For bad input; for a law that is samples or a stream.

    References
    ----------
    genevay2016, bercu2021.

    Examples
    --------
    >>> import quantization as qz
    >>> found = qz.semidiscrete(qz.Gaussian([0.0], [[1.0]]), [[0.0]], steps=0, draws=1000, rng=0)
    >>> found.dual.low < 1 < found.dual.high  # one point: the variance
    True
    """
    confidence, rng = checked_confidence(confidence), checked_rng(rng)
    steps, draws = checked_count("steps", steps, least=0), checked_count("draws", draws, least=2)
    target = nu if isinstance(nu, DiscreteMeasure) else DiscreteMeasure(nu)
    problem = make_problem(law, target.size, 2.0)
    if problem.law is None:
        raise ValueError(f"semidiscrete is for laws known by sampling; received {problem.kind}. Use wasserstein, which is exact")
    if problem.dim != target.dim:
        raise ValueError(f"law and nu must have the same dimension; received dimensions {problem.dim} and {target.dim}")
    masses = to_host(target.weights_float64)
    y, w = to_host(target.points)[masses > 0], masses[masses > 0]
    v = _ascended(problem, y, w, _potentials_of_sample(problem, y, w, rng), steps, rng)
    found = transport_bounds(problem.law, partial(problem.fresh, draws), y, w, v, rng, confidence)
    potentials = np.full(target.size, -np.inf)
    potentials[masses > 0] = v
    error = float(np.abs(found.masses - w).sum()) / 2
    return SemiDiscrete(found.dual, found.upper, error, asarray_like(potentials, target.points))


def _potentials_of_sample(problem: Problem, y: FloatArray, w: FloatArray, rng: np.random.Generator) -> FloatArray:
    r"""The potentials of the exact transport of a sample, $\sum_k w_k v_k = 0$."""
    n = max(_PILOT, _PER_POINT * len(y))
    x = DiscreteMeasure(to_host(problem.draw(n, rng)))
    v = NetworkSimplex().couple(x, DiscreteMeasure(y, w), 2.0).v
    return v - w @ v


def _ascended(problem: Problem, y: FloatArray, w: FloatArray, v: FloatArray, steps: int, rng: np.random.Generator) -> FloatArray:
    r"""$v \leftarrow v + \gamma_t\, c\, (w - \hat m(v)) / w$, averaged over the last half; c is the mean cost, the unit of v."""
    mean, averaged = v, 0
    for t in range(1, steps + 1):
        labels, values = _cells(to_host(problem.draw(_BATCH, rng)), y, v)
        received = np.bincount(labels, minlength=len(y)) / _BATCH
        scale = float(np.mean(values + v[labels]))
        v = v + 0.5 * t**-0.6 * scale * (w - received) / np.maximum(w, 1 / len(y))
        v = v - w @ v
        if 2 * t > steps:
            averaged += 1
            mean = v if averaged == 1 else mean + (v - mean) / averaged
    return mean


def _cells(x: FloatArray, y: FloatArray, v: FloatArray) -> tuple[Any, FloatArray]:
    """For each x the k that minimizes |x − y_k|² − v_k, and the minimum."""
    reduced = cost_matrix(x, y) - v
    labels = reduced.argmin(1)
    return labels, reduced[np.arange(len(x)), labels]
