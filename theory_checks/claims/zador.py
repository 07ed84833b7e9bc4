"""The optimal distortion on the line, where it is known for every K."""

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, round_off
from theory_checks.laws import UNIFORM_GRID

FloatArray = NDArray[np.float64]


@claim(
    statement=r"$\min_x D_2(x) = \frac{1}{12 K^2}$ for $U[0, 1]$, hence Zador's constant $Q_2(1) = \frac1{12}$",
    reference="graf2000",
    laws=UNIFORM_GRID,
)
def uniform_law_on_the_line(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$|D(x) - 1/12K^2| = 0$ for the Lloyd fixed point x on a grid of n equal masses, from a random start.

    Slack: a cell of $m_i$ grid points costs $(m_i^3 - m_i)/12 n^3$. At a fixed point the sizes of neighbouring cells differ by
    at most 2 (a boundary lies within half a grid step of the midpoint of two centroids), so $|m_i - n/K| \le \delta = 2(K - 1)$
    and, the $m_i$ adding up to n, $|D - 1/12K^2| \le (3 n \delta^2 + K \delta^3) / 12 n^3 + 1/12 n^2$; and $\gamma_{2n+9}$ of
    D.
    """
    start = np.sort(np.random.default_rng(seed).random(k))[:, None]
    sol = qz.quantize(law, k, start=start, solver=qz.Lloyd(rtol=1e-12), max_steps=5000).require()
    return _against_the_constant(law, np.asarray(sol.measure.points, dtype=np.float64))


@uniform_law_on_the_line.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    """Codes equally spaced from end to end, 0 and 1 among them."""
    return _against_the_constant(law, np.linspace(0, 1, k)[:, None])


def _against_the_constant(law: qz.DiscreteMeasure, codes: FloatArray) -> Evidence:
    k, n = len(codes), law.size
    value, constant, uneven = qz.distortion(law, codes).value, 1 / (12 * k**2), 2 * (k - 1)
    slack = (3 * n * uneven**2 + k * uneven**3) / (12 * n**3) + 1 / (12 * n**2)
    return Evidence(abs(value - constant), 0.0, slack + round_off(2 * n + 9, value + constant))
