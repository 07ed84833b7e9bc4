"""Expectations of convex functions between two cubatures: Jensen's inequality on cells from below, dual grids from above."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import Array, FloatArray, to_host
from quantization.assignment import cells_of
from quantization.assignment.cells import Cells
from quantization.grids.dual import DRAWS, DualGrid, dual_grid
from quantization.grids.product import ProductGrid
from quantization.interval import Estimate
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.moments import Moments
from quantization.problem import Problem
from quantization.quasi_monte_carlo import Replicated
from quantization.solution import Solution
from quantization.validation import checked_confidence, checked_points, checked_rng, checked_values

Function = Callable[[FloatArray], Any]

_BATCHES = 32  # of draws, each of which gives a lower end of its own
_ROUND_OFF = 1e-9  # of f's values, by which one above a chord may be one that is not
_MEND = "Of a concave one take -f"
_NONE = np.empty(0)


def bracket(
    f: Function,
    law: LawLike | Sequence[Any],
    codebook: Solution | DiscreteMeasure | ProductGrid | Array,
    dual: DualGrid | Sequence[DualGrid] | None = None,
    *,
    confidence: float = 0.95,
    rng: Any = None,
) -> Estimate:
    r"""$\sum_k w_k f(m_k) \le E f(X) \le E f(\hat X)$ for a convex f, cells of masses $w_k$ and means $m_k$, a dual $\hat X$.

    The first is Jensen's inequality in each cell of the codebook. The second is Jensen's inequality given X, as
    $E[\hat X | X] = X$ for a dual grid whose hull contains the support.

    Parameters
    ----------
    f : callable
        Convex; maps points (m, d) to numbers (m,).
    law : law, measure, samples (n, d), or list of marginals
        As for :func:`quantization.quantize`; of independent coordinates the list of their laws.
    codebook : Solution, DiscreteMeasure, array (K, d), or ProductGrid
        The codes of the cells; for a list of marginals a product grid, with cells that are boxes.
    dual : DualGrid, or list of DualGrid, optional
        Codes around the support; for a list of marginals one on the line for each. ``None``: no upper end, as for a law of
        unbounded support.
    confidence : float, default 0.95
        Of the interval, where the law is known by sampling alone.
    rng : int or numpy.random.Generator, optional
        Of draws.

    Returns
    -------
    Estimate
        Its ends are a proved interval, but for round-off, where cells and weights are exact: laws on the line with a density,
        measures, lists of them. Of laws known by sampling it is a confidence interval. The value between the ends weights them by
        the other's distortion, so that errors in proportion to distortions cancel; without an upper end it is the lower one.

    Raises
    ------
    ValueError
        For an f that is seen not to be convex, or returns an array of another shape, and a dual grid whose hull does not contain
        the support.

    Notes
    -----
    Of a law known by sampling the lower end is a lower confidence bound on the mean of Jensen's sums over 32 samples of 4096
    draws each, with cells and means of their own, which are all below E f(X) on the mean: 32 K evaluations of f. The upper end
    needs K evaluations; its weights are measured on 2^17 draws.

    References
    ----------
    pages2012.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> from scipy import stats
    >>> law = stats.truncnorm(-3, 3)
    >>> call = lambda x: np.maximum(np.exp(0.2 * x[:, 0]) - 1, 0)
    >>> ends = qz.bracket(call, law, qz.quantize(law, 20, rng=0), qz.dual_grid(law, 20))
    >>> truth = law.expect(lambda z: max(np.exp(0.2 * z) - 1, 0))
    >>> bool(ends.low < truth < ends.high), round(ends.high - ends.low, 4)
    (True, 0.0007)
    """
    confidence, generator = checked_confidence(confidence), checked_rng(rng)
    if isinstance(law, list | tuple):
        below, above = _of_marginals(f, cast(Sequence[Any], law), codebook, dual)
    else:
        if isinstance(codebook, ProductGrid) or not isinstance(dual, DualGrid | None):
            raise ValueError(
                "a product grid and a list of dual grids are for independent coordinates; give the list of their marginals as law"
            )
        problem = make_problem(law, 1, 2.0)
        codes = to_host(checked_points(codebook.points if isinstance(codebook, Solution | DiscreteMeasure) else codebook))
        for name, points in (("codebook", codes), ("dual", codes if dual is None else dual.points)):
            if points.shape[1] != problem.dim:
                raise ValueError(f"{name} must have the law's dimension {problem.dim}; received {points.shape[1]}")
        draws = (
            None if problem.exact is not None else _draws(problem, generator)
        )  # the same for both, so that no end passes the other
        above = None if dual is None else _above(f, law, draws, dual)
        below = _below(f, problem, codes, draws)
        if dual is not None and above is not None:
            _check_chords(below, above, dual)
    low = below.value - below.reach(confidence)
    if above is None:
        return Estimate(below.value, low, np.inf, below.error)
    high = above.value + above.reach(confidence)
    if below.value > above.value + _ROUND_OFF * (abs(below.value) + abs(above.value)):
        raise ValueError(
            f"f must be convex; received one with {below.value:.6g} from below and {above.value:.6g} from above. {_MEND}"
        )
    total = below.distortion + above.distortion
    share = below.distortion / total if total > 0 else 0.5
    error = (1 - share) * below.error + share * above.error
    return Estimate((1 - share) * below.value + share * above.value, low, high, error)


@dataclass(frozen=True)
class _End:
    """A cubature and its distortion, points and values of f that it is made of, its standard error and degrees of freedom."""

    value: float
    distortion: float
    points: FloatArray
    values: FloatArray
    error: float = 0.0
    freedom: float = np.inf

    def reach(self, confidence: float) -> float:
        """How far beyond it the end lies, so that both ends hold at once with this probability."""
        level = (1 + confidence) / 2
        quantile = scipy.special.stdtrit(self.freedom, level) if np.isfinite(self.freedom) else scipy.special.ndtri(level)
        return float(quantile) * self.error


def _draws(problem: Problem, rng: np.random.Generator) -> list[FloatArray]:
    if problem.law is None or isinstance(problem.law, Replicated):
        kind = "QuasiMonteCarlo, whose draws depend on one another" if problem.law is not None else problem.kind
        raise ValueError(f"a bracket needs samples in memory, or a law to draw from; received {kind}")
    return [to_host(problem.draw(DRAWS // _BATCHES, rng)).astype(np.float64, copy=False) for _ in range(_BATCHES)]


def _below(f: Function, problem: Problem, codes: FloatArray, draws: list[FloatArray] | None) -> _End:
    if problem.exact is not None:
        masses, means, distortion = _occupied(problem.exact.cells(codes), codes)
        values = _values(f, means)
        return _End(float(masses @ values), distortion, means, values)
    sums, distortions, means, values = Moments(), Moments(), _NONE, _NONE
    for batch in draws or []:
        masses, means, distortion = _occupied(cells_of([(batch, np.full(len(batch), 1.0 / len(batch)))], codes), codes)
        values = _values(f, means)
        sums.add(np.array([masses @ values]))
        distortions.add(np.array([distortion]))
    return _End(sums.mean, distortions.mean, means, values, sums.standard_error, _BATCHES - 1.0)


def _occupied(cells: Cells, codes: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Masses and means of the cells that have mass, and the distortion about the means."""
    held = cells.masses > 0
    masses, means = cells.masses[held], cells.means[held]
    return masses, means, max(cells.distortion - float(masses @ np.square(means - codes[held]).sum(1)), 0.0)


