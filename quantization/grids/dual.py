r"""Dual (Delaunay) grids of bounded laws: X is split at random among the codes around it, so that $E[\hat X|X] = X$."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray, to_host
from quantization.assignment.cells import stationarity
from quantization.grids.delaunay import Triangulation
from quantization.grids.dual_descent import Hull, descend, first_codes, learn
from quantization.grids.dual_line import best_for_density, best_for_measure, density_moments, least_gradient
from quantization.grids.dual_support import check_ends, checked_corners, ends_of, points_of, support_corners
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.quasi_monte_carlo import Replicated
from quantization.threads import limit_blas_threads
from quantization.validation import checked_count, checked_points, checked_rng, checked_tolerance

DRAWS = 2**17  # of a law known by sampling, for weights and distortion
_DESCENT_POINTS, _POINTS_PER_CODE = 2**14, 64  # up to which a descent ends on all points
_BATCHES = 5  # for a step of the descent
_FEW = 4  # codes for each corner of the samples' hull: of more corners their box is taken


@dataclass(frozen=True, eq=False)
class DualGrid:
    r"""Codes $x_k$ around the support of X, and the law of $\hat X$, which is $x_k$ with probability $\lambda_k(X)$.

    $X = \sum_k \lambda_k(X)\, x_k$, of which those are positive that are vertices of the Delaunay simplex that holds X. So
    $E[\hat X | X] = X$ whatever the codes, $E f(X) \le E f(\hat X)$ for a convex f, and
    $|E f(X) - E f(\hat X)| \le \tfrac12 L' D$ where the gradient of f has the Lipschitz constant L'.

    Attributes
    ----------
    points : array (K, d)
        The codes, in rising order on the line.
    weights : array (K,)
        $P(\hat X = x_k) = E \lambda_k(X)$.
    distortion : float
        The dual distortion $D = E|X - \hat X|^2 = E \sum_k \lambda_k(X) |X - x_k|^2$.
    distortion_se : float
        Its standard error: 0 where the law is known, else from the draws that it was measured on.
    stationarity : float
        $(\sum_k |\nabla_k D|^2 / 4 w_k)^{1/2} / D^{1/2}$, of codes on the boundary of the hull what goes along it.

    Examples
    --------
    >>> import quantization as qz
    >>> from scipy import stats
    >>> grid = qz.dual_grid(stats.uniform(), 5)  # D = 1 / (6 (K - 1)²)
    >>> grid.points[:, 0].round(9).tolist(), round(1 / grid.distortion, 9)
    ([0.0, 0.25, 0.5, 0.75, 1.0], 96.0)
    """

    points: FloatArray
    weights: FloatArray
    distortion: float
    distortion_se: float
    stationarity: float

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.points.shape[1]

    @cached_property
    def measure(self) -> DiscreteMeasure:
        r"""The law of $\hat X$."""
        return DiscreteMeasure.from_unnormalized(self.points, self.weights)

    @cached_property
    def triangulation(self) -> Triangulation:
        """The Delaunay triangulation of the codes."""
        return Triangulation(self.points)

    def locate(self, x: Array) -> tuple[IntArray, FloatArray]:
        r"""The codes around each point, vertices of its simplex, and the weights $\lambda$ with $x = \sum_j \lambda_j x_{k_j}$.

        Parameters
        ----------
        x : array (n, d)

        Returns
        -------
        codes : array (n, d + 1)
            Their indices.
        weights : array (n, d + 1)
            $\lambda_j \ge 0$, of sum 1.

        Raises
        ------
        ValueError
            For points of another dimension, or outside of the codes' hull.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.4, 0.5]])
        >>> grid = qz.dual_grid(square, square)
        >>> codes, weights = grid.locate([[0.2, 0.5]])  # the linear interpolation of squares there
        >>> round(float((weights * np.square(square).sum(1)[codes]).sum()), 9)
        0.455
        """
        x = to_host(checked_points(x)).astype(np.float64, copy=False)
        if x.shape[1] != self.dim:
            raise ValueError(f"x must have the grid's dimension {self.dim}; received shape {x.shape}")
        parts = [(self.triangulation.simplices[simplex], weights) for _, simplex, weights in self.triangulation.blocks(x)]
        return np.concatenate([codes for codes, _ in parts]), np.concatenate([weights for _, weights in parts])

    def split(self, x: Array, rng: Any = None) -> IntArray:
        r"""A draw of $\hat X$ given X = x, as the index of a code: each point goes to a code around it, at random.

        Parameters
        ----------
        x : array (n, d)
        rng : int or numpy.random.Generator, optional
            Of the draws.

        Returns
        -------
        array (n,)
            Integers in [0, K); of probabilities :meth:`locate`'s weights, so that the mean of codes drawn for x is x.

        Raises
        ------
        ValueError
            For points of another dimension, or outside of the codes' hull.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> from scipy import stats
        >>> grid = qz.dual_grid(stats.uniform(), 3)
        >>> labels = grid.split(np.full((10_000, 1), 0.4), rng=0)
        >>> round(float(grid.points[labels].mean()), 2)
        0.4
        """
        generator = checked_rng(rng)
        codes, weights = self.locate(x)
        below = np.cumsum(weights[:, :-1], axis=1)
        chosen = (generator.random((len(codes), 1)) >= below).sum(1)
        return codes[np.arange(len(codes)), chosen]


def dual_grid(
    law: LawLike, k: int | Array, *, hull: Array | None = None, max_iter: int = 200, rtol: float = 1e-5, rng: Any = None
) -> DualGrid:
    r"""Codes of small $E \min_\lambda \sum_k \lambda_k |X - x_k|^2$ over $\sum_k \lambda_k x_k = X$, X of bounded support.

    Parameters
    ----------
    law : law on the line with a density, measure, samples (n, d), or law that can be sampled; d ≤ 4
        As for :func:`quantization.quantize`, of bounded support.
    k : int or array (K, d)
        The number of codes, the hull's corners among them; or the codes themselves, which are kept.
    hull : array (m, d), optional
        Points whose convex hull contains the support; its corners become codes. For a law known by sampling it must be given,
        as no draws tell where a support ends. By default the ends of the support on the line, and of samples in space the
        corners of their convex hull, or of their bounding box where those are more than K / 4.
    max_iter : int, default 200
        Steps of a descent at most, in space; 5 mini-batches each of a stochastic gradient go before it.
    rtol : float, default 1e-5
        It ends where three steps in a row gain less than this share of the distortion.
    rng : int or numpy.random.Generator, optional
        Of draws and starting codes, in space.

    Returns
    -------
    DualGrid

    Raises
    ------
    ValueError
        For a law of unbounded support, a hull or codes that do not contain it, too few codes, and more than four dimensions.

    Notes
    -----
    On the line with a density: Newton's method, with the tridiagonal second derivatives of D, to round-off; where 1/f^{1/3} has
    one mode the optimum. On the line with n distinct points, n K ≤ 2 million, the optimum, by a dynamic programme. In space a
    stochastic gradient, from a quantizer: each code goes part of the way to the mean circumcentre of the simplices about it,
    weighted by what it gets of them in a mini-batch of 1024 draws (16 K), and the answer is a mean of the later codes. On up to
    2^14 samples, or 64 a code, a descent follows on all of them. Both end at a local optimum for the corners given. Weights and
    distortion are of all points, or of 2^17 further draws.

    References
    ----------
    pages2012, chen2004.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).random((5000, 2))
    >>> grid = qz.dual_grid(x, 25, hull=[[0, 0], [1, 0], [0, 1], [1, 1]], rng=0)
    >>> round(grid.distortion, 3), np.allclose(grid.weights @ grid.points, x.mean(0))
    (0.018, True)
    """
    generator, problem = checked_rng(rng), make_problem(law, 1, 2.0)
    max_iter, rtol = checked_count("max_iter", max_iter, least=0), checked_tolerance(rtol)
    around = support_corners(problem, hull)
    if np.ndim(k) == 0:
        codes = _codes(problem, checked_count("k", k, least=2), around, max_iter, rtol, generator)
    else:
        codes = checked_corners("codes", k, problem.dim)
    if problem.dim == 1:
        codes = np.unique(codes[:, 0])[:, None]
    if isinstance(problem.exact, DensityLaw1D):
        check_ends(codes, ends_of(problem.exact))
        weights, distortion, gradient = density_moments(problem.exact, codes)
        return DualGrid(codes, weights, distortion, 0.0, _residual(codes, weights, distortion, gradient))
    calls = problem.law.replicates if isinstance(problem.law, Replicated) else 1
    triangulation, (x, w) = Triangulation(codes), points_of(problem, generator, DRAWS, calls)
    found = triangulation.moments(x, w)
    if calls > 1:  # whose draws depend on one another within a call
        costs = [triangulation.moments(part, calls * w[: len(part)]).distortion for part in np.split(x, calls)]
        error = float(np.std(costs, ddof=1)) / calls**0.5
    else:
        error = 0.0 if problem.measure is not None else (found.variance / (len(x) - 1)) ** 0.5
    gradient = least_gradient(codes, found.gradient, x, w) if problem.dim == 1 else found.gradient
    return DualGrid(codes, found.weights, found.distortion, error, _residual(codes, found.weights, found.distortion, gradient))


def _codes(
    problem: Problem, k: int, around: FloatArray | None, max_iter: int, rtol: float, rng: np.random.Generator
) -> FloatArray:
    if isinstance(problem.exact, DensityLaw1D):
        assert around is not None
        return best_for_density(problem.exact, k, float(around.min()), float(around.max()))
    few = max(_DESCENT_POINTS, _POINTS_PER_CODE * k)
    x, w = points_of(problem, rng, few)
    if problem.dim == 1:
        ends = x if around is None else around
        check_ends(ends, np.array([x.min(0), x.max(0)]))
        return best_for_measure(x[:, 0], w, k, float(ends.min()), float(ends.max()))
    hull = Hull(x if around is None else around)
    if around is None and len(hull.corners) > k / _FEW:
        sides = np.meshgrid(*np.stack([x.min(0), x.max(0)], axis=1), indexing="ij")
        box = np.stack(sides, axis=-1).reshape(-1, problem.dim)
        if len(hull.corners) > k or len(box) <= k:
            hull = Hull(box)
    if len(hull.corners) > k:
        raise ValueError(
            f"k must be at least the number of corners of the hull, {len(hull.corners)}; received {k}. Take more codes, or give "
            "hull=..., fewer points whose convex hull contains the support"
        )
    for _ in Triangulation(hull.corners).blocks(x):  # refuses points outside
        pass
    levels: FloatArray = np.cumsum(w / w.sum())

    def draw(n: int) -> FloatArray:
        if problem.measure is None:
            return points_of(problem, rng, n)[0]
        return x[np.searchsorted(levels[:-1], rng.random(n), side="right")]

    pilot = DiscreteMeasure(x, w) if len(x) <= few else DiscreteMeasure(draw(few))
    with limit_blas_threads():
        codes = learn(draw, first_codes(pilot, k, hull, rng), hull, _BATCHES * max_iter)
        return codes if problem.measure is None or len(x) > few else descend(x, w, codes, hull, max_iter, rtol)


def _residual(codes: FloatArray, weights: FloatArray, distortion: float, gradient: FloatArray) -> float:
    if codes.shape[1] == 1:
        gradient = gradient.copy()
        gradient[[0, -1]] = 0.0
    else:
        gradient = Hull(codes).along(codes, gradient)
    return stationarity(gradient, weights, distortion, 2.0)
