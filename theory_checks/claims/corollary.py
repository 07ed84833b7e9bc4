r"""Corollary 1: rates in K. The flow keeps the rate of $e_K$, the SDE doubles it, and uniform weights have none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks import quantiles
from theory_checks.cells import largest_cost
from theory_checks.claim import MODERATE, VERY_SLOW, claim
from theory_checks.diffusion import Diffusion
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import FLOWS, NORMALS, ON_THE_LINE
from theory_checks.limits import remainder, slopes
from theory_checks.rounding import root_error, round_off, transport_round_off

FloatArray = NDArray[np.float64]
_COUNTS = (4, 16, 64)
_ATOMS = 1024


@claim(
    statement=r"$e_K$ and $W_2(\mu_\delta, \nu_\delta)$ after the probability-flow ODE fall like $K^{-1/d}$, $d = 1, 2, 3$",
    reference="tan2026",
    laws=FLOWS,
    effort=VERY_SLOW,
)
def the_flow_keeps_the_rate(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""Slopes of $\log e_K$ and $\log W_2$ in log K against $-1/d$, over K = 16 to 64, on 1024 atoms of $p_T$; $W_2$ by exact
    transport.

    $e_K = Q K^{-1/d} (1 + O(K^{-1/(d+1)}))$ at least, so that a slope's bias is at most what it changed by from 4..16 to
    16..64, over $4^{1/(d+1)} - 1$. The flow and its inverse are Lipschitz, with C and $\sqrt{v_T/v_\delta}$: $W_2$ lies between
    $e_K \sqrt{v_\delta / v_T}$ and $C e_K$ for every K, and its slope is off that of $e_K$ by at most log of their ratio, over
    log 4. Slack: these, and what Euler's own constants are beyond the two (see
    :func:`~theory_checks.claims.reverse_diffusion.reverse_diffusions_are_lipschitz`).
    """
    return _flow(law, seed, 1.0)


