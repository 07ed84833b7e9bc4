"""What claims measure with, against closed forms and plain numerical integration."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import quantization as qz
from theory_checks import line, polygons, quantiles
from theory_checks.diffusion import Diffusion

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def pair(reach: float, s: float, *, preserving: bool, stochastic: bool, begin: float = 0.01, end: float = 5.0) -> Diffusion:
    """Two means at ±reach · s on the line."""
    means = np.array([[reach * s], [-reach * s]])
    mixture = qz.GaussianMixture(np.array([0.5, 0.5]), means, np.full((2, 1, 1), s * s))
    return Diffusion(mixture, preserving, stochastic, begin, end)


def test_cells_of_a_square_tile_it() -> None:
    codes = np.random.default_rng(0).random((7, 2))
    cells = [polygons.cell(SQUARE, codes, k) for k in range(7)]
    assert sum(map(polygons.area, cells)) == pytest.approx(1, abs=1e-14)
    centres = (np.stack(np.meshgrid([0.25, 0.75], [0.25, 0.75]), -1)).reshape(-1, 2)
    assert polygons.distortion(SQUARE, centres) == pytest.approx(1 / 24, rel=1e-14)


def test_a_regular_hexagon_attains_its_constant() -> None:
    angles = np.pi / 3 * np.arange(6)
    hexagon = np.column_stack([np.cos(angles), np.sin(angles)])
    constant = 5 / (18 * 3**0.5) * polygons.area(hexagon)
    assert polygons.distortion(hexagon, np.zeros((1, 2))) == pytest.approx(constant, rel=1e-14)


def test_quantiles_of_two_gaussians() -> None:
    distance = quantiles.between_mixtures(qz.Gaussian([1.0], [[4.0]]), qz.Gaussian([-2.0], [[0.25]]))
    assert distance == pytest.approx((3**2 + 1.5**2) ** 0.5, rel=1e-9)


def test_quantiles_to_atoms() -> None:
    half = (2 / np.pi) ** 0.5
    assert quantiles.to_uniform_atoms(stats.norm(), np.array([-half, half])) == pytest.approx((1 - 2 / np.pi) ** 0.5, rel=1e-9)


@pytest.mark.parametrize(
    "law", [stats.norm(loc=1.0, scale=2.0), stats.expon(loc=-1.0, scale=0.5), stats.uniform(loc=2.0, scale=3.0)]
)
def test_cells_on_the_line_against_adaptive_quadrature(law: object) -> None:
    codes = np.sort(law.ppf([0.1, 0.4, 0.8]))
    ends = np.clip(line.boundaries(codes), *law.ppf([1e-14, 1 - 1e-14]))
    for k, x in enumerate(codes):
        low, high = ends[k], ends[k + 1]
        local = quad(lambda z, x=x: (z - x) ** 2 * law.pdf(z), low, high)[0]
        pull = quad(lambda z, x=x: 2 * (x - z) * law.pdf(z), low, high)[0]
        assert line.local_distortions(law, codes)[k] == pytest.approx(local, abs=1e-10)
        assert line.gradient(law, codes)[k] == pytest.approx(pull, abs=1e-10)
    step = 1e-5
    moved = codes + step * np.eye(3)
    slopes = (line.gradient(law, moved) - line.gradient(law, codes - step * np.eye(3))) / (2 * step)
    np.testing.assert_allclose(slopes, 2 * line.half_hessian(law, codes), atol=1e-7)


@pytest.mark.parametrize("preserving", [True, False])
@pytest.mark.parametrize("stochastic", [True, False])
def test_the_constant_is_the_exponential_of_an_integral(preserving: bool, stochastic: bool) -> None:
    diffusion = pair(1.7, 0.6, preserving=preserving, stochastic=stochastic)
    integral = quad(diffusion.largest_rate, diffusion.begin, diffusion.end, epsrel=1e-11, epsabs=0)[0]
    assert diffusion.constant() == pytest.approx(np.exp(integral), rel=1e-9)


def test_the_constant_explodes_with_the_spread_of_the_means() -> None:
    """Means ±1 with s = 0.8 (flow) and 0.3, ±3 with s = 0.5: measured before, by other code."""
    flow = pair(1 / 0.8, 0.8, preserving=True, stochastic=False)
    assert flow.constant() == pytest.approx(1.7275, abs=5e-5)
    assert pair(1 / 0.3, 0.3, preserving=True, stochastic=True).constant() == pytest.approx(179, abs=0.5)
    assert pair(6, 0.5, preserving=True, stochastic=True).constant() == pytest.approx(2.15e13, rel=0.01)


def test_the_law_of_the_reverse_sde_is_that_of_the_forward_one() -> None:
    diffusion = pair(1.5, 0.7, preserving=True, stochastic=True)
    nu = qz.quantize(diffusion.law(diffusion.end), 200, rng=0).measure
    after, law = diffusion.posterior(nu.points, nu.weights), diffusion.law(diffusion.begin)
    np.testing.assert_allclose(after.mean, law.mean, atol=1e-8)
    np.testing.assert_allclose(after.cov, law.cov, rtol=1e-6)
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(after.log_density(x), law.log_density(x), atol=1e-6)
