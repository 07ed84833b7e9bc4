r"""Dual grids: $E[\hat X | X] = X$ on any codes around the support, and what follows for cubature and convex functions."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host
from theory_checks.claim import MODERATE, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
Function = Callable[[FloatArray], FloatArray]
_SPACE = replace(FINITE, dims=(1, 2, 3))
_ROOM = 1 / 8  # of a side, by which a box is larger than the support
_SHRUNK = 0.02  # what is left of codes that are drawn together


def _grid(law: qz.DiscreteMeasure, k: int, seed: int, shrunk: float = 1.0) -> qz.DualGrid:
    """The corners of a box around the support and k draws from it; or so much of these, and of the law, about the middle."""
    x, p = host(law)
    room = _ROOM * np.ptp(x, axis=0)
    low, high = x.min(0) - room, x.max(0) + room
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), axis=-1).reshape(-1, law.dim)
    codes = np.concatenate([corners, np.random.default_rng(seed).uniform(low, high, (k, law.dim))])
    middle = (low + high) / 2
    small = x if shrunk == 1 else middle + shrunk * (x - middle)
    return qz.dual_grid(
        qz.DiscreteMeasure(small, p),
        codes if shrunk == 1 else middle + shrunk * (codes - middle),
    )


def _rounding(law: qz.DiscreteMeasure, grid: qz.DualGrid) -> float:
    r"""$\gamma_{2n+K+100}$ of four times the largest $1 + |x|^2$: sums over points and codes of what is quadratic at most."""
    return round_off(
        2 * law.size + len(grid.points) + 100,
        4 * (1 + float(np.square(grid.points).sum(1).max())),
    )


@claim(
    statement=r"$E[\hat X | X] = X$ for the random splitting of X among the vertices of its Delaunay simplex, whatever the codes "
    r"whose hull contains the support",
    reference="pages2012",
    laws=_SPACE,
    effort=MODERATE,
)
def splitting_keeps_the_point(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""For every point: the means of the codes with their probabilities.

    Slack: $\gamma_{100}$ of the largest coordinate, for some dozen roundings of a point relative to the codes and of a mean of
    d + 1 of them. Weights are found by two steps with the inverse of a simplex, which leave the square of its condition times u;
    that is below u for codes drawn at random.
    """
    return _means(law, k, seed, split=True)


@splitting_keeps_the_point.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The nearest code in place of a random one."""
    return _means(law, k, seed, split=False)


def _means(law: qz.DiscreteMeasure, k: int, seed: int, *, split: bool) -> Evidence:
    grid, (x, _) = _grid(law, k, seed), host(law)
    around, shares = grid.locate(x)
    nearest = grid.points[np.asarray(grid.measure.assign(x))]
    means = np.einsum("nj,njd->nd", shares, grid.points[around]) if split else nearest
    return Evidence(
        float(np.abs(means - x).max()),
        0.0,
        round_off(100, float(np.abs(grid.points).max())),
    )


@claim(
    statement=r"$|E f(X) - E f(\hat X)| \le \tfrac12 L' E|X - \hat X|^2$ for a dual grid, whatever the codes, where $\nabla f$ "
    r"has the Lipschitz constant L'",
    reference="pages2012",
    laws=_SPACE,
    effort=MODERATE,
)
def dual_cubature_is_of_second_order(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""For $\tfrac12 L' |x - c|^2$, where it is an equality, and for waves.

    Slack: sums over points and codes, $\gamma_{2n+K+100}$ of four times the largest $1 + |x|^2$, times L'.
    """
    return _second_order(law, k, seed, constant=0.5)


