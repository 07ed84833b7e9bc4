"""Asymptotics in the plane and in space: hexagons are the best cells, and the error falls like $K^{-1/3}$ in three dimensions."""

import math

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import polygons
from theory_checks.claim import MODERATE, Effort, claim
from theory_checks.evidence import Curve, Evidence, worst
from theory_checks.laws import CUBE, GRID, POLYGONS
from theory_checks.limits import slopes
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]
_HEXAGON = 5 / (18 * math.sqrt(3))
_BALL = 0.6 * (4 * math.pi / 3) ** (-2 / 3)  # E|X|² of a ball of unit volume


@claim(
    statement=r"$D_2(x) \ge \frac{5}{18\sqrt3} \frac{|P|}{K}$ for the uniform law on a convex polygon $P$ of at most six sides",
    reference="fejestoth1972",
    laws=POLYGONS,
    effort=MODERATE,
)
def hexagons_are_the_best_cells(law: FloatArray, k: int, seed: int) -> Evidence:
    r"""$\tfrac{5}{18\sqrt3} |P| / K \le D(x)$ at Lloyd's answer on a sample, D by the cells' polygons; and for one code in its
    centre.

    Slack: a cell is cut by K half-planes and its moment is a sum over at most K + 6 triangles; a corner is off by $\gamma_{20}$
    of the polygon's size a cut, so that D is by $\gamma_{40 (K + 6)}$ of the squared diameter.
    """
    return _hexagons(law, k, seed, codes_counted=k)


@hexagons_are_the_best_cells.control
def _(law: FloatArray, k: int, seed: int) -> Evidence:
    """Half as many codes counted."""
    return _hexagons(law, k, seed, codes_counted=k // 2)


def _hexagons(law: FloatArray, k: int, seed: int, *, codes_counted: int) -> Evidence:
    rng, area = np.random.default_rng(seed), polygons.area(law)
    fan = np.stack([np.broadcast_to(law[0], law[1:-1].shape), law[1:-1], law[2:]], axis=1)
    shares = np.array([polygons.area(triangle) for triangle in fan])
    chosen = fan[rng.choice(len(fan), 3001, p=shares / shares.sum())]
    draws = np.einsum("ni,nij->nj", rng.dirichlet(np.ones(3), 3001), chosen)
    codes = np.asarray(qz.quantize(draws, k, rng=seed, solver=qz.Lloyd(rtol=1e-3)).measure.points)
    centre = law.mean(0)
    size = 4 * float(np.square(law - centre).sum(1).max()) + float(np.square(centre).sum())
    slack = round_off(40 * (k + 6), size)
    many = Evidence(_HEXAGON * area / codes_counted, polygons.distortion(law, codes), slack)
    one = Evidence(_HEXAGON * area, polygons.distortion(law, centre[None]), slack)
    return worst([many, one])


@claim(
    statement=r"$K^{2/3} \min_x D_2(x) \in \bigl[\tfrac35 (\tfrac{4\pi}3)^{-2/3}, \tfrac14\bigr]$ for $U[0,1]^3$, $K = "
    r"m^3$: slope "
    r"$-\tfrac13$ of $e_K$",
    reference="zador1982",
    laws=CUBE,
    effort=Effort(tests=1, quick=1, full=6),
)
def error_falls_like_the_third_root_in_space(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|\tfrac{\log e_{512} - \log e_8}{\log 64} + \tfrac13| = 0$, and every $K^{2/3} D_K$ between ball and cube.

    Below: no cell is better than a ball of its volume, $\tfrac35 (4\pi/3)^{-2/3}$, and unequal volumes do no better (Hölder).
    Above: m³ cubes. Of a grid of step h: a little cube goes whole to its centre's code, $D \le D_{\text{grid}} + h^2/4$, which
    is taken for D and is exact for the cubes. The best of Lloyd's answers from the cubes and from a random start. Slack: both
    bounds hold for every K, so that the slope's bias is at most $\tfrac12 \log(0.25 / 0.2309) / \log 64 = 0.0096$;
    $\gamma_{2n+9}$ for sums.
    """
    return _in_space(law, seed, exponent=1 / 3)


@error_falls_like_the_third_root_in_space.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The slope of the plane."""
    return _in_space(law, seed, exponent=1 / 2)


def _in_space(law: qz.DiscreteMeasure, seed: int, *, exponent: float) -> Evidence:
    edges = (2, 4, 8)
    counts, found = [float(m**3) for m in edges], list[float]()
    for m in edges:
        cubes = (np.stack(np.meshgrid(*[np.arange(m)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / m
        solver = qz.Lloyd(rtol=3e-3)
        answers = [qz.quantize(law, m**3, solver=solver, init=start, rng=seed) for start in (cubes, qz.KMeansPlusPlus())]
        found.append(min(sol.distortion for sol in answers) + 1 / (4 * GRID**2))
    rounding = round_off(2 * law.size + 9, 1.0)
    bounds = [Evidence(_BALL, n ** (2 / 3) * d, rounding) for n, d in zip(counts, found, strict=True)]
    bounds += [Evidence(n ** (2 / 3) * d, 0.25, rounding) for n, d in zip(counts, found, strict=True)]
    slope = slopes([counts[0], counts[-1]], [found[0], found[-1]])[0] / 2
    steepness = Evidence(abs(slope + exponent), 0.0, math.log(0.25 / _BALL) / (2 * math.log(counts[-1] / counts[0])))
    curve = Curve(
        "K",
        "$K^{2/3} D_K$",
        tuple(counts),
        {"Lloyd": tuple(n ** (2 / 3) * d for n, d in zip(counts, found, strict=True))},
        {"balls": _BALL, "cubes": 0.25},
        "x",
    )
    return worst([*bounds, steepness]).drawn(curve)
