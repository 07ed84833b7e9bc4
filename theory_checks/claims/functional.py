r"""Paths of Gaussian processes: eigenvalues, Shannon's bound for N paths, and how near products of grids come to it."""

import itertools
from dataclasses import replace

import numpy as np

import quantization as qz
from theory_checks.claim import CHEAP, MODERATE, claim
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.laws import PROCESSES
from theory_checks.laws.processes import Closed
from theory_checks.limits import richardson, two_terms
from theory_checks.rounding import round_off

_TERMS = 1000
_MANY_PATHS = replace(PROCESSES, codes=(10, 40, 200, 1000))
_ZADOR = 3**0.5 * np.pi / 2  # the limit of n² d_n, of the distortion of N(0, 1) on n codes


@claim(
    statement=r"$\sum_i \lambda_i = \int_0^T \operatorname{Var} X_t\,dt$ for the eigenvalues of the covariance operator",
    reference="luschgy2002",
    laws=PROCESSES,
    effort=CHEAP,
)
def eigenvalues_sum_to_the_variance(law: Closed, k: int, seed: int) -> Evidence:
    r"""The first thousand eigenvalues, and bounds on the others, against Gauss' rule for the variance.

    All have $\lambda_i = \sigma^2 / (\omega_i^2 + \theta^2)$ with $(i - 1) \pi/T \le \omega_i \le i \pi/T$, so that
    $\int_{m+1}^\infty \le \sum_{i > m} \lambda_i \le \int_{m - 1}^\infty$ of $\sigma^2 / ((\pi x/T)^2 + \theta^2)$, which falls.
    Slack: $\gamma_{2000}$ of the variance, for a thousand sums and the rule's 64 nodes, of which an exponential needs fewer; the
    eigenvalues' roots are found to round-off.
    """
    return _trace(law, shift=0.0)


@eigenvalues_sum_to_the_variance.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    r"""Frequencies half a step too high, as of the bridge for Brownian motion."""
    return _trace(law, shift=0.5)


def _trace(law: Closed, *, shift: float) -> Evidence:
    x, w = np.polynomial.legendre.leggauss(64)
    times = law.horizon * (1 + x) / 2
    variance = float(law.horizon / 2 * w @ law.covariance(times, times))
    sigma, theta = (law.volatility, law.rate) if isinstance(law, qz.OrnsteinUhlenbeck) else (1.0, 0.0)
    first = law.karhunen_loeve(_TERMS).eigenvalues
    omega = np.sqrt(np.maximum(sigma**2 / first - theta**2, 0)) + shift * np.pi / law.horizon
    total = float((sigma**2 / (omega**2 + theta**2)).sum())

    def rest(start: int) -> float:
        angle = np.arctan2(theta * law.horizon, np.pi * start)  # π/2 − arctan of the inverse
        return sigma**2 * law.horizon / np.pi * (angle / theta if theta else law.horizon / (np.pi * start))

    slack = round_off(2000, variance)
    return worst([Evidence(total + rest(_TERMS + 1), variance, slack), Evidence(variance, total + rest(_TERMS - 1), slack)])


@claim(
    statement=r"$E \|X - \hat X\|^2 \ge \sum_i \min(\kappa, \lambda_i)$ for N paths, "
    r"$\sum_i \tfrac12 \log^+ (\lambda_i/\kappa) = \log N$",
    reference="luschgy2002",
    laws=PROCESSES,
    effort=MODERATE,
)
def no_grid_of_paths_beats_shannon(law: Closed, k: int, seed: int) -> Evidence:
    r"""Shannon's bound for the information log N that N codes can carry against the best product, whose rate is 1/log N too.

    Slack: $\gamma_{1000}$ of the variance, for sums of a few dozen eigenvalues.
    """
    return _shannon(law, k, nats=float(np.log(k)))


@no_grid_of_paths_beats_shannon.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    """A third of the information."""
    return _shannon(law, k, nats=float(np.log(k)) / 3)


def _shannon(law: Closed, k: int, *, nats: float) -> Evidence:
    expansion, grid = law.karhunen_loeve(64), qz.functional_grid(law, k)
    bound = _below(expansion, _water_level(expansion, nats))
    return Evidence(bound, grid.distortion, round_off(1000, expansion.trace))


def _water_level(expansion: qz.KarhunenLoeve, nats: float) -> float:
    r"""κ with $\sum_i \tfrac12 \log^+(\lambda_i/\kappa)$ = nats: of the first m, whose level lies above the next eigenvalue."""
    logs = np.log(expansion.eigenvalues)
    levels = (np.cumsum(logs) - 2 * nats) / np.arange(1, len(logs) + 1)
    return float(np.exp(levels[int(np.argmax(levels[:-1] >= logs[1:]))]))


def _below(expansion: qz.KarhunenLoeve, level: float) -> float:
    r"""$\sum_i \min(\lambda_i, \text{level})$."""
    return expansion.trace - float(np.maximum(expansion.eigenvalues - level, 0.0).sum())