@dual_cubature_is_of_second_order.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A quarter for the half."""
    return _second_order(law, k, seed, constant=0.25)


def _second_order(law: qz.DiscreteMeasure, k: int, seed: int, *, constant: float) -> Evidence:
    rng, grid, (x, p) = np.random.default_rng(seed), _grid(law, k, seed), host(law)
    slope, wave, middle = (
        float(rng.uniform(0.5, 2)),
        rng.standard_normal(law.dim),
        p @ x,
    )
    functions: list[tuple[Function, float]] = [
        (lambda z: slope / 2 * np.square(z - middle).sum(1), slope),
        (lambda z: np.cos((z - middle) @ wave + 1), float(wave @ wave)),
    ]
    slack, found = _rounding(law, grid), list[Evidence]()
    for f, constant_of_f in functions:
        gap = abs(float(p @ f(x)) - float(grid.weights @ f(grid.points)))
        found.append(
            Evidence(
                gap,
                constant * constant_of_f * grid.distortion,
                (1 + constant_of_f) * slack,
            )
        )
    return worst(found)


def _convex(law: qz.DiscreteMeasure, rng: np.random.Generator) -> Iterator[Function]:
    """Convex functions that grow no faster than |x|²: squares, a distance, the largest of planes, a smooth one."""
    x, p = host(law)
    middle, slopes = p @ x, rng.standard_normal((4, law.dim))
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    levels = rng.standard_normal(4)
    yield lambda z: np.square(z - middle).sum(1)
    yield lambda z: np.linalg.norm(z - middle, axis=1)
    yield lambda z: ((z - middle) @ slopes.T + levels).max(1)
    yield lambda z: np.logaddexp.reduce((z - middle) @ slopes.T + levels, axis=1)


@claim(
    statement=r"$\sum_k \mu(V_k) f(E[X | V_k]) \le E f(X)$ for a convex f and any partition",
    reference="pages2012",
    laws=_SPACE,
    effort=MODERATE,
)
def cells_are_below_a_convex_function(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Of Voronoi cells of codes drawn at random, and squares, distances, the largest of planes, a smooth function.

    Slack: sums over points and codes, $\gamma_{2n+K+100}$ of four times the largest $1 + |x|^2$.
    """
    return _bracketed(law, k, seed, sign=1.0, end="low")


@cells_are_below_a_convex_function.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Minus these functions, which are concave, by the same sums."""
    return _bracketed(law, k, seed, sign=-1.0, end="low")


@claim(
    statement=r"$E f(X) \le E f(\hat X)$ for a convex f and a dual grid whose hull contains the support",
    reference="pages2012",
    laws=_SPACE,
    effort=MODERATE,
)
def dual_grids_are_above_a_convex_function(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""Whatever the codes, for the same functions; for squares the gap is the dual distortion.

    Slack: sums over points and codes, $\gamma_{2n+K+100}$ of four times the largest $1 + |x|^2$.
    """
    return _bracketed(law, k, seed, sign=1.0, end="high")


@dual_grids_are_above_a_convex_function.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A hull that does not contain the support: codes, and the law whose weights they get, drawn together about the middle."""
    grid, (x, p) = _grid(law, k, seed, _SHRUNK), host(law)
    middle, away = grid.points.mean(0), p @ x - grid.points.mean(0)
    functions: list[Function] = [lambda z: np.square(z - middle).sum(1), lambda z: (z - middle) @ away]
    found = list[Evidence]()
    for f in functions:
        found.append(
            Evidence(
                float(p @ f(x)),
                float(grid.weights @ f(grid.points)),
                _rounding(law, grid),
            )
        )
    return worst(found)


def _bracketed(law: qz.DiscreteMeasure, k: int, seed: int, *, sign: float, end: str) -> Evidence:
    rng, grid, (x, p) = np.random.default_rng(seed), _grid(law, k, seed), host(law)
    codes, slack, found = codebook(law, k, rng), _rounding(law, grid), list[Evidence]()
    for number, f in enumerate(_convex(law, rng)):
        ends, exact = qz.bracket(f, law, codes, grid), float(p @ f(x))
        low, high = (ends.low, exact) if end == "low" else (exact, ends.high)
        found.append(Evidence(sign * low, sign * high, slack))
        if end == "high" and number == 0:
            found.append(equal(ends.high - exact, grid.distortion, slack))
    return worst(found)