def _above(f: Function, law: LawLike, draws: list[FloatArray] | None, dual: DualGrid) -> _End:
    values = _values(f, dual.points)
    if draws is None:
        own = dual_grid(law, dual.points)
        return _End(float(own.weights @ values), own.distortion, dual.points, values)
    means = Moments()
    for batch in draws:
        codes, shares = dual.locate(batch)
        means.add((shares * values[codes]).sum(1))
    return _End(means.mean, dual.distortion, dual.points, values, means.standard_error)


def _of_marginals(f: Function, laws: Sequence[Any], codebook: Any, dual: Any) -> tuple[_End, _End | None]:
    """Both ends for independent coordinates, of products of what each has on the line."""
    count = len(laws)
    if not isinstance(codebook, ProductGrid) or codebook.dim != count:
        kind = f"one of {codebook.dim}" if isinstance(codebook, ProductGrid) else type(codebook).__name__
        raise ValueError(
            f"law lists {count} marginals, so codebook must be a product grid of {count} coordinates; received {kind}"
        )
    given = [None] * count if dual is None else list(cast(Sequence[Any], dual)) if isinstance(dual, list | tuple) else []
    if len(given) != count or not (dual is None or all(isinstance(one, DualGrid) and one.dim == 1 for one in given)):
        kinds = ", ".join(type(one).__name__ for one in given) or type(cast(object, dual)).__name__
        raise ValueError(
            f"law lists {count} marginals, so dual must be a list of {count} dual grids on the line; received {kinds}"
        )
    below, above = list[tuple[DiscreteMeasure, float]](), list[tuple[DiscreteMeasure, float]]()
    for i, (law, factor, one) in enumerate(zip(laws, codebook.factors, given, strict=True)):
        problem = make_problem(law, 1, 2.0)
        if problem.exact is None or problem.dim != 1:
            raise ValueError(
                f"marginals[{i}] must be a law on the line whose cells are computed exactly; received {problem.kind} of dimension"
                f" {problem.dim}. Give a sample (m, 1) of it, or a scipy.stats distribution"
            )
        codes = to_host(factor.points)
        masses, means, distortion = _occupied(problem.exact.cells(codes), codes)
        below.append((DiscreteMeasure.from_unnormalized(means, masses), distortion))
        if one is not None:
            own = dual_grid(law, one.points)
            above.append((own.measure, own.distortion))
    return _product(f, below), _product(f, above) if above else None


def _product(f: Function, parts: list[tuple[DiscreteMeasure, float]]) -> _End:
    grid = ProductGrid(tuple(measure for measure, _ in parts), np.array([distortion for _, distortion in parts]))
    return _End(float(grid.expect(lambda x: _values(f, x))), grid.distortion, _NONE, _NONE)


def _check_chords(below: _End, above: _End, dual: DualGrid) -> None:
    """Refuses an f that lies above its linear interpolation between codes at the mean of a cell."""
    codes, shares = dual.locate(below.points)
    over = below.values - (shares * above.values[codes]).sum(1)
    worst = int(over.argmax())
    if over[worst] > _ROUND_OFF * float(np.abs(above.values).max()):
        raise ValueError(
            f"f must be convex; received one that at {below.points[worst].tolist()} lies {over[worst]:.6g} above a chord. {_MEND}"
        )


def _values(f: Function, points: FloatArray) -> FloatArray:
    return checked_values("f", f(points), points)