@claim(
    statement=r"$E \|X - \hat X\|^2 \le \sum_i \min(4 C \kappa, \lambda_i)$, $C = \tfrac{\sqrt3 \pi}2$, of the best product of "
    r"N paths, κ as in Shannon's bound: at most 4C times that, which is $\sim 2 \sigma^2 T^2 / \pi^2 \log N$",
    reference="luschgy2002",
    laws=_MANY_PATHS,
    effort=MODERATE,
)
def paths_are_quantized_at_the_rate_of_log_n(law: Closed, k: int, seed: int) -> Evidence:
    r"""The best product against shares that reach the rate, $n_i = \lfloor (\lambda_i/\kappa)^{1/2} \rfloor$.

    $\prod_i n_i \le N$, and $\lambda_i d_{n_i} \le C \lambda_i / n_i^2 \le 4 C \kappa$, as $n_i$ is more than half of what it is
    rounded from; that $n^2 d_n \le C$ is checked for these $n_i$. log N times the bound is extrapolated from $\log N / (1 +
    \theta T)$ = 100 to 800. Slack: $\gamma_{1000}$ of the variance, for sums of a few dozen eigenvalues, and of C; of the limit,
    whose first correction is of order $1 / \log N$, what two terms leave (:func:`~theory_checks.limits.two_terms`), and the sums.
    """
    return worst([_log_rate(law, k, paths=True), _shannon_limit(law)])


def _shannon_limit(law: Closed) -> Evidence:
    sigma, turns = (law.volatility, law.rate * law.horizon) if isinstance(law, qz.OrnsteinUhlenbeck) else (1.0, 0.0)
    nats = 100.0 * (1 + turns) * np.array([1.0, 2.0, 4.0, 8.0])
    expansion = law.karhunen_loeve(int(1.1 * nats[-1]))
    scaled = [n * _below(expansion, _water_level(expansion, n)) for n in nats.tolist()]
    extrapolated = [richardson(a, b) for a, b in itertools.pairwise(scaled)]
    slack = two_terms(*extrapolated[::-1]) + float(nats[-1]) * round_off(2 * len(expansion.eigenvalues), expansion.trace)
    return equal(extrapolated[-1], 2 * (sigma * law.horizon / np.pi) ** 2, slack)


@paths_are_quantized_at_the_rate_of_log_n.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    r"""The rate of one dimension, $C N^{-2} \int \operatorname{Var} X_t\,dt$."""
    return _log_rate(law, k, paths=False)


def _log_rate(law: Closed, k: int, *, paths: bool) -> Evidence:
    expansion, distortion = law.karhunen_loeve(256), qz.functional_grid(law, k).distortion
    slack = round_off(1000, expansion.trace)
    if not paths:
        return Evidence(distortion, _ZADOR * expansion.trace / k**2, slack)
    level = _water_level(expansion, float(np.log(k)))
    shares = np.unique(np.sqrt(expansion.eigenvalues[expansion.eigenvalues >= level] / level).astype(np.int64))
    normal = qz.Gaussian([0.0], [[1.0]])
    costs = [float(n**2) * qz.quantize(normal, int(n), rng=0).distortion for n in shares]
    return worst(
        [
            Evidence(distortion, _below(expansion, 4 * _ZADOR * level), slack),
            *(Evidence(cost, _ZADOR, round_off(1000, _ZADOR)) for cost in costs),
        ]
    )


@claim(
    statement=r"$\dot x = \mu x - \tfrac12 \sigma^2 x + \sigma x \dot\chi$ is solved by "
    r"$x_0 e^{(\mu - \sigma^2/2) t + \sigma \chi}$ along every quantized path χ, as by geometric Brownian motion along its noise",
    reference="luschgy2006",
    laws=PROCESSES,
    effort=CHEAP,
)
def diffusions_follow_the_noise(law: Closed, k: int, seed: int) -> Evidence:
    r"""Paths of :func:`quantization.diffusion_grid` against the exponential, at five times, μ and σ drawn.

    Slack: twice what halving the steps changes, of which a scheme of fourth order leaves a fifteenth, and $\gamma_{4000}$ of the
    largest state, for some 30 roundings in each of 128 steps.
    """
    return _exponential(law, k, seed, correction=1.0)


@diffusions_follow_the_noise.control
def _(law: Closed, k: int, seed: int) -> Evidence:
    r"""Itô's drift left as it is, without $-\tfrac12 \sigma\sigma'$."""
    return _exponential(law, k, seed, correction=0.0)


def _exponential(law: Closed, k: int, seed: int, *, correction: float) -> Evidence:
    rng = np.random.default_rng(seed)
    mu, sigma, horizon = rng.uniform(-1, 1), rng.uniform(0.5, 1.5), law.horizon
    scale = horizon**-0.5  # so that exponents stay of order 1

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        return correction * sigma * scale + 0 * x

    model = qz.Diffusion(1.0, lambda t, x: mu / horizon * x, lambda t, x: sigma * scale * x, volatility_slope=slope)
    grid, times = qz.diffusion_grid(model, min(k, 50), horizon=horizon), np.linspace(0, horizon, 5)
    noise = grid.driver.paths(times)
    exact = np.exp((mu - sigma**2 / 2) * times / horizon + sigma * scale * noise)
    worst_error = float(np.abs(grid.paths(times) - exact).max())
    return Evidence(worst_error, 0.0, 2 * grid.step_error(times) + round_off(4000, float(exact.max())))
