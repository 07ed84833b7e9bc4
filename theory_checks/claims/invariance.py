"""What moves with the space: distortions under isometries, and whole solvers under powers of two, to the last bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host
from theory_checks.claim import MODERATE, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE, LINE
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$D_2(Ux + v;\, (U\cdot + v)_\# \mu) = D_2(x; \mu)$ for $U$ orthogonal",
    reference="graf2000",
    laws=FINITE,
)
def distortion_is_invariant_under_isometries(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|D(Ux + v; \cdot) - D(x; \mu)| = 0$ for a random rotation or reflection U and a translation by ten times the spread.

    Slack: every moved coordinate is a sum of d products and a term, off by $\gamma_{d+2} \sqrt{d} M$ with M the largest length
    that enters, and U itself is orthogonal to $\gamma_{10 d^2}$; a distance is then off by $\rho = 2 \sqrt{d} \gamma_{10 d^2 +
    d + 2} \sqrt{d} M$ and D by $2 \sqrt{D} \rho + \rho^2$ (Cauchy and Schwarz). $\gamma_{n+d+8} D$ for either sum.
    """
    return _moved(law, k, seed, stretch=1.0)


@distortion_is_invariant_under_isometries.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """A dilation by one part in a thousand taken for an isometry."""
    return _moved(law, k, seed, stretch=1.001)


def _moved(law: qz.DiscreteMeasure, k: int, seed: int, *, stretch: float) -> Evidence:
    rng, d = np.random.default_rng(seed), law.dim
    points, weights = host(law)
    codes, centre = codebook(law, k, rng), points.mean(0)
    rotation = stretch * np.linalg.qr(rng.standard_normal((d, d)))[0]
    away = 10 * float(np.abs(points - centre).max()) * rng.standard_normal(d)

    def move(x: FloatArray) -> FloatArray:
        return (x - centre) @ rotation.T + away

    before = qz.distortion(law, codes, rng=0).value
    after = qz.distortion(qz.DiscreteMeasure(move(points), weights), move(codes), rng=0).value
    longest = float(
        np.sqrt(np.square(np.concatenate([points, codes])).sum(1).max()) + np.linalg.norm(centre) + np.linalg.norm(away)
    )
    rho = 2 * d * round_off(10 * d * d + d + 2, longest)
    return equal(after, before, 2 * before**0.5 * rho + rho**2 + 2 * round_off(law.size + d + 8, before + after))


@claim(
    statement=r"Lloyd and CLVQ commute with $x \mapsto 2^j x$ bit by bit: $x(2^j{}_\# \mu) = 2^j x(\mu)$, $D = 4^j D$",
    reference="higham2002",
    laws=FINITE,
    effort=MODERATE,
)
def solvers_commute_with_powers_of_two(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """The largest difference of codes, weights and distortion, in the units of either; the worse of two solvers.

    Slack: none. A product with a power of two is exact, and what a solver does is homogeneous: sums, differences and quotients
    round alike at every scale that neither overflows nor underflows.
    """
    return _scaled(law, k, seed, power=2)


@solvers_commute_with_powers_of_two.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The distortion taken to scale like a length, $D = 2^j D$."""
    return _scaled(law, k, seed, power=1)


def _scaled(law: qz.DiscreteMeasure, k: int, seed: int, *, power: int) -> Evidence:
    points, weights = host(law)
    exponent = int(np.random.default_rng(seed).choice([-40, -3, 1, 60]))
    large = qz.DiscreteMeasure(np.ldexp(points, exponent), weights)
    return worst(_commutes(law, large, k, seed, solver, exponent, power) for solver in (qz.Lloyd(), qz.CLVQ(batch=7, epochs=3)))


def _commutes(
    law: qz.DiscreteMeasure, large: qz.DiscreteMeasure, k: int, seed: int, solver: qz.Lloyd | qz.CLVQ, exponent: int, power: int
) -> Evidence:
    here, there = (qz.quantize(mu, k, solver=solver, init=qz.KMeansPlusPlus(), rng=seed, max_iter=50) for mu in (law, large))
    return _compare(here, there, exponent, power)


def _compare(here: qz.Solution, there: qz.Solution, exponent: int, power: int) -> Evidence:
    differences = (
        np.abs(np.ldexp(host(there.measure)[0], -exponent) - host(here.measure)[0]).max(),
        np.abs(host(there.measure)[1] - host(here.measure)[1]).max(),
        abs(float(np.ldexp(there.distortion, -power * exponent)) - here.distortion),
    )
    return Evidence(float(max(differences)), 0.0, 0.0)


@claim(
    statement=r"Newton's method on a density commutes with $x \mapsto 2^j x$ bit by bit",
    reference="higham2002",
    laws=LINE,
    effort=MODERATE,
)
def newton_commutes_with_powers_of_two(law: Any, k: int, seed: int) -> Evidence:
    """As :func:`solvers_commute_with_powers_of_two`, for the law on the line whose location and scale are $2^j$ times as large.

    Slack: none. The solver works in units of the law's own scale, and scipy's densities are functions of (z − loc)/scale.
    """
    return _stretched(law, k, seed, power=2)


@newton_commutes_with_powers_of_two.control
def _(law: Any, k: int, seed: int) -> Evidence:
    r"""The distortion taken to scale like a length, $D = 2^j D$."""
    return _stretched(law, k, seed, power=1)


def _stretched(law: Any, k: int, seed: int, *, power: int) -> Evidence:
    exponent = int(np.random.default_rng(seed).choice([-20, -3, 1, 30]))
    large = law.dist(*law.args, **{name: float(np.ldexp(value, exponent)) for name, value in law.kwds.items()})
    return _compare(qz.quantize(law, k, rng=0), qz.quantize(large, k, rng=0), exponent, power)
