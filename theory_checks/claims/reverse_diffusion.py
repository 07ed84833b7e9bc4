r"""Theorem 1 of dataset distillation as pushforward quantization: what a reverse diffusion keeps of $W_2$, with its constant."""

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from theory_checks.cells import largest_cost
from theory_checks.chance import monte_carlo
from theory_checks.claim import MODERATE, Effort, claim
from theory_checks.diffusion import Diffusion
from theory_checks.evidence import Curve, Evidence, equal, worst
from theory_checks.laws import DIFFUSIONS
from theory_checks.limits import two_terms
from theory_checks.rounding import root_error, round_off, transport_round_off

FloatArray = NDArray[np.float64]
_ATOMS, _STEPS, _NEAR = 128, 48, 1e-3


@claim(
    statement=r"$\nabla \log p_t(x) = \bigl(\alpha_t E[m \mid X_t = x] - x\bigr) / v_t$ for $X_0 \sim \sum_i \pi_i N(m_i, "
    r"s^2 I)$",
    reference="tan2026",
    laws=DIFFUSIONS,
)
def scores_point_to_the_posterior_mean(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""The score of the mixture at draws of X_t against the posterior mean of its components, by extended precision.

    Slack: exponents up to $|x - m|^2 / 2v$, d products each, err by $\gamma_{2d+10}$ of themselves, posterior weights by twice
    that, and the score by that of the largest distance over v; $\gamma_{20 d + 40}$ for factors and their solves.
    """
    return _scored(law, seed, given=True)


@scores_point_to_the_posterior_mean.control
def _(law: Diffusion, k: int, seed: int) -> Evidence:
    """The prior mean in place of the posterior one."""
    return _scored(law, seed, given=False)


def _scored(law: Diffusion, seed: int, *, given: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    t = float(rng.uniform(0.2, 1.0))
    mixture, v = law.law(t), law.variance(t)
    x = mixture.sample(20, rng)
    offsets = mixture.means - x[:, None]
    exponents = -np.square(offsets.astype(np.longdouble)).sum(2) / (2 * v)
    shares = np.exp(exponents - exponents.max(1, keepdims=True)) * mixture.weights
    if not given:
        shares = np.broadcast_to(mixture.weights, shares.shape)
    scores = ((shares / shares.sum(1, keepdims=True))[..., None] * offsets).sum(1) / v
    farthest = float(np.sqrt(np.square(offsets).sum(2).max()))
    relative_slack = round_off(2 * law.data.dim + 10, 2 * farthest**2 / v) + round_off(20 * law.data.dim + 40, 1.0)
    return Evidence(float(np.abs(mixture.score(x) - scores).max()), 0.0, float(relative_slack * farthest / v))


@claim(
    statement=r"$W_2(\mu_\delta, \nu_\delta) \le C\,W_2(\mu_T, \nu_T)$, $C = \exp \int_\delta^T (c + g \Lambda_t)\,dt$, and "
    r"no two paths "
    r"with one noise part by more",
    reference="tan2026",
    laws=DIFFUSIONS,
    effort=MODERATE,
)
def reverse_diffusions_are_lipschitz(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""The closed-form C of METHOD against synchronous couplings: of atoms with their codes, and of atoms with near neighbours.

    $|Y_\delta - Y'_\delta| \le C |Y_T - Y'_T|$ for every pair; $W_2$ between the clouds at δ, by exact transport, at most C
    times the quantization error at T; and $C\,e_K$ below the diameter of the cloud, so that the bound says something. Slack:
    Euler's step has a derivative between $1 + h(c - g/v)$ and $1 + h(c + g\Lambda)$, so that the scheme obeys its own product
    of these exactly; its excess over C is computed. Round-off: $\gamma_{100}$ of the longest path a step, over the distance of
    the pair, times C.
    """
    return _theorem(law, k, seed, alike=True)


@reverse_diffusions_are_lipschitz.control
def _(law: Diffusion, k: int, seed: int) -> Evidence:
    """Unequal covariances: one component in the middle, an eighth as wide as the other around it, held to the C of the wide
    one.
    """
    d, s = law.data.dim, law.data_variance**0.5
    covs = np.stack([s * s * np.eye(d), (s / 8) ** 2 * np.eye(d)])
    unequal = qz.GaussianMixture(np.array([0.5, 0.5]), np.zeros((2, d)), covs)
    return _theorem(replace(law, data=unequal), k, seed, alike=False)


def _theorem(law: Diffusion, k: int, seed: int, *, alike: bool) -> Evidence:
    rng = np.random.default_rng(seed)
    atoms = law.law(law.end).sample(_ATOMS, rng)
    nu = qz.quantize(atoms, k, rng=rng).measure
    codes = np.asarray(nu.points)
    partners = codes[np.asarray(nu.assign(atoms))]
    directions = rng.standard_normal(atoms.shape)
    near = atoms + _NEAR * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    times = law.times(_STEPS)
    noise = rng.standard_normal((_STEPS, *atoms.shape)) if law.stochastic else None
    ends = law.backwards(
        np.concatenate([atoms, partners, near]), times, None if noise is None else np.concatenate([noise] * 3, axis=1)
    )
    end, end_partners, end_near = np.split(ends, 3)
    (scheme, _), constant = law.euler_constants(times), law.constant()
    beyond = max(scheme - constant, 0.0)
    path = (
        float(np.sqrt(np.square(np.concatenate([atoms, ends])).sum(1).max())) + 10 * (law.variance(law.end) * law.data.dim) ** 0.5
    )

    def pairs(here: FloatArray, there: FloatArray, after: FloatArray, after_there: FloatArray) -> Evidence:
        apart, finally_apart = (np.sqrt(np.square(a - b).sum(1)) for a, b in ((here, there), (after, after_there)))
        kept = apart > 1e-6
        ratio = float((finally_apart[kept] / apart[kept]).max())
        return Evidence(ratio, constant, beyond + round_off(100 * _STEPS, path) * max(scheme, 1.0) / float(apart[kept].min()))

    found = [pairs(atoms, partners, end, end_partners), pairs(atoms, near, end, end_near)]
    if alike:
        error = qz.distortion(atoms, codes, rng=0).value ** 0.5
        cloud, pushed = qz.DiscreteMeasure(end), qz.DiscreteMeasure(end_partners)
        distance = qz.wasserstein(cloud, pushed)
        slack = root_error(distance**2, transport_round_off(cloud.size, pushed.size, largest_cost(cloud, pushed)))
        slack += beyond * error + round_off(100 * _STEPS, path) * max(scheme, 1.0)
        found.append(Evidence(distance, constant * error, slack))
        found.append(Evidence(constant * error, largest_cost(cloud, cloud) ** 0.5, 0.0))
    return worst(found)


@claim(
    statement=r"Euler's scheme for the reverse diffusion has strong order 1: error$(h)$ / error$(h/2) \to 2$",
    reference="kloeden1992",
    laws=replace(DIFFUSIONS, dims=(1, 2, 3), codes=(2,)),
    effort=Effort(tests=1, quick=2, full=20),
    random=True,
)
def halving_the_step_halves_the_error(law: Diffusion, k: int, seed: int) -> Evidence:
    r"""$|r - 2| = 0$ for $r = |Y^{(h)} - Y^{(h/2)}| / |Y^{(h/2)} - Y^{(h/4)}|$, root mean squares over paths with one noise.

    Slack: the ratio at h is $2 + ch + dh^2$, and its changes up to 2h and on to 4h, $A = ch + 3dh^2$ and $B = 2ch + 12dh^2$,
    give $|ch + dh^2| \le \tfrac53 |A| + \tfrac13 |B|$. Chance: the jackknife's standard errors, over 64 blocks of paths, of the
    ratio and of A, added.
    """
    return _refined(law, seed, order=1.0)


@halving_the_step_halves_the_error.control
def _(law: Diffusion, k: int, seed: int) -> Evidence:
    """Strong order 2, a ratio of 4, which takes more than one evaluation of the drift a step."""
    return _refined(law, seed, order=2.0)


_FINEST, _LEVELS, _BLOCKS, _PATHS = 192, 5, 64, 2**13


def _refined(law: Diffusion, seed: int, *, order: float) -> Evidence:
    rng = np.random.default_rng(seed)
    start = law.law(law.end).sample(_PATHS, rng)
    times = law.times(_FINEST)
    gaps = -np.diff(times)[:, None, None]
    finest = rng.standard_normal((_FINEST, *start.shape)) * np.sqrt(gaps)
    ends = list[FloatArray]()
    for level in range(_LEVELS):
        every = 2**level
        steps = np.sqrt(gaps.reshape(-1, every, 1, 1).sum(1))
        noise = finest.reshape(-1, every, *start.shape).sum(1) / steps if law.stochastic else None
        ends.append(law.backwards(start, times[::every], noise))
    squares = np.array([np.square(a - b).sum(1) for a, b in itertools.pairwise(ends)])  # finest first
    squares = squares.reshape(len(squares), _BLOCKS, -1).sum(2)

    def ratios(total: FloatArray) -> FloatArray:
        return np.sqrt(total[1:] / total[:-1])  # [0]: the finest

    whole = ratios(squares.sum(1))
    left_out = np.array([ratios(squares.sum(1) - squares[:, i]) for i in range(_BLOCKS)])
    changes = np.column_stack([left_out[:, 0], left_out[:, 0] - left_out[:, 1]])
    errors = np.sqrt((_BLOCKS - 1) * changes.var(0))
    slack = two_terms(*map(float, whole[:3]))
    slack += monte_carlo(float(errors.sum()), degrees=_BLOCKS - 1, among=2)
    curve = Curve(
        "steps",
        "error(h) / error(h/2)",
        tuple(float(_FINEST / 2**level) for level in range(1, _LEVELS - 1)),
        {"ratio": tuple(map(float, whole))},
        {"order 1": 2.0},
        "x",
    )
    return equal(float(whole[0]), 2**order, slack).drawn(curve)
