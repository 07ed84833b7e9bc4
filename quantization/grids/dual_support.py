r"""What a dual grid must know of a law: corners whose hull contains its support, and its points."""

import numpy as np

from quantization.arrays import Array, FloatArray, to_host
from quantization.grids.delaunay import MOST_DIMENSIONS
from quantization.laws import GaussianMixture
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.problem import Problem
from quantization.quasi_monte_carlo import QuasiMonteCarlo
from quantization.validation import checked_points

_OUTSIDE = 1e-9  # of the range, by which ends may miss those of the support


def support_corners(problem: Problem, hull: Array | None) -> FloatArray | None:
    """Corners whose hull contains the support; None for samples without one of their own."""
    if problem.dim > MOST_DIMENSIONS:
        raise ValueError(
            f"dual grids are for at most {MOST_DIMENSIONS} dimensions; received {problem.dim}. Of independent coordinates take a "
            "dual grid each"
        )
    given = None if hull is None else checked_corners("hull", hull, problem.dim)
    if isinstance(problem.exact, DensityLaw1D):
        ends = ends_of(problem.exact)
        if given is not None:
            check_ends(given, ends)
        return ends if given is None else given
    law = problem.law.law if isinstance(problem.law, QuasiMonteCarlo) else problem.law
    if isinstance(law, GaussianMixture):
        raise _unbounded(type(law).__name__)
    if problem.measure is None and problem.law is None:
        raise ValueError(f"a dual grid needs samples in memory, or a law to draw from; received {problem.kind}. Take a sample")
    if problem.measure is None and given is None:
        raise ValueError(
            f"{type(law).__name__} is known by sampling, and no draws tell where its support ends. Give hull=..., points "
            "whose convex hull contains it"
        )
    return given


def ends_of(law: DensityLaw1D) -> FloatArray:
    """The ends (2, 1) of the support of a law on the line; ``ValueError`` where it has none."""
    ends = law.density.unstandardize(np.array([law.density.low, law.density.high]))
    if not np.isfinite(ends).all():
        raise _unbounded(f"a law on [{ends[0, 0]:g}, {ends[1, 0]:g}]")
    return ends


def _unbounded(received: str) -> ValueError:
    return ValueError(
        f"a dual grid needs a law of bounded support, as its hull must contain it; received {received}. Truncate the law, as "
        "scipy.stats.truncnorm does, or take a sample of it"
    )


def check_ends(codes: FloatArray, ends: FloatArray) -> None:
    """Refuses codes (k, 1) that do not reach the ends."""
    (low, high), slack = ends[:, 0], _OUTSIDE * float(np.ptp(ends))
    if codes.min() > low + slack or codes.max() < high - slack:
        raise ValueError(
            f"the hull of a dual grid must contain the law's support, [{low:g}, {high:g}]; received points from {codes.min():g} "
            f"to {codes.max():g}. Add its ends"
        )


def checked_corners(name: str, given: Array, dim: int) -> FloatArray:
    """Points (m, d) of the law's dimension d, on the host in float64."""
    points = to_host(checked_points(given)).astype(np.float64, copy=False)
    if points.shape[1] != dim:
        raise ValueError(f"{name} must hold points of the law's dimension {dim}; received shape {points.shape}")
    return points


def points_of(problem: Problem, rng: np.random.Generator, draws: int, calls: int = 1) -> tuple[FloatArray, FloatArray]:
    """The points (n, d) of positive weight and their weights (n,); of a law known by sampling so many draws, in so many calls."""
    if problem.measure is None:
        x = np.concatenate([to_host(problem.draw(draws // calls, rng)) for _ in range(calls)])
        return x.astype(np.float64, copy=False), np.full(len(x), 1.0 / len(x))
    x, w = to_host(problem.measure.points), to_host(problem.measure.weights_float64)
    return (x if w.all() else x[w > 0]).astype(np.float64, copy=False), w[w > 0]
