"""Recursive quantization: the steps of a diffusion's scheme, each quantized by the exact law that it has from the last."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray
from quantization.diffusion import Diffusion, checked_times
from quantization.grids.tree import QuantizationTree
from quantization.laws_1d.levenberg_marquardt import FIRST_DAMPING, newton_step
from quantization.laws_1d.normal_polynomials import NormalPolynomials, normal_grid_start
from quantization.validation import checked_count

_UNLIKE = 0.1  # ratio of deviations of steps below which one start may end in a poor optimum
_NODES = 2**13  # of all steps, in the law that is partitioned then
_RTOL = 1e-9  # of the residual; its square is the share of a distortion
_ALIKE = 1e-12  # of two motions whose correlation is ±1


def recursive_grid(
    diffusion: Diffusion,
    times: Sequence[float] | FloatArray,
    k: int | tuple[int, int],
    *,
    scheme: Literal["euler", "milstein"] = "euler",
) -> QuantizationTree:
    r"""The recursive marginal quantization $\hat X_{t+1} = \pi_{t+1}(\mathcal E_t(\hat X_t, Z))$ of a scheme, $\hat X_0 = x_0$.

    Euler's is $\mathcal E_t(x, z) = x + h\,b(t, x) + \sqrt h\,\sigma(t, x) z$, Milstein's adds
    $\tfrac h2 \sigma \sigma'(t, x) (z^2 - 1)$. Given the grid of one date, the law of the next state is a mixture of known laws:
    a stationary grid of it comes from Newton's method with exact cells, masses and derivatives, and so do the transition
    probabilities. It begins at the last date's grid, moved and scaled; where volatilities differ widely among states, at the best
    partition of a discretized law too, and the better of both is taken.

    Parameters
    ----------
    diffusion : Diffusion
        In one or two dimensions.
    times : array (T + 1,)
        Rising; the first is the date of the start.
    k : int or pair of int
        Codes of every later date; in two dimensions those of each coordinate, whose product is the grid.
    scheme : {"euler", "milstein"}
        Milstein's is for one dimension and one Brownian motion, and takes the diffusion's ``volatility_slope``.

    Returns
    -------
    QuantizationTree

    Raises
    ------
    ValueError
        For coefficients that are not finite where the scheme comes, for another dimension (:func:`quantization_tree` takes
        simulated paths) and for k that does not fit it.

    Notes
    -----
    In $L^2$, $\hat X_t$ is off the scheme by at most $\sum_{s \le t} C_s D_s^{1/2}$, with constants of the coefficients' slopes
    (pages2015recursive); expectations of smooth functions by an order more. The error in the steps is apart:
    :meth:`QuantizationTree.step_error`. Extrapolation takes off the leading terms of both.

    References
    ----------
    pages2015recursive, fiorin2019.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> stock = qz.Diffusion(100.0, drift=lambda t, x: 0.05 * x, volatility=lambda t, x: 0.2 * x)
    >>> tree = qz.recursive_grid(stock, np.linspace(0, 1, 51), 100)
    >>> round(float(np.exp(-0.05)) * tree.expect(lambda x: np.maximum(x[:, 0] - 100, 0)), 2)
    10.43
    """
    rising = checked_times(times)
    if scheme not in ("euler", "milstein"):
        raise ValueError(f"scheme must be 'euler' or 'milstein'; received {scheme!r}")
    shares = k if isinstance(k, tuple) else (k,)
    if diffusion.dim > 2 or len(shares) != diffusion.dim:
        expected = {1: "k must be one number in one dimension", 2: "k must be a pair of numbers in two dimensions"}
        hint = "the diffusion must have one or two dimensions; simulate paths for quantization_tree"
        raise ValueError(f"{expected.get(diffusion.dim, hint)}; received dimension {diffusion.dim} and k = {k!r}")
    if scheme == "milstein" and diffusion.dim != 1:
        raise ValueError("Milstein's scheme is for one dimension; received two. Take 'euler'")
    counts = [checked_count("k", count) for count in shares]
    points, weights, transitions, distortions = [diffusion.initial], [np.ones(1)], list[FloatArray](), [0.0]
    shapes: list[FloatArray | None] = [None] * diffusion.dim  # standardized codes of the last date, where Newton's method begins
    for time, step in zip(rising[:-1], np.diff(rising), strict=True):
        states = points[-1]
        drift = diffusion.drift_at(float(time), states)
        with np.errstate(over="ignore"):
            means = states + step * drift
        noise = np.sqrt(step) * diffusion.volatility_at(float(time), states)
        bends = np.zeros(len(states))
        if scheme == "milstein":
            if noise.shape[2] != 1:
                raise ValueError(f"Milstein's scheme is for one Brownian motion; received {noise.shape[2]}. Take 'euler'")
            bends = np.sqrt(step) * noise[:, 0, 0] * diffusion.slope_at(float(time), states)[:, 0] / 2
        with np.errstate(over="ignore"):
            deviations = np.sqrt(np.square(noise).sum(2))
        if not (np.isfinite(means).all() and np.isfinite(np.square(means)).all() and np.isfinite(deviations).all()):
            raise ValueError(
                f"the scheme leaves floating point in the step from time {time:g}. Take shorter steps, or other units"
            )
        laws = [NormalPolynomials(weights[-1], means[:, j] - bends, deviations[:, j], bends) for j in range(diffusion.dim)]
        grids = list[FloatArray]()
        cost = 0.0
        for j, law in enumerate(laws):
            codes, distortion, shapes[j] = _optimal(law, counts[j], shapes[j])
            grids.append(codes)
            cost += distortion
        if diffusion.dim == 1:
            points.append(grids[0])
            joint = laws[0].masses_by_component(grids[0])
        else:
            points.append(np.stack(np.meshgrid(grids[0][:, 0], grids[1][:, 0], indexing="ij"), axis=-1).reshape(-1, 2))
            joint = _rectangles(means, noise, deviations, grids)
        transitions.append(joint / joint.sum(1, keepdims=True))
        weights.append(weights[-1] @ transitions[-1])
        distortions.append(cost)
    halves = np.sort(np.concatenate([rising, (rising[1:] + rising[:-1]) / 2]))
    halved = partial(recursive_grid, diffusion, halves, k, scheme=scheme)
    return QuantizationTree(rising, points, weights, transitions, np.array(distortions), halved)


def _optimal(law: NormalPolynomials, k: int, shape: FloatArray | None) -> tuple[FloatArray, float, FloatArray]:
    """Stationary codes (k, 1) of a step's law in rising order, their distortion, and the codes standardized.

    A law without spread has one code.
    """
    centre, width = law.mean, law.deviation
    if not width > 0:
        return np.full((1, 1), centre), 0.0, normal_grid_start(k)
    starts = [centre + width * (normal_grid_start(k) if shape is None else shape)]
    if law.uneven < _UNLIKE:
        from quantization.interval_dp import optimal_runs  # loads numba

        masses, nodes = law.discretized(max(_NODES // law.size, 32))
        if (masses > 0).sum() > k:
            edges = optimal_runs(masses, nodes, k)
            starts.append(np.add.reduceat(masses * nodes, edges[:-1]) / np.add.reduceat(masses, edges[:-1]))
    found = list[tuple[float, FloatArray]]()
    for start in starts:
        codes, c = law.relocate_empty_cells(start[:, None])
        damping = FIRST_DAMPING
        while c.stationarity > _RTOL and (step := newton_step(law, 2.0, codes, c, damping, within=False)) is not None:
            codes, c, damping = step
        found.append((c.distortion, np.sort(codes, axis=0)))
    distortion, codes = min(found, key=lambda pair: pair[0])
    return codes, distortion, (codes[:, 0] - centre) / width


def _rectangles(means: FloatArray, noise: FloatArray, deviations: FloatArray, grids: list[FloatArray]) -> FloatArray:
    """The masses of products of cells under each of n normal laws in the plane, (n, K_1 K_2)."""
    covariance = np.einsum("nq,nq->n", noise[:, 0], noise[:, 1])
    size = deviations[:, 0] * deviations[:, 1]
    correlation = np.divide(covariance, size, out=np.zeros_like(size), where=size > 0).clip(-1.0, 1.0)
    ends = list[FloatArray]()
    for j, codes in enumerate(grids):
        inner = (codes[:-1, 0] + codes[1:, 0]) / 2
        edges = np.concatenate([[-np.inf], inner, [np.inf]])
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (edges - means[:, j, None]) / deviations[:, j, None]
        ends.append(np.where(np.isnan(z), np.inf, z))
    below = _bivariate(ends[0][:, :, None], ends[1][:, None, :], correlation[:, None, None])
    return np.diff(np.diff(below, axis=1), axis=2).clip(0.0).reshape(len(means), -1)


def _bivariate(x: FloatArray, y: FloatArray, correlation: FloatArray) -> FloatArray:
    r"""$P(X \le x, Y \le y)$ of standard normal variables of some correlation, by Owen's function T (owen1956)."""
    x, y = np.broadcast_arrays(np.clip(x, -40.0, 40.0), np.clip(y, -40.0, 40.0))
    x, y = np.where(x == 0, 1e-300, x), np.where(y == 0, 1e-300, y)
    rest = np.sqrt((1 - correlation) * (1 + correlation))
    tied = rest < _ALIKE
    root = np.where(tied, 1.0, rest)
    below_x, below_y = scipy.special.ndtr(x), scipy.special.ndtr(y)
    owen = scipy.special.owens_t(x, (y / x - correlation) / root) + scipy.special.owens_t(y, (x / y - correlation) / root)
    values = (below_x + below_y) / 2 - owen - np.where(x * y < 0, 0.5, 0.0)
    same, opposite = np.minimum(below_x, below_y), (below_x + below_y - 1).clip(0.0)
    return np.where(tied, np.where(correlation > 0, same, opposite), values)
