r"""Expectations by a quantizer: bounds of the cubature, and the variance that $f(\hat X)$ leaves as a control variate."""

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import codebook, host
from theory_checks.claim import claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import FINITE
from theory_checks.rounding import round_off

FloatArray = NDArray[np.float64]


def _rounding(law: qz.DiscreteMeasure, codes: FloatArray, magnitude: float) -> float:
    r"""$\gamma_{2n+2d+K+20}$ of sums over points and codes, of terms of that magnitude times the largest $1 + |x|^2$."""
    reach = 1 + max(float(np.square(rows).sum(1).max()) for rows in (host(law)[0], codes))
    return round_off(2 * law.size + 2 * law.dim + len(codes) + 20, 4 * magnitude * reach)


def _distances(x: FloatArray, codes: FloatArray) -> FloatArray:
    return np.sqrt(np.square(x[:, None, :] - codes).sum(2).min(1))


@claim(
    statement=r"$\min_\beta \operatorname{Var}\bigl(f(X) - \beta f(\hat X)\bigr) \le E|f(X) - f(\hat X)|^2 \le L^2 D_2(x)$ for "
    r"every codebook x and f of Lipschitz constant L: the control variate divides the variance by $\operatorname{Var} f / L^2 "
    r"D_2$ or more",
    reference="pages2015",
    laws=FINITE,
)
def control_variates_leave_the_distortion(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""For distances to random points, and for L times the distance to the codes, where the second inequality is an equality.

    Slack: sums over points of squares of distances, $\gamma_{2n+2d+K+20}$ of L² times the largest $1 + |x|^2$, four times.
    """
    return _controlled(law, k, seed, constant=1.0)


@control_variates_leave_the_distortion.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\tfrac12 L^2 D_2$, for the f that attains the bound."""
    return _controlled(law, k, seed, constant=0.5)


def _controlled(law: qz.DiscreteMeasure, k: int, seed: int, *, constant: float) -> Evidence:
    rng = np.random.default_rng(seed)
    codes, others, slope = codebook(law, k, rng), codebook(law, 2, rng), float(rng.uniform(0.5, 2))
    points, p = host(law)
    nearest = codes[np.asarray(qz.DiscreteMeasure(codes).assign(points))]
    bound = constant * slope**2 * qz.distortion(law, codes, rng=0).value
    slack, found = _rounding(law, codes, slope**2), list[Evidence]()
    for targets in (codes, others):
        values, control = (slope * _distances(x, targets) for x in (points, nearest))
        squares = float(p @ np.square(values - control))
        centred, away = values - p @ values, control - p @ control
        spread = float(p @ np.square(away))
        beta = float(p @ (centred * away)) / spread if spread > slack else 0.0
        left = float(p @ np.square(centred - beta * away))
        found += [Evidence(left, squares, slack), Evidence(squares, bound, slack)]
        if targets is codes and constant == 1:
            found.append(equal(squares, bound, slack))
    return worst(found)


@claim(
    statement=r"$\bigl|E f(X) - \sum_k w_k f(m_k)\bigr| \le \min(L D^{1/2}, \tfrac12 L' D)$ for the centroids $m_k$ of any "
    r"cells, $D = E|X - m_{\hat k}|^2$, with equality for $f = \tfrac12 L' |x - a|^2$",
    reference="pages2015",
    laws=FINITE,
)
def cubature_is_right_within_its_bound(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""The intervals of `expect` around the cubatures of a distance and of a square, against sums over the law.

    Slack: that of sums over points, $\gamma_{2n+2d+K+20}$ of L' times the largest $1 + |x|^2$, four times.
    """
    return _cubature(law, k, seed, part=1.0)


@cubature_is_right_within_its_bound.control
def _(law: qz.DiscreteMeasure, k: int, seed: int) -> Evidence:
    r"""$\tfrac14 L' D$."""
    return _cubature(law, k, seed, part=0.5)


def _cubature(law: qz.DiscreteMeasure, k: int, seed: int, *, part: float) -> Evidence:
    rng = np.random.default_rng(seed)
    codes, (a, b), slope = codebook(law, k, rng), codebook(law, 2, rng), float(rng.uniform(0.5, 2))
    points, p = host(law)

    def distance(x: FloatArray) -> FloatArray:
        return slope * _distances(x, b[None])

    def square(x: FloatArray) -> FloatArray:
        return slope / 2 * np.square(x - a).sum(1)

    slack = _rounding(law, codes, slope)
    rough, smooth = qz.expect(distance, law, codes, lipschitz=slope), qz.expect(square, law, codes, gradient_lipschitz=slope)
    truth, other = float(p @ square(points)), float(p @ distance(points))
    found = [
        Evidence(abs(other - rough.value), rough.high - rough.value, slack),
        Evidence(abs(truth - smooth.value), part * (smooth.high - smooth.value), slack),
    ]
    return worst(found if part < 1 else [*found, equal(smooth.high, truth, slack)])
