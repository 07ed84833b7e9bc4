"""Greedy quantization: sequences of codes, each the best one to add to those before it."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from quantization.arrays import Array, FloatArray, to_host
from quantization.grids.greedy_line import GapSearch
from quantization.grids.greedy_samples import PointSearch
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.validation import checked_count, checked_points


class Search(Protocol):
    """A search for the best code to add. distortion: that of the codes so far."""

    distortion: float

    def add(self, code: FloatArray) -> None:
        """Adds a code (d,)."""
        ...

    def best(self) -> FloatArray:
        """The code (d,) that lowers the distortion the most."""
        ...


@dataclass(frozen=True, eq=False)
class GreedyGrid:
    r"""A sequence of codes of which the first k are a quantizer for every k.

    Attributes
    ----------
    points : array (K, d)
        The codes in the order in which they were chosen.
    distortions : array (K,)
        $E \min_{i \le k} |X - x_i|^r$ of the first k of them, exact.
    r : float
        The order r.
    law : law
        What was quantized.

    Examples
    --------
    >>> import quantization as qz
    >>> grid = qz.greedy_grid(qz.Gaussian([0.0], [[1.0]]), 3)
    >>> grid.points[:, 0].round(6).tolist(), grid.distortions.round(6).tolist()
    ([-0.0, -1.224006, 1.224006], [1.0, 0.595087, 0.190174])
    """

    points: FloatArray
    distortions: FloatArray
    r: float
    law: LawLike = field(repr=False)  # samples, perhaps many

    def measure(self, k: int | None = None) -> DiscreteMeasure:
        r"""The first k codes with the masses of their Voronoi cells.

        Parameters
        ----------
        k : int, optional
            ``None`` takes all.

        Returns
        -------
        DiscreteMeasure

        Raises
        ------
        ValueError
            For more codes than there are.
        """
        codes = self.points[: checked_count("k", len(self.points) if k is None else k, most=len(self.points))]
        exact = make_problem(self.law, 1, self.r).exact
        assert exact is not None  # as it was for the grid
        return DiscreteMeasure.from_unnormalized(codes, exact.cells(codes).masses)


def greedy_grid(law: LawLike, k: int, *, r: float = 2.0, start: GreedyGrid | Array | None = None) -> GreedyGrid:
    r"""A sequence $x_{j+1} = \arg\min_x E \min(|X - x_1|, \dots, |X - x_j|, |X - x|)^r$ of k codes.

    Parameters
    ----------
    law : law on the line with a density, measure, or samples (n, d)
        As for :func:`quantization.quantize`.
    k : int
        Codes, those of ``start`` among them.
    r : float, default 2
        Order of the distortion, at least 1.
    start : GreedyGrid or array (j, d), optional
        A sequence to be continued: its codes come first.

    Returns
    -------
    GreedyGrid

    Raises
    ------
    ValueError
        For a law known by sampling alone, for more than 30,000 samples, and for fewer points than codes.

    Notes
    -----
    On the line a new code changes nothing beyond the gap between two codes into which it falls, so that of every gap the best
    code is found once. It is the root of $E \operatorname{sgn}(X - x) |X - x|^{r-1} 1_V$, which for a log-concave density is the
    only one in its gap (r = 2); of others the best of those that a scan of the gap separates. Samples get samples as codes, the
    best ones: the gain of a point falls as codes are added, so that one computed earlier bounds it, and few are computed again.

    The distortion falls at the rate of optimal quantizers, $K^{-r/d}$ (luschgy2015).

    References
    ----------
    luschgy2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> grid = qz.greedy_grid(x, 10)
    >>> longer = qz.greedy_grid(x, 20, start=grid)
    >>> bool((longer.points[:10] == grid.points).all()), bool(longer.distortions[-1] < grid.distortions[-1])
    (True, True)
    """
    k = checked_count("k", k)
    problem = make_problem(law, 1, r)
    search = _search(problem)
    given = np.empty((0, problem.dim))
    if start is not None:
        given = start.points if isinstance(start, GreedyGrid) else to_host(checked_points(start))
        if given.shape[1] != problem.dim or len(given) > k:
            raise ValueError(f"start must hold at most k = {k} codes of dimension {problem.dim}; received shape {given.shape}")
    points, distortions = np.empty((k, problem.dim)), np.empty(k)
    for j in range(k):
        points[j] = given[j] if j < len(given) else search.best()
        search.add(points[j])
        distortions[j] = search.distortion
    return GreedyGrid(points, distortions, problem.r, law)


def _search(problem: Problem) -> Search:
    if isinstance(problem.exact, DensityLaw1D):
        return GapSearch(problem.exact, problem.r)
    if problem.measure is None:
        raise ValueError(
            f"law must be one on the line with a density, a measure or samples; received {problem.kind}. Give a sample (n, d)"
        )
    return PointSearch(problem.measure, problem.r)