@the_flow_keeps_the_rate.control
def _(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""The rate $K^{-2/d}$ of second-order quantities."""
    return _flow(law, seed, 2.0)


def _flow(law: Diffusion, seed: int, order: float) -> Evidence:
    rng, d = np.random.default_rng(seed), law.data.dim
    atoms = qz.QuasiMonteCarlo(law.law(law.end)).sample(_ATOMS, rng)
    times = law.times(96)
    end = qz.DiscreteMeasure(law.backwards(np.asarray(atoms), times, None))
    errors, distances, found = list[float](), list[float](), list[Evidence]()
    (scheme, least), constant = law.euler_constants(times), law.constant()
    inverse = (law.variance(law.end) / law.variance(law.begin)) ** 0.5
    for count in _COUNTS:
        sol = qz.quantize(atoms, count, rng=rng, n_init=2, solver=qz.Lloyd(rtol=1e-4))
        pushed = qz.DiscreteMeasure(law.backwards(np.asarray(sol.measure.points), times, None), sol.measure.weights)
        error, distance = sol.distortion**0.5, qz.wasserstein(end, pushed)
        slack = root_error(distance**2, transport_round_off(end.size, pushed.size, largest_cost(end, pushed)))
        slack += round_off(100 * len(times), 100.0)
        found += [Evidence(distance, constant * error, slack + max(0.0, scheme - constant) * error)]
        found += [Evidence(error / inverse, distance, slack + max(0.0, 1 / inverse - least) * error)]
        errors.append(error)
        distances.append(distance)
    of_error, of_distance = (slopes(_COUNTS, values) for values in (errors, distances))
    bias = remainder(of_error[0], of_error[1], order=1 / (d + 1), ratio=4)
    found.append(equal(of_error[1], -order / d, bias))
    found.append(equal(of_distance[1], -order / d, bias + np.log(scheme * inverse) / np.log(4)))
    curve = Curve(
        "K",
        f"error, d = {d}",
        tuple(map(float, _COUNTS)),
        {
            "$e_K$": tuple(errors),
            "$W_2$ after the flow": tuple(distances),
            "slope $-1/d$": tuple(errors[0] * (n / _COUNTS[0]) ** (-1 / d) for n in _COUNTS),
        },
        logs="xy",
    )
    return worst(found).drawn(curve)


@claim(
    statement=r"after the SDE $W_2(\mu_\delta, \nu_\delta) \le C\,e_K$ still, but it falls like $K^{-2}$ on the line: stationary "
    r"codes are second order",
    reference="tan2026",
    laws=ON_THE_LINE,
    effort=VERY_SLOW,
)
def the_sde_doubles_the_rate(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""The slope of $\log W_2$ against −2, and $W_2 \le C e_K$, both laws in closed form: the SDE's is that of $X_\delta$ given
    $X_T$.

    Slack: the slope's bias falls at least like $K^{-1/3}$ (the tails are slow to join in), and is read off its last
    change, from K = 4..16 to 16..64. $W_2$ is a
    quadrature over quantiles by bisection, each to 1e-13 of the range; a relative $\gamma_{1000}$ of it is allowed for, which
    matters to neither.
    """
    return _after_the_sde(law, -2.0)


@the_sde_doubles_the_rate.control
def _(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""The rate $K^{-1}$ of $e_K$."""
    return _after_the_sde(law, -1.0)


def _after_the_sde(law: Diffusion, slope: float) -> Evidence:
    errors, distances = list[float](), list[float]()
    for count in _COUNTS:
        sol = qz.quantize(law.law(law.end), count, rng=0).require()
        after = law.posterior(np.asarray(sol.measure.points), np.asarray(sol.measure.weights))
        errors.append(sol.distortion**0.5)
        distances.append(quantiles.between_mixtures(law.law(law.begin), after))
    found = slopes(_COUNTS, distances)
    bounds = [
        Evidence(distance, law.constant() * error, round_off(1000, error))
        for distance, error in zip(distances, errors, strict=True)
    ]
    curve = Curve(
        "K",
        "error",
        tuple(map(float, _COUNTS)),
        {
            "$e_K$": tuple(errors),
            "$W_2$ after the SDE": tuple(distances),
            "slope $-2$": tuple(distances[0] * (n / _COUNTS[0]) ** -2 for n in _COUNTS),
        },
        logs="xy",
    )
    return worst([*bounds, equal(found[1], slope, remainder(found[0], found[1], order=1 / 3, ratio=4))]).drawn(curve)


@claim(
    statement=r"on optimal codes of $N(m, s^2)$ uniform weights do not converge: $W_2(\mu, \tfrac1K \sum_k \delta_{x_k}) \to "
    r"(\sqrt3 - 1)\,s$, the cell masses' $W_2 \to 0$",
    reference="graf2000",
    laws=NORMALS,
    effort=MODERATE,
)
def uniform_weights_do_not_converge(law: Any, k: int, seed: int) -> Evidence:
    r"""$|W_2(\mu, u_K) - (\sqrt3 - 1) s| \le W_2(\mu_{1/3}, u_K)$, $u_K$ the uniform measure on the optimal codes, $\mu_{1/3} =
    N(m, 3 s^2)$; the right side at most s/4; and $e_K$, which the cell masses attain, below half of $W_2(\mu, u_K)$.

    The triangle inequality with $W_2(N(m, s^2), N(m, 3 s^2)) = (\sqrt3 - 1) s$: no asymptotics. Slack: the quadrature's error,
    below 1e-9 of s.
    """
    return _uniform(law, k, 3**0.5)


@uniform_weights_do_not_converge.control
def _(law: Any, k: int, seed: int) -> Evidence:
    """Codes taken to lie like draws of the law, so that uniform weights would do."""
    return _uniform(law, k, 1.0)


def _uniform(law: Any, k: int, factor: float) -> Evidence:
    loc, scale = float(law.kwds["loc"]), float(law.kwds["scale"])
    sol = qz.quantize(law, k, rng=0).require()
    codes = np.sort(np.asarray(sol.measure.points)[:, 0])
    companion = law.dist(loc=loc, scale=factor * scale)
    uniform, away = quantiles.to_uniform_atoms(law, codes), quantiles.to_uniform_atoms(companion, codes)
    slack = 1e-9 * scale
    return worst(
        [
            Evidence(abs(uniform - abs(factor - 1) * scale), away, slack),
            Evidence(away, scale / 4, slack),
            Evidence(sol.distortion**0.5, uniform / 2, slack),
        ]
    )
