"""Expectations by quantizers: cubature with bounds, quantized control variates, sampling stratified by cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import Array, FloatArray, IntArray, to_host
from quantization.cell_sampling import CellSampler, Product, boxes_of, is_product, sampler_of
from quantization.interval import Estimate
from quantization.make_problem import LawLike
from quantization.measure import DiscreteMeasure
from quantization.solution import Solution
from quantization.validation import checked_confidence, checked_count, checked_number, checked_points, checked_rng, checked_values

Function = Callable[[FloatArray], Any]
Method = Literal["control", "proportional", "neyman"]

_PILOT = 5  # one in so many evaluations is what Neyman's allocation is learned from
_FLOOR = 0.2  # of what follows is in proportion to the masses, as a pilot misses what is rare in its cell
_ALIKE = 2.0**-40  # of a control's size, a spread that is none
_LEAST = 2  # evaluations in a cell, so that it has a variance


def expect(
    f: Function,
    law: LawLike | Sequence[Any],
    codebook: Solution | DiscreteMeasure | Product | Array,
    n: int | None = None,
    *,
    method: Method = "control",
    lipschitz: float | None = None,
    gradient_lipschitz: float | None = None,
    confidence: float = 0.95,
    rng: Any = None,
) -> Estimate:
    r"""$E f(X)$ with the help of a quantizer $\hat X$ of X, whose cells $V_k$ have masses $w_k$ and centroids $m_k$.

    Without n, by **cubature**, $\sum_k w_k f(m_k)$: off by at most $L\,D^{1/2}$ where f has the Lipschitz constant L, by
    $\tfrac12 L' D$ where its gradient has L', $D = E|X - m_{\hat k}|^2$. With n evaluations of f:

    * ``"control"``: $\bar f - \beta (\bar g - E g)$ with the **control variate** $g = f(\hat X)$, of known expectation, β by
      regression. For a Lipschitz f the variance falls to $L^2 E|X - \hat X|^2 / n$ or less.
    * ``"proportional"``: **stratified sampling**, $\sum_k w_k \bar f_k$, $n_k \approx n w_k$ draws in a cell, two at least: where
      every $n w_k \ge 2$ no more than plain Monte Carlo's variance, but for rounding.
    * ``"neyman"``: $n_k \propto w_k s_k$, but for a fifth that is in proportion to the masses. The standard deviations $s_k$ of
      cells are learned from a fifth of the n, as many in each cell, which are then left out, so that nothing is biased.

    Parameters
    ----------
    f : callable
        Maps points (m, d) to numbers (m,).
    law : law, measure, samples (n, d), or list of marginals
        As for :func:`quantization.quantize`; for a ProductGrid the list of marginals that it was made of.
    codebook : Solution, DiscreteMeasure, array (K, d), or ProductGrid
        The codes; their masses are those of the law.
    n : int, optional
        Evaluations of f: ten at least; for strata two a cell, ten for Neyman's.
    method : {"control", "proportional", "neyman"}
        What to do with them.
    lipschitz, gradient_lipschitz : float, optional
        L and L', for the bound of a cubature, the less of the two.
    confidence : float, default 0.95
        Of the interval.
    rng : int or numpy.random.Generator, optional
        Of draws.

    Returns
    -------
    Estimate
        With Student's interval, right as n grows, or the bound around a cubature: infinite where no constant is given. Where the
        law is known by sampling alone, its cells are measured on 2^20 draws, whose error is in the interval; a bound then needs
        ``lipschitz``.

    Raises
    ------
    ValueError
        For a law that can't be drawn from (streams, shards), too few evaluations, and an f of another shape.

    Notes
    -----
    Points of a cell are drawn by the marginals' quantile functions in product grids, and among a measure's own points; else by
    rejection, which costs draws of the law but no evaluations.

    References
    ----------
    pages2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> law = qz.Gaussian([0.0, 0.0], np.eye(2))
    >>> grid = qz.quantize(law, 50, rng=0)
    >>> f = lambda x: np.hypot(x[:, 0], x[:, 1])  # expectation √(π/2), standard deviation 0.655
    >>> found = qz.expect(f, law, grid, 10_000, rng=0)
    >>> round(found.value, 2), bool(found.low < np.sqrt(np.pi / 2) < found.high), 0.00655 / found.standard_error > 3
    (1.25, True, True)
    """
    confidence, generator = checked_confidence(confidence), checked_rng(rng)
    if method not in ("control", "proportional", "neyman"):
        raise ValueError(f"method must be 'control', 'proportional' or 'neyman'; received {method!r}")
    cells = boxes_of(law, codebook) if is_product(codebook) else sampler_of(law, _codes(codebook), generator)
    if n is None:
        return _cubature(f, cells, lipschitz, gradient_lipschitz, confidence)
    if method == "control":
        return _controlled(f, cells, checked_count("n", n, least=10), confidence, generator)
    nonempty = cells.masses > 0
    least = _LEAST * int(nonempty.sum()) * (_PILOT if method == "neyman" else 1)
    if checked_count("n", n) < least:
        raise ValueError(f"n must be at least {least} for {int(nonempty.sum())} cells and method {method!r}; received {n}")
    counts = _allocation(n, cells.masses)
    if method == "neyman":
        pilot = _allocation(n // _PILOT, nonempty.astype(np.float64))  # as many in each cell
        spreads = cells.masses * np.sqrt(_Strata.of(f, cells, pilot, generator).variances)
        shares = spreads / spreads.sum() if spreads.any() else cells.masses
        counts = _allocation(n - int(pilot.sum()), (1 - _FLOOR) * shares + _FLOOR * cells.masses)
    return _stratified(_Strata.of(f, cells, counts, generator), cells, confidence)


def richardson_romberg(values: Sequence[float], distortions: Sequence[float]) -> float:
    r"""$(D_a I_b - D_b I_a) / (D_a - D_b)$: two cubatures, with an error proportional to the distortion taken off.

    Parameters
    ----------
    values : pair of float
        The cubatures $I_a, I_b$ of one function by two quantizers of one law.
    distortions : pair of float
        $D_a, D_b$ of the quantizers, or the sums of them along a tree.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For distortions that are equal or negative.

    References
    ----------
    pages2005.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> grids = [qz.quantize(qz.Gaussian([0.0], [[1.0]]), k, rng=0) for k in (10, 20)]
    >>> values = [grid.measure.expect(lambda x: np.cos(x[:, 0])) for grid in grids]
    >>> better = qz.richardson_romberg(values, [grid.distortion for grid in grids])
    >>> bool(abs(better - np.exp(-0.5)) < abs(values[1] - np.exp(-0.5)) / 5)
    True
    """
    (a, b), (first, second) = (tuple(map(float, pair)) for pair in (distortions, values))
    if not (0 <= a < np.inf and 0 <= b < np.inf and a != b):
        raise ValueError(f"distortions must be two different nonnegative numbers; received {a:g} and {b:g}")
    return (a * second - b * first) / (a - b)


def _codes(codebook: Any) -> FloatArray:
    points = codebook.points if isinstance(codebook, Solution | DiscreteMeasure) else codebook
    return to_host(checked_points(points))


def _values(f: Function, points: FloatArray) -> FloatArray:
    return checked_values("f", f(points), points)


def _cubature(
    f: Function, cells: CellSampler, lipschitz: float | None, gradient_lipschitz: float | None, confidence: float
) -> Estimate:
    bound, within = np.inf, 0.0
    if lipschitz is not None:
        within = checked_number(lipschitz, "lipschitz must be a finite number ≥ 0") * cells.distortion**0.5
        bound = within
    if gradient_lipschitz is not None:
        slope = checked_number(gradient_lipschitz, "gradient_lipschitz must be a finite number ≥ 0")
        if cells.draws and lipschitz is None:
            raise ValueError("gradient_lipschitz alone gives no bound for a law known by sampling; give lipschitz= as well")
        bound = min(bound, slope * cells.distortion / 2)
    values = _values(f, cells.centroids)
    value = float(cells.masses @ values)
    # Cells of draws are those of their own law, whose mean of f is off by the deviation of f over the root of their number.
    error = _error_of_masses(cells, values) ** 0.5 + (within / cells.draws**0.5 if cells.draws else 0.0)
    reach = bound + float(scipy.special.ndtri((1 + confidence) / 2)) * error
    return Estimate(value, value - reach, value + reach, error)


def _controlled(f: Function, cells: CellSampler, n: int, confidence: float, rng: np.random.Generator) -> Estimate:
    points, labels = cells.draw(n, rng)
    values, at_codes = _values(f, points), _values(f, cells.codes)
    control, expected = at_codes[labels], float(cells.masses @ at_codes)
    mean = float(values.mean())
    away, rest = control - control.mean(), values - mean
    spread = float(away @ away)
    if (
        not spread > n * (_ALIKE * float(np.abs(control).max())) ** 2
    ):  # alike but for round-off, which no regression may divide by
        away, spread = np.zeros(n), 1.0
    slope = float(away @ rest) / spread
    gap = float(control.mean()) - expected if slope else 0.0
    rest -= slope * away
    # The estimate is linear in f with these coefficients, and a point's residual is smaller the more the point decides (HC3).
    coefficients, leverages = 1 / n - away * (gap / spread), 1 / n + away * away / spread
    variance = float(np.square(coefficients * rest / np.maximum(1 - leverages, 1 / n)).sum())
    return _student(mean - slope * gap, variance + slope * slope * _error_of_masses(cells, at_codes), n - 2.0, confidence)


@dataclass(frozen=True)
class _Strata:
    """The means and variances of f in each cell, over ``counts`` draws; zero where there are none."""

    counts: IntArray
    means: FloatArray
    variances: FloatArray

    @classmethod
    def of(cls, f: Function, cells: CellSampler, counts: IntArray, rng: np.random.Generator) -> "_Strata":
        values, cell = _values(f, cells.fill(counts, rng)), np.repeat(np.arange(len(counts)), counts)
        means = np.bincount(cell, values, minlength=len(counts)) / np.maximum(counts, 1)
        squares = np.bincount(cell, np.square(values - means[cell]), minlength=len(counts))
        return cls(counts, means, squares / np.maximum(counts - 1, 1))


def _stratified(strata: _Strata, cells: CellSampler, confidence: float) -> Estimate:
    own = cells.masses**2 * strata.variances / np.maximum(strata.counts, 1)
    variance = float(own.sum())
    freedom = (
        variance**2 / float((own**2 / np.maximum(strata.counts - 1, 1)).sum()) if variance > 0 else np.inf
    )  # Satterthwaite's
    return _student(float(cells.masses @ strata.means), variance + _error_of_masses(cells, strata.means), freedom, confidence)


def _allocation(n: int, shares: FloatArray) -> IntArray:
    """n draws in proportion to the shares, at least two for each that is positive."""
    counts = np.zeros(len(shares), np.int64)
    open_cells = shares > 0
    counts[open_cells] = _LEAST
    wanted = np.zeros(len(shares))
    while open_cells.any():  # cells whose share is below the least are set to it, and the others share what is left
        left = n - _LEAST * int(((shares > 0) & ~open_cells).sum())
        wanted[open_cells] = left * shares[open_cells] / shares[open_cells].sum()
        small = open_cells & (wanted < _LEAST)
        if not small.any():
            break
        open_cells &= ~small
    whole = np.floor(wanted).astype(np.int64)
    counts[open_cells] = whole[open_cells]
    left = n - int(counts.sum())
    order = np.argsort(-(wanted - whole) * open_cells, kind="stable")[: max(left, 0)]
    counts[order] += 1
    return counts


def _error_of_masses(cells: CellSampler, values: FloatArray) -> float:
    """The variance of Σ w_k v_k where the masses w are shares of so many draws."""
    if not cells.draws:
        return 0.0
    mean = float(cells.masses @ values)
    return float(cells.masses @ np.square(values - mean)) / cells.draws


def _student(value: float, variance: float, freedom: float, confidence: float) -> Estimate:
    error = variance**0.5
    quantile = (1 + confidence) / 2
    reach = float(scipy.special.stdtrit(freedom, quantile) if np.isfinite(freedom) else scipy.special.ndtri(quantile)) * error
    return Estimate(value, value - reach, value + reach, error)
